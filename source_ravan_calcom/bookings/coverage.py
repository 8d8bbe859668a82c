"""What is complete, from when to when, and when a gap opened. Pure.

The rule, for one organization and one sync: every cut window hides what lies beyond its last row. ``back`` is the
latest start of the last rows of the cut windows that look back (past, cancelled), ``ahead`` the earliest of those
that look ahead. What starts strictly between them is visible; strictly, because Cal.com breaks ties in no fixed order,
so that rows which share the last row's start may be cut off.

An earlier sync saw everything until it began. If ``back`` does not come after that moment, nothing can have changed
unseen in between, and the stretch that was covered before goes on. Otherwise a gap opened, from that moment to
``back``, and coverage begins anew.

That holds while the account shows what it showed before, and more. So the stretch goes on only where the bookings that
were over at the last reading are known, and where none is missing: nothing deletes a booking. And all of this rests on
each window holding what its filter means, in its order, and that is looked for in the rows. Where the rows do not show
it, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from source_ravan_calcom.bookings.windows import (
    BY_STATUS,
    CLOCK_DIFFERENCE,
    ODD_ROWS,
    PAST,
    RECURRING,
    UNCONFIRMED,
    UPCOMING,
    Bookings,
    Covered,
    Evidence,
    Seen,
    in_order,
)

COMPLETE, PARTIAL, FILTERED, UNKNOWN = "complete", "partial", "filtered", "unknown"
"""The values of ``organizations.coverage``."""

STATUSES = "Booking Statuses were changed"
CLOCK = "the API's clock was set back since the last sync"
UPGRADED = "the state was written by an earlier version"
OLDER = "the account shows older bookings than before"
FEWER = "bookings that were read before are missing"
EXCHANGED = "hardly a booking is there that was read before; another Cal.com account may be connected"
HARMLESS = frozenset({STATUSES, UPGRADED})
"""The reasons that say nothing about the account."""

REASONS = (STATUSES, CLOCK, UPGRADED, OLDER, FEWER, EXCHANGED)
"""Why coverage began anew, or is unknown this time. Each is said in the sync in which it happens."""

_DAWN = datetime.min.replace(tzinfo=timezone.utc) + timedelta(days=1)
"""Near enough to the beginning of time for a little to be subtracted."""

_AT_PRESENT = frozenset({UPCOMING, RECURRING})
"""The windows that together show what has begun and is not over, if ``upcoming`` shows pending bookings."""


@dataclass(frozen=True)
class Claim:
    """What is claimed of one organization after one sync, as of the moment its reading began.

    Every booking that starts after ``covered_from`` and before ``covered_until`` has been delivered, with its
    status; bookings that had begun before an earlier sync count as settled then. ``None`` where nothing bounds.

    Attributes:
        coverage: ``complete``, ``partial``, ``filtered`` (it speaks of the chosen windows alone) or ``unknown``.
        covered_from, covered_until: The stretch.
        gap: From when to when a gap opened in this sync.
        causes: The cut windows that no longer reach back to the last sync.
        doubts: What keeps anything from being claimed, in words; empty where the rows merely show too little.
        kept: What the next sync goes on from.
        is_first: Whether coverage begins with this sync.
        reason: Why coverage begins anew or is unknown, one of ``REASONS``; empty where nothing is to be said.
    """

    coverage: str
    covered_from: datetime | None = None
    covered_until: datetime | None = None
    gap: tuple[datetime, datetime] | None = None
    causes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    kept: Covered | None = None
    is_first: bool = False
    reason: str = ""


@dataclass(frozen=True)
class _Start:
    """Where the claim begins: after ``covered_from``; the rest as in :class:`Claim`."""

    covered_from: datetime | None
    gap: tuple[datetime, datetime] | None = None
    is_first: bool = False
    reason: str = ""


def claim(bookings: Bookings, statuses: Sequence[str], before: Seen | None) -> Claim:
    """What can be claimed.

    Args:
        bookings: What was read, and its evidence.
        statuses: The windows the user chose; empty for every booking.
        before: What the state holds; ``None`` for a first sync and a full refresh.
    """
    chosen = in_order(statuses)
    covered, reason = _history(before, chosen, bookings.began)
    doubts = _doubts(bookings)
    if doubts or not _is_honoured(bookings.evidence):
        unknown = sum(each.unknown for each in bookings.evidence.values())
        is_other = max(unknown, bookings.missing) > ODD_ROWS  # the next sync could not tell any more
        return Claim(UNKNOWN, doubts=doubts, kept=None if is_other else covered)
    if before and bookings.missing > ODD_ROWS:
        if not before.is_doubted:
            return Claim(UNKNOWN, kept=covered, reason=FEWER)
        covered, reason = None, FEWER
    if bookings.is_torn:
        return Claim(UNKNOWN, doubts=("unfiltered: it shows bookings that no window shows",), kept=covered)
    ahead = min((start for window, start in bookings.cut.items() if not window.looks_back), default=None)
    start = _start(bookings, covered, reason)
    return Claim(
        _coverage(chosen, start.covered_from, ahead),
        start.covered_from,
        ahead,
        start.gap,
        _causes(bookings, start.gap),
        kept=Covered(_settled(bookings.began, ahead), start.covered_from, chosen),
        is_first=start.is_first,
        reason=start.reason,
    )


def _history(before: Seen | None, chosen: tuple[str, ...], began: datetime) -> tuple[Covered | None, str]:
    """The earlier claim, if it can be gone on from, and the reason if it can't."""
    covered = before.covered if before else None
    if not before or not covered:
        return None, ""
    if before.is_old:
        return None, UPGRADED
    if in_order(covered.statuses) != chosen:
        return None, STATUSES
    if covered.read_at - began > CLOCK_DIFFERENCE:
        return None, CLOCK
    is_all_pending_shown = before.shows_pending or UNCONFIRMED in chosen
    if PAST in chosen and not (is_all_pending_shown and set(chosen) >= _AT_PRESENT):
        return None, ""  # the chosen statuses hide ongoing bookings, so no claim about the past goes on
    return covered, ""


def _doubts(bookings: Bookings) -> tuple[str, ...]:
    """What contradicts the meaning or the order of the windows, or keeps one of them from being read."""
    doubts = [f"{status}: {each.doubt}" for status, each in bookings.evidence.items() if each.doubt]
    doubts += [
        f"{status}: {bookings.evidence[status].disorder}"
        for status in bookings.full
        if status in BY_STATUS and bookings.evidence[status].disorder
    ]
    doubts += [f"{status}: Ravan refused it" for status in bookings.refused]
    return tuple(doubts)


def _is_honoured(evidence: Mapping[str | None, Evidence]) -> bool:
    """Whether the responses show that the filter was honoured, or that there was none to honour.

    A version that ignores it answers every request alike, with what ``upcoming`` shows.
    """
    if evidence.keys() <= {UPCOMING}:
        return bool(evidence)
    if any(each.proves_more_than_upcoming for each in evidence.values()):
        return True
    counts = [each.rows for each in evidence.values()]
    return max(counts) - min(counts) > ODD_ROWS


def _start(bookings: Bookings, covered: Covered | None, reason: str) -> _Start:
    """Where the claim begins: at the last row of what this reading shows, or where an earlier claim began."""
    back = max((start for window, start in bookings.cut.items() if window.looks_back), default=None)
    if covered is None:
        return _Start(back, is_first=True, reason=reason)
    if back is None:
        # What was out of reach before is not in reach now, unless all that was seen is there.
        return _Start(covered.covered_from if bookings.missing else None)
    if covered.covered_from and back <= covered.covered_from:
        return _Start(back)
    if back > covered.read_at:
        return _Start(back, gap=(max(covered.read_at, covered.covered_from or covered.read_at), back))
    reason = _strangeness(bookings.evidence)
    return _Start(back, is_first=True, reason=reason) if reason else _Start(covered.covered_from)


def _strangeness(evidence: Mapping[str | None, Evidence]) -> str:
    """Why the account is not the one that was read before, by the bookings that were over then; empty if it is."""
    if sum(each.known for each in evidence.values()) <= ODD_ROWS:
        return EXCHANGED
    return OLDER if sum(each.unknown for each in evidence.values()) > ODD_ROWS else ""


def _causes(bookings: Bookings, gap: tuple[datetime, datetime] | None) -> tuple[str, ...]:
    return tuple(
        str(window.status) for window, start in bookings.cut.items() if gap and window.looks_back and start > gap[0]
    )


def _settled(began: datetime, ahead: datetime | None) -> datetime:
    """Until when everything was seen: if a forward window is cut before now, only up to the cut."""
    if ahead is None or ahead > began:
        return began
    return max(ahead, _DAWN) - timedelta(milliseconds=1)


def _coverage(chosen: tuple[str, ...], covered_from: datetime | None, covered_until: datetime | None) -> str:
    if chosen:
        return FILTERED
    return COMPLETE if covered_from is None and covered_until is None else PARTIAL
