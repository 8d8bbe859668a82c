"""A model of Airbyte's platform and a destination: jobs, attempts, checks, committed states, and displayed errors.

After a failed job or attempt, the platform runs ``check`` before the next attempt. If the check fails, the job ends.
Of an attempt, the platform shows only the first error trace by time, which also decides whether it retries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from integration_tests.conftest import Connector, Output

SHOWN_LENGTH = 50_000
"""The number of characters of a trace's message that the platform keeps."""

FAILED_CHECK = (
    "Checking source connection failed - please review this connection's configuration to prevent future syncs from "
    "failing"
)
"""Shown in place of the check's own message when a scheduled check fails."""

STATE_BYTES = 10 * 1024 * 1024
"""The platform's limit for the states of all streams of a connection."""

ATTEMPTS = 3
"""Attempts per job; the platform makes more."""

PRIMARY_KEYS = {"appointments": ("organization_id", "id"), "organizations": ("organization_id",)}

Row = dict[str, Any]


@dataclass
class Job:
    """One scheduled sync.

    Attributes:
        checks: The output of each check.
        reads: The output of each attempt.
        succeeded: Whether the last attempt succeeded.
        shown: The displayed message of the failure, empty if there is none.
    """

    checks: list[Output] = field(default_factory=list)
    reads: list[Output] = field(default_factory=list)
    succeeded: bool = False
    shown: str = ""


def first_error(output: Output) -> dict[str, Any] | None:
    """The first error trace by time, which the platform uses."""
    traces = [trace for trace in output.of("TRACE") if trace["type"] == "ERROR"]
    return min(traces, key=lambda trace: trace["emitted_at"])["error"] if traces else None


def shown(message: str) -> str:
    """Shorten a message and collapse its line breaks, as the web app does."""
    return " ".join(message[:SHOWN_LENGTH].split())


class Connection:
    """One connection: its settings, its state, and its tables, which are merged by primary key.

    Args:
        connector: The command.
        org_ids: The organizations.
        streams: The selected streams.
        catalog: Further arguments of :meth:`Connector.catalog`.
        settings: Further settings of the connector.
    """

    def __init__(
        self,
        connector: Connector,
        *org_ids: str,
        streams: Sequence[str] = ("appointments",),
        catalog: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.connector, self.org_ids, self.streams, self.settings = connector, org_ids, streams, settings
        self.catalog: dict[str, Any] = {"mode": "incremental", **(catalog or {})}
        self.state: Any = None
        self.tables: dict[str, dict[tuple[str, ...], Row]] = {stream: {} for stream in PRIMARY_KEYS}
        self._last_failed = False

    @property
    def table(self) -> dict[tuple[str, ...], Row]:
        """The bookings, by organization and ID."""
        return self.tables["appointments"]

    def remembered(self, stream: str = "appointments") -> dict[str, Any]:
        """The stream's state of each organization."""
        [state] = [each["stream"] for each in self.state if each["stream"]["stream_descriptor"]["name"] == stream]
        return state["stream_state"]["organizations"]

    def sync(self, **changed: Any) -> Output:
        """Run one read, and commit its output as a destination does."""
        self.settings.update(changed)
        output = self.connector.run("read", self._config(), state=self.state, streams=self.streams, **self.catalog)
        left = self.take(output.stdout)
        if output.code == 0 and "COMPLETE" in output.statuses:
            self._commit(left)
        return output

    def check(self) -> Output:
        """Run one check."""
        return self.connector.run("check", self._config())

    def job(self, **changed: Any) -> Job:
        """Run one scheduled sync, as the platform does."""
        self.settings.update(changed)
        job = Job()
        for _ in range(ATTEMPTS):
            if self._last_failed:
                job.checks.append(self.check())
                if job.checks[-1].check["status"] == "FAILED":
                    job.shown = FAILED_CHECK
                    break
            output = self.sync()
            job.reads.append(output)
            self._last_failed = output.code != 0 or "INCOMPLETE" in output.statuses
            job.succeeded = not self._last_failed
            error = first_error(output)
            job.shown = shown(error["message"]) if error else ""
            if job.succeeded or (error and error["failure_type"] == "config_error"):
                break
        return job

    def take(self, stdout: str) -> list[dict[str, Any]]:
        """Commit each state and the records before it; ignore an incomplete line.

        Returns:
            The records without a state after them.
        """
        waiting: list[dict[str, Any]] = []
        for line in stdout.splitlines(keepends=True):
            message = json.loads(line) if line.endswith("\n") else {"type": ""}
            if message["type"] == "RECORD":
                waiting.append(message["record"])
            elif message["type"] == "STATE":
                waiting = self._checkpoint(message["state"], waiting)
        return waiting

    def _config(self):
        return self.connector.config(*self.org_ids, **self.settings)

    def _checkpoint(self, state: dict[str, Any], waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stream = state["stream"]["stream_descriptor"]
        others = [each for each in self.state or () if each["stream"]["stream_descriptor"] != stream]
        self.state = [*others, state]
        assert len(json.dumps(self.state)) <= STATE_BYTES, "the platform would fail the sync"
        self._commit([record for record in waiting if record["stream"] == stream["name"]])
        return [record for record in waiting if record["stream"] != stream["name"]]

    def _commit(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            row = record["data"]
            key = tuple(row[name] for name in PRIMARY_KEYS[record["stream"]])
            table = self.tables[record["stream"]]
            # A deduplicating destination keeps the version with the latest cursor.
            if key not in table or row["synced_at"] >= table[key]["synced_at"]:
                table[key] = row
