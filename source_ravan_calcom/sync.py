"""One ``read``, from the first request to the last state.

Workers send the requests. Everything else happens in one thread, the generator that :meth:`Sync.read` returns.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from airbyte_cdk import models
from airbyte_cdk.models import airbyte_protocol
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message

from source_ravan_calcom import workers
from source_ravan_calcom.bookings import memory, records
from source_ravan_calcom.bookings.windows import MAX_LIMIT, Bookings, Reading
from source_ravan_calcom.config import Config, label
from source_ravan_calcom.ravan import client, failures
from source_ravan_calcom.ravan.throttle import Pause
from source_ravan_calcom.report import READ, Outcome, Report, log_pause, organization_row

APPOINTMENTS, ORGANIZATIONS = "appointments", "organizations"
PRIMARY_KEYS = {APPOINTMENTS: records.PRIMARY_KEY, ORGANIZATIONS: ["organization_id"]}
SCHEMAS = Path(__file__).with_name("schemas")

_LOSSES = {
    records.NULLED: "{field} is null in {rows}, because the values sent do not fit the column's type.",
    records.TRUNCATED: "A part of {field} was replaced or cut in {rows}, because databases can't store it.",
}

STATE_BYTES = 8_000_000  # near the platform's limit of 10 MiB for all states of a connection

# Some versions of the API refuse a limit above 100 with HTTP 400 and one of these failures.
LIMIT_REFUSALS = (failures.INVALID_REQUEST, failures.REQUEST_REFUSED, failures.CALCOM_FAILED, failures.SERVER_FAILED)
# The API may reject a status filter that it does not know with one of these, or with INVALID_REQUEST.
WINDOW_FAILURES = (failures.NOT_FOUND, failures.REQUEST_REFUSED, failures.CALCOM_FAILED)


def catalog() -> list[models.AirbyteStream]:
    """The streams, as ``discover`` prints them."""
    return [
        models.AirbyteStream(
            name=name,
            json_schema=json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")),
            supported_sync_modes=[models.SyncMode.full_refresh, models.SyncMode.incremental],
            source_defined_cursor=True,
            default_cursor_field=[records.CURSOR_FIELD],
            source_defined_primary_key=[[column] for column in key],
            is_resumable=True,
        )
        for name, key in PRIMARY_KEYS.items()
    ]


@dataclass(eq=False)
class Organization(workers.Task):
    """One organization: the unit of work, failure and state."""

    reading: Reading | None = None  # a retry continues it
    warnings: list[str] = field(default_factory=list)

    def restart(self) -> None:
        """Also start a new reading, because the attempt that was given up may still change the old one."""
        super().restart()
        self.reading, self.warnings = None, []


class Sync:
    """One sync of all organizations; ``selected`` and ``state`` are keyed by stream name."""

    def __init__(
        self,
        config: Config,
        selected: Mapping[str, models.ConfiguredAirbyteStream],
        state: Mapping[str, Mapping[str, Any]],
        logger: logging.Logger,
    ) -> None:
        self._config = config
        self._selected = selected
        self._logger = logger
        bookings = selected.get(APPOINTMENTS)
        self._first = APPOINTMENTS if bookings else ORGANIZATIONS
        self._forgets = bookings is not None and bookings.sync_mode is models.SyncMode.full_refresh
        seen, self._last_reads = self._recall(state)
        self._state = memory.State(config.org_ids, seen if bookings and not self._forgets else {})
        self._state_bytes: dict[str, int] = {}
        self._is_running = False  # whether a booking was printed
        self._limit = MAX_LIMIT
        self._unknown_windows: set[str | None] = set()
        self._pool: workers.WorkerPool[Organization] = workers.WorkerPool(config.num_workers, workers.READ)
        self._client = client.Client(config, client.READ, self._pool.notify)
        overwrites = bookings is not None and _overwrites(bookings)
        self._report = Report(
            self._first, config, overwrites, self._forgets, logger, lambda: self._client.has_succeeded
        )

    def read(self) -> Iterator[models.AirbyteMessage]:
        """Yield the messages of every selected stream, then raise an AirbyteTracedException if the sync failed."""
        yield _status(self._first, models.AirbyteStreamStatus.STARTED)
        # Made one by one, and dropped when done, because each holds rows.
        organizations = (Organization(org_id) for org_id in self._config.org_ids)
        for event in self._pool.events(organizations, self._read, self._client):
            yield from self._handle(event)
        self._report.close()
        if APPOINTMENTS in self._selected:
            yield from self._end(APPOINTMENTS, self._state.due(at_end=True))
        if ORGANIZATIONS in self._selected:
            yield from self._organization_rows()
        self._warn_of_large_states()
        if error := self._report.closing_error():
            raise error

    def _read(self, organization: Organization) -> Bookings:
        """Read an organization's windows. Runs in a worker."""
        # Local names: a worker that was given up must not use what `restart` sets.
        call, reading, warnings = organization.call, organization.reading, organization.warnings
        if reading is None:
            before = self._state.of(organization.org_id)
            reading = organization.reading = Reading(self._config.statuses, before, limit=self._limit)
        while not reading.is_done:
            try:
                response = self._client.get(call, reading.next, reading.limit)
            except failures.OrganizationFailure as failure:
                if not (lowers_limit(reading, failure) or self._leaves_out(call, reading, failure)):
                    raise
            else:
                warnings += _oddities(response)
                reading.take(response.rows, response.at, response.began)
        return reading.bookings()

    def _leaves_out(self, call: client.Call, reading: Reading, failure: failures.OrganizationFailure) -> bool:
        """Leave out a window that this version of the API doesn't know, and return whether the reading goes on."""
        if not reading.may_refuse:
            return False
        if failure.kind in WINDOW_FAILURES:
            may_retry = failure.kind.is_retryable and call.failures < workers.READ.most
            if may_retry and reading.next not in self._unknown_windows:
                return False
            # In an outage, this request fails as well.
            self._client.get(call, None, reading.limit)
            self._unknown_windows.add(reading.next)
        elif failure.kind is not failures.INVALID_REQUEST:
            return False
        reading.refuse()
        return True

    def _handle(self, event: workers.AnyEvent[Organization]) -> Iterable[models.AirbyteMessage]:
        if isinstance(event, Pause):
            log_pause(self._logger, event)
            # Airbyte shows the stream as rate limited until its next status or record.
            return [_status(self._first, models.AirbyteStreamStatus.RUNNING, is_limited=event.seconds is not None)]
        organization = event.task
        if isinstance(event, workers.Retrying):
            self._logger.info(
                f"Organization {organization.org_id}: {event.failure.seen}. Retrying in {event.seconds:.0f} s "
                f"(try {organization.call.failures + 1} of {workers.READ.most + 1})."
            )
        elif event.result is not None:
            return self._delivered(organization, event.result)
        else:
            self._report.outcomes.fail(organization.org_id, event.failure, organization.call.requests)
            if self._report.outcomes.stopped_by:
                self._pool.close()
                self._client.close()
        return []

    def _delivered(self, organization: Organization, bookings: Bookings) -> Iterator[models.AirbyteMessage]:
        """The records of an organization, then a state if one is due."""
        org_id = organization.org_id
        if bookings.limit < self._limit:
            self._limit = bookings.limit
            self._logger.info(
                f"Ravan refuses to return {MAX_LIMIT} rows at once. This sync requests {self._limit} at most."
            )
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
        if delivery.rows and not self._is_running:
            self._is_running = True
            yield _status(APPOINTMENTS, models.AirbyteStreamStatus.RUNNING)
        cursor_value = records.utc_text(synced_at)
        for row in delivery.rows:
            row[records.CURSOR_FIELD] = cursor_value
            yield _record(APPOINTMENTS, row, changes.get(id(row), ()))
        if not self._forgets:
            self._state.keep(org_id, delivery.seen, delivered=bool(delivery.rows))
            if state := self._state.due():
                yield self._saved(APPOINTMENTS, state)

    def _organization_rows(self) -> Iterator[models.AirbyteMessage]:
        if self._first != ORGANIZATIONS:
            yield _status(ORGANIZATIONS, models.AirbyteStreamStatus.STARTED)
        yield _status(ORGANIZATIONS, models.AirbyteStreamStatus.RUNNING)
        for org_id in self._config.org_ids:
            outcome = self._report.outcomes[org_id]
            row = organization_row(org_id, outcome, self._last_reads.get(org_id), self._state.of(org_id))
            yield _record(ORGANIZATIONS, row)
            if outcome.outcome == READ:
                self._last_reads[org_id] = outcome.at
        yield from self._end(ORGANIZATIONS, memory.organizations_state(self._last_reads))

    def _end(self, stream: str, state: Mapping[str, Any] | None) -> Iterator[models.AirbyteMessage]:
        """The stream's last state and status."""
        if self._selected[stream].sync_mode is models.SyncMode.full_refresh:
            state = {NO_CURSOR_STATE_KEY: True}
        if state is not None:
            yield self._saved(stream, state)
        failed = stream == self._first and self._report.closing_error()
        yield _status(stream, models.AirbyteStreamStatus.INCOMPLETE if failed else models.AirbyteStreamStatus.COMPLETE)

    def _saved(self, stream: str, state: Mapping[str, Any]) -> models.AirbyteMessage:
        self._state_bytes[stream] = len(orjson.dumps(state))
        saved = models.AirbyteStreamState(models.StreamDescriptor(name=stream), models.AirbyteStateBlob(state))
        message = models.AirbyteStateMessage(models.AirbyteStateType.STREAM, saved)
        return models.AirbyteMessage(type=models.Type.STATE, state=message)

    def _warn(
        self, organization: Organization, bookings: Bookings, changes: Mapping[int, Iterable[records.Change]]
    ) -> None:
        """Log what is odd about an organization's rows; ``changes`` holds the losses of each, by its ``id()``."""
        sentences, rows, left_out = organization.warnings, len(bookings.rows), bookings.left_out
        if count := sum(not isinstance(key, str) for key in bookings.keys):
            sentences.append(f"{count} rows have no id. They are delivered, but can't be told apart by primary key.")
        if left_out:
            sentences.append(
                f"Ravan returned several rows for {len(left_out)} of {rows} bookings. Of each booking, the row "
                f"with the alphabetically first attendee_email is delivered; {sum(left_out.values())} others are not."
            )
        for change in dict.fromkeys(change for lost in changes.values() for change in lost):
            changed = [row for row in bookings.rows if change in changes.get(id(row), ())]
            sentence = _LOSSES[change[1]].format(field=change[0], rows=f"{len(changed)} of {rows} rows")
            uid = records.identity(changed[0])
            sentences.append(
                f"{sentence} The first of them {f'is booking {failures.clean(uid)}' if uid else 'has no id'}."
            )
        for sentence in dict.fromkeys(sentences):
            self._logger.warning(f"Organization {organization.org_id}: {sentence}")

    def _warn_of_large_states(self) -> None:
        size = sum(self._state_bytes.values())
        if size > STATE_BYTES:
            self._logger.warning(
                f"The states of this sync have {size / 1e6:.1f} MB. Airbyte fails a sync whose states exceed 10 MiB. "
                f"Split {label('org_ids')} into several connections."
            )

    def _recall(self, state: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, memory.Seen], dict[str, datetime]]:
        """Return each organization's saved state, and when it was last read."""
        saved = {name: each for name, each in state.items() if NO_CURSOR_STATE_KEY not in each}
        seen: Mapping[str, memory.Seen] = {}
        try:
            seen = memory.parsed(saved.get(APPOINTMENTS, {}))
        except ValueError as error:
            warn_not_understood(self._logger, str(error))
        last_reads = memory.last_reads(saved.get(ORGANIZATIONS, {}))
        for org_id, each in seen.items():
            if each.synced_at:  # the later time counts: one stream may have been deselected for a while
                last_reads[org_id] = max(each.synced_at, last_reads.get(org_id, each.synced_at))
        return seen, {org_id: last_reads[org_id] for org_id in self._config.org_ids if org_id in last_reads}


def lowers_limit(reading: Reading, failure: failures.OrganizationFailure) -> bool:
    """Lower the limit of a reading if the API may have refused it, and return whether to request again."""
    is_refusal = failure.facts.status == HTTPStatus.BAD_REQUEST and failure.kind in LIMIT_REFUSALS
    return is_refusal and reading.lower_limit()


def warn_not_understood(logger: logging.Logger, problem: str) -> None:
    """Log that a saved state can't be used, and the consequence."""
    logger.warning(
        f"The saved state was not understood ({problem}), so every booking is read and sent again. "
        "Nothing is lost; a destination that merges by primary key gets no duplicates."
    )


def _overwrites(stream: models.ConfiguredAirbyteStream) -> bool:
    """Whether the destination replaces its table with the records of this sync."""
    if stream.destination_sync_mode is models.DestinationSyncMode.overwrite:
        # PyAirbyte asks to overwrite in every catalog, but merges the records of an incremental sync.
        return stream.sync_mode is models.SyncMode.full_refresh
    # A refresh that removes earlier records sets the minimum generation to the current one.
    return bool(stream.minimum_generation_id) and stream.minimum_generation_id == stream.generation_id


def _oddities(response: client.Response) -> Iterator[str]:
    rows, count = len(response.rows), response.count
    if count is not None and count != rows:
        counted = count if isinstance(count, int) else "not a whole number"
        yield f"Ravan returned {rows} rows, but its count is {counted}. The rows returned are delivered."
    if response.repaired:
        yield (
            "Ravan's response held invalid characters or a number out of range. "
            "The characters are delivered as �, the number as text."
        )


def _record(stream: str, data: dict[str, Any], changes: Iterable[records.Change] = ()) -> models.AirbyteMessage:
    record = models.AirbyteRecordMessage(stream=stream, data=data, emitted_at=time.time_ns() // 1_000_000)
    if changes:
        protocol: Any = airbyte_protocol  # its untyped star import hides the names below from mypy
        why = protocol.Reason.SOURCE_SERIALIZATION_ERROR
        record.meta = protocol.AirbyteRecordMessageMeta(
            [protocol.AirbyteRecordMessageMetaChange(name, protocol.Change(change), why) for name, change in changes]
        )
    return models.AirbyteMessage(type=models.Type.RECORD, record=record)


def _status(stream: str, status: models.AirbyteStreamStatus, *, is_limited: bool = False) -> models.AirbyteMessage:
    limited = models.AirbyteStreamStatusReason(type=models.AirbyteStreamStatusReasonType.RATE_LIMITED)
    return as_airbyte_message(models.StreamDescriptor(name=stream), status, [limited] if is_limited else None)
