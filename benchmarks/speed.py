"""Measure the cost of a row, of an organization and of the start, compared with alternatives and a lower bound.

Each contender is a process that reads the same endpoint. They run in turns, and each figure is a median. Compare the
ratios, because the seconds depend on the machine.

    python -m benchmarks.speed              # everything, about three minutes
    python -m benchmarks.speed cpu start    # some parts of: cpu, unchanged, waiting, start, memory, state
    EARLIER=path/to/its/clone python -m benchmarks.speed cpu unchanged memory    # compared with another version
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
    """Measure the CPU time per row over 200 organizations with 189 rows, after imports."""
    organizations, rows = 200, 189
    contenders = (OURS, OURS_INCREMENTAL, *EARLIER, LOWCODE, LOWCODE_INCREMENTAL, FLOOR, BARE)
    spent: dict[str, list[float]] = {each.name: [] for each in contenders}
    with serving(Service(rows)) as url:
        for _ in range(ROUNDS):
            for each in contenders:
                spent[each.name].append(run(each, url, organizations, rows).cpu)
    per_row = {name: median(seconds) / (organizations * rows) * 1e6 for name, seconds in spent.items()}
    table = Table(title=f"CPU time per row, {organizations} organizations with {rows} rows")
    for name in ("", "µs per row", "/ low-code, full refresh", "/ floor"):
        table.add_column(name, justify="right" if name else "left")
    for each in contenders:
        cost = per_row[each.name]
        table.add_row(each.name, f"{cost:.1f}", *(f"{cost / per_row[peer.name]:.2f}" for peer in (LOWCODE, FLOOR)))
    CONSOLE.print(table)


def unchanged() -> None:
    """Measure the CPU time of an incremental sync without changes, over 200 organizations with 189 rows."""
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
        sizes = f"{organizations} organizations with {rows} rows"
        CONSOLE.print(f"Unchanged: {sizes}, {name}: {median(seconds):.2f} s of CPU time")


def waiting() -> None:
    """Measure the time of 400 organizations at 100 ms per request with 20 workers, compared with the ideal time."""
    organizations, delay, workers = 400, 0.1, 20
    ideal = organizations * delay / workers
    with serving(Service(20, delay)) as slow:
        spent = median(run(OURS, slow, organizations, 20, workers).wall for _ in range(ROUNDS))
    CONSOLE.print(
        f"Waiting: {organizations} organizations, {delay * 1000:.0f} ms per request, {workers} workers: {spent:.2f} s "
        f"after imports, {spent / ideal:.2f} of the ideal {ideal:.2f} s"
    )


def start() -> None:
    """Measure the CPU time of ``spec`` as a process, with and without compiled bytecode, and of the CDK's import."""
    spec = [COMMAND, "spec"]
    imports = [sys.executable, "-c", "import airbyte_cdk.entrypoint"]
    with tempfile.TemporaryDirectory() as cache:
        # An empty cache that can't be written, as in an image without bytecode that runs as another user.
        uncompiled = {**ENVIRONMENT, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": "1"}
        times: dict[str, list[float]] = {"spec": [], "import": [], "uncompiled": []}
        for _ in range(ROUNDS):
            times["spec"].append(_cpu_of(spec, ENVIRONMENT))
            times["import"].append(_cpu_of(imports, ENVIRONMENT))
            times["uncompiled"].append(_cpu_of(spec, uncompiled))
    whole, cdk, slow = (median(times[name]) for name in ("spec", "import", "uncompiled"))
    own = _own_import_share()
    table = Table(title="CPU time of `spec` as a process")
    for name in ("", "s", "/ compiled spec"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("spec", f"{whole:.2f}", "1.00")
    table.add_row("only importing the CDK's entrypoint", f"{cdk:.2f}", f"{cdk / whole:.2f}")
    table.add_row("spec without compiled bytecode", f"{slow:.2f}", f"{slow / whole:.2f}")
    CONSOLE.print(table)
    CONSOLE.print(f"The connector's own modules take {own:.1%} of the command's import time.")


def _cpu_of(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} failed")
    return usage.ru_utime + usage.ru_stime


def _own_import_share() -> float:
    """The share of the connector's modules in the command's import time, as reported by the interpreter."""
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
    """Measure peak memory over 10, 100 and 1,000 organizations with 189 rows, incremental."""
    _over_organizations("Peak memory, incremental, 189 rows per organization", "MB", lambda each: each.memory, 189)


def state() -> None:
    """Measure the size of the printed states over 10, 100 and 1,000 organizations with 99 rows, incremental."""
    _over_organizations(
        "Size of all states of one sync, 99 rows per organization", "MB", lambda each: each.state / 1e6, 99
    )


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
        sys.exit("The connector is not installed in this environment. Install it with: make test")
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
