"""The state: what was seen before, so what is new. Pure.

No field of the API says when a booking changed. So the state of ``appointments`` holds, for each organization, a
fingerprint of every row of the last sync that delivered it. A row whose fingerprint is not among them is new or
changed. A row that left the windows is forgotten, and sent once more if it comes back; merging by primary key makes
that harmless.

State of ``appointments``::

    {"version": 2, "organizations": {"<org_id>": {
        "sent": "<base64 of the sorted fingerprints, 6 bytes each>",
        "synced_at": "<when its rows were read last, by the connector's clock>",
        "read_at": "<until when everything was seen, by the API's clock>",   # these three: coverage.Covered,
        "covered_from": "<…>" or null,                                       # where anything is claimed
        "statuses": ["<chosen windows>"]                                     # where any are
    }}}

State of ``organizations``::

    {"version": 1, "organizations": {"<org_id>": "<synced_at of its bookings>"}}

A state of ``appointments`` of version 1 holds fingerprints of 9 bytes and nothing else. They count; coverage begins
now.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.bookings.coverage import Claim, Covered
from source_ravan_calcom.bookings.records import FINGERPRINT_BYTES, Row, fingerprint, moment, utc_text
from source_ravan_calcom.bookings.windows import Bookings, Seen

__all__ = ["Delivery", "Seen", "State", "compare", "last_reads", "later_than", "organizations_state", "parsed"]

STATE_VERSION = 2
"""To be raised with any change of :func:`records.fingerprint` or of the state's form."""

FINGERPRINT_BYTES_BY_VERSION: Mapping[Any, int] = {1: 9, STATE_VERSION: FINGERPRINT_BYTES}

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
    seen = _unpacked(before.fingerprints) if before else frozenset()
    fingerprints = [fingerprint(row) for row in bookings.rows]
    rows = [row for row, each in zip(bookings.rows, fingerprints, strict=True) if each not in seen]
    claim = coverage.claim(
        bookings.evidence,
        bookings.refused,
        bookings.began,
        statuses,
        before.covered if before else None,
        is_familiar=len(rows) < len(bookings.rows),
    )
    return Delivery(rows, claim, Seen(_packed(set(fingerprints)), synced_at, claim.kept))


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
    size = FINGERPRINT_BYTES_BY_VERSION[version]
    seen: dict[str, Seen] = {}
    for org_id, entry in organizations.items():
        try:
            seen[org_id] = _decoded(entry if size == FINGERPRINT_BYTES else {"sent": _shortened(entry, size)})
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
    entry: dict[str, Any] = {"sent": seen.fingerprints}
    if seen.synced_at:
        entry["synced_at"] = utc_text(seen.synced_at)
    if seen.covered:
        entry["read_at"] = utc_text(seen.covered.read_at)
        entry["covered_from"] = utc_text(seen.covered.covered_from) if seen.covered.covered_from else None
        if seen.covered.statuses:
            entry["statuses"] = list(seen.covered.statuses)
    return entry


def _decoded(entry: Mapping[str, Any]) -> Seen:
    if len(base64.b64decode(entry["sent"], validate=True)) % FINGERPRINT_BYTES:
        raise ValueError
    covered = None
    if "read_at" in entry:
        covered_from = entry["covered_from"]
        statuses = entry.get("statuses", [])
        if not all(isinstance(status, str) for status in statuses):
            raise ValueError
        covered = Covered(
            _point(entry["read_at"]), None if covered_from is None else _point(covered_from), tuple(statuses)
        )
    return Seen(entry["sent"], _point(entry["synced_at"]) if "synced_at" in entry else None, covered)


def _point(text: Any) -> datetime:
    at = moment(text)
    if at is None:
        raise ValueError
    return at


def _shortened(packed: str, size: int) -> str:
    """Fingerprints of ``size`` bytes cut to ours: a shorter one is the beginning of a longer one."""
    return _packed(mark[:FINGERPRINT_BYTES] for mark in _unpacked(packed, size))


def _packed(marks: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(marks))).decode()


def _unpacked(packed: str, size: int = FINGERPRINT_BYTES) -> frozenset[bytes]:
    content = base64.b64decode(packed, validate=True)
    if len(content) % size:
        raise ValueError
    return frozenset(content[start : start + size] for start in range(0, len(content), size))
