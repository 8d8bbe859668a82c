"""The ``appointments`` stream: one partition an organization, its windows, its rows.

The endpoint returns at most 200 rows and has no pages. What it has is Cal.com's status filter, and each filter is
a window of its own onto the account, with a limit of its own and an order of its own. An account that does not fit
into one unfiltered answer is read through all of them.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, CursorField
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.concurrent.partitions.partition_generator import PartitionGenerator
from airbyte_cdk.sources.types import Record

from source_ravan_calcom import errors
from source_ravan_calcom.api import MAX_LIMIT, AppointmentsApi, Row
from source_ravan_calcom.backlog import Backlog
from source_ravan_calcom.changes import ChangeCursor, fingerprint
from source_ravan_calcom.errors import STREAM, Failure
from source_ravan_calcom.report import SyncReport

PRIMARY_KEY = ["organization_id", "id"]
CURSOR_FIELD = "synced_at"
TIME_FIELDS = ("start_time", "end_time")

SCHEMA_FILE = Path(__file__).parent / "schemas" / f"{STREAM}.json"


@dataclass(frozen=True)
class Window:
    """One of Cal.com's status filters: ``status`` as it is asked for, and what it holds, in which order."""

    status: str
    holds: str


WINDOWS: tuple[Window, ...] = (
    Window("unconfirmed", "pending and not over, soonest first"),
    Window("recurring", "part of a series, not over, accepted or pending, soonest first"),
    Window("upcoming", "accepted, or pending and not part of a series; not over, soonest first"),
    Window("past", "accepted or pending, and over, latest first"),
    Window("cancelled", "cancelled or rejected, whenever, latest start first"),
)
"""The windows, in the order in which they are read.

A booking lives in this direction: it is confirmed, its time comes, it is cancelled at any point; and never back.
Read in the same direction, a booking that changes while we read is met again in a later window, with its newest
version, and can't slip through between two of them. The last version read is the one delivered.
"""

CAPS: Mapping[int, str] = {
    50: "the endpoint's default, and what it falls back to",
    100: "Cal.com's default page",
    MAX_LIMIT: "the most the endpoint gives",
}
"""Row counts at which an answer may have been cut. Any other count below 200 has not been."""


def may_be_cut(rows: int) -> bool:
    """Whether an answer with so many rows may be missing some."""
    return rows in CAPS or rows > MAX_LIMIT


@dataclass(frozen=True)
class Bookings:
    """What was read of one organization.

    Attributes:
        rows: Each booking once, in its newest version, as Ravan sent it.
        anonymous: How many of the rows do not say which booking they are.
        full: The windows that may hold more than they gave, with the rows they gave.
        refused: The windows that were added by us and that the API does not know.
    """

    rows: list[Row]
    anonymous: int
    full: Mapping[str, int]
    refused: Sequence[str]


def read_bookings(ask: Callable[[str | None], list[Row]], statuses: Sequence[str]) -> Bookings:
    """Read one organization through as few windows as it takes.

    Args:
        ask: Asks for the rows of one window, ``None`` being the unfiltered one.
        statuses: The windows the user chose; empty for every booking.

    Returns:
        The bookings: read with one request where the unfiltered answer was whole, else with six, else with
        one for each chosen status.

    Raises:
        Failure: Of the first window that failed. A window that we added and that the API refuses is not a
            failure.
    """
    gathered = _Gathered()
    full: dict[str, int] = {}
    refused: list[str] = []
    cap = None  # the one in force, where an unfiltered answer showed it
    windows = [window.status for window in WINDOWS if window.status in statuses]
    if not statuses:
        cap = gathered.add(ask(None))
        windows = [window.status for window in WINDOWS] if may_be_cut(cap) else []
    for status in windows:
        try:
            rows = gathered.add(ask(status))
        except Failure as failure:
            if statuses or failure.kind is not errors.INVALID_REQUEST:
                raise
            refused.append(status)
            continue
        if rows >= MAX_LIMIT or (rows == cap if cap else may_be_cut(rows)):
            full[status] = rows
    return Bookings(gathered.rows(), len(gathered.anonymous), full, refused)


class _Gathered:
    """Rows of one organization, each booking once, the last version read."""

    def __init__(self) -> None:
        self.named: dict[str, Row] = {}
        self.anonymous: dict[tuple[bytes, int], Row] = {}

    def add(self, rows: list[Row]) -> int:
        """Take one window's rows, and return how many they were."""
        seen: Counter[bytes] = Counter()
        named = self.named
        for row in rows:
            booking = row.get("id")
            if booking.__class__ is str and booking:
                named[booking] = row
            else:
                # No id to recognise it by in another window: its content serves, and equal ones are counted.
                content = fingerprint(row)
                seen[content] += 1
                self.anonymous[content, seen[content]] = row
        return len(rows)

    def rows(self) -> list[Row]:
        return [*self.named.values(), *self.anonymous.values()]


_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(?::\d\d)?)(?P<fraction>\.\d+)?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?)?"
)


_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z").fullmatch


def is_utc(time: Any) -> bool:
    """Whether a time is as we deliver it: absent, or ISO 8601 in UTC with ``Z``."""
    return time is None or (isinstance(time, str) and _UTC(time) is not None)


def as_utc(time: Any) -> Any:
    """An ISO 8601 time in UTC with ``Z``, its fraction of a second kept; ``None`` for an empty string.

    A time without an offset is UTC, which is what the API documents. What can't be read is returned as it is.
    """
    if is_utc(time) or not isinstance(time, str):
        return time
    if not time:
        return None
    match = _TIME.fullmatch(time.strip())
    if not match:
        return time
    seconds = match["time"] if len(match["time"]) > len("hh:mm") else f"{match['time']}:00"
    offset = f"{match['sign'] or '+'}{match['hours'] or '00'}:{match['minutes'] or '00'}"
    try:
        local = datetime.fromisoformat(f"{match['date']}T{seconds}{offset}")
        utc = local.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return time
    return f"{utc.replace(tzinfo=None).isoformat()}{match['fraction'] or ''}Z"


def normalise(row: Row, org_id: str) -> int:
    """Make a row fit the schema, in place: its owner, its times. Nothing else is altered.

    Returns:
        How many of its times can't be read, and stay as they came.
    """
    unreadable = 0
    if not row.get("organization_id"):
        row["organization_id"] = org_id
    for name in TIME_FIELDS:
        time = row.get(name)
        if time is not None and not (time.__class__ is str and _UTC(time)):
            row[name] = as_utc(time)
            unreadable += not is_utc(row[name])
    return unreadable


class Organization(Partition):
    """One organization: the unit of work, of failure, of memory and of state.

    Attributes:
        org_id: As configured.
        fingerprints: Of all its rows, once they were read for an incremental sync; ``None`` until then.
    """

    def __init__(
        self,
        org_id: str,
        statuses: Sequence[str],
        api: AppointmentsApi,
        cursor: Cursor,
        backlog: Backlog,
        report: SyncReport,
        logger: logging.Logger,
    ) -> None:
        self.org_id = org_id
        self.fingerprints: Iterable[bytes] | None = None
        self._statuses = statuses
        self._api = api
        self._cursor = cursor
        self._backlog = backlog
        self._report = report
        self._logger = logger

    def read(self) -> list[Record]:
        """The organization's records: whole or not at all.

        Raises:
            Failure: It could not be read; nothing of it was delivered.
        """
        self._backlog.wait_for_room()
        if self._report.stopped_by:
            return []
        bookings = self._bookings()
        if isinstance(bookings, Failure):
            if self._report.failed(bookings):
                raise bookings
            return []  # what stops the sync was said by the organization that met it first
        synced_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        unreadable = sum(normalise(row, self.org_id) for row in bookings.rows)
        self._warn(bookings, unreadable)
        rows = self._unsent(bookings.rows)
        self._report.read(len(bookings.rows), len(rows), bool(bookings.full or bookings.refused))
        for row in rows:
            row[CURSOR_FIELD] = synced_at
        return [Record(row, STREAM) for row in rows]

    def to_slice(self) -> Mapping[str, Any]:
        """The partition as the engine's debug log shows it."""
        return {"org_id": self.org_id}

    def stream_name(self) -> str:
        """The stream's name."""
        return STREAM

    def __hash__(self) -> int:
        return hash(self.org_id)

    def _bookings(self) -> Bookings | Failure:
        try:
            return read_bookings(self._ask, self._statuses)
        except Failure as failure:
            return failure.without_frames()

    def _ask(self, status: str | None) -> list[Row]:
        self._report.requested()
        return self._api.rows(self.org_id, status)

    def _unsent(self, rows: list[Row]) -> list[Row]:
        if not isinstance(self._cursor, ChangeCursor):
            return rows
        sent = self._cursor.sent(self.org_id)
        fingerprints = [fingerprint(row) for row in rows]
        self.fingerprints = set(fingerprints)
        return [row for row, mark in zip(rows, fingerprints, strict=True) if mark not in sent]

    def _warn(self, bookings: Bookings, unreadable: int) -> None:
        about = f"Organization {self.org_id}: "
        if bookings.anonymous:
            self._logger.warning(
                f"{about}{bookings.anonymous} rows have no id. "
                "They are delivered, but can't be told apart by primary key."
            )
        if unreadable:
            self._logger.warning(
                f"{about}{unreadable} values of {' and '.join(TIME_FIELDS)} are not ISO 8601 times. "
                "They are delivered as they came."
            )
        sentences = []
        if bookings.full:
            windows = ", ".join(f"{status} ({rows} rows)" for status, rows in bookings.full.items())
            sentences.append(f"these windows were full and may hold more bookings than Ravan returned: {windows}.")
        if bookings.refused:
            sentences.append(
                f"Ravan refused these windows, and what only they hold was not read: {', '.join(bookings.refused)}."
            )
        if sentences:
            self._logger.warning(
                f"{about}{' '.join(sentences)} One request gives at most {MAX_LIMIT} rows. Sync more often, in "
                "incremental mode: the windows move with time, so the history builds up in the destination."
            )


class Organizations(PartitionGenerator):
    """One partition for each configured organization."""

    def __init__(self, partitions: Iterable[Organization]) -> None:
        self._partitions = partitions

    def generate(self) -> Iterable[Partition]:
        """The partitions, in the user's order."""
        yield from self._partitions


def stream(partitions: Iterable[Organization], cursor: Cursor, logger: logging.Logger) -> DefaultStream:
    """The ``appointments`` stream over these partitions."""
    return DefaultStream(
        partition_generator=Organizations(partitions),
        name=STREAM,
        json_schema=json.loads(SCHEMA_FILE.read_text(encoding="utf-8")),
        primary_key=PRIMARY_KEY,
        cursor_field=CursorField(CURSOR_FIELD),
        logger=logger,
        cursor=cursor,
    )
