"""The kinds of failure and their sentences; ``responses`` and ``client`` map errors to kinds."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from source_ravan_calcom.config import one_line

CONFIG, SYSTEM, TRANSIENT = "config_error", "system_error", "transient_error"  # the protocol's failure types


@dataclass(frozen=True)
class Kind:
    """One kind of failure, with its consequences."""

    name: str  # the value of organizations.error_kind
    label: str  # reads well after any number: "50 not connected"
    failure_type: str
    is_retryable: bool = False  # the same request may succeed a little later
    stops_sync: bool = False  # it concerns every organization
    alone: Kind | None = None  # replaces this kind if another organization can be read


TOKEN_REFUSED_HERE = Kind("token_refused_here", "token refused for one organization", CONFIG)
TOKEN_REFUSED = Kind("token_refused", "token refused", CONFIG, stops_sync=True, alone=TOKEN_REFUSED_HERE)
TOKEN_EXPIRED = Kind("token_expired", "token expired", CONFIG, stops_sync=True)
FORBIDDEN = Kind("forbidden", "forbidden", CONFIG)
NOT_CONNECTED = Kind("not_connected", "not connected", CONFIG)
INVALID_REQUEST = Kind("invalid_request", "invalid request", CONFIG)
NOT_FOUND = Kind("not_found", "not found", CONFIG)
REDIRECTED = Kind("redirected", "redirected", CONFIG)
REQUEST_REFUSED = Kind("request_refused", "request refused", SYSTEM)
WRONG_SHAPE = Kind("wrong_shape", "responded in another shape", SYSTEM)
OTHER_TENANT = Kind("other_tenant", "responded for another organization", SYSTEM)
UNEXPECTED = Kind("unforeseen", "failed unexpectedly", SYSTEM)
CALCOM_FAILED = Kind("calcom_failed", "Cal.com failed", TRANSIENT, is_retryable=True)
SERVER_FAILED = Kind("server_failed", "Ravan failed", TRANSIENT, is_retryable=True)
RATE_LIMITED = Kind("rate_limited", "rate limited", TRANSIENT, stops_sync=True)
NOT_JSON = Kind("not_json", "not JSON", TRANSIENT, is_retryable=True)
UNREACHABLE = Kind("unreachable", "unreachable", TRANSIENT, is_retryable=True)
NETWORK_SETTINGS = Kind("network_settings", "stopped by network settings", CONFIG, stops_sync=True, alone=UNREACHABLE)

_TEXTS: Mapping[Kind, str] = {
    TOKEN_REFUSED: """Ravan refused the Access Token ({code}, requested for organization {org_id}). Paste a valid
        token into Access Token (access_token).{said}""",
    TOKEN_EXPIRED: """Ravan refused the Access Token ({code}, requested for organization {org_id}): it expired on
        {detail}. Paste a valid token into Access Token (access_token).{said}""",
    NETWORK_SETTINGS: "Could not connect to {host} (requested for organization {org_id}): {detail}.",
    TOKEN_REFUSED_HERE: """Ravan refused the Access Token for organization {org_id} ({code}), but not for others. Use
        a token that may read this organization, or remove {org_id} from Organization IDs (org_ids).{said}""",
    FORBIDDEN: """The Access Token is not allowed to read organization {org_id} ({code}). Use a token of that
        organization, or remove {org_id} from Organization IDs (org_ids).{said}""",
    NOT_CONNECTED: """Organization {org_id} has no primary Cal.com account connected ({code}). Connect one in Ravan,
        or remove {org_id} from Organization IDs (org_ids).{said}""",
    INVALID_REQUEST: """Ravan refused the request for organization {org_id} as invalid ({code}). Check Organization
        IDs (org_ids), Booking Statuses (statuses) and Agent ID (agent_id).{said}""",
    NOT_FOUND: """Ravan found nothing for organization {org_id} ({code}). Check that ID in Organization IDs
        (org_ids).{said}""",
    REDIRECTED: """Ravan redirected the request for organization {org_id} ({code}). The redirect was not followed,
        because the Access Token is sent only to {host}. Check API URL (api_url).{said}""",
    REQUEST_REFUSED: """Ravan refused the request for organization {org_id} ({code}) for a reason this connector does
        not know. Report it to the connector's maintainers.{said}""",
    WRONG_SHAPE: """Ravan's response for organization {org_id} does not have the documented shape ({code}): {detail}.
        Report it to the connector's maintainers.""",
    OTHER_TENANT: """Ravan answered the request for organization {org_id} with {detail} ({code}); nothing of that
        response was delivered. Report it to Ravan.""",
    UNEXPECTED: """Unexpected error while reading organization {org_id} ({detail}). Report it to the connector's
        maintainers, with its stack trace.""",
    CALCOM_FAILED: """Cal.com failed while Ravan read organization {org_id} ({code}, tried {tries}). The next sync
        tries again; if this persists, reconnect Cal.com in Ravan.{said}""",
    SERVER_FAILED: "Ravan failed for organization {org_id} ({code}, tried {tries}). The next sync tries again.{said}",
    RATE_LIMITED: """Ravan limits the rate of requests, so organization {org_id} was not read ({code}): {detail}. Sync
        less often, or find out who else uses the Access Token.{said}""",
    NOT_JSON: """Ravan's response for organization {org_id} is not the documented JSON ({code}, tried {tries}):
        {detail}. The next sync tries again; if this persists, check API URL (api_url) and any proxy on the way.""",
    UNREACHABLE: """Could not read organization {org_id} from {host} (tried {tries}): {detail}. The next sync tries
        again; if this persists, check the network between the connector and {host}.""",
}

SENTENCES: Mapping[Kind, str] = {kind: " ".join(text.split()) for kind, text in _TEXTS.items()}
"""Each on one line, with the fields of :class:`Facts` as placeholders."""

KINDS = tuple(SENTENCES)  # the most actionable first


@dataclass(frozen=True)
class Facts:
    """Details of one failed request."""

    org_id: str
    code: str = ""  # the API's code and the HTTP status, for messages
    detail: str = ""
    said: str = ""  # Ravan's own message, cleaned; never a row
    host: str = ""
    tries: int = 1
    internal: str = ""  # the type and text of an exception
    status: int = 0  # the HTTP status; 0 without a response


class OrganizationFailure(Exception):
    """One organization could not be read."""

    def __init__(self, kind: Kind, facts: Facts, stack_trace: str | None = None) -> None:
        tries = "once" if facts.tries == 1 else f"{facts.tries} times"
        said = f" Ravan says: “{facts.said}”." if facts.said else ""
        super().__init__(SENTENCES[kind].format(**{**vars(facts), "tries": tries, "said": said}))
        self.kind = kind
        self.facts = facts
        self.stack_trace = stack_trace

    @property
    def internal_message(self) -> str:
        """The facts for an engineer, without rows or tokens."""
        facts = self.facts
        message = f"{self.kind.name}: {facts.code or facts.detail}; organization {facts.org_id}, try {facts.tries}"
        return f"{message}; {clean(facts.internal)}" if facts.internal else message

    @property
    def seen(self) -> str:
        """The code and the detail."""
        return ", ".join(filter(None, (self.facts.code, self.facts.detail)))

    @classmethod
    def unexpected(cls, error: Exception, org_id: str) -> OrganizationFailure:
        """Wrap an unexpected error as the failure of its organization."""
        frames = "".join(traceback.format_exception(error))
        return cls(UNEXPECTED, Facts(org_id, detail=type(error).__name__, internal=str(error)), frames)


def clean(text: Any, length: int = 300) -> str:
    """Foreign text on one line, cut to ``length`` characters; an empty string for anything but text."""
    return one_line(text, length) if isinstance(text, str) else ""
