"""Runs the installed command as a process that reads from the sandbox over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox import TOKEN, Sandbox, serving
from source_ravan_calcom.sync import SCHEMAS

COMMAND = Path(sys.executable).with_name("source-ravan-calcom")

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

# A process started in the background of a script ignores SIGINT, and processes that it starts inherit this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROCESS_SECONDS = 300
"""A run that takes longer counts as a hang. The read of the fault matrix waits for every retry."""

RESULT_COLUMNS = list(json.loads((SCHEMAS / "organizations.json").read_text())["properties"])

BOTH = ("appointments", "organizations")


@dataclass
class Output:
    """The exit code and the output of one run of the command."""

    code: int
    stdout: str
    stderr: str
    messages: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        lines = [line for line in self.stdout.splitlines() if line]
        self.messages = [json.loads(line) for line in lines]

    def of(self, kind: str) -> list[dict[str, Any]]:
        name = "connectionStatus" if kind == "CONNECTION_STATUS" else kind.lower()
        return [message[name] for message in self.messages if message["type"] == kind]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [record["data"] for record in self.of("RECORD") if record["stream"] == stream]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The bookings."""
        return self.records("appointments")

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The rows of ``organizations`` by ID, with the nulls that the CDK omits; each ID must appear once."""
        rows = [{**dict.fromkeys(RESULT_COLUMNS), **row} for row in self.records("organizations")]
        by_id = {row["organization_id"]: row for row in rows}
        assert len(by_id) == len(rows)
        return by_id

    @property
    def states(self) -> list[dict[str, Any]]:
        return self.of("STATE")

    def last_state(self, stream: str = "appointments") -> dict[str, Any]:
        """The content of the stream's last state."""
        states = [state["stream"] for state in self.states]
        return [each["stream_state"] for each in states if each["stream_descriptor"]["name"] == stream][-1]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [trace["error"] for trace in self.of("TRACE") if trace["type"] == "ERROR"]

    @property
    def stream_statuses(self) -> list[dict[str, Any]]:
        return [trace["stream_status"] for trace in self.of("TRACE") if trace["type"] == "STREAM_STATUS"]

    @property
    def statuses(self) -> list[str]:
        return [status["status"] for status in self.stream_statuses]

    def ended(self, stream: str) -> str:
        """The last status of a stream."""
        [*_, last] = [each for each in self.stream_statuses if each["stream_descriptor"]["name"] == stream]
        return last["status"]

    @property
    def check(self) -> dict[str, Any]:
        [status] = self.of("CONNECTION_STATUS")
        return status

    def logs(self, level: str) -> list[str]:
        return [log["message"] for log in self.of("LOG") if log["level"] == level]

    @property
    def text(self) -> str:
        """Standard output and standard error."""
        return self.stdout + self.stderr


class Connector:
    """Runs the command.

    Args:
        directory: The directory for its settings, catalogs and states.
        url: The sandbox's URL.
        prelude: Python code that runs before the command in the same process, for conditions that no setting can cause.
    """

    def __init__(self, directory: Path, url: str, prelude: str = "") -> None:
        self.directory = directory
        self.url = url
        self._command = [str(COMMAND)]
        if prelude:
            self._command = [sys.executable, "-c", f"{prelude}\nfrom source_ravan_calcom import main; main.run()"]

    def config(self, *org_ids: str, **settings: Any) -> Path:
        return self.write("config", {"access_token": TOKEN, "org_ids": org_ids, "api_url": self.url, **settings})

    def write(self, name: str, content: Any) -> Path:
        path = self.directory / f"{name}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def catalog(
        self,
        mode: str = "full_refresh",
        streams: Sequence[str] = ("appointments",),
        destination: str = "append_dedup",
        **more: Any,
    ) -> Path:
        """A configured catalog; ``more`` are further fields of each stream."""
        configured = [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]},
                "sync_mode": mode,
                "destination_sync_mode": destination,
                **more,
            }
            for name in streams
        ]
        return self.write(f"catalog-{mode}", {"streams": configured})

    def arguments(
        self,
        verb: str,
        config: Path | None,
        mode: str = "full_refresh",
        state: Any = None,
        streams: Sequence[str] = ("appointments",),
        **catalog: Any,
    ) -> list[str]:
        arguments = [*self._command, verb]
        if config:
            arguments += ["--config", str(config)]
        if verb == "read":
            arguments += ["--catalog", str(self.catalog(mode, streams, **catalog))]
        if state is not None:
            arguments += ["--state", str(self.write("state", state))]
        return arguments

    def run(
        self,
        verb: str,
        config: Path | None = None,
        *more: str,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> Output:
        """Run a verb and wait for its end; ``options`` are passed to :meth:`arguments`."""
        done = subprocess.run(
            [*self.arguments(verb, config, **options), *more],
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS,
            check=False,
            env={**ENVIRONMENT, **(environment or {})},
        )
        return Output(done.returncode, done.stdout, done.stderr)

    def start(self, verb: str, config: Path, **options: Any) -> subprocess.Popen:
        return subprocess.Popen(
            self.arguments(verb, config, **options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )


@pytest.fixture
def sandbox():
    """A sandbox with the sample accounts, for one test."""
    return Sandbox.with_sample_accounts()


@pytest.fixture
def connector(sandbox, tmp_path):
    with serving(sandbox) as url:
        yield Connector(tmp_path, url)
