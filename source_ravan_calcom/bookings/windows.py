"""Cal.com's status filters as windows: their rows, order and caps, and reading an organization. Pure.

The endpoint returns at most 200 rows and has no pages, but each status filter is a window onto the account with its own
limit and order. A large account is read through these windows.

Versions of Cal.com differ, and one ignores the filter. So each response is also evidence of which bookings the
window shows, in which order, whether it was cut, and whether the account is still the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise

from source_ravan_calcom.bookings import records
from source_ravan_calcom.bookings.records import MARK, Key, Row, moment, uid_mark, unpacked

MAX_LIMIT = 200  # the most rows a response can hold; the endpoint turns a larger limit into 50
LOWER_LIMIT = 100  # some versions of Cal.com's API take no more
CAPS = (50, LOWER_LIMIT, MAX_LIMIT)  # where a response is cut: the endpoint's default, Cal.com's, the maximum
SHORT, OVER = 5, 3
"""A response that was cut may hold up to ``SHORT`` rows fewer than a cap, or up to ``OVER`` rows more.

Cal.com reads a page of ids and then their rows, and skips an id whose row is missing; one version returns one more row.
"""

ODD_ROWS = 2  # rows that may contradict a rule, because bookings change between two requests
DISTINCT_STARTS = 10  # if this many are in order, the window is sorted by start
CLOCK_DIFFERENCE = timedelta(minutes=5)  # Cal.com's clock is not the one that dates the response
EARLIEST_YEAR = 2000  # no booking is older
UNFILTERED = None  # the status of a request without a filter


@dataclass(frozen=True)
class Window:
    """One of Cal.com's status filters."""

    status: str | None
    over: bool | None  # whether its bookings have ended; None for either
    dead: bool | None  # whether they are cancelled or rejected; None for either
    looks_back: bool = False  # sorted by start, latest first, so that a cut hides earlier bookings and not later ones

    def contradicts(self, row: Row, now: datetime) -> bool:
        """Whether a row does not belong in the window."""
        if self.dead is not None and records.is_dead(row) != self.dead:
            return True
        if self.over is None:
            return False
        end = moment(row.get("end_time"))
        if end is None:
            return True
        return end - now > CLOCK_DIFFERENCE if self.over else now - end > CLOCK_DIFFERENCE


UNCONFIRMED, RECURRING, UPCOMING, PAST, CANCELLED = "unconfirmed", "recurring", "upcoming", "past", "cancelled"

WINDOWS: tuple[Window, ...] = (
    Window(UNCONFIRMED, over=False, dead=False),  # pending
    Window(RECURRING, over=False, dead=False),  # part of a series
    Window(UPCOMING, over=False, dead=False),  # all but dead ones; of a series, only accepted ones
    Window(PAST, over=True, dead=False, looks_back=True),
    Window(CANCELLED, over=None, dead=True, looks_back=True),  # past and future ones
)
"""The windows, in the order in which they are read.

Bookings move only down this list: they are confirmed, become past, and may be cancelled at any point. A booking that
changes during the reading is read again in a later window; the last version is delivered.
"""

EVERYTHING = Window(UNFILTERED, over=None, dead=None)  # every booking, the oldest first
BY_STATUS: Mapping[str | None, Window] = {window.status: window for window in (EVERYTHING, *WINDOWS)}


def in_order(statuses: Iterable[str]) -> tuple[str, ...]:
    """Sort the chosen statuses into the order of reading."""
    chosen = set(statuses)
    return tuple(str(window.status) for window in WINDOWS if window.status in chosen)


def near_cap(rows: int, limit: int = MAX_LIMIT) -> int | None:
    """Return the cap at which a response of this many rows may have been cut; ``None`` if it was not cut."""
    near = next((cap for cap in CAPS if cap - SHORT <= rows <= cap + OVER), None)
    return near or (rows if rows > limit else None)


@dataclass(frozen=True)
class Covered:
    """The coverage that the state holds of an organization."""

    read_at: datetime  # by the API's clock; every booking and change until then was seen
    covered_from: datetime | None  # every booking that starts later was delivered; None for no bound
    statuses: tuple[str, ...] = ()  # the chosen windows, to which the claim is limited


@dataclass(frozen=True)
class Seen:
    """The state of one organization."""

    fingerprints: bytes  # of its rows except the settled ones, sorted, one after the other
    synced_at: datetime | None = None  # when they were read
    covered: Covered | None = None
    settled: bytes = b""  # the fingerprints of the rows in windows that look back
    gap: tuple[datetime, datetime, datetime] | None = None  # the latest: from, to, found at
    limit: int | None = None  # if MAX_LIMIT was refused
    cap: int | None = None  # the most rows that a response holds, if it is less than the limit
    shows_pending: bool = False  # `upcoming` shows pending bookings, so `unconfirmed` adds none
    is_doubted: bool = False  # bookings were missing in the last sync; their fingerprints are kept
    is_old: bool = False  # from version 1 or 2: fingerprints of contents alone, without UIDs


class Recalled:
    """The earlier state, unpacked to compare rows with."""

    def __init__(self, seen: Seen | None) -> None:
        rest, settled = (seen.fingerprints, seen.settled) if seen else (b"", b"")
        self.fingerprints = unpacked(rest + settled)
        has_marks = seen is not None and not seen.is_old
        self.uids = unpacked(rest + settled, MARK) if has_marks else frozenset()
        self.settled = unpacked(settled, MARK) if has_marks else frozenset()
        self.covered = seen.covered if seen and has_marks else None

    def expects(self, row: Row) -> bool:
        """Whether a booking should be in the state: it began before the last reading, in the covered period."""
        covered, start = self.covered, moment(row.get("start_time"))
        if not covered or not start or covered.read_at - start < CLOCK_DIFFERENCE:
            return False
        return covered.covered_from is None or start > covered.covered_from


@dataclass(frozen=True)
class Evidence:
    """The evidence that one response gives."""

    rows: int
    doubt: str = ""  # a contradiction of the window's meaning, as the end of a sentence
    disorder: str = ""  # why its order is not proven, if it may have been cut
    last_start: datetime | None = None  # the start of its last row, if it may have been cut
    proves_more_than_upcoming: bool = False  # a version that ignores the filter shows only upcoming ones
    known: int = 0  # in a window that looks back: rows that are expected in the state, and are in it
    unknown: int = 0  # rows that are expected in it, but are not
    entered: int = 0  # rows that are not among the state's settled ones


def look(rows: Sequence[Row], window: Window, now: datetime, recalled: Recalled, limit: int = MAX_LIMIT) -> Evidence:
    """Gather the evidence of a window's response."""
    odd = sum(window.contradicts(row, now) for row in rows) if window.dead is not None else 0
    doubt = f"{odd} of its {len(rows)} rows do not belong in it" if odd > ODD_ROWS or odd * 2 > len(rows) else ""
    last_start, disorder = None, ""
    if near_cap(len(rows), limit):
        starts = [moment(row.get("start_time")) for row in rows]
        last_start, disorder = starts[-1], _disorder(starts, latest_first=window.looks_back)
    known = unknown = entered = 0
    if window.looks_back and recalled.uids:
        marks = [uid_mark(records.identity(row) or "") for row in rows]
        were_there = [mark in recalled.uids for row, mark in zip(rows, marks, strict=True) if recalled.expects(row)]
        known, unknown = were_there.count(True), were_there.count(False)
        entered = sum(mark not in recalled.settled for mark in marks)
    return Evidence(len(rows), doubt, disorder, last_start, _proves(rows, now), known, unknown, entered)


def _proves(rows: Sequence[Row], now: datetime) -> bool:
    """Whether all bookings have ended, or more than ``ODD_ROWS`` have, or more than ``ODD_ROWS`` are dead."""
    over = (True for row in rows if _is_over(row, now))
    dead = (True for row in rows if records.is_dead(row))
    few = ODD_ROWS + 1
    if len(list(islice(over, few))) == few or len(list(islice(dead, few))) == few:
        return True
    return bool(rows) and all(_is_over(row, now) for row in rows)


def _is_over(row: Row, now: datetime) -> bool:
    start, end = moment(row.get("start_time")), moment(row.get("end_time"))
    if not start or not end or start.year < EARLIEST_YEAR or start >= end:
        return False
    return now - end > CLOCK_DIFFERENCE


def _disorder(starts: Sequence[datetime | None], *, latest_first: bool) -> str:
    known = [start for start in starts if start is not None]
    if starts[-1] is None or len(known) < len(starts) - ODD_ROWS:
        return "the starts of its rows can't be read"
    pairs = list(pairwise(known))
    backwards = sum(after > before if latest_first else after < before for before, after in pairs)
    if backwards > ODD_ROWS:
        return "its rows are not in the order of their start"
    if len(set(known)) < DISTINCT_STARTS:
        return "too many of its rows start together to show their order"
    return ""


@dataclass(frozen=True)
class Bookings:
    """The result of reading one organization."""

    rows: list[Row]  # each booking once, in its newest version, as Ravan sent it
    evidence: Mapping[str | None, Evidence]  # by the status of the request
    refused: Sequence[str]  # windows that the API does not know
    began: datetime  # the API's time before the first request
    cap: int | None = None  # as in Seen
    full: tuple[str, ...] = ()  # responses that may have been cut: "unfiltered", or a window
    limit: int = MAX_LIMIT  # of the last request
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows left out, by the ID they share with another
    keys: Sequence[Key] = ()  # of each row
    marks: Sequence[bytes] = ()  # the uid_mark of each row
    seen_before: frozenset[bytes] = frozenset()  # the fingerprints in the state
    missing: int = 0  # bookings that were seen before and are missing, except those pushed out of a full window
    is_torn: bool = False  # no window was cut, yet the windows lack bookings of the unfiltered response
    settled: frozenset[Key] = frozenset()  # the rows in windows that look back
    shows_pending: bool = False

    @property
    def cut(self) -> dict[Window, datetime]:
        """The start of the last row of each window that may have been cut."""
        windows = {BY_STATUS[status]: each.last_start for status, each in self.evidence.items()}
        return {window: start for window, start in windows.items() if window.status in self.full and start}


class Reading:
    """Reads one organization with as few requests as possible, one after the other.

    Request :attr:`next`, and hand the rows to :meth:`take`, until :attr:`is_done`. Items 1 and 2 of BEHAVIOR.md
    explain the number of requests and their order.

    ``statuses`` are the windows the user chose, empty for every booking; ``before`` is the organization's state;
    ``limit`` is 100 if this sync knows that 200 is refused.
    """

    def __init__(self, statuses: Sequence[str], before: Seen | None = None, *, limit: int = MAX_LIMIT) -> None:
        self.limit = self._first_limit = min(limit, (before and before.limit) or limit)
        self._chosen = in_order(statuses)
        self._recalled = Recalled(before)
        self._cap = before.cap if before else None
        self._waiting: list[str | None] = [*self._chosen] or [UNFILTERED]
        self._reads_windows = len(self._recalled.fingerprints) >= min(self.limit, self._cap or self.limit) - SHORT
        if self._reads_windows and not self._chosen:
            skipped = UNCONFIRMED if before and before.shows_pending else None
            self._waiting = [window.status for window in WINDOWS if window.status != skipped]
        self._rows: dict[Key, Row] = {}
        self._marks: dict[Key, bytes] = {}
        self._left_out: dict[str, int] = {}
        self._evidence: dict[str | None, Evidence] = {}
        self._keys: dict[str | None, set[Key]] = {}
        self._has_pending = False
        self._refused: list[str] = []
        self._began: datetime | None = None

    @property
    def is_done(self) -> bool:
        """Whether no request is left."""
        return not self._waiting

    @property
    def next(self) -> str | None:
        """The status to request next."""
        return self._waiting[0]

    @property
    def may_refuse(self) -> bool:
        """Whether the next request is for a window that the user did not choose."""
        return not self._chosen and self.next is not UNFILTERED

    def lower_limit(self) -> bool:
        """Request fewer rows from now on; ``False`` if the API has accepted the limit, or it is already low."""
        if self.limit <= LOWER_LIMIT or self._evidence:
            return False
        self.limit = LOWER_LIMIT
        return True

    def take(self, rows: list[Row], at: datetime, began: datetime) -> None:
        """Take the rows of the request for :attr:`next`, which started at ``began`` and ended at ``at``."""
        status = self._waiting.pop(0)
        self._began = self._began or began
        found, left_out = records.distinct(rows)
        self._rows.update(found)
        self._marks.update((key, uid_mark(key)) for key in found.keys() - self._marks.keys())
        self._left_out.update(left_out)
        self._keys[status] = set(found)
        self._evidence[status] = look(rows, BY_STATUS[status], at, self._recalled, self.limit)
        if status == UPCOMING:
            self._has_pending = any(row.get("status") == "pending" for row in rows)
        self._plan(status)

    def refuse(self) -> None:
        """Leave out the requested window, which the API does not know."""
        self._refused.append(str(self._waiting.pop(0)))
        if not self._evidence:
            self.limit = self._first_limit  # the limit was not the reason for the refusal
        self._plan_the_end()

    def bookings(self) -> Bookings:
        """The result, once the reading is done."""
        assert self._began, "no response was taken"
        full = self._full()
        cap = self._lower_cap(full)
        return Bookings(
            rows=[*self._rows.values()],
            keys=[*self._rows],
            marks=[*map(self._marks.__getitem__, self._rows)],
            seen_before=self._recalled.fingerprints,
            evidence=self._evidence,
            refused=self._refused,
            began=self._began,
            cap=cap if cap and len(self._rows) > cap + OVER else None,
            full=tuple(status or "unfiltered" for status in full),
            limit=self.limit,
            missing=self._missing(),
            is_torn=self._is_torn(full),
            settled=frozenset(self._shown_by(window for window in WINDOWS if window.looks_back)),
            shows_pending=self._shows_pending(),
            left_out=self._left_out,
        )

    def _plan(self, status: str | None) -> None:
        """Decide on the next requests after the response for ``status``."""
        if self._chosen:
            return
        tried = {*self._evidence, *self._refused, *self._waiting}
        if not self._reads_windows:
            self._plan_more(status)
        elif status == UPCOMING and UNCONFIRMED not in tried and not self._shows_pending():
            # `unconfirmed` may add bookings after all. Start over with it: confirmed bookings move to later windows.
            self._waiting = [window.status for window in WINDOWS]
        self._plan_the_end()

    def _plan_more(self, status: str | None) -> None:
        """Request more unless the unfiltered response is complete."""
        is_lacking = self._missing() > ODD_ROWS or not self._keys[status] <= self._keys[UNFILTERED]
        if near_cap(self._evidence[status].rows, self.limit) or is_lacking:
            self._reads_windows, self._waiting = True, [window.status for window in WINDOWS]
        elif status is UNFILTERED and not self._evidence[status].proves_more_than_upcoming:
            self._waiting = [PAST]

    def _plan_the_end(self) -> None:
        """End with an unfiltered request if its response is needed to judge the windows."""
        if self._waiting or self._chosen or UNFILTERED in self._evidence:
            return
        # The last condition: an unfiltered response shows whether there is a cap below the limit.
        if self._refused or self._missing() > ODD_ROWS or self._lower_cap(self._full()) not in (None, self._cap):
            self._waiting = [UNFILTERED]

    def _shows_pending(self) -> bool:
        """Whether ``unconfirmed`` is proven to add no booking."""
        if not self._has_pending:
            return False
        whole = (self._evidence.get(status) for status in (RECURRING, UPCOMING))
        if not all(each and not near_cap(each.rows, self.limit) for each in whole):
            return False
        return self._keys.get(UNCONFIRMED, set()) <= self._shown_by(w for w in WINDOWS if w.status != UNCONFIRMED)

    def _shown_by(self, windows: Iterable[Window]) -> set[Key]:
        return {key for window in windows for key in self._keys.get(window.status, ())}

    def _full(self) -> list[str | None]:
        """The statuses of responses that may have been cut."""
        if self._is_whole():
            return []
        # All responses have the same cap, so a larger response proves that a smaller one was not cut.
        most = max((each.rows for each in self._evidence.values()), default=0)
        caps = {status: near_cap(each.rows, self.limit) for status, each in self._evidence.items()}
        return [status for status, cap in caps.items() if cap and most <= cap + OVER]

    def _is_whole(self) -> bool:
        """Whether the windows show that the unfiltered response is whole, although it seems to be cut."""
        # A cut would hide the latest bookings, and those come first in `past` and `cancelled`.
        unfiltered = self._evidence.get(UNFILTERED)
        if not unfiltered or unfiltered.disorder:
            return False
        return {UPCOMING, PAST, CANCELLED} <= self._evidence.keys() and self._rows.keys() == self._keys[UNFILTERED]

    def _lower_cap(self, full: Iterable[str | None]) -> int | None:
        """The cap of these responses, if it is below the limit."""
        caps = (near_cap(self._evidence[status].rows, self.limit) for status in full)
        return max((cap for cap in caps if cap and cap < self.limit), default=None)

    def _missing(self) -> int:
        """Count the bookings that were seen before and are missing. Bookings are never deleted."""
        recalled = self._recalled
        if self._chosen or not recalled.uids:
            return 0
        shown = set(self._marks.values())
        cut = [status for status in self._full() if status is not UNFILTERED]
        if not cut:
            return len(recalled.uids - shown)
        # A settled booking leaves a full window only if another booking enters it.
        entered = sum(self._evidence[status].entered for status in cut)
        return max(0, len(recalled.settled - shown) - entered)

    def _is_torn(self, full: Sequence[str | None]) -> bool:
        if {*full} - {UNFILTERED} or not self._reads_windows or UNFILTERED not in self._keys:
            return False
        return len(self._keys[UNFILTERED] - self._shown_by(WINDOWS)) > ODD_ROWS
