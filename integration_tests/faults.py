"""The fault matrix: how each of the sandbox's faults ends, and one run of the command that meets them all."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone

from integration_tests.conftest import Connector
from sandbox import FAULTS, Sandbox, generated, serving

ONCE, RETRIED = "once", "retried"


@dataclass(frozen=True)
class Expected:
    """How a fault ends: whom it is for, whether it is asked again, and what its sentence says."""

    failure_type: str
    asked: str
    sentence: str


CONFIG, SYSTEM, TRANSIENT = "config_error", "system_error", "transient_error"

MATRIX = {
    "forbidden": Expected(CONFIG, ONCE, "The Access Token may not read organization {org} (HTTP 403)."),
    "not-connected": Expected(CONFIG, ONCE, "has no primary Cal.com account connected (NOT_CONNECTED, HTTP 400)"),
    "not-connected-nested": Expected(CONFIG, ONCE, "Cal.com account connected (NOT_CONNECTED, HTTP 502)"),
    "not-connected-under-200": Expected(CONFIG, ONCE, "Cal.com account connected (NOT_CONNECTED, HTTP 200)"),
    "invalid-request": Expected(CONFIG, ONCE, "{org} as invalid (INVALID_REQUEST, HTTP 400). Check Organization IDs"),
    "invalid-request-grpc": Expected(CONFIG, ONCE, "as invalid (code 3, HTTP 400)"),
    "not-found": Expected(CONFIG, ONCE, "Ravan found nothing for organization {org} (HTTP 404)"),
    "teapot": Expected(SYSTEM, ONCE, "Ravan refused the request for organization {org} (HTTP 418)"),
    "calcom-error": Expected(
        TRANSIENT, RETRIED, "Cal.com failed while Ravan read organization {org} (CALCOM_API_ERROR"
    ),
    "calcom-error-as-400": Expected(TRANSIENT, RETRIED, "(CALCOM_API_ERROR, HTTP 400, tried"),
    "internal-error": Expected(TRANSIENT, RETRIED, "Ravan failed for organization {org} (INTERNAL_ERROR, HTTP 500"),
    "bad-gateway": Expected(TRANSIENT, RETRIED, "Ravan failed for organization {org} (HTTP 502, tried"),
    "failure-under-200": Expected(TRANSIENT, RETRIED, "Ravan failed for organization {org} (HTTP 200, tried"),
    "rate-limited": Expected(TRANSIENT, RETRIED, "Ravan limits the rate of requests: organization {org} was not read"),
    "rate-limited-seconds": Expected(TRANSIENT, RETRIED, "Lower Concurrent Requests, or sync less often."),
    "rate-limited-date": Expected(TRANSIENT, RETRIED, "Lower Concurrent Requests, or sync less often."),
    "html": Expected(
        TRANSIENT, RETRIED, "is not the documented JSON (HTTP 200, tried {tries} times): it is an HTML page"
    ),
    "empty-body": Expected(TRANSIENT, RETRIED, "the body is empty"),
    "broken-json": Expected(TRANSIENT, RETRIED, "it is cut short or broken JSON"),
    "no-data": Expected(SYSTEM, ONCE, "does not have the documented shape (HTTP 200): “data” is missing"),
    "rows-not-a-list": Expected(SYSTEM, ONCE, "“appointments” is an object, not a list"),
    "row-not-an-object": Expected(SYSTEM, ONCE, "row 1 is text, not an object"),
    "other-tenant": Expected(
        SYSTEM, ONCE, "{org} with the bookings of another organization (HTTP 200); nothing of that answer"
    ),
    "other-tenants-row": Expected(SYSTEM, ONCE, "with a booking of another organization in row 1"),
    "redirect": Expected(
        CONFIG, ONCE, "with a redirect (HTTP 302). It was not followed, so that the Access Token stays"
    ),
    "cut": Expected(
        TRANSIENT, RETRIED, "Could not read organization {org} from {host} (tried {tries} times): the answer was cut"
    ),
    "reset": Expected(TRANSIENT, RETRIED, "Could not read organization {org} from {host}"),
    "stall": Expected(TRANSIENT, RETRIED, "Could not read organization {org} from {host}"),
    "drip": Expected(TRANSIENT, RETRIED, "the answer did not end in time"),
}

PASSING = ("calcom-error", "internal-error", "rate-limited-seconds", "html", "cut", "reset")

HEALTHY_ROWS = 20


def _sandbox() -> Sandbox:
    """One organization a fault, one a passing fault, and two that are well."""
    served = Sandbox()
    for name in [*MATRIX, *(f"passing-{name}" for name in PASSING), "healthy-1", "healthy-2"]:
        served.put(generated(name, HEALTHY_ROWS, len(name), datetime.now(timezone.utc)))
    served.faults = {name: FAULTS[name] for name in MATRIX}
    served.faults.update({f"passing-{name}": FAULTS[name].passing(1) for name in PASSING})
    return served


class Background:
    """One run of the command against all faults, begun at once and waited for when it is asked about."""

    def __init__(self, verb: str, directory) -> None:
        self.sandbox = _sandbox()
        self._run = threading.Thread(target=self._serve_and_run, args=(verb, directory))
        self._run.start()

    def _serve_and_run(self, verb, directory) -> None:
        with serving(self.sandbox) as url:
            connector = Connector(directory, url)
            self.host = url.removeprefix("http://")
            config = connector.config(*self.sandbox.accounts, num_workers=40)
            self._output = connector.run(verb, config, mode="incremental")

    @property
    def output(self):
        self._run.join()
        return self._output
