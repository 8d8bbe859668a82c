"""The meaning of a response: HTTP status and body in, rows or a kind of failure out.

Pure. The API's own code decides first, because the contract gives no HTTP statuses for its codes; without a known code
the HTTP status decides. A 429 is a rate limit whatever its body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from source_ravan_calcom.bookings.records import Row
from source_ravan_calcom.ravan import failures
from source_ravan_calcom.ravan.failures import Kind, clean

CODE_LENGTH = 60
_DEEPEST = 200  # orjson prints 254 levels

HTTP_SUCCESS = 2  # the first digit of the HTTP status
HTTP_TOO_MANY_REQUESTS = 429

# By kind: the contract's codes, those of sibling endpoints and of refused tokens elsewhere, and gRPC's integers.
_CODES: Mapping[Kind, tuple[str | int, ...]] = {
    failures.INVALID_REQUEST: ("INVALID_REQUEST", 3),
    failures.NOT_CONNECTED: ("NOT_CONNECTED",),
    failures.CALCOM_FAILED: ("CALCOM_API_ERROR",),
    failures.SERVER_FAILED: ("INTERNAL_ERROR", 4, 13, 14),
    failures.NOT_FOUND: ("NOT_FOUND", 5),
    failures.REQUEST_REFUSED: ("CONFLICT",),
    failures.TOKEN_REFUSED: ("UNAUTHORIZED", "UNAUTHENTICATED", "INVALID_TOKEN", "TOKEN_EXPIRED", 16),
    failures.FORBIDDEN: ("FORBIDDEN", "PERMISSION_DENIED", 7),
    failures.RATE_LIMITED: ("RATE_LIMITED", "TOO_MANY_REQUESTS", 8),
}
BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes}

BY_STATUS: Mapping[int, Kind] = {
    400: failures.INVALID_REQUEST,
    401: failures.TOKEN_REFUSED,
    403: failures.FORBIDDEN,
    404: failures.NOT_FOUND,
    408: failures.SERVER_FAILED,
    422: failures.INVALID_REQUEST,
    425: failures.SERVER_FAILED,
}

BY_STATUS_CLASS: Mapping[int, Kind] = {3: failures.REDIRECTED, 4: failures.REQUEST_REFUSED, 5: failures.SERVER_FAILED}
"""By the status's first digit, where neither the code nor the status is known."""

UNEXPLAINED = failures.SERVER_FAILED
"""``success: false`` under a 2xx with no code that we know: never taken for an empty account."""


@dataclass(frozen=True)
class Rows:
    """The content of a successful response."""

    rows: list[Row]  # as Ravan sent them, in its order
    count: Any = None  # their number as the response states it
    repaired: bool = False  # invalid characters or a number out of range were replaced


@dataclass(frozen=True)
class Problem:
    """A response without rows: its kind, and what fills the sentence (see :class:`failures.Facts`)."""

    kind: Kind
    code: str
    detail: str = ""
    said: str = ""


def read(status: int, content: bytes | bytearray, org_id: str) -> Rows | Problem:
    """Read one response of so much decompressed ``content``. Rows of another organization are never returned."""
    body, repaired = _parsed(content)
    kind, code, said = judge(status, body)
    if kind:
        return Problem(kind, code, said=said)
    if body is _BROKEN:
        return Problem(failures.NOT_JSON, code, _kind_of_text(content))
    try:
        rows, count = _rows(body, org_id)
        if content.count(b"[") + content.count(b"{") > len(rows) + _DEEPEST:
            orjson.dumps([rows])  # as deep as in the messages that carry them; parsing allows for more than printing
    except orjson.JSONEncodeError:
        return Problem(failures.WRONG_SHAPE, code, "a row is nested too deep to be passed on")
    except _NotRows as wrong:
        return Problem(wrong.kind, code, wrong.detail)
    return Rows(rows, count, repaired)


def judge(status: int, body: Any) -> tuple[Kind | None, str, str]:
    """Judge a response by its HTTP status and its parsed body.

    Understands the three error bodies on record: the code beside ``success``, the code in an ``error`` object, and
    an integer gRPC code.

    Returns:
        The kind, or ``None`` for success; the code as people see it; and Ravan's own message, cleaned.
    """
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = fields.get("error")
    nested: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    code = _first_code(fields.get("code"), nested.get("code"))
    said = clean(fields.get("message") or nested.get("message"))
    seen = f"HTTP {status}"
    if code is not None:
        seen = f"{clean(code, CODE_LENGTH) if isinstance(code, str) else f'code {code}'}, {seen}"
    if status == HTTP_TOO_MANY_REQUESTS:
        return failures.RATE_LIMITED, seen, said
    if status // 100 == HTTP_SUCCESS:
        failed = fields["success"] is not True if "success" in fields else code and "data" not in fields
        return (BY_CODE.get(code or "", UNEXPLAINED) if failed else None), seen, said
    by_status = BY_STATUS.get(status) or BY_STATUS_CLASS.get(status // 100, UNEXPLAINED)
    return BY_CODE.get(code or "", by_status), seen, said


def is_own(owner: Any, org_id: str) -> bool:
    """Whether an ID in a response is the requested one. IDs are UUIDs in every example, so case does not matter."""
    return isinstance(owner, str) and owner.strip().lower() == org_id.lower()


_BROKEN = object()

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _parsed(content: bytes | bytearray) -> tuple[Any, bool]:
    """The body, or ``_BROKEN`` if it is not JSON, and whether it was repaired."""
    try:
        return orjson.loads(content), False
    except orjson.JSONDecodeError:
        pass
    try:
        return _repaired(content)
    except (ValueError, RecursionError):
        return _BROKEN, False


def _repaired(content: bytes | bytearray) -> tuple[Any, bool]:
    """Parse what the strict parser refuses although its meaning is plain.

    Half a surrogate pair (half an emoji in a name) and a byte that is not UTF-8 become U+FFFD; a number out of range
    becomes the text of its digits.

    Raises:
        ValueError, RecursionError: It is not JSON.
    """
    repairs = 0

    def number(digits: str) -> Any:
        nonlocal repairs
        try:
            return orjson.loads(digits)
        except orjson.JSONDecodeError:
            repairs += 1
            return digits

    try:
        body = json.loads(content, parse_int=number, parse_float=number)
    except UnicodeDecodeError:
        repairs += 1
        body = json.loads(content.decode("utf-8-sig", "replace"), parse_int=number, parse_float=number)
    text, halves = _LONE_SURROGATE.subn("\ufffd", json.dumps(body, ensure_ascii=False))
    # The strict parser has the last word: the other one takes NaN for JSON.
    return orjson.loads(text), repairs + halves > 0


class _NotRows(Exception):
    """JSON with a good status that is not the requested rows."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def _rows(body: Any, org_id: str) -> tuple[list[Row], Any]:
    """The rows, and their number as the response states it."""
    data = _field(_shaped(body, dict, "it"), "data", dict)
    echo = data.get("org_id")
    if echo not in (None, "") and not is_own(echo, org_id):
        raise _NotRows(failures.OTHER_TENANT, "the bookings of another organization")
    if data.get("appointments", ()) is None:
        return [], data.get("count")  # as Go writes an empty list
    rows = _field(data, "appointments", list)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            _shaped(row, dict, f"row {number}")
        owner = row.get("organization_id")
        if owner != org_id and owner not in (None, "") and not is_own(owner, org_id):
            raise _NotRows(failures.OTHER_TENANT, f"a booking of another organization in row {number}")
    return rows, data.get("count")


def _field(fields: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in fields:
        raise _NotRows(failures.WRONG_SHAPE, f"“{name}” is missing")
    return _shaped(fields[name], kind, f"“{name}”")


def _shaped(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise _NotRows(failures.WRONG_SHAPE, f"{name} is {_JSON_NAMES[type(value)]}, not {_JSON_NAMES[kind]}")
    return value


_JSON_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def _first_code(*candidates: Any) -> str | int | None:
    for candidate in candidates:
        code = candidate.strip() if isinstance(candidate, str) else candidate
        if code and isinstance(code, (str, int)) and not isinstance(code, bool):
            return code
    return None


def _kind_of_text(content: bytes | bytearray) -> str:
    start = content[:256].lstrip().lower()
    if not start:
        return "the body is empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"{", b"[")):
        return "it is cut short or broken JSON"
    return "it is some other text"
