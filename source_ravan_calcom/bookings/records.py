"""A booking: the types of its columns, its times, its identity, its fingerprint. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from struct import iter_unpack
from typing import Any
from zlib import crc32

import orjson

Row = dict[str, Any]  # one appointment, as Ravan sends it or as it is delivered; its texts are valid Unicode
Key = str | tuple[bytes, int]  # of a row: its UID or, without one, its content and how often that has occurred
Converted = tuple[Any, str]  # a value that fits, and its loss: NULLED, TRUNCATED, or an empty string for none
Change = tuple[str, str]  # a column, and the loss of its value

PRIMARY_KEY = ["organization_id", "id"]
CURSOR_FIELD = "synced_at"
DEAD = ("cancelled", "rejected")  # values of the column status: the booking doesn't take place

UID_BYTES, CONTENT_BYTES = 2, 4  # of a fingerprint in the state
FINGERPRINT_BYTES = UID_BYTES + CONTENT_BYTES
FINGERPRINT, MARK = f"{FINGERPRINT_BYTES}s", f"{UID_BYTES}s{CONTENT_BYTES}x"  # layouts for struct: all, the UID alone

NULLED, TRUNCATED = "NULLED", "TRUNCATED"  # Airbyte's names for the loss of a value, or of a part of it
_SORTED = orjson.OPT_SORT_KEYS
NUL, REPLACEMENT = "\0", "\ufffd"

_MINUS = "\u2212"  # ISO 8601 prefers it to a hyphen
_LARGEST = 2**63 - 1  # the largest integer that a destination's column holds
_EXACT = 2**53  # below it, a floating-point number can hold every integer

_FIRST_YEAR = 2  # the year 1 is Go's zero time, the year 0 MySQL's
_EPOCH = datetime(1970, 1, 1)
_EPOCH_END = 4_102_444_800  # 2100 in seconds since 1970; smaller numbers are seconds, larger ones milliseconds
_GO_ZERO = -62_135_596_800  # Go's zero time in seconds since 1970
_WHOLE_SECONDS = len("2026-03-25T14:00:00")

_documented_format = re.compile(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII).fullmatch

# ISO 8601, basic and extended; and as Go prints a time: 2026-03-25 14:00:00.5 +0100 CET m=+0.1
_iso_time = re.compile(
    r"(?P<date>\d{4}-?(?:\d\d-?\d\d|W\d\d-?\d|\d{3}))"
    r"(?:[Tt ](?P<hour>[01]\d|2[0-4])(?::?(?P<minute>[0-5]\d)(?::?(?P<second>[0-5]\d|60))?)?(?:[.,](?P<fraction>\d+))?"
    r"(?: ?(?:[Zz]|UTC|GMT|(?P<sign>[+\u2212-])(?P<offset_hours>[01]\d|2[0-3])(?::?(?P<offset_minutes>[0-5]\d))?"
    r"(?: (?:[A-Z]+|[+-]\d+))?(?: m=[+-][\d.]+)?))?)?",
    re.ASCII,
).fullmatch

_integer_text = re.compile(r"([+-]?\d{1,19})(?:\.0*)?", re.ASCII).fullmatch
_epoch_text = re.compile(r"0|-?\d{9,14}(?:\.\d*)?", re.ASCII).fullmatch


def fingerprint(row: Row, mark: bytes) -> bytes:
    """Identify a row's booking (by its ``mark``) and its content, regardless of the order of its fields.

    A changed row passes for unchanged with a probability of 2 in 10^10.
    """
    return mark + crc32(orjson.dumps(row, option=_SORTED)).to_bytes(CONTENT_BYTES, "big")


def old_fingerprint(row: Row) -> bytes:
    """The fingerprint in states of version 1 and 2: of the content alone."""
    return blake2b(orjson.dumps(row, option=_SORTED), digest_size=9).digest()[:FINGERPRINT_BYTES]


def identity(row: Row) -> str | None:
    """Cal.com's booking UID as text; ``None`` if it is empty, zero, or neither text nor a number."""
    uid = row.get("id")
    if isinstance(uid, str):
        return uid or None
    if not uid or isinstance(uid, (bool, dict, list)):
        return None
    return _json(uid)


def uid_mark(key: Key) -> bytes:
    """The part of a fingerprint that identifies the booking; the same for all rows without a UID.

    With 1,200 bookings, 2 % of new UIDs share the mark of one, so no rule may depend on a single UID.
    """
    return (crc32(key.encode()) & 0xFFFF).to_bytes(UID_BYTES, "big") if isinstance(key, str) else bytes(UID_BYTES)


def packed(fingerprints: Iterable[bytes]) -> bytes:
    """Join fingerprints, sorted."""
    return b"".join(sorted(fingerprints))


def unpacked(fingerprints: bytes, layout: str = FINGERPRINT) -> frozenset[bytes]:
    """Split fingerprints that follow one another; ``layout`` selects a part of each."""
    return frozenset(chain.from_iterable(iter_unpack(layout, fingerprints)))


def is_dead(row: Row) -> bool:
    """Whether a booking does not take place."""
    return row.get("status") in DEAD


@lru_cache(maxsize=1 << 14)  # many bookings share their start and end times
def _documented_time(time: str) -> datetime | None:
    """Parse a valid time in the documented format; ``None`` for any other."""
    try:
        return _to_the_millisecond(time) if _documented_format(time) else None
    except ValueError:
        return None


def _to_the_millisecond(time: str) -> datetime:
    fraction = time[_WHOLE_SECONDS:-1]
    return datetime.fromisoformat(f"{time[:_WHOLE_SECONDS]}{fraction and f'{fraction[:4]:0<4}'}+00:00")


def moment(time: Any) -> datetime | None:
    """Parse a row's time to the millisecond; ``None`` if :func:`as_time` can't convert it."""
    if isinstance(time, str) and (at := _documented_time(time)):
        return at
    text = None if time is None else as_time(time)[0]
    return _to_the_millisecond(text) if text else None


def utc_text(at: datetime) -> str:
    """Format a point in time as ISO 8601 in UTC with milliseconds and ``Z``."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_text(value: Any) -> Converted:
    """Convert to text: a number to its digits, an object or a list to its JSON; replace NUL (PostgreSQL rejects it)."""
    if not isinstance(value, str):
        return _json(value), ""
    text = value.replace(NUL, REPLACEMENT)
    return text, "" if text == value else TRUNCATED


def as_integer(value: Any) -> Converted:
    """Convert a text or a number without a fraction to an integer of 64 bits; an empty text is null without a loss."""
    if isinstance(value, str):
        if not value.strip():
            return None, ""
        match = _integer_text(value.strip())
        value = int(match[1]) if match else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:
        return value, ""
    return None, NULLED


def as_time(value: Any) -> Converted:
    """Convert a time to ISO 8601 in UTC with ``Z``, and keep nanoseconds.

    Accepts ISO 8601, Go's own format, and seconds or milliseconds since 1970, up to 2100. A time without an offset is
    in UTC, as the API documents; a leap second becomes the second before. An empty text and a zero time (before the
    year 2, or the beginning of 1970) are null without a loss.
    """
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None, ""
        match = _iso_time(value)
        if match:
            try:
                return _from_iso(match)
            except (ValueError, OverflowError):
                return None, NULLED
        value = float(value) if _epoch_text(value) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_epoch(value)
    return None, NULLED


CONVERSIONS: Mapping[str, Callable[[Any], Converted]] = {
    "id": as_text,
    "agent_id": as_text,
    "attendee_name": as_text,
    "attendee_email": as_text,
    "attendee_phone": as_text,
    "attendee_timezone": as_text,
    "start_time": as_time,
    "end_time": as_time,
    "duration_minutes": as_integer,
    "status": as_text,
}
"""How each column is converted to its type in ``schemas/appointments.json``. Nulls and other columns stay."""

_texts = itemgetter(*(column for column, conversion in CONVERSIONS.items() if conversion is as_text))


def fit(row: Row, org_id: str) -> tuple[Change, ...]:
    """Convert a row to the types of the schema, in place, and return the losses for the record's ``meta.changes``."""
    row["organization_id"] = org_id  # as in the settings and in the organizations stream
    try:
        # Nearly every row is as documented.
        if (
            _documented_time(row["start_time"])
            and _documented_time(row["end_time"])
            and NUL not in "".join(_texts(row))
            and type(minutes := row["duration_minutes"]) is int
            and minutes <= _LARGEST
        ):
            return ()
    except (KeyError, TypeError):
        pass
    changes: list[Change] = []
    for column, conversion in CONVERSIONS.items():
        value = row.get(column)
        if value is not None:
            row[column], change = conversion(value)
            if change:
                changes.append((column, change))
    return tuple(changes)


def distinct(rows: Sequence[Row]) -> tuple[dict[Key, Row], dict[str, int]]:
    """Keep one row of each booking in one response.

    A booking may have a row for each attendee. The one whose JSON sorts first, in practice by ``attendee_email``, is
    kept.

    Returns:
        The rows by key, in the order of the response, and the number of different rows left out, by UID.
    """
    uids = list(map(identity, rows))
    by_uid: dict[Any, Row] = dict(zip(uids, rows, strict=True))
    if len(by_uid) == len(rows) and None not in by_uid:
        return by_uid, {}
    versions: dict[str, dict[bytes, Row]] = defaultdict(dict)
    equal: Counter[bytes] = Counter()
    found: dict[Key, Row] = {}
    for uid, row in zip(uids, rows, strict=True):
        content = orjson.dumps(row, option=_SORTED)
        equal[content] += 1
        found.setdefault(uid or (content, equal[content]), row)
        if uid:
            versions[uid][content] = row
    found.update((uid, different[min(different)]) for uid, different in versions.items())
    return found, {uid: len(different) - 1 for uid, different in versions.items() if len(different) > 1}


def _json(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return orjson.dumps(value, option=_SORTED).decode()


def _from_iso(match: re.Match[str]) -> Converted:
    if int(match["date"][:4]) < _FIRST_YEAR:
        return None, ""
    fraction = match["fraction"] or ""
    of_day = timedelta(**{unit: int(match[unit[:-1]] or 0) for unit in ("hours", "minutes", "seconds")})
    if match["second"] == "60":
        of_day -= timedelta(seconds=1)
    elif fraction and not match["second"]:
        nanoseconds = int(fraction) * (60 if match["minute"] else 3600) * 10**9 // 10 ** len(fraction)
        of_day += timedelta(seconds=nanoseconds // 10**9)
        fraction = f"{nanoseconds % 10**9:09}".rstrip("0")
    offset = timedelta(hours=int(match["offset_hours"] or 0), minutes=int(match["offset_minutes"] or 0))
    at = _day(match["date"]) + of_day - (-offset if match["sign"] in ("-", _MINUS) else offset)
    if of_day > timedelta(days=1) or (match["second"] == "60" and (at.hour, at.minute) != (23, 59)):
        raise ValueError
    return _written(at, fraction)


def _day(date: str) -> datetime:
    digits = date.replace("-", "")
    form = "%GW%V%u" if "W" in digits else "%Y%m%d" if len(digits) == len("YYYYMMDD") else "%Y%j"
    day = datetime.strptime(digits, form)
    if f"{day:{form}}".zfill(len(digits)) != digits:
        raise ValueError  # a week or a day that the year does not have
    return day


def _from_epoch(number: float) -> Converted:
    if number in (0, _GO_ZERO, _GO_ZERO * 1000):
        return None, ""
    if not 0 < number < _EPOCH_END * 1000:
        return None, NULLED
    at = _EPOCH + timedelta(**{"seconds" if number < _EPOCH_END else "milliseconds": number})
    return _written(at.replace(microsecond=0), f"{at.microsecond:06}".rstrip("0"))


def _written(at: datetime, fraction: str) -> Converted:
    kept, lost = fraction[:9], fraction[9:].strip("0")
    if at.year < _FIRST_YEAR or (at == _EPOCH and not kept.strip("0")):
        return None, ""
    return f"{at.isoformat()}{'.' if kept else ''}{kept}Z", TRUNCATED if lost else ""
