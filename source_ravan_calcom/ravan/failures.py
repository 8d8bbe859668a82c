"""The kinds of failure and the sentence that each one tells a person.

The policy is the table of :class:`Kind` below: who has to act, whether a retry may help, and the sentence. Which
responses lead to which kind stands in :mod:`source_ravan_calcom.ravan.responses`, and which exceptions of the network
in :mod:`source_ravan_calcom.ravan.client`.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from source_ravan_calcom.config import one_line

MESSAGE_LENGTH = 300
"""How much of a foreign text is passed on, in characters."""

CONFIG, SYSTEM, TRANSIENT = "config_error", "system_error", "transient_error"
"""The protocol's failure types, the most actionable first."""


@dataclass(frozen=True)
class Kind:
    """One consequence: who has to act, whether a retry may help, and the sentence for the person.

    Attributes:
        name: As it stands in ``organizations.error_kind``.
        label: A few words that read well after any number: “50 not connected”.
        failure_type: ``config_error`` waits for a person, ``transient_error`` for the next attempt.
        sentence: Its fields are ``org_id``, ``code`` (the API's code and the HTTP status), ``detail`` (what was
            seen), ``host``, ``tries`` and ``said`` (Ravan's own message as a sentence, with a space before it).
        is_retryable: Whether the same request may succeed a little later.
        stops_sync: Whether the failure concerns every organization, so that no other one is requested.
        alone: For a kind that stops the sync: the kind that replaces it if a request for another organization
            succeeded, which shows that the failure is this organization's own.
    """

    name: str
    label: str
    failure_type: str
    sentence: str
    is_retryable: bool = False
    stops_sync: bool = False
    alone: Kind | None = None


TOKEN_REFUSED_HERE = Kind(
    "token_refused_here",
    "token refused for one organization",
    CONFIG,
    "Ravan refused the Access Token for organization {org_id} ({code}), but accepted it for others. "
    "Use a token that may read it, or remove {org_id} from Organization IDs.{said}",
)
TOKEN_REFUSED = Kind(
    "token_refused",
    "token refused",
    CONFIG,
    "Ravan refused the Access Token ({code}, requested for organization {org_id}). "
    "Paste a valid token into Access Token.{said}",
    stops_sync=True,
    alone=TOKEN_REFUSED_HERE,
)
TOKEN_EXPIRED = Kind(
    "token_expired",
    "token expired",
    CONFIG,
    "Ravan refused the Access Token ({code}, requested for organization {org_id}): it expired on {detail}. "
    "Paste a valid token into Access Token.{said}",
    stops_sync=True,
)
FORBIDDEN = Kind(
    "forbidden",
    "forbidden",
    CONFIG,
    "The Access Token may not read organization {org_id} ({code}). "
    "Use a token of that organization, or remove {org_id} from Organization IDs.{said}",
)
NOT_CONNECTED = Kind(
    "not_connected",
    "not connected",
    CONFIG,
    "Organization {org_id} has no primary Cal.com account connected ({code}). "
    "Connect one in Ravan, or remove {org_id} from Organization IDs.{said}",
)
INVALID_REQUEST = Kind(
    "invalid_request",
    "invalid request",
    CONFIG,
    "Ravan refused the request for organization {org_id} as invalid ({code}). "
    "Check Organization IDs, Booking Statuses and Agent ID.{said}",
)
NOT_FOUND = Kind(
    "not_found",
    "not found",
    CONFIG,
    "Ravan found nothing for organization {org_id} ({code}). Check that ID in Organization IDs.{said}",
)
REDIRECTED = Kind(
    "redirected",
    "redirected",
    CONFIG,
    "Ravan redirected the request for organization {org_id} ({code}). The redirect was not followed, so "
    "that the Access Token stays with {host}. Check API URL.{said}",
)
REQUEST_REFUSED = Kind(
    "request_refused",
    "request refused",
    SYSTEM,
    "Ravan refused the request for organization {org_id} ({code}) for a reason this connector does not know. "
    "Report it to the connector's maintainers.{said}",
)
WRONG_SHAPE = Kind(
    "wrong_shape",
    "answered in another shape",
    SYSTEM,
    "Ravan's response for organization {org_id} does not have the documented shape ({code}): {detail}. "
    "Report it to the connector's maintainers.",
)
OTHER_TENANT = Kind(
    "other_tenant",
    "answered for another organization",
    SYSTEM,
    "Ravan answered the request for organization {org_id} with {detail} ({code}); nothing of that response was "
    "delivered. Report it to Ravan.",
)
UNEXPECTED = Kind(
    "unforeseen",
    "failed unexpectedly",
    SYSTEM,
    "Unexpected error while reading organization {org_id} ({detail}). "
    "Report it to the connector's maintainers, with its stack trace.",
)
CALCOM_FAILED = Kind(
    "calcom_failed",
    "Cal.com failed",
    TRANSIENT,
    "Cal.com failed while Ravan read organization {org_id} ({code}, tried {tries}). "
    "The next sync tries again; if it lasts, reconnect Cal.com in Ravan.{said}",
    is_retryable=True,
)
SERVER_FAILED = Kind(
    "server_failed",
    "Ravan failed",
    TRANSIENT,
    "Ravan failed for organization {org_id} ({code}, tried {tries}). The next sync tries again.{said}",
    is_retryable=True,
)
RATE_LIMITED = Kind(
    "rate_limited",
    "rate limited",
    TRANSIENT,
    "Ravan limits the rate of requests: organization {org_id} was not read ({code}): {detail}. "
    "Sync less often, or find out who else uses the Access Token.{said}",
    stops_sync=True,
)
NOT_JSON = Kind(
    "not_json",
    "not JSON",
    TRANSIENT,
    "Ravan's response for organization {org_id} is not the documented JSON ({code}, tried {tries}): {detail}. "
    "The next sync tries again; if it lasts, check API URL and any proxy on the way.",
    is_retryable=True,
)
UNREACHABLE = Kind(
    "unreachable",
    "unreachable",
    TRANSIENT,
    "Could not read organization {org_id} from {host} (tried {tries}): {detail}. The next sync tries again; "
    "if it lasts, check the network between the connector and {host}.",
    is_retryable=True,
)
NETWORK_SETTINGS = Kind(
    "network_settings",
    "stopped by network settings",
    CONFIG,
    "Could not connect to {host} (requested for organization {org_id}): {detail}.",
    stops_sync=True,
    alone=UNREACHABLE,
)

KINDS: tuple[Kind, ...] = (
    TOKEN_REFUSED,
    TOKEN_EXPIRED,
    NETWORK_SETTINGS,
    TOKEN_REFUSED_HERE,
    FORBIDDEN,
    NOT_CONNECTED,
    INVALID_REQUEST,
    NOT_FOUND,
    REDIRECTED,
    REQUEST_REFUSED,
    WRONG_SHAPE,
    OTHER_TENANT,
    UNEXPECTED,
    CALCOM_FAILED,
    SERVER_FAILED,
    RATE_LIMITED,
    NOT_JSON,
    UNREACHABLE,
)
"""Every kind that one organization can fail with, the most actionable first; the documentation lists them all."""


@dataclass(frozen=True)
class Facts:
    """What is known of one failed request, for its sentence and for the engineer.

    Attributes:
        org_id: The organization it was sent for.
        code: The API's code and the HTTP status, as people should see them.
        detail: What was seen beyond the code.
        said: Ravan's own message, cleaned; never a row.
        host: The API's host.
        tries: How often the request was sent.
        internal: More for the engineer: an exception.
        status: The HTTP status; 0 without a response.
    """

    org_id: str
    code: str = ""
    detail: str = ""
    said: str = ""
    host: str = ""
    tries: int = 1
    internal: str = ""
    status: int = 0


class OrganizationFailure(Exception):
    """One organization could not be read.

    Args:
        kind: The consequence, which gives the sentence.
        facts: What fills it.
        stack_trace: Of an unexpected error. Any other has none: its cause is known.
    """

    def __init__(self, kind: Kind, facts: Facts, stack_trace: str | None = None) -> None:
        sentence = kind.sentence.format(
            org_id=facts.org_id,
            code=facts.code,
            detail=facts.detail,
            host=facts.host,
            tries="once" if facts.tries == 1 else f"{facts.tries} times",
            said=f" Ravan says: “{facts.said}”." if facts.said else "",
        )
        super().__init__(sentence)
        self.kind = kind
        self.facts = facts
        self.stack_trace = stack_trace

    @property
    def internal_message(self) -> str:
        """The facts for the engineer: no row, no token."""
        facts = self.facts
        message = f"{self.kind.name}: {facts.code or facts.detail}; organization {facts.org_id}, try {facts.tries}"
        return f"{message}; {clean(facts.internal)}" if facts.internal else message

    @property
    def seen(self) -> str:
        """What was seen, for the line that announces a retry."""
        return ", ".join(filter(None, (self.facts.code, self.facts.detail)))

    @classmethod
    def unexpected(cls, error: Exception, org_id: str) -> OrganizationFailure:
        """An error that no table foresees, as the failure of the organization it occurred in."""
        frames = "".join(traceback.format_exception(error))
        return cls(UNEXPECTED, Facts(org_id, detail=type(error).__name__, internal=str(error)), frames)


def clean(text: Any, length: int = MESSAGE_LENGTH) -> str:
    """Foreign text on one line, cut to ``length`` characters; an empty string for anything but text."""
    return one_line(text, length) if isinstance(text, str) else ""
