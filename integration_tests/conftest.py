"""The installed command as a process, against the sandbox over real HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox import TOKEN, Sandbox, serving

COMMAND = Path(sys.executable).with_name("source-ravan-calcom")

# Minutes would be a hang; the fault matrix's read waits out every retry on purpose.
PROCESS_SECONDS = 300


@dataclass
class Output:
    """What one run of the command printed, and how it ended."""

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

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [record["data"] for record in self.of("RECORD")]

    @property
    def states(self) -> list[dict[str, Any]]:
        return self.of("STATE")

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [trace["error"] for trace in self.of("TRACE") if trace["type"] == "ERROR"]

    @property
    def statuses(self) -> list[str]:
        return [trace["stream_status"]["status"] for trace in self.of("TRACE") if trace["type"] == "STREAM_STATUS"]

    @property
    def check(self) -> dict[str, Any]:
        [status] = self.of("CONNECTION_STATUS")
        return status

    def logs(self, level: str) -> list[str]:
        return [log["message"] for log in self.of("LOG") if log["level"] == level]


class Connector:
    """Runs the command with files in a directory of its own."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url

    def config(self, *org_ids: str, **settings: Any) -> Path:
        return self.write("config", {"access_token": TOKEN, "org_ids": org_ids, "api_url": self.url, **settings})

    def write(self, name: str, content: Any) -> Path:
        path = self.directory / f"{name}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def catalog(self, mode: str) -> Path:
        stream = {"name": "appointments", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
        configured = {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append_dedup"}
        return self.write(f"catalog-{mode}", {"streams": [configured]})

    def arguments(self, verb: str, config: Path | None, mode: str = "full_refresh", state: Any = None) -> list[str]:
        arguments = [str(COMMAND), verb]
        if config:
            arguments += ["--config", str(config)]
        if verb == "read":
            arguments += ["--catalog", str(self.catalog(mode))]
        if state is not None:
            arguments += ["--state", str(self.write("state", state))]
        return arguments

    def run(
        self, verb: str, config: Path | None = None, *more: str, mode: str = "full_refresh", state: Any = None
    ) -> Output:
        arguments = self.arguments(verb, config, mode, state)
        done = subprocess.run(
            [*arguments, *more], capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False, env=ENVIRONMENT
        )
        return Output(done.returncode, done.stdout, done.stderr)

    def start(self, verb: str, config: Path, mode: str = "full_refresh", state: Any = None) -> subprocess.Popen:
        return subprocess.Popen(
            self.arguments(verb, config, mode, state),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@pytest.fixture
def sandbox():
    """The sample accounts, for this test alone."""
    return Sandbox.with_sample_accounts()


@pytest.fixture
def connector(sandbox, tmp_path):
    with serving(sandbox) as url:
        yield Connector(tmp_path, url)
