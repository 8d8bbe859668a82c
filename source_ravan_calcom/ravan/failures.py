"""The kinds of failure, the sentence that each one tells a person, and the exception that carries it.

The policy is the table of :class:`Kind` below: who has to act, whether asking again may help, and the words. Which
answers lead to which kind stands in :mod:`source_ravan_calcom.ravan.responses`.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from typing import Any

from airbyte_cdk.models import AirbyteMessage, FailureType, StreamDescriptor
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

MESSAGE_LENGTH = 300
"""How much of a foreign text is passed on, in characters."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True)
class Kind:
    """One consequence: who has to act, whether asking again may help, and the sentence for the person.

    Attributes:
        name: As it stands in ``organizations.error_kind``.
        label: A few words that read well after any number: “50 not connected”.
        failure_type: ``config_error`` waits for a person, ``transient_error`` for the next attempt.
        sentence: Its fields are ``org_id``, ``code`` (the API's code and the HTTP status), ``detail`` (what was
            seen, with its own punctuation), ``host``, ``tries`` and ``said`` (Ravan's own message, with its own
            punctuation).
        ask_again: Whether the same request may succeed a little later.
        stops_sync: Whether no other organization need be asked.
    """

    name: str
    label: str
    failure_type: FailureType
    sentence: str
    ask_again: bool = False
    stops_sync: bool = False


_CONFIG, _SYSTEM, _TRANSIENT = (
    FailureType.config_error,
    FailureType.system_error,
    FailureType.transient_error,
)

SEVERITY = (_CONFIG, _SYSTEM, _TRANSIENT)
"""The most actionable first. The first that any organization failed with is the sync's."""

TOKEN_REFUSED = Kind(
    "token_refused",
    "token refused",
    _CONFIG,
    "Ravan refused the Access Token ({code}, asked for organization {org_id}). "
    "Paste a valid token into Access Token.{said}",
    stops_sync=True,
)
TOKEN_EXPIRED = Kind(
    "token_expired",
    "token expired",
    _CONFIG,
    "Ravan refused the Access Token ({code}, asked for organization {org_id}): it expired on {detail}. "
    "Paste a valid token into Access Token.{said}",
    stops_sync=True,
)
TOKEN_REFUSED_HERE = Kind(
    "token_refused_here",
    "token refused for one organization",
    _CONFIG,
    "Ravan refused the Access Token for organization {org_id} ({code}), though not for every organization. "
    "Use a token that may read it, or remove {org_id} from Organization IDs.{said}",
)
FORBIDDEN = Kind(
    "forbidden",
    "forbidden",
    _CONFIG,
    "The Access Token may not read organization {org_id} ({code}). "
    "Use a token of that organization, or remove {org_id} from Organization IDs.{said}",
)
NOT_CONNECTED = Kind(
    "not_connected",
    "not connected",
    _CONFIG,
    "Organization {org_id} has no primary Cal.com account connected ({code}). "
    "Connect one in Ravan, or remove {org_id} from Organization IDs.{said}",
)
INVALID_REQUEST = Kind(
    "invalid_request",
    "invalid request",
    _CONFIG,
    "Ravan refused the request for organization {org_id} as invalid ({code}). "
    "Check Organization IDs, Booking Statuses and Agent ID.{said}",
)
NOT_FOUND = Kind(
    "not_found",
    "not found",
    _CONFIG,
    "Ravan found nothing for organization {org_id} ({code}). Check that ID in Organization IDs.{said}",
)
REDIRECTED = Kind(
    "redirected",
    "redirected",
    _CONFIG,
    "Ravan answered the request for organization {org_id} with a redirect ({code}). It was not followed, so "
    "that the Access Token stays with {host}. Check API URL.{said}",
)
REQUEST_REFUSED = Kind(
    "request_refused",
    "request refused",
    _SYSTEM,
    "Ravan refused the request for organization {org_id} ({code}) for a reason this connector does not know. "
    "Report it to the connector's maintainers.{said}",
)
WRONG_SHAPE = Kind(
    "wrong_shape",
    "answered in another shape",
    _SYSTEM,
    "Ravan's answer for organization {org_id} does not have the documented shape ({code}): {detail}. "
    "Report it to the connector's maintainers.",
)
OTHER_TENANT = Kind(
    "other_tenant",
    "answered for another organization",
    _SYSTEM,
    "Ravan answered the request for organization {org_id} with {detail} ({code}); nothing of that answer was "
    "delivered. Report it to Ravan.",
)
UNFORESEEN = Kind(
    "unforeseen",
    "failed unexpectedly",
    _SYSTEM,
    "An error that nobody foresaw ended the reading of organization {org_id} ({detail}). "
    "Report it to the connector's maintainers, with its stack trace.",
)
CALCOM_FAILED = Kind(
    "calcom_failed",
    "Cal.com failed",
    _TRANSIENT,
    "Cal.com failed while Ravan read organization {org_id} ({code}, tried {tries}). "
    "The next sync tries again; if it lasts, reconnect Cal.com in Ravan.{said}",
    ask_again=True,
)
SERVER_FAILED = Kind(
    "server_failed",
    "Ravan failed",
    _TRANSIENT,
    "Ravan failed for organization {org_id} ({code}, tried {tries}). The next sync tries again.{said}",
    ask_again=True,
)
RATE_LIMITED = Kind(
    "rate_limited",
    "rate limited",
    _TRANSIENT,
    "Ravan limits the rate of requests: organization {org_id} was not read ({code}): {detail}. "
    "Sync less often, or find out who else uses the Access Token.{said}",
    ask_again=True,
    stops_sync=True,
)
NOT_JSON = Kind(
    "not_json",
    "not JSON",
    _TRANSIENT,
    "Ravan's answer for organization {org_id} is not the documented JSON ({code}, tried {tries}): {detail}. "
    "The next sync tries again; if it lasts, check API URL and any proxy on the way.",
    ask_again=True,
)
UNREACHABLE = Kind(
    "unreachable",
    "unreachable",
    _TRANSIENT,
    "Could not read organization {org_id} from {host} (tried {tries}): {detail}. The next sync tries again; "
    "if it lasts, check the network between Airbyte and {host}.",
    ask_again=True,
)

KINDS: tuple[Kind, ...] = (
    TOKEN_REFUSED,
    TOKEN_EXPIRED,
    TOKEN_REFUSED_HERE,
    FORBIDDEN,
    NOT_CONNECTED,
    INVALID_REQUEST,
    NOT_FOUND,
    REDIRECTED,
    REQUEST_REFUSED,
    WRONG_SHAPE,
    OTHER_TENANT,
    UNFORESEEN,
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
        detail: What was seen beyond the code, with its own punctuation.
        said: Ravan's own message, cleaned; never a row.
        host: The API's host.
        tries: How often the request was sent.
        internal: More for the engineer: an exception, a place.
    """

    org_id: str
    code: str = ""
    detail: str = ""
    said: str = ""
    host: str = ""
    tries: int = 1
    internal: str = ""


class Failure(AirbyteTracedException):
    """A failure in words: a sentence for the person in ``message``, the facts in ``internal_message``.

    Args:
        message: The finished sentence.
        internal_message: What an engineer wants to know: status, code, exception. No row, no token.
        failure_type: Who has to act.
        stack_trace: Of an error that nobody foresaw. A foreseen one has none: its cause is known, and our frames
            say nothing about it.
        stream: The stream that it ends, if it ends one.
    """

    def __init__(
        self,
        message: str,
        internal_message: str | None = None,
        failure_type: FailureType = FailureType.config_error,
        stack_trace: str | None = None,
        stream: str | None = None,
    ) -> None:
        super().__init__(
            message=filter_secrets(message),
            internal_message=filter_secrets(internal_message or message),
            failure_type=failure_type,
            stream_descriptor=StreamDescriptor(name=stream) if stream else None,
        )
        self.stack_trace = stack_trace

    def as_airbyte_message(self, stream_descriptor: StreamDescriptor | None = None) -> AirbyteMessage:
        """The error trace."""
        message = super().as_airbyte_message(stream_descriptor)
        if message.trace and message.trace.error:
            message.trace.error.stack_trace = self.stack_trace
        return message


class OrganizationFailure(Failure):
    """One organization can't be read.

    Args:
        kind: The consequence, which gives the sentence.
        facts: What fills it.
        stack_trace: As of :class:`Failure`.
        ask_again: Whether the same request may succeed a little later, where that is not as the kind has it.
    """

    def __init__(self, kind: Kind, facts: Facts, stack_trace: str | None = None, ask_again: bool | None = None) -> None:
        sentence = kind.sentence.format(
            org_id=facts.org_id,
            code=facts.code,
            detail=facts.detail,
            host=facts.host,
            tries="once" if facts.tries == 1 else f"{facts.tries} times",
            said=f" Ravan says: “{facts.said}”" if facts.said else "",
        )
        internal = f"{kind.name}: {facts.code or facts.detail}; organization {facts.org_id}, try {facts.tries}"
        if facts.internal:
            internal += f"; {clean(facts.internal)}"
        super().__init__(sentence, internal, kind.failure_type, stack_trace)
        self.kind = kind
        self.facts = facts
        self.ask_again = kind.ask_again if ask_again is None else ask_again

    @property
    def came_too_early(self) -> bool:
        """Whether a rate limit alone kept the request from being answered, so that nothing is known of anything."""
        return self.kind is RATE_LIMITED and self.ask_again

    @property
    def seen(self) -> str:
        """What was seen, for the line that says that it is asked again."""
        return ", ".join(filter(None, (self.facts.code, self.facts.detail)))

    @classmethod
    def unforeseen(cls, error: Exception, org_id: str) -> OrganizationFailure:
        """An error that nobody foresaw, as the failure of the organization that it met."""
        frames = filter_secrets("".join(traceback.format_exception(error)))
        return cls(UNFORESEEN, Facts(org_id, detail=type(error).__name__, internal=str(error)), frames)


def clean(text: Any, length: int = MESSAGE_LENGTH) -> str:
    """Foreign text on one line: control characters and secrets removed, cut to ``length`` characters."""
    if not isinstance(text, str):
        return ""
    line = " ".join(_CONTROL_CHARACTERS.sub(" ", filter_secrets(text)).split())
    return line if len(line) <= length else line[: length - 1] + "…"
