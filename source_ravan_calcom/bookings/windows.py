"""Cal.com's status filters as windows: what each shows, its order, its caps, and reading an organization. Pure.

The endpoint returns at most 200 rows and has no pages. What it has is Cal.com's status filter, and each filter is
a window of its own onto the account, with a limit of its own and an order of its own. An account that does not fit
into one unfiltered response is read through all of them.

Cal.com's versions differ, and one ignores the filter. So each response is also evidence: of the window's meaning, of
its order, of whether it was cut, and of whether the account still is the one that was read before.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise
from zlib import crc32

from source_ravan_calcom.bookings.records import (
    FINGERPRINT_BYTES,
    Row,
    distinct,
    fingerprint,
    identity,
    is_dead,
    moment,
)

MAX_LIMIT = 200
"""The most rows a response can hold; the contract turns a larger ``limit`` into 50."""

LOWER_LIMIT = 100
"""The limit to go on with where ``MAX_LIMIT`` was refused: versions of Cal.com's API take no more."""

CAPS = (50, LOWER_LIMIT, MAX_LIMIT)
"""Row counts at which a response is cut: the endpoint's default, Cal.com's default page, and the endpoint's most."""

SHORT, OVER = 5, 3
"""How many rows fewer or more than a cap a response that was cut may hold.

Cal.com reads a page of ids and then their rows, and skips an id whose row the second query lacks; and a version of it
has returned one row more than its page.
"""

ODD_ROWS = 2
"""How many rows may contradict a rule: bookings change between the two queries, and between two requests."""

DISTINCT_STARTS = 10
"""How many different starts in the right order show that a window is sorted by start, and not by chance."""

CLOCK_DIFFERENCE = timedelta(minutes=5)
"""How far a row's end may lie on the wrong side of now: Cal.com's clock is not the one that stamps the response."""

EARLIEST_YEAR = 2000
"""No booking is older. Earlier times stand for a missing one: Go's zero time is in the year 1, Unix's in 1970."""

UID_BYTES = 2
"""How much of a fingerprint says which booking it is of; the rest says what the booking's content is."""

UNFILTERED = None
"""The status of a request without a filter."""


@dataclass(frozen=True)
class Window:
    """One of Cal.com's status filters: what each of its rows is like, and what its order proves.

    Attributes:
        status: As it is requested.
        over: Whether its bookings have ended; ``None`` for either.
        dead: Whether they are cancelled or rejected; ``None`` for either.
        latest_first: Its order by start.
    """

    status: str | None
    over: bool | None
    dead: bool | None
    latest_first: bool = False

    @property
    def looks_back(self) -> bool:
        """Whether a cut hides bookings that start before its last row; otherwise it hides those that start after."""
        return self.latest_first

    def contradicts(self, row: Row, now: datetime) -> bool:
        """Whether a row does not belong in the window."""
        if self.dead is not None and is_dead(row) != self.dead:
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
    Window(UPCOMING, over=False, dead=False),  # in a series: accepted; else not dead
    Window(PAST, over=True, dead=False, latest_first=True),
    Window(CANCELLED, over=None, dead=True, latest_first=True),  # whenever it would have started
)
"""The windows, in the order in which they are read.

A booking lives in this direction: it is confirmed, its time comes, it is cancelled at any point; and never back.
Read in the same direction, a booking that changes while we read is met again in a later window, with its newest
version, and can't slip through between two of them. The last version read is the one delivered.
"""

EVERYTHING = Window(UNFILTERED, over=None, dead=None)
"""A request without a filter: every booking, the oldest first."""

BY_STATUS: Mapping[str | None, Window] = {window.status: window for window in (EVERYTHING, *WINDOWS)}


def in_order(statuses: Iterable[str]) -> tuple[str, ...]:
    """The chosen statuses in the order in which they are read, however the user listed them."""
    chosen = set(statuses)
    return tuple(str(window.status) for window in WINDOWS if window.status in chosen)


def near_cap(rows: int, limit: int = MAX_LIMIT) -> int | None:
    """The cap at which a response with so many rows may have been cut; ``None`` where it was not."""
    near = next((cap for cap in CAPS if cap - SHORT <= rows <= cap + OVER), None)
    return near or (rows if rows > limit else None)


@dataclass(frozen=True)
class Covered:
    """What earlier syncs have covered of an organization; kept in the state.

    Attributes:
        read_at: The API's time before the last proven reading: until then everything was seen.
        covered_from: Everything that starts after it was delivered; ``None`` for the beginning of time.
        statuses: The windows that the user had chosen; the claim speaks of these alone.
    """

    read_at: datetime
    covered_from: datetime | None
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What the state holds of one organization.

    Attributes:
        fingerprints: Of its rows but the settled ones, sorted, in base64.
        synced_at: When they were read; ``None`` from a state of version 1.
        covered: The coverage that the next sync continues.
        settled: The fingerprints of the rows that a window which looks back showed.
        gap: The latest gap: from when to when, and when it was found.
        limit: The limit that the API takes, where ``MAX_LIMIT`` was refused.
        cap: The most rows that a response holds, where it is less than the limit.
        shows_pending: Whether ``upcoming`` shows pending bookings, so that ``unconfirmed`` adds none.
        is_doubted: Whether bookings were missing in the last sync. They are still among these: what fails in passing
            comes back, and what stays away is no longer the account's.
        is_old: Whether the fingerprints are of version 1 or 2, which don't tell bookings from contents.
    """

    fingerprints: str
    synced_at: datetime | None = None
    covered: Covered | None = None
    settled: str = ""
    gap: tuple[datetime, datetime, datetime] | None = None
    limit: int | None = None
    cap: int | None = None
    shows_pending: bool = False
    is_doubted: bool = False
    is_old: bool = False


def uid_mark(uid: str | None) -> bytes:
    """The part of a fingerprint that says which booking it is of; the same for all rows without a UID.

    Of an organization's at most 1,200 rows, an unknown UID is taken for a known one in 2 % of cases, so every rule
    about UIDs needs several.
    """
    return (crc32(uid.encode()) & 0xFFFF).to_bytes(UID_BYTES, "big") if uid else bytes(UID_BYTES)


def packed(fingerprints: Iterable[bytes]) -> str:
    """Fingerprints as the state holds them."""
    return base64.b64encode(b"".join(sorted(fingerprints))).decode()


def unpacked(text: str, size: int = FINGERPRINT_BYTES) -> frozenset[bytes]:
    """Read fingerprints of ``size`` bytes from the state.

    Raises:
        ValueError: They are none.
    """
    content = base64.b64decode(text, validate=True)
    if len(content) % size:
        raise ValueError("not a whole number of fingerprints")
    return frozenset(content[start : start + size] for start in range(0, len(content), size))


class Recalled:
    """What was seen before, to hold rows against: which bookings, and what was claimed of them."""

    def __init__(self, seen: Seen | None) -> None:
        rest, settled = (unpacked(seen.fingerprints), unpacked(seen.settled)) if seen else (frozenset(), frozenset())
        self.fingerprints = rest | settled
        self.count = len(rest) + len(settled)
        is_told = seen is not None and not seen.is_old
        self.settled = frozenset(mark[:UID_BYTES] for mark in settled if is_told)
        self.uids = self.settled.union(mark[:UID_BYTES] for mark in rest if is_told)
        self.covered = seen.covered if seen and is_told else None

    def expects(self, row: Row) -> bool:
        """Whether a row was there to be seen: begun before the last proven reading, and inside the claim."""
        covered, start = self.covered, moment(row.get("start_time"))
        if not covered or not start or covered.read_at - start < CLOCK_DIFFERENCE:
            return False
        return covered.covered_from is None or start > covered.covered_from


@dataclass(frozen=True)
class Evidence:
    """The evidence that one response gives.

    Attributes:
        rows: How many it held.
        doubt: What contradicts the window's meaning, in words, or an empty string.
        disorder: What keeps its order from being proven, where it may have been cut.
        last_start: When its last row starts.
        proves_more_than_upcoming: Whether it holds what ``upcoming`` never shows: more than a few rows that are over,
            or that do not take place, or nothing but rows that are over. The version of Cal.com's API that ignores the
            filter shows nothing but what is upcoming.
        known, unknown: How many of its rows, in a window that looks back, were there to be seen before; and were or
            were not.
        entered: How many of its rows no window that looks back showed before.
    """

    rows: int
    doubt: str = ""
    disorder: str = ""
    last_start: datetime | None = None
    proves_more_than_upcoming: bool = False
    known: int = 0
    unknown: int = 0
    entered: int = 0


def look(rows: Sequence[Row], window: Window, now: datetime, recalled: Recalled, limit: int = MAX_LIMIT) -> Evidence:
    """Look at the rows of one response to the request for a window."""
    odd = sum(window.contradicts(row, now) for row in rows) if window.dead is not None else 0
    doubt = f"{odd} of its {len(rows)} rows do not belong in it" if odd > ODD_ROWS or odd * 2 > len(rows) else ""
    last_start, disorder = None, ""
    if near_cap(len(rows), limit):
        starts = [moment(row.get("start_time")) for row in rows]
        last_start, disorder = starts[-1], _disorder(starts, latest_first=window.latest_first)
    known = unknown = entered = 0
    if window.looks_back and recalled.uids:
        marks = [uid_mark(identity(row)) for row in rows]
        were_there = [mark in recalled.uids for row, mark in zip(rows, marks, strict=True) if recalled.expects(row)]
        known, unknown = were_there.count(True), were_there.count(False)
        entered = sum(mark not in recalled.settled for mark in marks)
    return Evidence(len(rows), doubt, disorder, last_start, _proves(rows, now), known, unknown, entered)


def _proves(rows: Sequence[Row], now: datetime) -> bool:
    over = (True for row in rows if _is_over(row, now))
    dead = (True for row in rows if is_dead(row))
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
    """What was read of one organization.

    Attributes:
        rows: Each booking once, in its newest version, as Ravan sent it.
        anonymous: How many of the rows do not say which booking they are.
        evidence: The evidence of each request, by its status.
        refused: The windows that were added by us and that the API does not know.
        began: The API's time before the first request.
        cap: The most rows that a response holds, where that is known and less than the limit.
        full: The requests whose responses may have been cut: ``unfiltered``, or a window.
        limit: The limit that was requested last.
        missing: How many of the bookings seen before are not there, and were not pushed out of a window either.
        is_torn: Whether the windows lack bookings that the unfiltered response holds, though none was cut.
        settled: The UIDs of the rows that a window which looks back showed.
        shows_pending: Whether ``upcoming`` is proven to show pending bookings.
        left_out: How many rows with an ID that another row of the same response has were left out, by that ID.
        uids: The UID of each row; ``None`` for one that has none.
        marks: The :func:`uid_mark` of each row.
        seen_before: The fingerprints in the state.
    """

    rows: list[Row]
    anonymous: int
    evidence: Mapping[str | None, Evidence]
    refused: Sequence[str]
    began: datetime
    cap: int | None = None
    full: tuple[str, ...] = ()
    limit: int = MAX_LIMIT
    left_out: Mapping[str, int] = field(default_factory=dict)
    uids: Sequence[str | None] = ()
    marks: Sequence[bytes] = ()
    seen_before: frozenset[bytes] = frozenset()
    missing: int = 0
    is_torn: bool = False
    settled: frozenset[str | None] = field(default=frozenset(), repr=False)
    shows_pending: bool = False

    @property
    def cut(self) -> dict[Window, datetime]:
        """When the last row of each window that may have been cut starts."""
        windows = {BY_STATUS[status]: each.last_start for status, each in self.evidence.items()}
        return {window: start for window, start in windows.items() if window.status in self.full and start}


class Reading:
    """One organization read through as few windows as it takes, one request after the other.

    Ask for :attr:`next`, hand the rows to :meth:`take`, until there is no next. It takes

    - one request where the unfiltered response is whole and shows by its rows that it is not only what is upcoming;
    - two where a look at the past must show that;
    - six where the unfiltered response may have been cut, or lacks bookings that were seen before;
    - five where about a full response's number of bookings was seen before, because the unfiltered response then shows
      the same oldest ones for ever; and four where ``unconfirmed`` is known to add nothing;
    - one for each chosen status.

    Args:
        statuses: The windows the user chose; empty for every booking.
        before: What the state holds of the organization; ``None`` in a first sync and a full refresh.
        limit: The most rows to request: 100 where this sync knows that 200 is refused.
    """

    def __init__(self, statuses: Sequence[str], before: Seen | None = None, *, limit: int = MAX_LIMIT) -> None:
        self.limit = self._first_limit = min(limit, (before and before.limit) or limit)
        self._chosen = in_order(statuses)
        self._recalled = Recalled(before)
        self._cap = before.cap if before else None
        self._waiting: list[str | None] = [*self._chosen] or [UNFILTERED]
        self._reads_windows = self._recalled.count >= min(self.limit, self._cap or self.limit) - SHORT
        if self._reads_windows and not self._chosen:
            self._waiting = self._windows(without_unconfirmed=before is not None and before.shows_pending)
        self._named: dict[str | None, Row] = {}
        self._marks: dict[str | None, bytes] = {}
        self._anonymous: dict[tuple[bytes, int], Row] = {}
        self._left_out: dict[str, int] = {}
        self._evidence: dict[str | None, Evidence] = {}
        self._uids: dict[str | None, set[str | None]] = {}
        self._has_pending = False
        self._refused: list[str] = []
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
        """Whether the API may refuse the next request without failing the organization.

        True for a window that we added: versions of Cal.com differ in what they know.
        """
        return not self._chosen and self.next is not UNFILTERED

    @property
    def may_lower_limit(self) -> bool:
        """Whether a refused request may be repeated with a lower limit: before any response with this one."""
        return self.limit > LOWER_LIMIT and not self._evidence

    def lower_limit(self) -> None:
        """The API refused the limit: go on with the lower one."""
        self.limit = LOWER_LIMIT

    def take(self, rows: list[Row], at: datetime, began: datetime) -> None:
        """Take the response to the request for :attr:`next`.

        Args:
            rows: As Ravan sent them.
            at: The API's time when it answered.
            began: The API's time before the request was sent.
        """
        status = self._waiting.pop(0)
        self._began = self._began or began
        self._uids[status] = self._gather(rows)
        self._evidence[status] = look(rows, BY_STATUS[status], at, self._recalled, self.limit)
        if status == UPCOMING:
            self._has_pending = any(row.get("status") == "pending" for row in rows)
        self._plan(status)

    def refuse(self) -> None:
        """The API does not know the window that was asked for."""
        self._refused.append(str(self._waiting.pop(0)))
        if not self._evidence:
            self.limit = self._first_limit  # it was not the reason
        self._plan_the_end()

    def bookings(self) -> Bookings:
        """What was read, once it is done."""
        assert self._began, "the last request without any response is never refused without failing the organization"
        full = self._full()
        anonymous = len(self._anonymous)
        return Bookings(
            rows=[*self._named.values(), *self._anonymous.values()],
            uids=[*self._named, *[None] * anonymous],
            marks=[*map(self._marks.__getitem__, self._named), *[uid_mark(None)] * anonymous],
            seen_before=self._recalled.fingerprints,
            anonymous=anonymous,
            evidence=self._evidence,
            refused=self._refused,
            began=self._began,
            cap=self._proven_cap(full),
            full=tuple(status or "unfiltered" for status in full),
            limit=self.limit,
            missing=self._missing(),
            is_torn=self._is_torn(full),
            settled=frozenset().union(*(self._uids.get(each.status, ()) for each in WINDOWS if each.looks_back)),
            shows_pending=self._shows_pending(),
            left_out=self._left_out,
        )

    def _plan(self, status: str | None) -> None:
        """Decide what to ask for next, after the response to the request for ``status``."""
        if self._chosen:
            return
        if not self._reads_windows:
            self._plan_more(status)
        elif status == UPCOMING and self._is_left_out(UNCONFIRMED) and not self._shows_pending():
            # It may add something after all, and must be read before those in which a confirmed booking is met.
            self._waiting = self._windows()
        self._plan_the_end()

    def _plan_more(self, status: str | None) -> None:
        """Decide whether the unfiltered response is everything."""
        is_lacking = self._missing() > ODD_ROWS or len(self._uids[status] - self._uids[UNFILTERED]) > 0
        if near_cap(self._evidence[status].rows, self.limit) or is_lacking:
            self._reads_windows, self._waiting = True, self._windows()
        elif status is UNFILTERED and not self._evidence[status].proves_more_than_upcoming:
            self._waiting = [PAST]

    def _plan_the_end(self) -> None:
        """Ask without a filter, at last, where that decides something."""
        if self._waiting or self._chosen or UNFILTERED in self._evidence:
            return
        if self._refused or self._missing() > ODD_ROWS or self._is_ambiguous():
            self._waiting = [UNFILTERED]

    @staticmethod
    def _windows(*, without_unconfirmed: bool = False) -> list[str | None]:
        return [window.status for window in WINDOWS if not (without_unconfirmed and window.status == UNCONFIRMED)]

    def _is_left_out(self, status: str) -> bool:
        return not {status} & {*self._evidence, *self._refused, *self._waiting}

    def _shows_pending(self) -> bool:
        """Whether ``unconfirmed`` adds nothing: neither of the windows that contain it by definition may be cut, a
        pending booking is in ``upcoming``, and where ``unconfirmed`` was read, its bookings are in the others."""
        if not self._has_pending:
            return False
        whole = (self._evidence.get(status) for status in (RECURRING, UPCOMING))
        if not all(each and not near_cap(each.rows, self.limit) for each in whole):
            return False
        others: Iterable[set[str | None]] = (
            self._uids.get(window.status, set()) for window in WINDOWS if window.status != UNCONFIRMED
        )
        return self._uids.get(UNCONFIRMED, set()) <= set().union(*others)

    def _full(self) -> list[str | None]:
        """The requests whose responses may have been cut.

        All responses have the same cap. So one that holds more than another proves that the other was not cut.
        """
        if self._is_whole():
            return []
        most = max((each.rows for each in self._evidence.values()), default=0)
        caps = {status: near_cap(each.rows, self.limit) for status, each in self._evidence.items()}
        return [status for status, cap in caps.items() if cap and most <= cap + OVER]

    def _is_whole(self) -> bool:
        """Whether the unfiltered response is everything, though its size may be that of a cut one.

        A cut would hide the latest bookings, which are the first of ``past`` and ``cancelled``.
        """
        unfiltered = self._evidence.get(UNFILTERED)
        if not unfiltered or unfiltered.disorder or self._anonymous:
            return False
        return {UPCOMING, PAST, CANCELLED} <= self._evidence.keys() and self._named.keys() == self._uids[UNFILTERED]

    def _is_ambiguous(self) -> bool:
        """Whether a window is full if the cap is less than the limit, which an unfiltered response shows."""
        caps = {near_cap(self._evidence[status].rows, self.limit) for status in self._full()}
        return any(cap and cap < self.limit and cap != self._cap for cap in caps)

    def _proven_cap(self, full: Sequence[str | None]) -> int | None:
        caps = {near_cap(self._evidence[status].rows, self.limit) for status in full}
        cap = max((cap for cap in caps if cap), default=None)
        return cap if cap and cap < self.limit and len(self._named) > cap + OVER else None

    def _missing(self) -> int:
        """How many of the bookings seen before are not there.

        Nothing deletes a booking. One that was settled leaves a window only where that was cut and another came in.
        """
        recalled = self._recalled
        if self._chosen or not recalled.uids:
            return 0
        shown = set(self._marks.values())
        if self._anonymous:
            shown.add(uid_mark(None))
        cut = [status for status in self._full() if status is not UNFILTERED]
        if not cut:
            return len(recalled.uids - shown)
        entered = sum(self._evidence[status].entered for status in cut)
        return max(0, len(recalled.settled - shown) - entered)

    def _is_torn(self, full: Sequence[str | None]) -> bool:
        if {*full} - {UNFILTERED} or not self._reads_windows or UNFILTERED not in self._uids:
            return False
        shown = set().union(*(uids for status, uids in self._uids.items() if status is not UNFILTERED))
        return len(self._uids[UNFILTERED] - shown) > ODD_ROWS

    def _gather(self, rows: list[Row]) -> set[str | None]:
        """Keep the rows of one response, and return the UIDs that it shows."""
        rows, left_out = distinct(rows)
        self._left_out.update(left_out)
        named = dict(zip(map(identity, rows), rows, strict=True))
        if None in named:
            del named[None]
            self._gather_anonymous(row for row in rows if not identity(row))
        self._named.update(named)
        self._marks.update((uid, uid_mark(uid)) for uid in named if uid not in self._marks)
        return set(named)

    def _gather_anonymous(self, rows: Iterable[Row]) -> None:
        """Keep the rows that no id recognises in another window: their content serves, and equal ones are counted."""
        equal: Counter[bytes] = Counter()
        for row in rows:
            content = fingerprint(row)
            equal[content] += 1
            self._anonymous[content, equal[content]] = row
