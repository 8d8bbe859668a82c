"""The fault matrix: the expected outcome of each fault of the sandbox, and one run of the command with all of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone

from integration_tests.conftest import BOTH, Connector
from sandbox import FAULTS, Sandbox, generated, serving

ONCE, TWICE, RETRIED = "once", "twice", "retried"
"""How often a request is sent. If the API may have refused the limit, it is sent twice, then with a lower one."""


@dataclass(frozen=True)
class Expected:
    """The outcome of a permanent fault: failure type, number of requests, kind of failure, and part of its sentence."""

    failure_type: str
    requests: str
    kind: str
    sentence: str


CONFIG, SYSTEM, TRANSIENT = "config_error", "system_error", "transient_error"

LASTING = {
    "forbidden": Expected(
        CONFIG, ONCE, "forbidden", "The Access Token is not allowed to read organization {org} (HTTP 403)."
    ),
    "not-connected": Expected(
        CONFIG, ONCE, "not_connected", "has no primary Cal.com account connected (NOT_CONNECTED, HTTP 400)"
    ),
    "not-connected-nested": Expected(
        CONFIG, ONCE, "not_connected", "Cal.com account connected (NOT_CONNECTED, HTTP 502)"
    ),
    "not-connected-under-200": Expected(
        CONFIG, ONCE, "not_connected", "Cal.com account connected (NOT_CONNECTED, HTTP 200)"
    ),
    "invalid-request": Expected(
        CONFIG, TWICE, "invalid_request", "{org} as invalid (INVALID_REQUEST, HTTP 400). Check Organization IDs"
    ),
    "invalid-request-grpc": Expected(CONFIG, TWICE, "invalid_request", "as invalid (code 3, HTTP 400)"),
    "not-found": Expected(CONFIG, ONCE, "not_found", "Ravan found nothing for organization {org} (HTTP 404)"),
    "teapot": Expected(SYSTEM, ONCE, "request_refused", "Ravan refused the request for organization {org} (HTTP 418)"),
    "calcom-error": Expected(
        TRANSIENT, RETRIED, "calcom_failed", "Cal.com failed while Ravan read organization {org} (CALCOM_API_ERROR"
    ),
    "calcom-error-as-400": Expected(TRANSIENT, RETRIED, "calcom_failed", "(CALCOM_API_ERROR, HTTP 400, tried"),
    "internal-error": Expected(
        TRANSIENT, RETRIED, "server_failed", "Ravan failed for organization {org} (INTERNAL_ERROR, HTTP 500"
    ),
    "bad-gateway": Expected(
        TRANSIENT, RETRIED, "server_failed", "Ravan failed for organization {org} (HTTP 502, tried"
    ),
    "failure-under-200": Expected(
        TRANSIENT, RETRIED, "server_failed", "Ravan failed for organization {org} (HTTP 200, tried"
    ),
    "html": Expected(
        TRANSIENT, RETRIED, "not_json", "is not the documented JSON (HTTP 200, tried {tries} times): it is an HTML page"
    ),
    "empty-body": Expected(TRANSIENT, RETRIED, "not_json", "the body is empty"),
    "broken-json": Expected(TRANSIENT, RETRIED, "not_json", "it is cut short or broken JSON"),
    "no-data": Expected(
        SYSTEM, ONCE, "wrong_shape", "does not have the documented shape (HTTP 200): “data” is missing"
    ),
    "rows-not-a-list": Expected(SYSTEM, ONCE, "wrong_shape", "“appointments” is an object, not a list"),
    "row-not-an-object": Expected(SYSTEM, ONCE, "wrong_shape", "row 1 is text, not an object"),
    "other-tenant": Expected(
        SYSTEM,
        ONCE,
        "other_tenant",
        "{org} with the bookings of another organization (HTTP 200); nothing of that response",
    ),
    "other-tenants-row": Expected(SYSTEM, ONCE, "other_tenant", "with a booking of another organization in row 1"),
    "nested-row": Expected(
        SYSTEM, ONCE, "wrong_shape", "does not have the documented shape (HTTP 200): a row is nested too deep"
    ),
    "gzip-bomb": Expected(
        SYSTEM, ONCE, "wrong_shape", "does not have the documented shape (HTTP 200): it is larger than 32 MB"
    ),
    "gzip-bomb-twice": Expected(
        SYSTEM, ONCE, "wrong_shape", "does not have the documented shape (HTTP 200): it is larger than 32 MB"
    ),
    "redirect": Expected(
        CONFIG,
        ONCE,
        "redirected",
        "Ravan redirected the request for organization {org} (HTTP 302). The redirect was not followed, because the",
    ),
    "cut": Expected(
        TRANSIENT,
        RETRIED,
        "unreachable",
        "Could not read organization {org} from {host} (tried {tries} times): the response was cut",
    ),
    "reset": Expected(TRANSIENT, RETRIED, "unreachable", "(tried {tries} times): the connection was reset."),
    "stall": Expected(TRANSIENT, RETRIED, "unreachable", "(tried {tries} times): no response came in time"),
    "drip": Expected(TRANSIENT, RETRIED, "unreachable", "the response did not end in time"),
    "drip-headers": Expected(TRANSIENT, RETRIED, "unreachable", "the response did not end in time"),
    "drip-chunks": Expected(TRANSIENT, RETRIED, "unreachable", "the response did not end in time"),
    "endless-continue": Expected(TRANSIENT, RETRIED, "unreachable", "the response did not end in time"),
}
"""Faults of every request, which fail their organization."""

LIMITED = (
    "rate-limited",
    "rate-limited-seconds",
    "rate-limited-date",
    "rate-limited-zero",
    "rate-limited-not-connected",
)
"""Rate limits. They end after two requests and fail no organization."""

PASSING = ("calcom-error", "internal-error", "html", "cut", "reset", "bad-gateway")
"""Faults that also occur only once, for the first request of another organization."""

ODD = ("lone-surrogate",)
"""Unusual responses that are delivered with a warning."""

ELSEWHERE = {"unauthorized", "unauthorized-grpc", "unauthorized-code", "rate-limited-day"}
"""Faults that end the whole sync, which have their own tests."""

HEALTHY_ROWS = 20

HEALTHY = ("healthy-1", "healthy-2", *(f"passing-{name}" for name in PASSING), *LIMITED)
"""The organizations that are delivered completely, in addition to one for each fault in ``ODD``."""


def _sandbox() -> Sandbox:
    """A sandbox with an organization per fault, one per temporary fault, and two without faults."""
    served = Sandbox()
    for name in [*LASTING, *HEALTHY, *ODD]:
        served.put(generated(name, HEALTHY_ROWS, len(name), datetime.now(timezone.utc)))
    served.faults = {name: FAULTS[name] for name in (*LASTING, *ODD)}
    served.faults.update({name: FAULTS[name].passing(2) for name in LIMITED})
    served.faults.update({f"passing-{name}": FAULTS[name].passing(1) for name in PASSING})
    return served


SHORT_TIMEOUTS = """
from dataclasses import replace
from source_ravan_calcom.ravan import client
client.READ = replace(client.READ, read=3, response=4.5)
"""
"""Timeouts a tenth as long: five tries of a response that never ends would take minutes."""


class Background:
    """One run of the command with all faults. It starts at once, and ``output`` waits for its end."""

    def __init__(self, verb: str, directory) -> None:
        self.sandbox = _sandbox()
        self._run = threading.Thread(target=self._serve_and_run, args=(verb, directory))
        self._run.start()

    def _serve_and_run(self, verb, directory) -> None:
        with serving(self.sandbox) as url:
            connector = Connector(directory, url, SHORT_TIMEOUTS if verb == "read" else "")
            self.host = url.removeprefix("http://")
            config = connector.config(*self.sandbox.accounts, num_workers=50)
            self._output = connector.run(verb, config, mode="incremental", streams=BOTH)

    @property
    def output(self):
        self._run.join()
        return self._output
