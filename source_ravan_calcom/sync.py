"""One ``read``, from the first request to the last state.

Workers send the requests. Everything else happens in one thread, the generator that :meth:`Sync.read` returns, so the
order of its lines is the order of what is printed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from airbyte_cdk import models as protocol
from airbyte_cdk.models import airbyte_protocol
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message

from source_ravan_calcom import workers
from source_ravan_calcom.bookings import memory, records
from source_ravan_calcom.bookings.memory import Seen
from source_ravan_calcom.bookings.records import Change
from source_ravan_calcom.bookings.windows import MAX_LIMIT, Bookings, Reading
from source_ravan_calcom.config import Config, label
from source_ravan_calcom.ravan import client, failures
from source_ravan_calcom.ravan.client import Client, Response
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.ravan.throttle import Paused, Resumed
from source_ravan_calcom.report import READ, Outcome, Report, log_pause, organization_row
from source_ravan_calcom.workers import Finished, Retrying, Task, WorkerPool

APPOINTMENTS, ORGANIZATIONS = "appointments", "organizations"
PRIMARY_KEYS = {APPOINTMENTS: records.PRIMARY_KEY, ORGANIZATIONS: ["organization_id"]}
SCHEMAS = Path(__file__).with_name("schemas")

STATE_BYTES = 8_000_000  # near the platform's limit of 10 MiB for all states of a connection
ID_LENGTH = 60
_HTTP_BAD_REQUEST = 400
_untyped: Any = airbyte_protocol  # mypy does not follow its star import

LIMIT_REFUSALS = (failures.INVALID_REQUEST, failures.REQUEST_REFUSED, failures.CALCOM_FAILED, failures.SERVER_FAILED)
"""The kinds as which a version of the API refuses a limit above 100, with HTTP status 400."""

WINDOW_FAILURES = (failures.NOT_FOUND, failures.REQUEST_REFUSED, failures.CALCOM_FAILED)
"""The kinds as which a version of the API may fail a window that it does not know, beside INVALID_REQUEST."""


def catalog() -> list[protocol.AirbyteStream]:
    """The streams, as ``discover`` prints them."""
    return [
        protocol.AirbyteStream(
            name=name,
            json_schema=json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")),
            supported_sync_modes=[protocol.SyncMode.full_refresh, protocol.SyncMode.incremental],
            source_defined_cursor=True,
            default_cursor_field=[records.CURSOR_FIELD],
            source_defined_primary_key=[[column] for column in key],
            is_resumable=True,
        )
        for name, key in PRIMARY_KEYS.items()
    ]


@dataclass(eq=False)
class Organization(Task):
    """One organization: the unit of work, of failure, of memory and of state."""

    new_reading: Callable[[], Reading] = field(kw_only=True)
    reading: Reading = field(init=False)  # how far it was read; a retry continues it
    doubt: OrganizationFailure | None = None  # its window failed for good after an earlier one succeeded
    warnings: list[str] = field(default_factory=list)  # oddities of its responses, as sentences

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reading = self.new_reading()

    def restart(self) -> None:
        """Begin anew after an attempt that was given up, whose thread may still change the old reading."""
        super().restart()
        self.reading, self.doubt, self.warnings = self.new_reading(), None, []


class Sync:
    """One sync over all organizations; ``selected`` and ``state`` are by stream name."""

    def __init__(
        self,
        config: Config,
        selected: Mapping[str, protocol.ConfiguredAirbyteStream],
        state: Mapping[str, Mapping[str, Any]],
        logger: logging.Logger,
    ) -> None:
        self._config = config
        self._selected = selected
        self._logger = logger
        bookings = selected.get(APPOINTMENTS)
        self._first = APPOINTMENTS if bookings else ORGANIZATIONS
        self._forgets = bookings is not None and bookings.sync_mode is protocol.SyncMode.full_refresh
        seen, self._last_reads = self._remembered(state)
        self._state = memory.State(config.org_ids, seen if bookings and not self._forgets else {})
        self._state_bytes: dict[str, int] = {}
        self._limit = MAX_LIMIT
        self._unknown_windows: set[str | None] = set()
        self._pool: WorkerPool[Organization] = WorkerPool(config.num_workers, workers.READ)
        self._client = Client(config, client.READ, self._pool.notify)
        overwrites = bookings is not None and _overwrites(bookings)
        self._report = Report(
            config, self._first, overwrites, self._forgets, lambda: self._client.has_succeeded, logger
        )

    def read(self) -> Iterator[protocol.AirbyteMessage]:
        """Yield the messages of every selected stream.

        Raises:
            AirbyteTracedException: After all of them, if the sync failed.
        """
        yield _status(self._first, protocol.AirbyteStreamStatus.STARTED)
        is_running = False
        for event in self._pool.events(self._organizations(), self._read, self._client):
            for message in self._handle(event):
                if message.type is protocol.Type.RECORD and not is_running:
                    is_running = True
                    yield _status(self._first, protocol.AirbyteStreamStatus.RUNNING)
                yield message
        self._report.close()
        if APPOINTMENTS in self._selected:
            yield from self._end(APPOINTMENTS, self._state.due(at_end=True))
        if ORGANIZATIONS in self._selected:
            yield from self._organization_rows()
        self._warn_of_large_states()
        if error := self._report.closing_error():
            raise error

    def _organizations(self) -> Iterator[Organization]:
        """Made one by one when a worker is free, and dropped when done, since each holds the rows that were read."""
        for org_id in self._config.org_ids:
            new_reading = partial(Reading, self._config.statuses, self._state.of(org_id), limit=self._limit)
            yield Organization(org_id, new_reading=new_reading)

    # Runs in workers.

    def _read(self, organization: Organization) -> Bookings:
        """Read an organization's windows. Runs in a worker."""
        call, reading, warnings = organization.call, organization.reading, organization.warnings
        while not reading.is_done:
            if organization.doubt:
                self._leave_out(organization, reading)
                continue
            try:
                response = self._client.get(call, reading.next, reading.limit)
            except OrganizationFailure as failure:
                # A worker that was given up may still get a response, and must not touch what replaced its attempt.
                if call.is_given_up or not self._tolerates(organization, reading, failure):
                    raise
            else:
                warnings += _oddities(response)
                reading.take(response.rows, response.at, response.began)
        return reading.bookings()

    def _tolerates(self, organization: Organization, reading: Reading, failure: OrganizationFailure) -> bool:
        """Return whether to go on with a lower limit, or without a window that the API doesn't know."""
        if lowers_limit(reading, failure):
            return True
        if not reading.may_refuse:
            return False
        if failure.kind is failures.INVALID_REQUEST:
            reading.refuse()
        elif failure.kind in WINDOW_FAILURES and reading.next in self._unknown_windows:
            organization.doubt = failure
        else:
            return False
        return True

    def _leave_out(self, organization: Organization, reading: Reading) -> None:
        """Leave out a window that failed for good, if a plain request succeeds.

        An outage would fail the plain request as well, so a window that fails through all retries beside one that
        succeeds is one that this version of the API does not know.
        """
        self._client.get(organization.call, None, reading.limit)
        self._unknown_windows.add(reading.next)
        reading.refuse()
        organization.doubt = None

    # Runs in the thread that owns the pool.

    def _handle(
        self, event: Finished[Organization] | Retrying[Organization] | Paused | Resumed
    ) -> Iterable[protocol.AirbyteMessage]:
        if isinstance(event, (Paused, Resumed)):
            log_pause(self._logger, event)
            # The platform shows the limit until the next status or record.
            reason = protocol.AirbyteStreamStatusReason(type=protocol.AirbyteStreamStatusReasonType.RATE_LIMITED)
            reasons = [reason] if isinstance(event, Paused) else None
            return [_status(self._first, protocol.AirbyteStreamStatus.RUNNING, reasons)]
        organization, failure = event.task, event.failure
        if isinstance(event, Retrying):
            self._logger.info(
                f"Organization {organization.org_id}: {event.failure.seen}. Retrying in {event.seconds:.0f} s "
                f"(try {organization.call.failures + 1} of {workers.READ.most + 1})."
            )
        elif event.result is not None:
            return self._delivered(organization, event.result)
        else:
            self._failed(organization, failure)
        return []

    def _failed(self, organization: Organization, failure: OrganizationFailure | None) -> None:
        reading = organization.reading
        if failure and failure.kind in WINDOW_FAILURES and not organization.doubt and reading.may_refuse:
            organization.doubt = failure
            self._pool.resume(organization)
            return
        self._report.outcomes.fail(
            organization.org_id, failure and (organization.doubt or failure), organization.call.requests
        )
        if self._report.outcomes.stopped_by:
            self._pool.close()
            self._client.close()

    def _delivered(self, organization: Organization, bookings: Bookings) -> Iterator[protocol.AirbyteMessage]:
        """The records of an organization that was read, then a state if one is due."""
        org_id = organization.org_id
        self._note_limit(organization.reading.limit)
        changes = {id(row): lost for row in bookings.rows if (lost := records.fit(row, org_id))}
        self._warn(organization, bookings, changes)
        synced_at = memory.later_than(self._last_reads.get(org_id), datetime.now(timezone.utc))
        requests, read = organization.call.requests, len(bookings.rows)
        outcome = Outcome(READ, synced_at, None, requests, read, bookings_sent=0, full_windows=bookings.full)
        if APPOINTMENTS not in self._selected:
            self._report.read(org_id, outcome)
            return
        delivery = memory.compare(bookings, self._state.of(org_id), self._config.statuses, synced_at)
        self._report.read(org_id, replace(outcome, bookings_sent=len(delivery.rows), claim=delivery.claim))
        cursor_value = records.utc_text(synced_at)
        for row in delivery.rows:
            row[records.CURSOR_FIELD] = cursor_value
            yield _record(APPOINTMENTS, row, changes.get(id(row), ()))
        if not self._forgets:
            self._state.keep(org_id, delivery.seen, delivered=bool(delivery.rows))
            if state := self._state.due():
                yield self._saved(APPOINTMENTS, state)

    def _organization_rows(self) -> Iterator[protocol.AirbyteMessage]:
        if self._first != ORGANIZATIONS:
            yield _status(ORGANIZATIONS, protocol.AirbyteStreamStatus.STARTED)
        yield _status(ORGANIZATIONS, protocol.AirbyteStreamStatus.RUNNING)
        for org_id in self._config.org_ids:
            outcome = self._report.outcomes[org_id]
            seen = self._state.of(org_id)
            row = organization_row(org_id, outcome, self._last_reads.get(org_id), seen.gap if seen else None)
            yield _record(ORGANIZATIONS, row)
            if outcome.outcome == READ:
                self._last_reads[org_id] = outcome.at
        yield from self._end(ORGANIZATIONS, memory.organizations_state(self._last_reads))

    def _end(self, stream: str, state: Mapping[str, Any] | None) -> Iterator[protocol.AirbyteMessage]:
        """The stream's last state and status."""
        if self._selected[stream].sync_mode is protocol.SyncMode.full_refresh:
            state = {NO_CURSOR_STATE_KEY: True}
        if state is not None:
            yield self._saved(stream, state)
        failed = stream == self._first and self._report.closing_error()
        yield _status(
            stream, protocol.AirbyteStreamStatus.INCOMPLETE if failed else protocol.AirbyteStreamStatus.COMPLETE
        )

    def _saved(self, stream: str, state: Mapping[str, Any]) -> protocol.AirbyteMessage:
        self._state_bytes[stream] = len(orjson.dumps(state))
        saved = protocol.AirbyteStreamState(protocol.StreamDescriptor(name=stream), protocol.AirbyteStateBlob(state))
        return protocol.AirbyteMessage(
            type=protocol.Type.STATE, state=protocol.AirbyteStateMessage(protocol.AirbyteStateType.STREAM, saved)
        )

    def _note_limit(self, limit: int) -> None:
        if limit < self._limit:
            self._limit = limit
            self._logger.info(f"Ravan refuses to return {MAX_LIMIT} rows at once. This sync requests {limit} at most.")

    def _warn(self, organization: Organization, bookings: Bookings, changes: Mapping[int, Iterable[Change]]) -> None:
        """Log the oddities of an organization's rows; ``changes`` are what :func:`records.fit` returned, by row."""
        sentences, count = organization.warnings, len(bookings.rows)
        if bookings.anonymous:
            sentences.append(
                f"{bookings.anonymous} rows have no id. They are delivered, but can't be told apart by primary key."
            )
        if bookings.left_out:
            sentences.append(
                f"Ravan returned several rows for {len(bookings.left_out)} of {count} bookings. The row whose "
                "attendee_email is first in alphabetical order is delivered; "
                f"{sum(bookings.left_out.values())} are not."
            )
        for change in dict.fromkeys(change for lost in changes.values() for change in lost):
            rows = [row for row in bookings.rows if change in changes.get(id(row), ())]
            uid = records.identity(rows[0])
            first = f"is booking {failures.clean(uid, ID_LENGTH)}" if uid else "has no id"
            sentence = _LOSSES[change.change].format(field=change.field, rows=f"{len(rows)} of {count} rows")
            sentences.append(f"{sentence} The first of them {first}.")
        for sentence in dict.fromkeys(sentences):
            self._logger.warning(f"Organization {organization.org_id}: {sentence}")

    def _warn_of_large_states(self) -> None:
        size = sum(self._state_bytes.values())
        if size > STATE_BYTES:
            self._logger.warning(
                f"The states of this sync have {size / 1e6:.1f} MB. Airbyte fails a sync whose states "
                f"exceed 10 MiB. Split {label('org_ids')} into several connections."
            )

    def _remembered(self, state: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Seen], dict[str, datetime]]:
        """Return what was seen of each organization, and when each was last read, from the saved states."""
        saved = {name: each for name, each in state.items() if NO_CURSOR_STATE_KEY not in each}
        seen: Mapping[str, Seen] = {}
        try:
            seen = memory.parsed(saved.get(APPOINTMENTS, {}))
        except ValueError as error:
            warn_not_understood(self._logger, str(error))
        last_reads = memory.last_reads(saved.get(ORGANIZATIONS, {}))
        for org_id, each in seen.items():
            if each.synced_at:  # the later one counts: a stream that was not selected for a while has an old state
                last_reads[org_id] = max(each.synced_at, last_reads.get(org_id, each.synced_at))
        return seen, {org_id: last_reads[org_id] for org_id in self._config.org_ids if org_id in last_reads}


_LOSSES = {
    records.NULLED: "{field} is null in {rows}, because the values sent do not fit the column's type.",
    records.TRUNCATED: "A part of {field} was replaced or cut in {rows}, because databases can't store it.",
}


def lowers_limit(reading: Reading, failure: OrganizationFailure) -> bool:
    """Lower the limit of a reading if the API may have refused it, and return whether to request again."""
    is_refusal = failure.facts.status == _HTTP_BAD_REQUEST and failure.kind in LIMIT_REFUSALS
    return is_refusal and reading.lower_limit()


def warn_not_understood(logger: logging.Logger, problem: str) -> None:
    """Log that a saved state can't be used, and what that means."""
    logger.warning(
        f"The saved state was not understood ({problem}), so every booking is read and sent again. "
        "Nothing is lost; a destination that merges by primary key ends up the same."
    )


def _overwrites(stream: protocol.ConfiguredAirbyteStream) -> bool:
    """Whether the destination replaces its table with the records of this sync.

    A refresh that removes earlier records raises the least generation that is kept to the current one. PyAirbyte sends
    both in every catalog, and merges the records of an incremental sync; the platform offers no incremental sync that
    overwrites.
    """
    if stream.destination_sync_mode is protocol.DestinationSyncMode.overwrite:
        return stream.sync_mode is protocol.SyncMode.full_refresh
    return bool(stream.minimum_generation_id) and stream.minimum_generation_id == stream.generation_id


def _oddities(response: Response) -> Iterator[str]:
    rows, count = len(response.rows), response.count
    if count is not None and count != rows:
        counted = count if isinstance(count, int) else "something else"
        yield f"Ravan returned {rows} rows but counts {counted}. The rows returned are delivered."
    if response.repaired:
        yield (
            "Ravan's response held invalid characters or a number out of range. "
            "The characters are delivered as �, the number as text."
        )


def _record(stream: str, data: dict[str, Any], changes: Iterable[Change] = ()) -> protocol.AirbyteMessage:
    record = protocol.AirbyteRecordMessage(stream=stream, data=data, emitted_at=time.time_ns() // 1_000_000)
    if changes:
        why = _untyped.Reason.SOURCE_SERIALIZATION_ERROR
        record.meta = _untyped.AirbyteRecordMessageMeta(
            [_untyped.AirbyteRecordMessageMetaChange(name, _untyped.Change(change), why) for name, change in changes]
        )
    return protocol.AirbyteMessage(type=protocol.Type.RECORD, record=record)


def _status(
    stream: str, status: protocol.AirbyteStreamStatus, reasons: list[protocol.AirbyteStreamStatusReason] | None = None
) -> protocol.AirbyteMessage:
    return as_airbyte_message(protocol.StreamDescriptor(name=stream), status, reasons)
