"""Runs contenders as processes that read the same endpoint, and measures their time, memory and output."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
CONSOLE = Console(width=110)
ROOT = Path(__file__).resolve().parents[1]

_MEASURED = re.compile(r"^measured (\S+) (\S+)$", re.MULTILINE)
_OWNER = re.compile(rb'"organization_id":"([^"]+)"')


@dataclass(frozen=True)
class Run:
    """The result of one process.

    Attributes:
        code: The exit code, negative if it was stopped.
        cpu: CPU seconds after its imports; 0 if it was stopped.
        wall: Wall seconds after its imports; the whole timeout if it was stopped.
        memory: Peak memory in MB.
        rows: The number of printed records.
        organizations: The number of organizations in these records.
        states: The number of printed states.
        state: The size of all states in bytes.
        last_state: The message of the last state, to be passed to a second run.
        end: The last printed line.
    """

    code: int
    cpu: float
    wall: float
    memory: float
    rows: int
    organizations: int
    states: int
    state: int
    last_state: bytes
    end: str


@dataclass(frozen=True)
class Contender:
    name: str
    command: list[str]
    mode: str
    directory: Path = ROOT


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.contenders.{name}"]


OURS = Contender("this connector, full refresh", _module("ours"), "full_refresh")
OURS_INCREMENTAL = Contender("this connector, incremental", _module("ours"), "incremental")
_EARLIER = Path(os.environ.get("EARLIER", ROOT)).resolve()

EARLIER = [
    Contender(f"earlier version, {mode.replace('_', ' ')}", _module("ours"), mode, _EARLIER)
    for mode in ("full_refresh", "incremental")
    if _EARLIER != ROOT
]
"""The code in the clone that the variable ``EARLIER`` names, run in this environment, so that only the code differs."""

LOWCODE = Contender("low-code manifest, full refresh", _module("lowcode"), "full_refresh")
LOWCODE_INCREMENTAL = Contender("low-code manifest, incremental", _module("lowcode"), "incremental")
FLOOR = Contender("engine's floor, ready rows", _module("floor"), "full_refresh")
BARE = Contender("bare requests and orjson", _module("bare"), "full_refresh")


def run(contender: Contender, url: str, organizations: int, rows: int, workers: int = 10, state: bytes = b"") -> Run:
    """Run a contender once, and check that it prints this number of rows per organization.

    Raises:
        RuntimeError: It failed or printed another number of rows.
    """
    done = attempt(contender, url, organizations, rows, workers, state)
    if done.code:
        raise RuntimeError(f"{contender.name} ended with exit code {done.code}: {done.end}")
    if done.rows != organizations * rows:
        raise RuntimeError(f"{contender.name} printed {done.rows} rows instead of {organizations * rows}")
    return done


def attempt(
    contender: Contender,
    url: str,
    organizations: int,
    rows: int = 0,
    workers: int = 10,
    state: bytes = b"",
    timeout: float = 3600.0,
) -> Run:
    """Run a contender once, without checking its result.

    Args:
        contender: The contender.
        url: The endpoint.
        organizations: The number of organizations.
        rows: Rows per organization of the contender that sends no requests.
        workers: Concurrent requests.
        state: The last state of an earlier run.
        timeout: Seconds after which it is stopped.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        stream = {"name": "appointments", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
        configured = {"stream": stream, "sync_mode": contender.mode, "destination_sync_mode": "append_dedup"}
        given: dict[str, object] = {
            "config": {
                "access_token": "benchmark",
                "org_ids": [f"{number:036}" for number in range(1, organizations + 1)],
                "api_url": url,
                "num_workers": workers,
                "benchmark_rows": rows,
            },
            "catalog": {"streams": [configured]},
        }
        if state:
            given["state"] = [json.loads(state)["state"]]
        arguments = [*contender.command, "read"]
        for option, content in given.items():
            (directory / option).write_text(json.dumps(content))
            arguments += [f"--{option}", str(directory / option)]
        return _measured(arguments, contender.directory, directory / "output", directory / "errors", timeout)


def _measured(arguments: list[str], cwd: Path, printed: Path, logged: Path, timeout: float) -> Run:
    with printed.open("wb") as output, logged.open("wb") as errors:
        process = subprocess.Popen(arguments, stdout=output, stderr=errors, env=ENVIRONMENT, cwd=cwd)
        with _stopped_after(process, timeout):
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        cpu, wall = 0.0, timeout
    else:
        cpu, wall = map(float, _MEASURED.findall(logged.read_text())[-1])
    rows = states = state = 0
    last_state = line = b""
    owners = set()
    with printed.open("rb") as lines:
        for line in lines:
            if line.startswith(b'{"type":"RECORD"'):
                rows += 1
                owners.add(_owner(line))
            elif line.startswith(b'{"type":"STATE"'):
                states += 1
                state += len(line)
                last_state = line
    end = line.decode()[:2000]
    return Run(process.returncode, cpu, wall, usage.ru_maxrss / 1024, rows, len(owners), states, state, last_state, end)


def _owner(line: bytes) -> bytes:
    match = _OWNER.search(line)
    return match[1] if match else b""


@contextmanager
def _stopped_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
