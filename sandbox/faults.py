"""What the sandbox does instead of answering: each failure a client of Ravan's API may meet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes:
        status: HTTP status of the answer.
        body: Its body.
        headers: Its headers, beside the content type.
        manner: ``answer`` sends it; ``cut`` sends half of it; ``drip`` sends a byte a second; ``stall``
            sends nothing for ten minutes; ``reset`` breaks the connection.
        times: How many requests meet it before all is well again; ``None`` for all.
        only: The window that meets it, ``"all"`` for every one.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "answer"
    times: int | None = None
    only: str | None = "all"

    def passing(self, times: int) -> Fault:
        """The same fault, gone after so many requests."""
        return replace(self, times=times)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Fault:
    return Fault(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})


def today(status: int, code: str | None, message: str = "it failed") -> Fault:
    """An error in the form of today's API."""
    return _json(status, {"success": False, "message": message} | ({"code": code} if code else {}))


def nested(status: int, code: str, message: str = "it failed") -> Fault:
    """An error in the form with an ``error`` object."""
    error = {"code": code, "message": message, "details": None}
    return _json(status, {"success": False, "message": message, "error": error})


def grpc(status: int, code: int, message: str = "it failed") -> Fault:
    """An error in the oldest form, with an integer code."""
    return _json(status, {"code": code, "message": message, "details": []})


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
    "rate-limited": _json(429, {"success": False, "message": "slow down"}),
    "rate-limited-seconds": _json(429, {"success": False, "message": "slow down"}, {"Retry-After": "1"}),
    "rate-limited-date": _json(
        429, {"success": False, "message": "slow down"}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    ),
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
    "redirect": Fault(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "cut": Fault(200, _ROWS, manner="cut"),
    "reset": Fault(manner="reset"),
    "stall": Fault(manner="stall"),
    "drip": Fault(200, _ROWS, manner="drip"),
}
"""Every fault by name, as the sandbox's control routes and the tests know it."""
