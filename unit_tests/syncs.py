"""Helpers that run ``SourceRavanCalcom().read()`` and collect its output."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateType,
    AirbyteStream,
    AirbyteStreamState,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    StreamDescriptor,
    SyncMode,
    TraceType,
    Type,
)
from airbyte_cdk.utils import AirbyteTracedException

from source_ravan_calcom.source import SourceRavanCalcom

ORG = "11111111-2222-4333-8444-aaaaaaaaaaaa"
LOGGER = logging.getLogger("airbyte.source-ravan-calcom")
URL = "http://127.0.0.1:9/api/v1/calcom/appointments"
BOTH = ("appointments", "organizations")

OVER = {"id": "1", "status": "accepted", "start_time": "2020-01-01T10:00:00Z", "end_time": "2020-01-01T10:30:00Z"}
"""A past booking; an unfiltered response of only past bookings counts as complete."""


def response(*rows: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a response with these rows."""
    return {"success": True, "data": {"appointments": list(rows), "count": len(rows)}}


def bookings(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Past bookings, latest first, as in the ``past`` window."""
    return [
        {
            **OVER,
            "id": str(number),
            "start_time": f"2020-01-{28 - number // 24:02}T{23 - number % 24:02}:00:00Z",
            "end_time": f"2020-01-{28 - number // 24:02}T{23 - number % 24:02}:30:00Z",
            **fields,
        }
        for number in range(count)
    ]


def catalog(
    *names: str,
    mode: SyncMode = SyncMode.incremental,
    destination: DestinationSyncMode = DestinationSyncMode.append_dedup,
    **fields: Any,
) -> ConfiguredAirbyteCatalog:
    """A configured catalog of these streams, by default ``appointments``."""
    modes = [SyncMode.full_refresh, SyncMode.incremental]
    return ConfiguredAirbyteCatalog(
        streams=[
            ConfiguredAirbyteStream(
                stream=AirbyteStream(name=name, json_schema={}, supported_sync_modes=modes),
                sync_mode=mode,
                destination_sync_mode=destination,
                **fields,
            )
            for name in names or ("appointments",)
        ]
    )


FULL_REFRESH = catalog(mode=SyncMode.full_refresh)


@dataclass
class Synced:
    """The messages of one read, and the error that ended it, if any."""

    messages: list[AirbyteMessage]
    error: AirbyteTracedException | None = None

    def rows(self, stream: str = "appointments") -> list[dict[str, Any]]:
        return [m.record.data for m in self.messages if m.type is Type.RECORD and m.record.stream == stream]

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        """The outcome and the kind of error of each row of ``organizations``."""
        return [(row["outcome"], row["error_kind"]) for row in self.rows("organizations")]

    @property
    def states(self) -> list[AirbyteStateMessage]:
        return [message.state for message in self.messages if message.type is Type.STATE]

    @property
    def last_states(self) -> list[AirbyteStateMessage]:
        """The last state of each stream, as the platform passes them to the next sync."""
        return [*{state.stream.stream_descriptor.name: state for state in self.states}.values()]

    def saved(self, stream: str = "appointments") -> dict[str, Any]:
        """The content of a stream's last state."""
        return next(
            vars(state.stream.stream_state)
            for state in reversed(self.states)
            if state.stream.stream_descriptor.name == stream
        )

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """Stream and status of each status message; the reason replaces the status if there is one."""
        traces = [message.trace for message in self.messages if message.type is Type.TRACE]
        statuses = [trace.stream_status for trace in traces if trace.type is TraceType.STREAM_STATUS]
        return [
            (each.stream_descriptor.name, each.reasons[0].type.value if each.reasons else each.status.value)
            for each in statuses
        ]

    @property
    def error_traces(self) -> int:
        """The number of error traces before the closing one."""
        return sum(m.type is Type.TRACE and m.trace.type is TraceType.ERROR for m in self.messages)


def read(
    settings: Mapping[str, Any],
    configured: ConfiguredAirbyteCatalog | None = None,
    state: Iterable[AirbyteStateMessage] = (),
) -> Synced:
    """Read to the end, by default incrementally."""
    synced = Synced([])
    try:
        for message in SourceRavanCalcom().read(LOGGER, settings, configured or catalog(), list(state)):
            synced.messages.append(message)
    except AirbyteTracedException as error:
        synced.error = error
    return synced


def state(stream: str, **content: Any) -> AirbyteStateMessage:
    """A saved state."""
    saved = AirbyteStreamState(
        stream_descriptor=StreamDescriptor(name=stream), stream_state=AirbyteStateBlob(content) if content else None
    )
    return AirbyteStateMessage(type=AirbyteStateType.STREAM, stream=saved)


def requested(http: Any) -> list[str | None]:
    """The status of each request, in order."""
    return [request.qs.get("status", [None])[0] for request in http.request_history]


def organizations(http: Any) -> list[str]:
    """The organization of each request, in order."""
    return [request.qs["org_id"][0] for request in http.request_history]


def lines(caplog: Any, level: str) -> list[str]:
    """The messages logged at this level."""
    return [record.getMessage() for record in caplog.records if record.levelname == level]
