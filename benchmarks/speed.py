"""What a row, an organization and a start cost, beside what a user would pick instead and beside the floor.

Every contender is a process that reads the same endpoint. They run in turns, and each figure is a median. The ratios
are what counts: the machine is the same for all.

    python -m benchmarks.speed              # everything, about three minutes
    python -m benchmarks.speed cpu start    # some of: cpu, unchanged, waiting, start, memory, state
    EARLIER=path/to/its/clone python -m benchmarks.speed cpu unchanged memory    # beside another installed version
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.runs import (
    BARE,
    CONSOLE,
    EARLIER,
    ENVIRONMENT,
    FLOOR,
    LOWCODE,
    LOWCODE_INCREMENTAL,
    OURS,
    OURS_INCREMENTAL,
    Run,
    attempt,
    run,
)
from benchmarks.server import Service, serving

ROUNDS = int(os.environ.get("ROUNDS", "7"))
COMMAND = str(Path(sys.executable).with_name("source-ravan-calcom"))


def cpu() -> None:
    """CPU per row over 200 organizations of 189 rows, everything imported."""
    organizations, rows = 200, 189
    contenders = (OURS, OURS_INCREMENTAL, *EARLIER, LOWCODE, LOWCODE_INCREMENTAL, FLOOR, BARE)
    spent: dict[str, list[float]] = {each.name: [] for each in contenders}
    with serving(Service(rows)) as url:
        for _ in range(ROUNDS):
            for each in contenders:
                spent[each.name].append(run(each, url, organizations, rows).cpu)
    per_row = {name: median(seconds) / (organizations * rows) * 1e6 for name, seconds in spent.items()}
    table = Table(title=f"CPU per row, {organizations} organizations of {rows} rows")
    for name in ("", "µs a row", "of low-code full refresh", "of the floor"):
        table.add_column(name, justify="right" if name else "left")
    for each in contenders:
        cost = per_row[each.name]
        table.add_row(each.name, f"{cost:.1f}", *(f"{cost / per_row[peer.name]:.2f}" for peer in (LOWCODE, FLOOR)))
    CONSOLE.print(table)


def unchanged() -> None:
    """CPU of an incremental sync in which nothing has changed, over 200 organizations of 189 rows."""
    organizations, rows = 200, 189
    contenders = (OURS_INCREMENTAL, *EARLIER[1:])
    spent: dict[str, list[float]] = {each.name: [] for each in contenders}
    with serving(Service(rows)) as url:
        states = {each.name: run(each, url, organizations, rows).last_state for each in contenders}
        for _ in range(ROUNDS):
            for each in contenders:
                done = attempt(each, url, organizations, state=states[each.name])
                if done.code or done.rows:
                    raise RuntimeError(f"{each.name} ended with {done.code} and printed {done.rows} rows")
                spent[each.name].append(done.cpu)
    for name, seconds in spent.items():
        sizes = f"{organizations} organizations of {rows} rows"
        CONSOLE.print(f"Unchanged: {sizes}, {name}: {median(seconds):.2f} s of CPU")


def waiting() -> None:
    """400 organizations at 100 ms a request with 20 workers, against the ideal."""
    organizations, delay, workers = 400, 0.1, 20
    ideal = organizations * delay / workers
    with serving(Service(20, delay)) as slow:
        spent = median(run(OURS, slow, organizations, 20, workers).wall for _ in range(ROUNDS))
    CONSOLE.print(
        f"Waiting: {organizations} organizations, {delay * 1000:.0f} ms a request, {workers} workers: {spent:.2f} s "
        f"once imported, {spent / ideal:.2f} of the ideal {ideal:.2f} s"
    )


def start() -> None:
    """``spec`` as a process, with and without compiled bytecode, and what of it is the CDK's import."""
    spec = [COMMAND, "spec"]
    imports = [sys.executable, "-c", "import airbyte_cdk.entrypoint"]
    with tempfile.TemporaryDirectory() as cache:
        # An empty cache that can't be written: what an image without bytecode, and a user that can't write, pay.
        uncompiled = {**ENVIRONMENT, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": "1"}
        times: dict[str, list[float]] = {"spec": [], "import": [], "uncompiled": []}
        for _ in range(ROUNDS):
            times["spec"].append(_cpu_of(spec, ENVIRONMENT))
            times["import"].append(_cpu_of(imports, ENVIRONMENT))
            times["uncompiled"].append(_cpu_of(spec, uncompiled))
    whole, cdk, slow = (median(times[name]) for name in ("spec", "import", "uncompiled"))
    own = _own_import_share()
    table = Table(title="CPU of `spec` as a process")
    for name in ("", "s", "of compiled spec"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("spec", f"{whole:.2f}", "1.00")
    table.add_row("importing the CDK's entrypoint alone", f"{cdk:.2f}", f"{cdk / whole:.2f}")
    table.add_row("spec without compiled bytecode", f"{slow:.2f}", f"{slow / whole:.2f}")
    CONSOLE.print(table)
    CONSOLE.print(f"Our own modules are {own:.1%} of the import time of the command.")


def _cpu_of(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} failed")
    return usage.ru_utime + usage.ru_stime


def _own_import_share() -> float:
    """The self time of our modules, of all imports that the command makes, as the interpreter reports them."""
    shares = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [
                sys.executable,
                "-X",
                "importtime",
                "-c",
                "import source_ravan_calcom.main, source_ravan_calcom.source",
            ],
            capture_output=True,
            text=True,
            check=True,
            env=ENVIRONMENT,
        )
        own = total = 0
        for line in done.stderr.splitlines():
            fields = line.removeprefix("import time:").split("|")
            if len(fields) == 3 and fields[0].strip().isdigit():
                total += int(fields[0])
                own += int(fields[0]) if fields[2].strip().startswith("source_ravan_calcom") else 0
        shares.append(own / total)
    return median(shares)


def memory() -> None:
    """Peak memory over 10, 100 and 1,000 organizations of 189 rows, incremental."""
    _over_organizations("Peak memory, incremental, 189 rows an organization", "MB", lambda each: each.memory, 189)


def state() -> None:
    """Bytes of state printed over 10, 100 and 1,000 organizations of 99 rows, incremental."""
    _over_organizations("State printed in one sync, 99 rows an organization", "MB", lambda each: each.state / 1e6, 99)


def _over_organizations(title: str, unit: str, figure: Callable[[Run], float], rows: int) -> None:
    contenders = (OURS_INCREMENTAL, *EARLIER[1:])
    table = Table(title=title)
    table.add_column("organizations", justify="right")
    for each in contenders:
        table.add_column(f"{unit}, {each.name}", justify="right")
    with serving(Service(rows)) as url:
        for organizations in (10, 100, 1000):
            figures = [[figure(run(each, url, organizations, rows)) for _ in range(3)] for each in contenders]
            table.add_row(str(organizations), *(f"{median(each):.1f}" for each in figures))
    CONSOLE.print(table)


PARTS = {part.__name__: part for part in (cpu, unchanged, waiting, start, memory, state)}


def main(names: Iterable[str] = PARTS) -> None:
    """Measure the named parts and print their tables."""
    if not shutil.which(COMMAND):
        sys.exit("The connector is not installed in this environment: make test does that.")
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
