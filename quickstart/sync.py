"""A sync through PyAirbyte into a DuckDB file.

Three of PyAirbyte's ways are worked around here: it writes the configuration, token included, into a file that every
user can read, so it is given a stand-in and the connector is pointed at the user's own file; it names only a log file
when a read fails, so the connector's own sentences are listened for; and what it prints is about itself.
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
class Overheard:
    """What the connector said, and how far it is.

    Attributes:
        say: Told each step as it begins, and how far it is.
        changed: How many bookings it sent.
        organizations: Those whose result it sent.
        cautions: Its warnings, each once.
        failure: Its reason for the failure, if it failed.
        is_read: Whether it has read everything, so that the file is written now.
    """

    say: Callable[..., None] = lambda step, count="": None
    changed: int = 0
    organizations: list[str] = field(default_factory=list)
    cautions: dict[str, None] = field(default_factory=dict)
    failure: str | None = None
    is_read: bool = False

    def starts(self, verb: str) -> None:
        """The connector is started with this verb."""
        steps = {"check": "Checking every organization", "read": "Reading"}
        if verb in steps:
            self.say(steps[verb])

    def hears(self, line: str) -> None:
        """One line of its output."""
        if line.startswith(_BOOKING):
            self.changed += 1
            if self.changed % 100 == 0:
                self.say("Reading", f": {self.changed} bookings so far")
        elif line.startswith(_RESULT):
            self.organizations.append(json.loads(line)["record"]["data"]["organization_id"])
        elif not line.startswith((_RECORD, _STATE)):
            self._understands(line)

    def _understands(self, line: str) -> None:
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

    def ends(self, verb: str) -> None:
        """The connector has done what this verb asks."""
        if verb == "read":
            self.is_read = True
            self.say("Writing {database}")


def sync(config: Path, database: Path, private: Path, overheard: Overheard) -> None:
    """Check, read, and merge into the database what is new or changed.

    Args:
        config: The user's settings.
        database: The DuckDB file; made where it is missing.
        private: A directory that nobody else can enter, for all that PyAirbyte writes.
        overheard: Gets what the connector says.

    Raises:
        Exception: PyAirbyte's and its libraries' have no common type; where it was the connector that failed,
            ``overheard.failure`` is its sentence.
    """
    overheard.say("Starting the connector and PyAirbyte")
    # PyAirbyte reads these when it is imported.
    os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1")
    for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
        os.environ[f"AIRBYTE_{name}"] = str(private)
    # Its own lines name log files that are gone when it ends, and its view is twenty lines that say less than ours.
    with _begun(config) as begun, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        gc.disable()  # nothing that is imported is garbage, and looking for it takes a quarter of the time
        import airbyte  # noqa: PLC0415
        from airbyte.sources import Source  # noqa: PLC0415

        gc.enable()
        end_if_stopped()

        # PyAirbyte gets stand-in settings, and the connector the real ones, which its check validates.
        source = Source(executor=_connector(config, begun, overheard), name=COMMAND, config=dict(_STAND_IN))
        source.check()
        source.select_streams(list(STREAMS))
        end_if_stopped()
        with airbyte.DuckDBCache(db_path=database, schema_name=SCHEMA) as cache:
            source.read(cache=cache, skip_validation=True)


Begun = dict[str, "subprocess.Popen[str]"]
"""The connector's processes by verb."""


@contextmanager
def _begun(config: Path) -> Iterator[Begun]:
    """Start what needs only the settings, because importing PyAirbyte takes seconds."""
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


def _connector(config: Path, begun: Begun, overheard: Overheard) -> Any:
    from airbyte._executors.local import PathExecutor  # noqa: PLC0415

    class Connector(PathExecutor):
        """The installed command, reading the user's own configuration file."""

        def map_cli_args(self, args: list[str]) -> list[str]:
            own = list(args)
            if "--config" in own:
                own[own.index("--config") + 1] = str(config)
            return own

        def execute(self, args: list[str], **options: Any) -> Iterator[str]:
            overheard.starts(args[0])
            process = begun.pop(args[0], None)
            for line in (process and process.stdout) or super().execute(args, **options):
                overheard.hears(line)
                yield line
            overheard.ends(args[0])

    return Connector(COMMAND, path=_EXECUTABLE)
