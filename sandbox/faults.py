"""The faults of the sandbox: each failure that a client of Ravan's API may meet."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One failure.

    Attributes:
        status: HTTP status of the response.
        body: The body, or a function that makes it.
        headers: The headers.
        manner: The way to send it, one of ``sandbox.manners.MANNERS``.
        times: The number of requests that fail; ``None`` for all.
        only: The status whose requests fail, ``None`` for unfiltered requests, ``"all"`` for all requests.
    """

    status: int = 200
    body: bytes | Callable[[], bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "response"
    times: int | None = None
    only: str | None = "all"

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return self.body() if callable(self.body) else self.body

    def passing(self, times: int) -> Fault:
        """Return the same fault for only this number of requests."""
        return replace(self, times=times)


_JSON = {"Content-Type": "application/json"}


def _json(status: int, body: Any) -> Fault:
    return Fault(status, json.dumps(body).encode(), _JSON)


def today(status: int, code: str | None, message: str = "it failed") -> Fault:
    """Make an error in the API's current format."""
    return _json(status, {"success": False, "message": message} | ({"code": code} if code else {}))


def nested(status: int, code: str, message: str = "it failed") -> Fault:
    """Make an error in the format with an ``error`` object."""
    error = {"code": code, "message": message, "details": None}
    return _json(status, {"success": False, "message": message, "error": error})


def grpc(status: int, code: int, message: str = "it failed") -> Fault:
    """Make an error in the oldest format, with an integer code."""
    return _json(status, {"code": code, "message": message, "details": []})


def rate_limited(retry_after: str | None = None, code: str | None = None) -> Fault:
    """Make a response with HTTP status 429, with or without Retry-After."""
    fault = today(429, code, "slow down")
    return replace(fault, headers={**fault.headers, "Retry-After": retry_after}) if retry_after else fault


def row(**fields: Any) -> Fault:
    """Make a valid response with one row that has these fields in addition."""
    booking = {"id": "odd-row", "start_time": "2026-03-25T14:00:00Z", "status": "accepted", **fields}
    return _json(200, {"success": True, "data": {"appointments": [booking], "count": 1}})


_DEPTH = 1000
_BOMB_PIECES, _BOMB_PIECE_BYTES = 256, 16 * 1024 * 1024


def _nested_row() -> bytes:
    # Built as text, because most encoders refuse such a depth.
    deep = b'{"deeper":' * _DEPTH + b"null" + b"}" * _DEPTH
    return row(deep="DEEP").content.replace(b'"DEEP"', deep)


@cache
def _gzip_bomb() -> bytes:
    # White space, which may precede JSON, in a gzip of many equal members. Gzip compresses to a thousandth at best;
    # compressed twice, 4 GB take about 20 KB.
    return gzip.compress(_gzip_members())


@cache
def _gzip_members() -> bytes:
    return gzip.compress(b" " * _BOMB_PIECE_BYTES, mtime=0) * _BOMB_PIECES


_HTML = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"
_ROWS = json.dumps({"success": True, "data": {"appointments": [{"id": "x" * 2000}], "count": 1}}).encode()

FAULTS: Mapping[str, Fault] = {
    "unauthorized": today(401, None, "invalid token"),
    "unauthorized-grpc": grpc(401, 16, "API key is missing or invalid"),
    "unauthorized-code": nested(400, "UNAUTHORIZED"),
    "forbidden": today(403, None, "access denied"),
    "not-connected": today(400, "NOT_CONNECTED", "no primary Cal.com account"),
    "not-connected-nested": nested(502, "NOT_CONNECTED", "no primary Cal.com account"),
    "not-connected-under-200": today(200, "NOT_CONNECTED", "no primary Cal.com account"),
    "invalid-request": today(400, "INVALID_REQUEST", "org_id is malformed"),
    "invalid-request-grpc": grpc(400, 3, "org_id is malformed"),
    "not-found": today(404, None, "no such organization"),
    "teapot": today(418, None, "short and stout"),
    "calcom-error": today(502, "CALCOM_API_ERROR", "Cal.com answered 500"),
    "calcom-error-as-400": today(400, "CALCOM_API_ERROR", "Cal.com answered 500"),
    "internal-error": today(500, "INTERNAL_ERROR", "unexpected"),
    "bad-gateway": Fault(502, _HTML, {"Content-Type": "text/html"}),
    "failure-under-200": today(200, None, "something failed"),
    "rate-limited": rate_limited(),
    "rate-limited-seconds": rate_limited("1"),
    "rate-limited-date": rate_limited("Wed, 21 Oct 2015 07:28:00 GMT"),
    "rate-limited-zero": rate_limited("0"),
    "rate-limited-day": rate_limited("86400"),
    "rate-limited-not-connected": rate_limited(code="NOT_CONNECTED"),
    "html": Fault(200, _HTML, {"Content-Type": "text/html"}),
    "empty-body": Fault(200, b""),
    "broken-json": Fault(200, b'{"success": true, "data": {"appoint'),
    "no-data": _json(200, {"success": True, "message": "Appointments retrieved"}),
    "rows-not-a-list": _json(200, {"success": True, "data": {"appointments": {"id": "x"}, "count": 1}}),
    "row-not-an-object": _json(200, {"success": True, "data": {"appointments": ["x"], "count": 1}}),
    "other-tenant": _json(200, {"success": True, "data": {"appointments": [{"id": "x"}], "org_id": "another"}}),
    "other-tenants-row": _json(
        200, {"success": True, "data": {"appointments": [{"id": "x", "organization_id": "another"}]}}
    ),
    "nested-row": Fault(200, _nested_row, _JSON),
    "lone-surrogate": row(attendee_name="Ann \ud800 Lee"),
    "gzip-bomb": Fault(200, _gzip_members, {**_JSON, "Content-Encoding": "gzip"}),
    "gzip-bomb-twice": Fault(200, _gzip_bomb, {**_JSON, "Content-Encoding": "gzip, gzip"}),
    "redirect": Fault(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}),  # ignore-https-check
    "cut": Fault(200, _ROWS, manner="cut"),
    "reset": Fault(manner="reset"),
    "stall": Fault(manner="stall"),
    "drip": Fault(200, _ROWS, manner="drip"),
    "drip-headers": Fault(200, _ROWS, manner="drip-headers"),
    "drip-chunks": Fault(200, _ROWS, manner="drip-chunks"),
    "endless-continue": Fault(manner="endless-continue"),
}
"""Every fault by its name in the sandbox's control routes and in the tests."""
