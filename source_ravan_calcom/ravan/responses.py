"""The meaning of a response: HTTP status and body in, rows or a failure out. Pure.

The API's own code decides, because the contract gives no HTTP statuses; without a known code, the status decides. A 429
is always a rate limit.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from source_ravan_calcom.bookings.records import Row
from source_ravan_calcom.config import LONE_SURROGATE
from source_ravan_calcom.ravan import failures
from source_ravan_calcom.ravan.failures import Facts, Kind, OrganizationFailure, clean

MAX_BODY_BYTES = 32 * 1024 * 1024  # decompressed; far above 200 rows
CODE_LENGTH = 60
HTTP_SUCCESS = 2  # the first digit of the HTTP status
_BROKEN = object()  # a body that is not JSON

# (kind, codes, HTTP statuses). The codes are those of the contract and of similar APIs, and gRPC's integers.
_SIGNS: tuple[tuple[Kind, tuple[str | int, ...], tuple[int, ...]], ...] = (
    (failures.INVALID_REQUEST, ("INVALID_REQUEST", 3), (400, 422)),
    (failures.NOT_CONNECTED, ("NOT_CONNECTED",), ()),
    (failures.CALCOM_FAILED, ("CALCOM_API_ERROR",), ()),
    (failures.SERVER_FAILED, ("INTERNAL_ERROR", 4, 13, 14), (408, 425)),
    (failures.NOT_FOUND, ("NOT_FOUND", 5), (404,)),
    (failures.REQUEST_REFUSED, ("CONFLICT",), ()),
    (failures.TOKEN_REFUSED, ("UNAUTHORIZED", "UNAUTHENTICATED", "INVALID_TOKEN", "TOKEN_EXPIRED", 16), (401,)),
    (failures.FORBIDDEN, ("FORBIDDEN", "PERMISSION_DENIED", 7), (403,)),
    (failures.RATE_LIMITED, ("RATE_LIMITED", "TOO_MANY_REQUESTS", 8), (429,)),
)
BY_CODE = {code: kind for kind, codes, _ in _SIGNS for code in codes}
BY_STATUS = {status: kind for kind, _, statuses in _SIGNS for status in statuses}
BY_STATUS_CLASS = {3: failures.REDIRECTED, 4: failures.REQUEST_REFUSED}  # by the first digit of any other status
UNEXPLAINED = failures.SERVER_FAILED  # any other response, such as ``success: false`` with status 200


@dataclass(frozen=True)
class Rows:
    """The content of a successful response."""

    rows: list[Row]
    count: Any = None  # their number as the response states it
    repaired: bool = False  # invalid characters or a number out of range were replaced


def read(status: int, content: bytes | bytearray, facts: Facts) -> Rows:
    """Read one response to the request that ``facts`` describe.

    ``content`` is the body or, if that exceeds ``MAX_BODY_BYTES``, its beginning.

    Raises:
        OrganizationFailure: The response is an error, is malformed, or holds another organization's rows.
    """
    facts = replace(facts, code=f"HTTP {status}", status=status)
    if len(content) > MAX_BODY_BYTES:
        detail = f"it is larger than {MAX_BODY_BYTES >> 20} MB"
        raise OrganizationFailure(failures.WRONG_SHAPE, replace(facts, detail=detail))
    body, repaired = _parsed(content)
    kind, code, said = judge(status, body)
    if kind:
        raise OrganizationFailure(kind, replace(facts, code=code, said=said))
    if body is _BROKEN:
        raise OrganizationFailure(failures.NOT_JSON, replace(facts, detail=_kind_of_text(content)))
    try:
        rows, count = _rows(body, facts.org_id)
        orjson.dumps([rows])  # raises if nested too deep for a record
        return Rows(rows, count, repaired)
    except _NotRows as wrong:
        kind, detail = wrong.args
    except orjson.JSONEncodeError:
        kind, detail = failures.WRONG_SHAPE, "a row is nested too deep to be passed on"
    raise OrganizationFailure(kind, replace(facts, code=code, detail=detail))


def judge(status: int, body: Any) -> tuple[Kind | None, str, str]:
    """Judge a response by its HTTP status and parsed body, which may hold a code at its top or in ``error``.

    Returns:
        The kind, or ``None`` for success; the code for messages; and Ravan's own message, cleaned.
    """
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = fields.get("error")
    nested: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    code = _code(fields.get("code")) or _code(nested.get("code"))
    said = clean(fields.get("message") or nested.get("message"))
    seen = f"HTTP {status}"
    if code:
        seen = f"{clean(code, CODE_LENGTH) if isinstance(code, str) else f'code {code}'}, {seen}"
    by_status = BY_STATUS.get(status) or BY_STATUS_CLASS.get(status // 100, UNEXPLAINED)
    kind = by_status if by_status is failures.RATE_LIMITED else BY_CODE.get(code, by_status)
    is_success = fields["success"] is True if "success" in fields else "data" in fields or not code
    return None if status // 100 == HTTP_SUCCESS and is_success else kind, seen, said


def _code(value: Any) -> str | int:
    return value.strip() if isinstance(value, str) else value if type(value) is int else ""


def is_foreign(owner: Any, org_id: str) -> bool:
    """Whether an ID in a response differs from the requested one; the case of a UUID does not matter."""
    return owner not in (None, "", org_id) and not (isinstance(owner, str) and owner.strip().lower() == org_id.lower())


def _parsed(content: bytes | bytearray) -> tuple[Any, bool]:
    """The body, or ``_BROKEN`` if it is not JSON, and whether it was repaired.

    Half an emoji and a byte that is not UTF-8 become U+FFFD; a number out of range becomes the text of its digits.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return orjson.loads(content), False
    except orjson.JSONDecodeError:
        pass
    try:
        body = json.loads(content.decode(errors="replace"), parse_int=_number, parse_float=_number)
        # Parsed again by orjson, which is strict: the standard library accepts NaN.
        return orjson.loads(LONE_SURROGATE.sub("\ufffd", json.dumps(body, ensure_ascii=False))), True
    except (ValueError, RecursionError):
        return _BROKEN, False


def _number(digits: str) -> Any:
    try:
        return orjson.loads(digits)
    except orjson.JSONDecodeError:
        return digits


class _NotRows(Exception):
    """A successful response without the requested rows. Its arguments are the kind of failure and the detail."""


def _rows(body: Any, org_id: str) -> tuple[list[Row], Any]:
    data = _field(_shaped(body, dict, "it"), "data", dict)
    if is_foreign(data.get("org_id"), org_id):
        raise _NotRows(failures.OTHER_TENANT, "the bookings of another organization")
    if data.get("appointments", ()) is None:
        return [], data.get("count")  # as Go writes an empty list
    rows = _field(data, "appointments", list)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise _misshapen(row, dict, f"row {number}")
        if is_foreign(row.get("organization_id"), org_id):
            raise _NotRows(failures.OTHER_TENANT, f"a booking of another organization in row {number}")
    return rows, data.get("count")


def _field(fields: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in fields:
        raise _NotRows(failures.WRONG_SHAPE, f"“{name}” is missing")
    return _shaped(fields[name], kind, f"“{name}”")


def _shaped(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise _misshapen(value, kind, name)
    return value


def _misshapen(value: Any, kind: type, name: str) -> _NotRows:
    return _NotRows(failures.WRONG_SHAPE, f"{name} is {_JSON_NAMES[type(value)]}, not {_JSON_NAMES[kind]}")


_JSON_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def _kind_of_text(content: bytes | bytearray) -> str:
    start = content[:256].lstrip().lower()
    if not start:
        return "the body is empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"{", b"[")):
        return "it is cut short or broken JSON"
    return "it is some other text"
