"""Measures coverage in every Python process that a test run starts; scripts/test adds it to their path.

Coverage's own support of subprocesses traces them from their first line on, which takes half the time of a test run,
mostly in the CDK's imports, PyAirbyte and Dagster. This module starts when a process imports the connector, and pauses
while the CDK is imported.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

CONFIG = Path(__file__).parents[2] / "pyproject.toml"


class Watch(MetaPathFinder):
    """A finder that finds no module, but is called before a module is imported."""

    def __init__(self) -> None:
        self._events = {"source_ravan_calcom": _measure, "airbyte_cdk": _import_unseen}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Run a module's action before its first import; the other finders find the module."""
        if event := self._events.pop(fullname, None):
            event()


def _import_unseen() -> None:
    """Import the CDK without tracing it."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        importlib.import_module("airbyte_cdk.entrypoint")
    finally:
        sys.settrace(tracer)


def _measure() -> None:
    import coverage  # noqa: PLC0415  takes a tenth of a second

    measured = coverage.Coverage(config_file=str(CONFIG))
    measured.start()
    atexit.register(measured.save)
    kill, leave = os.kill, os._exit

    # These two ways to end skip atexit. A process that is killed by another one can't save its coverage.
    def save_and_kill(pid: int, number: int) -> None:
        try:
            if pid == os.getpid():
                measured.save()
        finally:
            kill(pid, number)

    def save_and_leave(code: int) -> None:
        try:
            measured.save()
        finally:
            leave(code)

    os.kill = save_and_kill
    os._exit = save_and_leave  # type: ignore[assignment]


sys.meta_path.insert(0, Watch())
