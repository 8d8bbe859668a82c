"""What a booking is: its owner, its times, its identity, its fingerprint. Pure.

The endpoint's documentation gives ISO 8601 times in UTC; Cal.com's own carry milliseconds. Both are accepted, and so
is an offset.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any

import orjson

Row = dict[str, Any]
"""One appointment as Ravan sends it, or as it is delivered."""

PRIMARY_KEY = ["organization_id", "id"]
CURSOR_FIELD = "synced_at"
TIME_FIELDS = ("start_time", "end_time")

DEAD = frozenset({"cancelled", "rejected"})
"""The values of ``status`` with which a booking does not take place."""

FINGERPRINT_BYTES = 6

_HASH_BYTES = 9
"""What is hashed to; the first ``FINGERPRINT_BYTES`` count. States of version 1 hold all of them."""

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(?::\d\d)?)(?P<fraction>\.\d+)?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?)?",
    re.ASCII,
)

_UTC = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z", re.ASCII).fullmatch

# The same where it is surely in the calendar, which need not be asked then.
_SURELY_UTC = re.compile(
    r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?Z", re.ASCII
).fullmatch


def fingerprint(row: Row) -> bytes:
    """6 bytes that change when any field of the row does, whatever the order of its fields.

    A changed row is taken for an unchanged one only if it meets one of the organization's at most 1,200 fingerprints
    by chance: 4 in 10^12.
    """
    content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
    return blake2b(content, digest_size=_HASH_BYTES).digest()[:FINGERPRINT_BYTES]


def identity(row: Row) -> str | None:
    """Cal.com's booking UID, which is what tells the rows of one organization apart; ``None`` where it is missing."""
    uid = row.get("id")
    return uid if isinstance(uid, str) and uid else None


def is_dead(row: Row) -> bool:
    """Whether a booking does not take place."""
    status = row.get("status")
    return isinstance(status, str) and status in DEAD


def is_utc(time: Any) -> bool:
    """Whether a time is as we deliver it: absent, or ISO 8601 in UTC with ``Z``, and in the calendar."""
    if time is None or (isinstance(time, str) and _SURELY_UTC(time)):
        return True
    match = _UTC(time) if isinstance(time, str) else None
    if not match:
        return False
    try:
        datetime.fromisoformat(match[1])
    except ValueError:
        return False
    return True


def as_utc(time: Any) -> Any:
    """An ISO 8601 time in UTC with ``Z``, its fraction of a second kept; ``None`` for an empty string.

    A time without an offset is UTC, which is what the API documents. What can't be read is returned as it is.
    """
    if not isinstance(time, str) or is_utc(time):
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


def moment(time: Any) -> datetime | None:
    """A row's time as a point in time, to the millisecond; ``None`` where it can't be read."""
    utc = as_utc(time)
    if not isinstance(utc, str) or not is_utc(utc):
        return None
    whole, _, fraction = utc[:-1].partition(".")
    at = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return at.replace(microsecond=int(fraction[:3].ljust(3, "0")) * 1000) if fraction else at


def utc_text(at: datetime) -> str:
    """A point in time as it is delivered and kept: ISO 8601 in UTC with milliseconds and ``Z``."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def normalise(row: Row, org_id: str) -> int:
    """Make a row fit the schema, in place: its owner, its times. Nothing else is altered.

    The owner is written as the user writes it, so that bookings join with ``organizations``; whose the row is was
    judged before.

    Returns:
        How many of its times can't be read, and stay as they came.
    """
    unreadable = 0
    row["organization_id"] = org_id
    for name in TIME_FIELDS:
        time = row.get(name)
        if not is_utc(time):
            row[name] = as_utc(time)
            unreadable += not is_utc(row[name])
    return unreadable
