"""Measures the connector in every Python process that a test run starts; scripts/test puts it on their path.

Coverage's own start of subprocesses traces each of them from its first line on, which costs half of a test run: the
imports of the CDK, and PyAirbyte and Dagster altogether. Here it begins when a process imports the connector, and
looks away while the CDK is imported.
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
    """Finds no module; sees which are asked for."""

    def __init__(self) -> None:
        self._events = {"source_ravan_calcom": _measure, "airbyte_cdk": _import_unseen}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Act on the first request for a module, and leave the finding to the other finders."""
        if event := self._events.pop(fullname, None):
            event()


def _import_unseen() -> None:
    """Import what the connector needs of the CDK without tracing it."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        importlib.import_module("airbyte_cdk.entrypoint")
    finally:
        sys.settrace(tracer)


def _measure() -> None:
    import coverage  # noqa: PLC0415  only where it is needed: it takes a tenth of a second

    measured = coverage.Coverage(config_file=str(CONFIG))
    measured.start()
    atexit.register(measured.save)
    kill, leave = os.kill, os._exit

    # The two ends that skip atexit. Nothing can be saved by a process that another one kills.
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
