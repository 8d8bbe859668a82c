"""What is complete, from when to when, and when a hole opened. Pure.

The rule, for one organization and one sync: every full window hides what lies beyond its last row. ``back`` is the
latest start of the last rows of the full windows that look back (past, cancelled), ``ahead`` the earliest of those
that look ahead. What starts strictly between them is visible; strictly, because Cal.com breaks ties in no fixed order,
so that rows which share the last row's start may be cut off.

An earlier sync saw everything until it began. If ``back`` does not come after that moment, nothing can have changed
unseen in between, and the stretch that was covered before goes on. Otherwise a gap opened, from that moment to
``back``, and coverage begins anew.

All of this rests on each window holding what its filter means, in its order, and that is looked for in the rows:
versions of Cal.com's API differ, and one ignores the filter altogether. Where the rows do not show it, nothing is
claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise

from source_ravan_calcom.bookings.records import Row, is_dead, moment

CLOCK_DIFFERENCE = timedelta(minutes=5)
"""How far a row's end may lie on the wrong side of now: Cal.com's clock is not the one that stamps the answer."""

ODD_ROWS = 2
"""How many rows of a window may contradict it: Cal.com reads the IDs and the rows in two queries."""

_DAWN = datetime.min.replace(tzinfo=timezone.utc) + timedelta(days=1)
"""Near enough to the beginning of time, which is Go's zero time, for a little to be subtracted."""

DISTINCT_STARTS = 10
"""How many different starts in the right order show that a full window is sorted by start, and not by chance."""

COMPLETE, PARTIAL, FILTERED, UNKNOWN = "complete", "partial", "filtered", "unknown"
"""The values of ``organizations.coverage``."""

LOOKING_BACK = ("past", "cancelled")

AT_PRESENT = frozenset({"upcoming", "recurring"})
"""The windows that together show what has begun and is not over."""


@dataclass(frozen=True)
class Meaning:
    """What every row of a window is like.

    Attributes:
        over: Whether the booking has ended; ``None`` for either.
        dead: Whether it is cancelled or rejected.
    """

    over: bool | None
    dead: bool

    @property
    def latest_first(self) -> bool:
        """The order by start."""
        return self.dead or self.over is True

    def contradicts(self, row: Row, now: datetime) -> bool:
        """Whether a row does not belong in the window."""
        if is_dead(row) != self.dead:
            return True
        if self.over is None:
            return False
        end = moment(row.get("end_time"))
        if end is None:
            return True
        return end - now > CLOCK_DIFFERENCE if self.over else now - end > CLOCK_DIFFERENCE


@dataclass(frozen=True)
class Evidence:
    """The evidence that one answer gives.

    Attributes:
        rows: How many it held.
        full: Whether it may have been cut.
        doubt: What contradicts the window's meaning, in words, or an empty string.
        last_start: When its last row starts, where it was full.
        proves_more_than_upcoming: Whether it holds what ``upcoming`` never shows: a row that is over, or more than
            a few odd ones that do not take place. The version of Cal.com's API that ignores the filter shows
            nothing but what is upcoming.
    """

    rows: int
    full: bool = False
    doubt: str = ""
    last_start: datetime | None = None
    proves_more_than_upcoming: bool = False


def look(rows: Sequence[Row], meaning: Meaning | None, now: datetime, *, full: bool) -> Evidence:
    """Look at the rows of one answer; ``meaning`` is ``None`` for an unfiltered one."""
    proves = any(_is_over(row, now) for row in rows) or sum(map(is_dead, rows)) > ODD_ROWS
    if meaning is None:
        return Evidence(len(rows), full, proves_more_than_upcoming=proves)
    doubt, last_start = "", None
    odd = sum(meaning.contradicts(row, now) for row in rows)
    if odd > ODD_ROWS or odd * 2 > len(rows):
        doubt = f"{odd} of its {len(rows)} rows do not belong in it"
    elif full:
        starts = [moment(row.get("start_time")) for row in rows]
        last_start = starts[-1]
        doubt = _disorder(starts, latest_first=meaning.latest_first)
    return Evidence(len(rows), full, doubt, last_start, proves)


def _is_over(row: Row, now: datetime) -> bool:
    end = moment(row.get("end_time"))
    return end is not None and now - end > CLOCK_DIFFERENCE


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
class Claim:
    """What is claimed of one organization after one sync, as of the moment its reading began.

    Every booking that starts after ``covered_from`` and before ``covered_until`` has been delivered, with its
    status; bookings that had begun before an earlier sync count as settled then. ``None`` where nothing bounds.

    Attributes:
        coverage: ``complete``, ``partial``, ``filtered`` (it speaks of the chosen windows alone) or ``unknown``.
        covered_from, covered_until: The stretch.
        gap: From when to when a hole opened in this sync.
        causes: The full windows that no longer reach back to the last sync.
        doubts: What keeps anything from being claimed, in words; empty where the rows merely show too little.
        kept: What the next sync goes on from.
        is_first: Whether coverage begins with this sync.
        last_gap: The latest gap, from when to when and when it was found; remembered until a full refresh.
        reason: Why coverage began anew or stopped growing, one of the named reasons; empty where nothing is to be said.
    """

    coverage: str
    covered_from: datetime | None = None
    covered_until: datetime | None = None
    gap: tuple[datetime, datetime] | None = None
    causes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    kept: Covered | None = None
    is_first: bool = False
    last_gap: tuple[datetime, datetime, datetime] | None = None
    reason: str = ""


def claim(
    evidence: Mapping[str | None, Evidence],
    refused: Iterable[str],
    began: datetime,
    statuses: Sequence[str],
    before: Covered | None,
    *,
    is_familiar: bool = True,
) -> Claim:
    """What can be claimed.

    Args:
        evidence: The evidence of each request, by its status.
        refused: The windows that the API did not know, whose side is therefore unknown.
        began: The API's time before the first request.
        statuses: The windows the user chose; empty for every booking.
        before: What earlier syncs covered; ``None`` for a first sync and a full refresh.
        is_familiar: Whether any row is as an earlier sync saw it.
    """
    chosen = tuple(statuses)
    goes_on = "past" not in chosen or set(chosen) >= AT_PRESENT
    if before and (before.statuses != chosen or not goes_on):
        before = None  # without what is going on at present, what was under way then has not been seen
    if before and before.read_at - began > CLOCK_DIFFERENCE:
        before = None  # the API's clock was wrong then or is now, so when that was is not known
    doubts = [f"{status}: {each.doubt}" for status, each in evidence.items() if each.doubt]
    doubts += [f"{status}: Ravan refused it" for status in refused]
    if doubts or not _is_honoured(evidence):
        return Claim(UNKNOWN, doubts=tuple(doubts), kept=before)
    ends = {status: each.last_start for status, each in evidence.items() if status and each.last_start}
    behind = {status: start for status, start in ends.items() if status in LOOKING_BACK}
    back = max(behind.values(), default=None)
    ahead = min((start for status, start in ends.items() if status not in behind), default=None)
    if before and back and back <= before.read_at and not is_familiar:
        before = None  # some of these rows were there to be seen: another account has taken this one's place
    covered_from, gap = back, None
    causes: tuple[str, ...] = ()
    if before and (back is None or back <= before.read_at):
        covered_from = None if back is None else before.covered_from
    elif before and back and (before.covered_from is None or back > before.covered_from):
        # A hole that was told before, in what is still to come, is no new one.
        gap = (max(before.read_at, before.covered_from or before.read_at), back)
        causes = tuple(status for status, start in behind.items() if start > gap[0])
    # Where even what has begun does not fit into a window that looks ahead, less than all was seen until now.
    settled = began if ahead is None or ahead > began else max(ahead, _DAWN) - timedelta(milliseconds=1)
    whole = covered_from is None and ahead is None
    return Claim(
        FILTERED if chosen else COMPLETE if whole else PARTIAL,
        covered_from,
        ahead,
        gap,
        causes,
        kept=Covered(settled, covered_from, chosen),
        is_first=before is None,
    )


def _is_honoured(evidence: Mapping[str | None, Evidence]) -> bool:
    """Whether the answers show that the filter was honoured, or that there was none to honour.

    A version that ignores it answers every request alike, with what ``upcoming`` shows.
    """
    if evidence.keys() <= {"upcoming"}:
        return bool(evidence)
    if any(each.proves_more_than_upcoming for each in evidence.values()):
        return True
    counts = [each.rows for each in evidence.values()]
    return min(counts) == 0 and max(counts) > ODD_ROWS
