"""A sync by PyAirbyte into a DuckDB file.

This module works around three behaviours of PyAirbyte. It writes the configuration with the token to a file that every
user can read, so it gets placeholder settings, and the connector reads the user's own file. If a read fails, it names
only a log file, so the connector's messages are collected here. Its own output is hidden.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from quickstart.failures import end_if_stopped

SCHEMA = "ravan_calcom"
APPOINTMENTS, ORGANIZATIONS = STREAMS = ("appointments", "organizations")
COMMAND = "source-ravan-calcom"

_EXECUTABLE = Path(sys.executable).with_name(COMMAND)

_STAND_IN = {"access_token": "in-your-own-file", "org_ids": ["in-your-own-file"]}

_RECORD = '{"type":"RECORD"'
_STATE = '{"type":"STATE"'
_BOOKING, _RESULT = (f'{_RECORD},"record":{{"stream":"{stream}"' for stream in STREAMS)


@dataclass
class Progress:
    """The progress of the connector, and its messages.

    Attributes:
        report: Called with each step, and with its progress.
        changed: The number of bookings that were sent.
        organizations: The organizations whose results were sent.
        cautions: The warnings, each once.
        failure: The error message of the connector, if any.
        is_read: Whether the read has ended, after which the file is written.
    """

    report: Callable[..., None] = lambda step, count="": None
    changed: int = 0
    organizations: list[str] = field(default_factory=list)
    cautions: dict[str, None] = field(default_factory=dict)
    failure: str | None = None
    is_read: bool = False

    def start(self, verb: str) -> None:
        """Report the start of a verb."""
        steps = {"check": "Checking every organization", "read": "Reading"}
        if verb in steps:
            self.report(steps[verb])

    def receive(self, line: str) -> None:
        """Process one line of the connector's output."""
        if line.startswith(_BOOKING):
            self.changed += 1
            if self.changed % 100 == 0:
                self.report("Reading", f": {self.changed} bookings so far")
        elif line.startswith(_RESULT):
            self.organizations.append(json.loads(line)["record"]["data"]["organization_id"])
        elif not line.startswith((_RECORD, _STATE)):
            self._interpret(line)

    def _interpret(self, line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        match message:
            case {"log": {"level": "WARN", "message": caution}}:
                self.cautions[caution] = None
            case {"trace": {"error": {"message": sentence}}} | {
                "connectionStatus": {"status": "FAILED", "message": sentence}
            }:
                self.failure = sentence

    def end(self, verb: str) -> None:
        """Report the end of a verb."""
        if verb == "read":
            self.is_read = True
            self.report("Writing {database}")


def sync(config: Path, database: Path, private: Path, progress: Progress) -> None:
    """Check, read, and merge new and changed rows into the database.

    Args:
        config: The user's settings.
        database: The DuckDB file, which is created if it does not exist.
        private: A directory with access for this user only, for all files of PyAirbyte.
        progress: Receives the connector's output.

    Raises:
        Exception: Exceptions of PyAirbyte and its libraries have no common type. If the connector failed,
            ``progress.failure`` is its message.
    """
    progress.report("Starting the connector and PyAirbyte")
    # PyAirbyte reads these when it is imported.
    os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1")
    for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
        os.environ[f"AIRBYTE_{name}"] = str(private)
    # PyAirbyte's output names log files that are deleted at the end, and its progress view takes twenty lines.
    with _started(config) as started, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        gc.disable()  # garbage collection takes a quarter of the time of the imports and finds nothing
        import airbyte  # noqa: PLC0415
        from airbyte.sources import Source  # noqa: PLC0415

        gc.enable()
        end_if_stopped()

        # PyAirbyte gets placeholder settings; the connector reads the real ones, and its check validates them.
        source = Source(executor=_connector(config, started, progress), name=COMMAND, config=dict(_STAND_IN))
        source.check()
        source.select_streams(list(STREAMS))
        end_if_stopped()
        with airbyte.DuckDBCache(db_path=database, schema_name=SCHEMA) as cache:
            source.read(cache=cache, skip_validation=True)


Started = dict[str, "subprocess.Popen[str]"]
"""The connector's processes by verb."""


@contextmanager
def _started(config: Path) -> Iterator[Started]:
    """Start the verbs that need only the settings while PyAirbyte is imported, which takes seconds."""
    processes = {
        verb: subprocess.Popen([_EXECUTABLE, verb, "--config", config], stdout=subprocess.PIPE, encoding="utf-8")
        for verb in ("check", "discover")
    }
    try:
        yield dict(processes)
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.communicate()


def _connector(config: Path, started: Started, progress: Progress) -> Any:
    from airbyte._executors.local import PathExecutor  # noqa: PLC0415

    class Connector(PathExecutor):
        """The installed command, which reads the user's own configuration file."""

        def map_cli_args(self, args: list[str]) -> list[str]:
            own = list(args)
            if "--config" in own:
                own[own.index("--config") + 1] = str(config)
            return own

        def execute(self, args: list[str], **options: Any) -> Iterator[str]:
            progress.start(args[0])
            process = started.pop(args[0], None)
            for line in (process and process.stdout) or super().execute(args, **options):
                progress.receive(line)
                yield line
            progress.end(args[0])

    return Connector(COMMAND, path=_EXECUTABLE)
