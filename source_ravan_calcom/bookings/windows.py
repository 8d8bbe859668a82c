"""Cal.com's status filters as windows: their order, their caps, and reading an organization through them. Pure.

The endpoint returns at most 200 rows and has no pages. What it has is Cal.com's status filter, and each filter is
a window of its own onto the account, with a limit of its own and an order of its own. An account that does not fit
into one unfiltered answer is read through all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.bookings.coverage import Covered, Evidence
from source_ravan_calcom.bookings.records import Row, distinct, fingerprint, identity

MAX_LIMIT = 200
"""The most rows an answer can hold; the contract turns a larger ``limit`` into 50."""

CAPS = frozenset({50, 100, MAX_LIMIT})
"""Row counts at which an answer may have been cut: the endpoint's default, Cal.com's default page, and the most the
endpoint gives. Any other count below 200 has not been."""

LOWER_LIMIT = 100
"""The limit to go on with where ``MAX_LIMIT`` was refused: versions of Cal.com's API take no more."""

UNFILTERED = None
"""The status of a request without a filter: every booking, the oldest first."""


@dataclass(frozen=True)
class Window:
    """One of Cal.com's status filters.

    Attributes:
        status: As it is asked for.
        shows: What every row in it is like, and what its order is, for the evidence.
    """

    status: str
    shows: coverage.Meaning


WINDOWS: tuple[Window, ...] = (
    Window("unconfirmed", coverage.Meaning(over=False, dead=False)),  # pending
    Window("recurring", coverage.Meaning(over=False, dead=False)),  # part of a series
    Window("upcoming", coverage.Meaning(over=False, dead=False)),  # in a series: accepted; else not dead
    Window("past", coverage.Meaning(over=True, dead=False)),
    Window("cancelled", coverage.Meaning(over=None, dead=True)),  # whenever it would have started
)
"""The windows, in the order in which they are read.

A booking lives in this direction: it is confirmed, its time comes, it is cancelled at any point; and never back.
Read in the same direction, a booking that changes while we read is met again in a later window, with its newest
version, and can't slip through between two of them. The last version read is the one delivered.
"""

_SHOWS = {window.status: window.shows for window in WINDOWS}


def may_be_cut(rows: int) -> bool:
    """Whether an answer with so many rows may be missing some."""
    return rows in CAPS or rows > MAX_LIMIT


@dataclass(frozen=True)
class Seen:
    """What the state holds of one organization.

    Attributes:
        fingerprints: Of its rows, sorted, in base64.
        synced_at: When they were read; ``None`` from a state of version 1.
        covered: The coverage that the next sync continues.
    """

    fingerprints: str
    synced_at: datetime | None = None
    covered: Covered | None = None


@dataclass(frozen=True)
class Bookings:
    """What was read of one organization.

    Attributes:
        rows: Each booking once, in its newest version, as Ravan sent it.
        anonymous: How many of the rows do not say which booking they are.
        evidence: The evidence of each request, by its status.
        refused: The windows that were added by us and that the API does not know.
        began: The API's time before the first request.
        cap: The most rows that a response holds, where that is known.
        full: The requests whose responses may have been cut: ``unfiltered``, or a window.
        left_out: How many rows with an ID that another row of the same response has were left out, by that ID.
    """

    rows: list[Row]
    anonymous: int
    evidence: Mapping[str | None, Evidence]
    refused: Sequence[str]
    began: datetime
    cap: int | None = None
    full: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


class Reading:
    """One organization read through as few windows as it takes, one request after the other.

    Ask for :attr:`next`, hand the rows to :meth:`take`, until there is no next. It takes one request where the
    unfiltered answer is whole and shows by its rows that it is not only what is still to come; two where a look at
    the past must show that; six where the answer may have been cut; else one for each chosen status.

    Args:
        statuses: The windows the user chose; empty for every booking.
        before: What the state holds of the organization; ``None`` in a first sync and a full refresh.
        limit: The most rows to request: 100 where this sync knows that 200 is refused.
    """

    def __init__(self, statuses: Sequence[str], before: Seen | None = None, *, limit: int = MAX_LIMIT) -> None:
        self.limit = limit
        self._chosen = bool(statuses)
        self._waiting: list[str | None] = [window.status for window in WINDOWS if window.status in statuses]
        if not statuses:
            self._waiting = [UNFILTERED]
        self._named: dict[str, Row] = {}
        self._anonymous: dict[tuple[bytes, int], Row] = {}
        self._left_out: dict[str, int] = {}
        self._evidence: dict[str | None, Evidence] = {}
        self._refused: list[str] = []
        self._cap: int | None = None
        self._began: datetime | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything was asked for."""
        return not self._waiting

    @property
    def next(self) -> str | None:
        """The status to ask for next; ``UNFILTERED`` for none."""
        return self._waiting[0]

    @property
    def may_refuse(self) -> bool:
        """Whether the API may refuse the next request as invalid without failing the organization.

        True for a window that we added: versions of Cal.com differ in what they know.
        """
        return not self._chosen and self.next is not UNFILTERED

    @property
    def may_lower_limit(self) -> bool:
        """Whether a refused request may be repeated with a lower limit: once, before any response with this one."""
        return self.limit > LOWER_LIMIT and not self._evidence

    def lower_limit(self) -> None:
        """The API refused the limit: go on with the lower one."""
        self.limit = LOWER_LIMIT

    def take(self, rows: list[Row], now: datetime, began: datetime) -> None:
        """Take the answer to the request for :attr:`next`.

        Args:
            rows: As Ravan sent them.
            now: The API's time when it answered.
            began: The API's time before the request was sent.
        """
        status = self._waiting.pop(0)
        if self._began is None:
            self._began = began
        known = len(self._named)
        self._gather(rows)
        full = may_be_cut(len(rows)) and (self._cap is None or len(rows) >= self._cap)
        self._evidence[status] = coverage.look(rows, _SHOWS.get(status or ""), now, full=full)
        if status is UNFILTERED:
            if full:
                self._cap = len(rows)
                self._waiting = [window.status for window in WINDOWS]
            elif not self._evidence[status].proves_more_than_upcoming:
                self._waiting = ["past"]
        elif self._evidence.keys() == {UNFILTERED, status} and not self._cap and (full or len(self._named) > known):
            # The unfiltered answer was not everything, though it was not cut.
            self._waiting = [window.status for window in WINDOWS]

    def refuse(self) -> None:
        """The API does not know the window that was asked for."""
        self._refused.append(str(self._waiting.pop(0)))

    def bookings(self) -> Bookings:
        """What was read, once it is done."""
        assert self._began, "the first request is never refused without failing the organization"
        rows = [*self._named.values(), *self._anonymous.values()]
        full = tuple(status or "unfiltered" for status, each in self._evidence.items() if each.full)
        return Bookings(
            rows, len(self._anonymous), self._evidence, self._refused, self._began, self._cap, full, self._left_out
        )

    def _gather(self, rows: list[Row]) -> None:
        equal: Counter[bytes] = Counter()
        rows, left_out = distinct(rows)
        self._left_out.update(left_out)
        for row in rows:
            uid = identity(row)
            if uid:
                self._named[uid] = row
            else:
                # No id to recognise it by in another window: its content serves, and equal ones are counted.
                content = fingerprint(row)
                equal[content] += 1
                self._anonymous[content, equal[content]] = row
