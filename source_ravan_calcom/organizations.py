"""The ``organizations`` stream: how each organization was read, one row per organization and sync.

It costs no request of its own: its rows come from the same reading as the bookings.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime
from typing import Any

from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import MessageRepository
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, CursorField
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.concurrent.partitions.partition_generator import PartitionGenerator
from airbyte_cdk.sources.types import Record

from source_ravan_calcom.appointments import SCHEMAS
from source_ravan_calcom.bookings.memory import later_than
from source_ravan_calcom.outcomes import READ, Outcomes
from source_ravan_calcom.bookings.records import CURSOR_FIELD, moment, utc_text

STREAM = "organizations"

PRIMARY_KEY = "organization_id"

STATE_VERSION = 1


class LastRead(Cursor):
    """Remembers when each organization was read last.

    State::

        {"version": 1, "organizations": {"<org_id>": "<synced_at of its bookings>"}}

    Args:
        known: From :func:`remembered`.
        messages: Where the state is put.
    """

    def __init__(self, known: Mapping[str, datetime], messages: MessageRepository) -> None:
        self.known = dict(known)
        self._messages = messages
        self._state_manager = ConnectorStateManager()

    @property
    def state(self) -> MutableMapping[str, Any]:
        """The state that is true now."""
        return {"version": STATE_VERSION, "organizations": {org_id: utc_text(at) for org_id, at in self.known.items()}}

    def observe(self, record: Record) -> None:
        """A row went out: keep what it says."""
        last_read_at = moment(record["last_read_at"])
        if last_read_at:
            self.known[record[PRIMARY_KEY]] = last_read_at

    def close_partition(self, partition: Partition) -> None:
        """Nothing: there is one state, at the end."""

    def ensure_at_least_one_state_emitted(self) -> None:
        """The state of the sync."""
        self._state_manager.update_state_for_stream(STREAM, None, self.state)
        self._messages.emit_message(self._state_manager.create_state_message(STREAM, None))

    def should_be_synced(self, record: Record) -> bool:
        """Always."""
        return True


class Results(Partition):
    """One row per configured organization.

    Args:
        org_ids: In the user's order.
        outcomes: What became of each.
        last_read: When earlier syncs read it, as far as any state knows.
    """

    def __init__(self, org_ids: Iterable[str], outcomes: Outcomes, last_read: Mapping[str, datetime]) -> None:
        self._org_ids = org_ids
        self._outcomes = outcomes
        self._last_read = last_read

    def read(self) -> Iterable[Record]:
        """The rows, in the user's order."""
        return (Record(self._row(org_id), STREAM) for org_id in self._org_ids)

    def to_slice(self) -> Mapping[str, Any]:
        """There is one partition."""
        return {}

    def stream_name(self) -> str:
        """The stream's name."""
        return STREAM

    def __hash__(self) -> int:
        return id(self)

    def _row(self, org_id: str) -> dict[str, Any]:
        outcome = self._outcomes.of(org_id)
        was_read = outcome.outcome == READ
        before = self._last_read.get(org_id)
        last_read_at = outcome.at if was_read else before
        claim, failure = outcome.claim, outcome.failure
        gap_from, gap_to = claim.gap if claim and claim.gap else (None, None)
        return {
            PRIMARY_KEY: org_id,
            CURSOR_FIELD: utc_text(outcome.at if was_read else later_than(before, outcome.at)),
            "outcome": outcome.outcome,
            "error_kind": failure.kind.name if failure else None,
            "error": str(failure) if failure else None,
            "last_read_at": _text(last_read_at),
            "bookings_read": outcome.bookings_read if was_read else None,
            "bookings_sent": outcome.bookings_sent if was_read else None,
            "requests": outcome.requests,
            "coverage": claim.coverage if claim else None,
            "covered_from": _text(claim.covered_from) if claim else None,
            "covered_until": _text(claim.covered_until) if claim else None,
            "gap_from": _text(gap_from),
            "gap_to": _text(gap_to),
            "full_windows": list(outcome.full_windows),
        }


class Once(PartitionGenerator):
    """One partition, given from outside."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition

    def generate(self) -> Iterable[Partition]:
        """It."""
        yield self._partition


def remembered(stream_state: Mapping[str, Any]) -> Mapping[str, datetime]:
    """When each organization was read last; what is not understood is as good as not remembered."""
    entries = stream_state.get("organizations") if stream_state.get("version") == STATE_VERSION else None
    if not isinstance(entries, Mapping):
        return {}
    return {org_id: at for org_id, text in entries.items() if (at := moment(text))}


def stream(partitions: PartitionGenerator, cursor: Cursor, logger: logging.Logger) -> DefaultStream:
    """The ``organizations`` stream over these partitions."""
    return DefaultStream(
        partition_generator=partitions,
        name=STREAM,
        json_schema=json.loads((SCHEMAS / f"{STREAM}.json").read_text(encoding="utf-8")),
        primary_key=[PRIMARY_KEY],
        cursor_field=CursorField(CURSOR_FIELD),
        logger=logger,
        cursor=cursor,
    )


def _text(at: datetime | None) -> str | None:
    return utc_text(at) if at else None
