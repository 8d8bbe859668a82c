"""The state: what was seen before, so what is new. Pure.

No field of the API says when a booking changed. So the state of ``appointments`` holds, for each organization, a
fingerprint of every row of the last sync that delivered it. A row whose fingerprint is not among them is new or
changed. A row that left the windows is forgotten, and sent once more if it comes back; merging by primary key makes
that harmless.

State of ``appointments``::

    {"version": 3, "organizations": {"<org_id>": {
        "sent": "<base64 of the sorted fingerprints, 6 bytes each>",
        "settled": "<the same of the rows that were in past or cancelled>",
        "synced_at": "<when its rows were read last, by the connector's clock>",
        "read_at": "<until when everything was seen, by the API's clock>",   # these three: windows.Covered,
        "covered_from": "<…>" or null,                                       # where anything is claimed
        "statuses": ["<chosen windows>"],                                    # where any are
        "gap": ["<from>", "<to>", "<found at>"],                             # the rest: where there is any
        "limit": 100, "cap": 100, "shows_pending": true, "doubted": true
    }}}

State of ``organizations``::

    {"version": 1, "organizations": {"<org_id>": "<synced_at of its bookings>"}}

A state of ``appointments`` of version 1 or 2 goes on working: what is unchanged is not sent again, and coverage begins
anew. Its fingerprints are of contents alone. Until such an organization is read, its entry stays as it was, with
``"version": 2``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.bookings.records import FINGERPRINT_BYTES, Row, fingerprint, moment, utc_text
from source_ravan_calcom.bookings.windows import (
    MAX_LIMIT,
    UID_BYTES,
    Bookings,
    Covered,
    Seen,
    packed,
    unpacked,
)

__all__ = ["Delivery", "Seen", "State", "compare", "last_reads", "later_than", "organizations_state", "parsed"]

STATE_VERSION = 3
"""To be raised with any change of a fingerprint or of the state's form."""

OF_CONTENTS = 2
"""The last version whose fingerprints are of contents alone."""

FINGERPRINT_BYTES_BY_VERSION: Mapping[Any, int] = {
    1: 9,
    OF_CONTENTS: FINGERPRINT_BYTES,
    STATE_VERSION: FINGERPRINT_BYTES,
}

ORGANIZATIONS_STATE_VERSION = 1

STATES_PER_SYNC = 10
"""About how many states a sync prints if every organization sends something. A state holds every organization, so a
state after each would make their total grow with the square of the number of organizations."""

_LAST = datetime.max.replace(tzinfo=timezone.utc) - timedelta(milliseconds=1)
"""After which no moment is left in the calendar."""


@dataclass(frozen=True)
class Delivery:
    """One organization that was read, compared with the state.

    Attributes:
        rows: The new and changed rows, in the order of reading.
        claim: What is complete, and the gap that opened.
        seen: What the state is to hold once the rows are printed.
    """

    rows: list[Row]
    claim: Claim
    seen: Seen


def compare(bookings: Bookings, before: Seen | None, statuses: Sequence[str], synced_at: datetime) -> Delivery:
    """Compare what was read of one organization with what was seen before.

    Args:
        bookings: Its rows, fit for the schema, and the evidence of its responses.
        before: What the state holds of it; ``None`` in a first sync and a full refresh.
        statuses: The windows the user chose; empty for every booking.
        synced_at: When it was read, by the connector's clock.
    """
    claim = coverage.claim(bookings, statuses, before)
    gap = before.gap if before else None
    if claim.gap:
        gap = (*claim.gap, synced_at)
    is_old = before is not None and before.is_old
    rows: list[Row] = []
    rest: set[bytes] = set()
    settled: set[bytes] = set()
    for row, uid, mark in zip(bookings.rows, bookings.uids, bookings.marks, strict=True):
        content = fingerprint(row)
        # A change passes unseen 2 times in 10^10.
        both = mark + content[: FINGERPRINT_BYTES - UID_BYTES]
        (settled if uid in bookings.settled else rest).add(both)
        if (content if is_old else both) not in bookings.seen_before:
            rows.append(row)
    seen = Seen(
        packed(rest),
        synced_at,
        claim.kept,
        packed(settled),
        gap,
        bookings.limit if bookings.limit < MAX_LIMIT else None,
        bookings.cap,
        bookings.shows_pending,
    )
    if before and claim.reason == coverage.FEWER and claim.coverage == coverage.UNKNOWN:
        seen = _with_missing(seen, before)
    return Delivery(rows, claim, seen)


def _with_missing(seen: Seen, before: Seen) -> Seen:
    """What was seen, and what was seen before and is missing: the next sync decides whether it is gone."""
    shown = {mark[:UID_BYTES] for mark in unpacked(seen.fingerprints) | unpacked(seen.settled)}

    def merged(now: str, then: str) -> str:
        return packed(unpacked(now) | {mark for mark in unpacked(then) if mark[:UID_BYTES] not in shown})

    return replace(
        seen,
        fingerprints=merged(seen.fingerprints, before.fingerprints),
        settled=merged(seen.settled, before.settled),
        is_doubted=True,
    )


class State:
    """The state of ``appointments``: what it holds of each organization, and when it is due to be printed.

    Args:
        org_ids: The organizations of this sync; the state of any other is dropped.
        seen: What :func:`parsed` made of the saved state.
    """

    def __init__(self, org_ids: Sequence[str], seen: Mapping[str, Seen]) -> None:
        self._every = -(-len(org_ids) // STATES_PER_SYNC)
        self._delivered = 0
        self._is_due = True
        self._seen = {org_id: seen[org_id] for org_id in org_ids if org_id in seen}

    def of(self, org_id: str) -> Seen | None:
        """What was seen of an organization before, or ``None``."""
        return self._seen.get(org_id)

    def keep(self, org_id: str, seen: Seen, *, delivered: bool) -> None:
        """Remember an organization whose new rows were all printed; ``delivered`` is whether it had any."""
        self._seen[org_id] = seen
        self._is_due = True
        self._delivered += delivered

    def due(self, *, at_end: bool = False) -> dict[str, Any] | None:
        """The state to print now, or ``None``; at the end, unless the last one printed already said it all."""
        if not (self._is_due if at_end else self._delivered >= self._every):
            return None
        self._is_due, self._delivered = False, 0
        organizations = {org_id: _encoded(seen) for org_id, seen in self._seen.items()}
        return {"version": STATE_VERSION, "organizations": organizations}


def parsed(stream_state: Mapping[str, Any]) -> Mapping[str, Seen]:
    """Parse the saved state of ``appointments``; each organization's part by its ID.

    Raises:
        ValueError: It was not written by this connector, with what is wrong about it.
    """
    if not stream_state:
        return {}
    version = stream_state.get("version")
    is_number = isinstance(version, (int, float)) and not isinstance(version, bool)
    if not is_number or version not in FINGERPRINT_BYTES_BY_VERSION:
        found = f"version {version}" if isinstance(version, int) else "no version"
        raise ValueError(f"it has {found}, this connector writes version {STATE_VERSION}")
    organizations = stream_state.get("organizations")
    if not isinstance(organizations, Mapping):
        raise ValueError("it holds no organizations")
    seen: dict[str, Seen] = {}
    for org_id, entry in organizations.items():
        try:
            seen[org_id] = _decoded(entry, version)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"its entry for organization {org_id} is damaged") from None
    return seen


def last_reads(stream_state: Mapping[str, Any]) -> dict[str, datetime]:
    """Parse the saved state of ``organizations``: when each was read last. What is not understood is left out."""
    version, entries = stream_state.get("version"), stream_state.get("organizations")
    if version != ORGANIZATIONS_STATE_VERSION or not isinstance(entries, Mapping):
        return {}
    return {org_id: at for org_id, text in entries.items() if (at := moment(text))}


def organizations_state(last_reads: Mapping[str, datetime]) -> dict[str, Any]:
    """The state of ``organizations``, to be printed."""
    organizations = {org_id: utc_text(at) for org_id, at in last_reads.items()}
    return {"version": ORGANIZATIONS_STATE_VERSION, "organizations": organizations}


def later_than(floor: datetime | None, now: datetime) -> datetime:
    """Now, or just after ``floor``: a clock may be set back, and a newer version must stay the newer."""
    return now if floor is None else max(now, min(floor, _LAST) + timedelta(milliseconds=1))


def _encoded(seen: Seen) -> dict[str, Any]:
    covered = seen.covered
    entry = {
        "version": OF_CONTENTS if seen.is_old else None,
        "sent": seen.fingerprints,
        "settled": seen.settled or None,
        "synced_at": utc_text(seen.synced_at) if seen.synced_at else None,
        "read_at": utc_text(covered.read_at) if covered else None,
        "statuses": list(covered.statuses) if covered and covered.statuses else None,
        "gap": [utc_text(at) for at in seen.gap] if seen.gap else None,
        "limit": seen.limit,
        "cap": seen.cap,
        "shows_pending": seen.shows_pending or None,
        "doubted": seen.is_doubted or None,
    }
    entry = {name: value for name, value in entry.items() if value is not None}
    if covered:
        entry["covered_from"] = utc_text(covered.covered_from) if covered.covered_from else None
    return entry


def _decoded(entry: Any, version: Any) -> Seen:
    if version == 1:
        # A shorter fingerprint is the beginning of a longer one.
        size = FINGERPRINT_BYTES_BY_VERSION[version]
        return Seen(packed(each[:FINGERPRINT_BYTES] for each in unpacked(entry, size)), is_old=True)
    for fingerprints in (entry["sent"], entry.get("settled", "")):
        if len(base64.b64decode(fingerprints, validate=True)) % FINGERPRINT_BYTES:
            raise ValueError
    begin, end, found_at = map(_point, entry["gap"]) if "gap" in entry else (None, None, None)
    return Seen(
        entry["sent"],
        _point(entry["synced_at"]) if "synced_at" in entry else None,
        _covered(entry) if "read_at" in entry else None,
        entry.get("settled", ""),
        (begin, end, found_at) if begin and end and found_at else None,
        _count(entry.get("limit")),
        _count(entry.get("cap")),
        entry.get("shows_pending", False) is True,
        entry.get("doubted", False) is True,
        is_old=entry.get("version", version) == OF_CONTENTS,
    )


def _covered(entry: Mapping[str, Any]) -> Covered:
    statuses, covered_from = entry.get("statuses", []), entry["covered_from"]
    if not all(isinstance(status, str) for status in statuses):
        raise ValueError
    return Covered(_point(entry["read_at"]), None if covered_from is None else _point(covered_from), tuple(statuses))


def _count(number: Any) -> int | None:
    """A limit or a cap: a number of rows that a response can hold."""
    if number is not None and not (isinstance(number, int) and 0 < number <= MAX_LIMIT):
        raise ValueError
    return number


def _point(text: Any) -> datetime:
    at = moment(text) if isinstance(text, str) else None
    if at is None:
        raise ValueError
    return at
