"""The state of earlier syncs, and the rows that are new compared with it. Pure.

No field of the API says when a booking changed, so the state of ``appointments`` holds the fingerprint of every row of
the last sync; a row whose fingerprint is not among them is new or changed.

State of ``appointments``::

    {"version": 3, "organizations": {"<org_id>": {
        "sent": "<base64 of the sorted fingerprints, 6 bytes each, without the settled ones>",
        "settled": "<the same for the rows in past or cancelled>",
        "synced_at": "<when its rows were last read, by the connector's clock>",
        "read_at": "<everything was seen up to then, by the API's clock>", "covered_from": "<…>" or null,
        "statuses": ["<chosen windows>"], "gap": ["<from>", "<to>", "<found at>"],
        "limit": 100, "cap": 100, "shows_pending": true, "doubted": true
    }}}

State of ``organizations``::

    {"version": 1, "organizations": {"<org_id>": "<synced_at of its bookings>"}}

Versions 1 and 2 hold fingerprints of contents alone: coverage restarts, but unchanged rows are not sent again. Until
an organization is read again, its entry keeps the old fingerprints and holds ``"version": 2``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from source_ravan_calcom.bookings import coverage, records
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.bookings.records import Row, moment, packed, unpacked, utc_text
from source_ravan_calcom.bookings.windows import CAPS, MAX_LIMIT, Bookings, Covered, Seen, in_order

__all__ = ["Delivery", "Seen", "State", "compare", "last_reads", "later_than", "organizations_state", "parsed"]

STATE_VERSION = 3  # raise it with any change to the fingerprints or the format
OF_CONTENTS = 2
OLDEST, _OLDEST_BYTES, _OLDEST_LAYOUT = 1, 9, "6s3x"  # version 1: a fingerprint of version 2 and three more bytes
ORGANIZATIONS_STATE_VERSION = 1

STATES_PER_SYNC = 10  # at most, plus the last one; each holds all organizations

_LAST = datetime.max.replace(tzinfo=timezone.utc) - timedelta(milliseconds=1)


@dataclass(frozen=True)
class Delivery:
    """One organization that was read, compared with the state."""

    rows: list[Row]  # new and changed, in the order of reading
    claim: Claim
    seen: Seen  # the next state, once the rows are printed


def compare(bookings: Bookings, before: Seen | None, statuses: Sequence[str], synced_at: datetime) -> Delivery:
    """Compare an organization's ``bookings``, fit for the schema, with its state ``before``.

    ``synced_at`` is when it was read, by the connector's clock; ``statuses`` are the windows the user chose.
    """
    claim = coverage.claim(bookings, statuses, before)
    fingerprints = comparable = [*map(records.fingerprint, bookings.rows, bookings.marks)]
    if before and before.is_old:
        comparable = [*map(records.old_fingerprint, bookings.rows)]
    rows = [row for row, each in zip(bookings.rows, comparable, strict=True) if each not in bookings.seen_before]
    settled = {each for each, key in zip(fingerprints, bookings.keys, strict=True) if key in bookings.settled}
    rest = set(fingerprints) - settled
    is_doubted = claim.coverage == coverage.UNKNOWN and claim.reason == coverage.FEWER
    if before and is_doubted:
        # The next sync decides whether the missing bookings are gone.
        shown = set(bookings.marks)
        rest |= {each for each in unpacked(before.fingerprints) if each[: records.UID_BYTES] not in shown}
        settled |= {each for each in unpacked(before.settled) if each[: records.UID_BYTES] not in shown}
    seen = Seen(
        fingerprints=packed(rest),
        settled=packed(settled),
        synced_at=synced_at,
        covered=claim.kept,
        gap=(*claim.gap, synced_at) if claim.gap else before.gap if before else None,
        limit=bookings.limit if bookings.limit < MAX_LIMIT else None,
        cap=bookings.cap,
        shows_pending=bookings.shows_pending,
        is_doubted=is_doubted,
    )
    return Delivery(rows, claim, seen)


class State:
    """The state of ``appointments``, and when to print it. Organizations that are not in ``org_ids`` are dropped."""

    def __init__(self, org_ids: Sequence[str], seen: Mapping[str, Seen]) -> None:
        self._every = -(-len(org_ids) // STATES_PER_SYNC)
        self._delivered = 0
        self._is_due = True
        self._seen = {org_id: seen[org_id] for org_id in org_ids if org_id in seen}

    def of(self, org_id: str) -> Seen | None:
        """An organization's state, or ``None``."""
        return self._seen.get(org_id)

    def keep(self, org_id: str, seen: Seen, *, delivered: bool) -> None:
        """Keep the state of an organization; ``delivered`` if it had new rows, which were all printed."""
        self._seen[org_id] = seen
        self._is_due = True
        self._delivered += delivered

    def due(self, *, at_end: bool = False) -> dict[str, Any] | None:
        """The state, if it is due now; at the end, it is due if it changed since it was last printed."""
        if not (self._is_due if at_end else self._delivered >= self._every):
            return None
        self._is_due, self._delivered = False, 0
        organizations = {org_id: _encoded(seen) for org_id, seen in self._seen.items()}
        return {"version": STATE_VERSION, "organizations": organizations}


def parsed(stream_state: Mapping[str, Any]) -> Mapping[str, Seen]:
    """Parse the saved state of ``appointments``, by organization.

    Raises:
        ValueError: It is not a state of this connector, or is damaged; the message gives the reason.
    """
    if not stream_state:
        return {}
    version = stream_state.get("version")
    if isinstance(version, bool) or version not in (OLDEST, OF_CONTENTS, STATE_VERSION):
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
    """Parse the saved state of ``organizations``. Invalid entries are left out."""
    version, entries = stream_state.get("version"), stream_state.get("organizations")
    if version != ORGANIZATIONS_STATE_VERSION or not isinstance(entries, Mapping):
        return {}
    return {org_id: at for org_id, text in entries.items() if (at := moment(text))}


def organizations_state(last_reads: Mapping[str, datetime]) -> dict[str, Any]:
    """Format the state of ``organizations``."""
    organizations = {org_id: utc_text(at) for org_id, at in last_reads.items()}
    return {"version": ORGANIZATIONS_STATE_VERSION, "organizations": organizations}


def later_than(floor: datetime | None, now: datetime) -> datetime:
    """Return ``now``, or just after ``floor`` if that is later: a newer row stays newer if the clock is set back."""
    return now if floor is None else max(now, min(floor, _LAST) + timedelta(milliseconds=1))


def _encoded(seen: Seen) -> dict[str, Any]:
    entry: dict[str, Any] = {"sent": ""}
    entry |= {name: write(value) for name, field, write, _ in _FIELDS if (value := getattr(seen, field))}
    if seen.is_old:
        entry["version"] = OF_CONTENTS
    if covered := seen.covered:
        entry["read_at"] = utc_text(covered.read_at)
        entry["covered_from"] = covered.covered_from and utc_text(covered.covered_from)
        if covered.statuses:
            entry["statuses"] = [*covered.statuses]
    return entry


def _decoded(entry: Any, version: Any) -> Seen:
    if version == OLDEST:
        return Seen(packed(unpacked(_bytes(entry, _OLDEST_BYTES), _OLDEST_LAYOUT)), is_old=True)
    fields = {field: read(entry[name]) for name, field, _, read in _FIELDS if name in entry}
    return Seen(
        **fields,
        covered=_covered(entry) if "read_at" in entry else None,
        is_old=entry.get("version", version) == OF_CONTENTS,
    )


def _covered(entry: Mapping[str, Any]) -> Covered:
    covered_from, statuses = entry["covered_from"], entry.get("statuses", ())
    if {*in_order(statuses)} != {*statuses}:
        raise ValueError
    return Covered(_point(entry["read_at"]), None if covered_from is None else _point(covered_from), tuple(statuses))


def _base64(fingerprints: bytes) -> str:
    return base64.b64encode(fingerprints).decode()


def _bytes(text: Any, size: int = records.FINGERPRINT_BYTES) -> bytes:
    fingerprints = base64.b64decode(text, validate=True)
    if len(fingerprints) % size:
        raise ValueError
    return fingerprints


def _cap(number: Any) -> int:
    return CAPS[CAPS.index(number)]  # or a ValueError


def _point(text: Any) -> datetime:
    at = moment(text) if isinstance(text, str) else None
    if at is None:
        raise ValueError
    return at


def _gap(texts: Any) -> tuple[datetime, datetime, datetime]:
    begin, end, found_at = map(_point, texts)
    return begin, end, found_at


_FIELDS: tuple[tuple[str, str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("sent", "fingerprints", _base64, _bytes),
    ("settled", "settled", _base64, _bytes),
    ("synced_at", "synced_at", utc_text, _point),
    ("gap", "gap", lambda gap: [utc_text(at) for at in gap], _gap),
    ("limit", "limit", int, _cap),
    ("cap", "cap", int, _cap),
    ("shows_pending", "shows_pending", bool, bool),
    ("doubted", "is_doubted", bool, bool),
)
"""Name in the state, field of :class:`Seen`, and its writer and reader."""
