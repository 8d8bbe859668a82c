"""Coverage: the time span in which all bookings were delivered, and its gaps. Pure.

A window that was cut hides the bookings beyond its last row. Of the starts of these last rows, ``back`` is the
latest in windows that look back (past, cancelled), and ``ahead`` the earliest in the others. Bookings that start
strictly between the two are visible; strictly, because Cal.com breaks ties in no fixed order.

An earlier sync saw everything up to the time it began. If ``back`` is not after that time, no change since then was
missed, and the earlier coverage continues. Otherwise there is a gap up to ``back``, and coverage restarts.

Coverage continues only if the earlier bookings are still there, and the rows prove each window's meaning and order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from source_ravan_calcom.bookings import windows
from source_ravan_calcom.bookings.windows import ODD_ROWS, UPCOMING, Bookings, Covered, Evidence, Seen

COMPLETE, PARTIAL, FILTERED, UNKNOWN = "complete", "partial", "filtered", "unknown"  # values of the column coverage

STATUSES = "Booking Statuses were changed"
CLOCK = "the API's clock was set back since the last sync"
UPGRADED = "the state was written by an earlier version"
OLDER = "the account shows older bookings than before"
FEWER = "bookings that were read before are missing"
EXCHANGED = "almost all bookings that were read before are missing; another Cal.com account may be connected"
HARMLESS = frozenset({STATUSES, UPGRADED})  # they say nothing about the account

_AT_PRESENT = frozenset({UPCOMING, windows.RECURRING})  # show all ongoing bookings, if `upcoming` shows pending ones


@dataclass(frozen=True)
class Claim:
    """The coverage of one organization as of the moment its reading began.

    Every booking that starts after ``covered_from`` and before ``covered_until`` has been delivered with its status.
    The status is taken as final once a sync has read the booking after its start.
    """

    coverage: str  # COMPLETE, PARTIAL, FILTERED (limited to the chosen windows) or UNKNOWN
    covered_from: datetime | None = None  # None for no bound
    covered_until: datetime | None = None
    gap: tuple[datetime, datetime] | None = None  # opened in this sync: from, to
    causes: tuple[str, ...] = ()  # the cut windows that no longer reach back to the last sync
    doubts: tuple[str, ...] = ()  # contradictions and refused windows
    kept: Covered | None = None  # the coverage that the next sync continues
    is_first: bool = False  # coverage begins with this sync
    reason: str = ""  # why coverage restarts or is unknown: a constant from above


def claim(bookings: Bookings, statuses: Sequence[str], before: Seen | None) -> Claim:
    """Work out the coverage of one organization; for the arguments see :class:`Reading`."""
    chosen = windows.in_order(statuses)
    covered, reason = _history(before, chosen, bookings.began)
    doubts = _doubts(bookings)
    if doubts or not _is_honoured(bookings.evidence):
        unknown = sum(each.unknown for each in bookings.evidence.values())
        # Perhaps another account: its rows replace the state, so coverage restarts in the next sync.
        is_other = max(unknown, bookings.missing) > ODD_ROWS
        return Claim(UNKNOWN, doubts=doubts, kept=None if is_other else covered)
    if before and bookings.missing > ODD_ROWS:
        if not before.is_doubted:
            return Claim(UNKNOWN, kept=covered, reason=FEWER)
        covered, reason = None, FEWER
    if bookings.is_torn:
        return Claim(UNKNOWN, doubts=("unfiltered: it shows bookings that no window shows",), kept=covered)
    ahead = min((start for window, start in bookings.cut.items() if not window.looks_back), default=None)
    start = _start(bookings, covered, reason)
    is_complete = start.covered_from is None and ahead is None
    behind = [(str(window.status), at) for window, at in bookings.cut.items() if window.looks_back]
    return replace(
        start,
        coverage=FILTERED if chosen else COMPLETE if is_complete else PARTIAL,
        covered_until=ahead,
        causes=tuple(status for status, at in behind if start.gap and at > start.gap[0]),
        kept=Covered(_settled(bookings.began, ahead), start.covered_from, chosen),
    )


def _history(before: Seen | None, chosen: tuple[str, ...], began: datetime) -> tuple[Covered | None, str]:
    """The earlier coverage, or ``None`` and the reason if it can't be continued."""
    covered = before.covered if before else None
    if not before or not covered:
        return None, ""
    if before.is_old:
        return None, UPGRADED
    if windows.in_order(covered.statuses) != chosen:
        return None, STATUSES
    if covered.read_at - began > windows.CLOCK_DIFFERENCE:
        return None, CLOCK
    is_all_pending_shown = before.shows_pending or windows.UNCONFIRMED in chosen
    if windows.PAST in chosen and not (is_all_pending_shown and set(chosen) >= _AT_PRESENT):
        return None, ""  # the chosen statuses hide ongoing bookings, so the earlier claim can't be extended
    return covered, ""


def _doubts(bookings: Bookings) -> tuple[str, ...]:
    """Contradictions of a window's meaning or order, and windows that were refused."""
    evidence, full = bookings.evidence, [status for status in bookings.full if status in windows.BY_STATUS]
    doubts = [f"{status}: {each.doubt}" for status, each in evidence.items() if each.doubt]
    doubts += [f"{status}: {evidence[status].disorder}" for status in full if evidence[status].disorder]
    doubts += [f"{status}: Ravan refused it" for status in bookings.refused]
    return tuple(doubts)


def _is_honoured(evidence: Mapping[str | None, Evidence]) -> bool:
    """Whether the API applies the filter: a version that ignores it shows ``upcoming`` in every response."""
    if evidence.keys() <= {UPCOMING}:
        return bool(evidence)
    if any(each.proves_more_than_upcoming for each in evidence.values()):
        return True
    counts = [each.rows for each in evidence.values()]
    return max(counts) - min(counts) > ODD_ROWS


def _start(bookings: Bookings, covered: Covered | None, reason: str) -> Claim:
    """A claim with the start of coverage, and the gap if one opened."""
    back = max((start for window, start in bookings.cut.items() if window.looks_back), default=None)
    if covered is None:
        return Claim("", back, is_first=True, reason=reason)
    if back is None:
        # No window was cut: no bound, unless bookings are missing.
        return Claim("", covered.covered_from if bookings.missing else None)
    if covered.covered_from and back <= covered.covered_from:
        return Claim("", back)
    if back > covered.read_at:
        return Claim("", back, gap=(max(covered.read_at, covered.covered_from or covered.read_at), back))
    reason = _strangeness(bookings.evidence)
    return Claim("", back, is_first=True, reason=reason) if reason else Claim("", covered.covered_from)


def _strangeness(evidence: Mapping[str | None, Evidence]) -> str:
    """Why past bookings suggest another account; empty if they do not."""
    if sum(each.known for each in evidence.values()) <= ODD_ROWS:
        return EXCHANGED
    return OLDER if sum(each.unknown for each in evidence.values()) > ODD_ROWS else ""


def _settled(began: datetime, ahead: datetime | None) -> datetime:
    """The time up to which everything was seen: when the reading began or, if earlier, the cut ahead."""
    return began if ahead is None or ahead > began else ahead - timedelta(milliseconds=1)
