"""The ``appointments`` stream: one partition per organization, delivered whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, CursorField
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.concurrent.partitions.partition_generator import PartitionGenerator
from airbyte_cdk.sources.types import Record

from source_ravan_calcom import coverage, errors
from source_ravan_calcom.api import AppointmentsApi
from source_ravan_calcom.backlog import Backlog
from source_ravan_calcom.bookings.memory import Delivery, later_than
from source_ravan_calcom.config import Config
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.line import Line, Waiting
from source_ravan_calcom.outcomes import READ, Outcome
from source_ravan_calcom.report import SyncReport
from source_ravan_calcom.bookings.records import CURSOR_FIELD, PRIMARY_KEY, TIME_FIELDS, normalise, utc_text
from source_ravan_calcom.bookings.windows import Bookings, Reading

STREAM = "appointments"

SCHEMAS = Path(__file__).with_name("schemas")


@dataclass(eq=False)
class Organization(Waiting):
    """One organization: the unit of work, of failure, of memory and of state.

    Attributes:
        reading: How far it was read; an organization that comes back goes on where it was left.
    """

    reading: Reading = field(default_factory=lambda: Reading(()))


@dataclass(frozen=True)
class Sync:
    """What one sync over all organizations shares.

    Attributes:
        stream: The stream that the organizations are partitions of.
        config: The user's settings.
        api: The endpoint.
        line: Who is read next.
        delivery: Which rows are sent.
        backlog: What waits to be printed.
        report: What became of each.
        last_read: When earlier syncs read each, as far as any state knows.
        logger: Where odd rows are mentioned.
    """

    stream: str
    config: Config
    api: AppointmentsApi
    line: Line[Organization]
    delivery: Delivery
    backlog: Backlog
    report: SyncReport
    last_read: Mapping[str, datetime]
    logger: logging.Logger


class Attempt(Partition):
    """One attempt at reading an organization; there is another one where it comes back."""

    def __init__(self, organization: Organization, sync: Sync) -> None:
        self._organization = organization
        self._sync = sync
        self._has_delivered = False

    def read(self) -> list[Record]:
        """The organization's records: whole, or none where it failed or waits to be asked again."""
        sync, organization = self._sync, self._organization
        sync.backlog.wait_for_room()
        try:
            bookings = self._bookings()
            return self._delivered(bookings) if bookings else []
        except OrganizationFailure as failure:
            wait = sync.line.again(organization, failure)
            if wait is None:
                sync.report.outcomes.given_up(organization.org_id, failure, organization.requests)
            elif failure.kind is not errors.RATE_LIMITED:  # the pause is told once for all
                tries = sync.api.retries + 1
                sync.logger.info(
                    f"Organization {organization.org_id}: {failure.seen}. "
                    f"Asking again in {wait:.0f} s (try {organization.tries + 1} of {tries})."
                )
        except Exception as error:  # nobody foresaw it, and it is this organization's alone
            unforeseen = OrganizationFailure.unforeseen(error, organization.org_id)
            sync.report.outcomes.failed(organization.org_id, unforeseen, organization.requests)
        finally:
            sync.line.settle(organization)
        return []

    def to_slice(self) -> Mapping[str, Any]:
        """The partition for its cursor and for the engine's debug log.

        An attempt that failed may be closed after the next one has read the organization, and before that one's rows
        are on their way out: only the attempt that delivers lets the state move.
        """
        return {"org_id": self._organization.org_id, "has_delivered": self._has_delivered}

    def stream_name(self) -> str:
        """The stream's name."""
        return self._sync.stream

    def __hash__(self) -> int:
        return id(self)

    def _bookings(self) -> Bookings | None:
        """What was read, or ``None`` where something stopped the sync."""
        sync, organization = self._sync, self._organization
        reading = organization.reading
        while not reading.is_done:
            if sync.line.is_closed:
                sync.report.outcomes.abandoned(organization.org_id, organization.requests)
                return None
            try:
                answer = sync.api.ask(organization, reading.next)
            except OrganizationFailure as failure:
                if failure.kind is errors.INVALID_REQUEST and reading.may_refuse:
                    reading.refuse()
                    continue
                raise
            sync.report.outcomes.answered()
            reading.take(answer.rows, answer.at, answer.began)
        return reading.bookings()

    def _delivered(self, bookings: Bookings) -> list[Record]:
        sync, organization = self._sync, self._organization
        org_id = organization.org_id
        unreadable = sum(normalise(row, org_id) for row in bookings.rows)
        self._mention(bookings, unreadable)
        known = sync.delivery.known(org_id)
        rows = sync.delivery.unsent(org_id, bookings.rows)
        claim = coverage.claim(
            bookings.seen,
            bookings.refused,
            bookings.began,
            sync.config.statuses,
            known.covered if known else None,
            is_familiar=len(rows) < len(bookings.rows),
        )
        synced_at = later_than(sync.last_read.get(org_id), datetime.now(timezone.utc))
        sync.delivery.remember(org_id, synced_at, claim.kept)
        cursor_value = utc_text(synced_at)
        for row in rows:
            row[CURSOR_FIELD] = cursor_value
        full = tuple(status or "unfiltered" for status, seen in bookings.seen.items() if seen.full)
        outcome = Outcome(
            READ,
            synced_at,
            bookings_read=len(bookings.rows),
            bookings_sent=len(rows),
            requests=organization.requests,
            claim=claim,
            full_windows=full,
        )
        sync.report.read(org_id, outcome)
        self._has_delivered = True
        return [Record(row, sync.stream) for row in rows]

    def _mention(self, bookings: Bookings, unreadable: int) -> None:
        about = f"Organization {self._organization.org_id}: "
        if bookings.anonymous:
            self._sync.logger.warning(
                f"{about}{bookings.anonymous} rows have no id. "
                "They are delivered, but can't be told apart by primary key."
            )
        if unreadable:
            self._sync.logger.warning(
                f"{about}{unreadable} values of {' and '.join(TIME_FIELDS)} are not ISO 8601 times. "
                "They are delivered as they came."
            )


class Attempts(PartitionGenerator):
    """Attempts at every organization, until each is settled."""

    def __init__(self, sync: Sync, then: Iterable[Partition] = ()) -> None:
        self._sync = sync
        self._then = then

    def generate(self) -> Iterable[Partition]:
        """The attempts in the line's order, then whatever follows them.

        Raises:
            Incomplete: At the end, where the sync is to end as a failure.
        """
        for organization in self._sync.line:
            yield Attempt(organization, self._sync)
        for organization, failure in self._sync.line.left:
            self._sync.report.outcomes.given_up(organization.org_id, failure, organization.requests)
        yield from self._then
        self._sync.report.close()


def stream(partitions: PartitionGenerator, cursor: Cursor, logger: logging.Logger) -> DefaultStream:
    """The ``appointments`` stream over these partitions."""
    return DefaultStream(
        partition_generator=partitions,
        name=STREAM,
        json_schema=json.loads((SCHEMAS / f"{STREAM}.json").read_text(encoding="utf-8")),
        primary_key=PRIMARY_KEY,
        cursor_field=CursorField(CURSOR_FIELD),
        logger=logger,
        cursor=cursor,
    )
