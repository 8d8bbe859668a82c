"""What each answer of Ravan's API means, whom it concerns and what that person can do.

The policy is the three tables below: :class:`Kind` names a consequence and its sentence, ``BY_CODE`` and
``BY_STATUS`` say which answers lead to it. The API's own code decides first, because the contract gives no
HTTP statuses for its codes; the HTTP status decides where there is no code that we know.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import jwt
import requests
import urllib3.exceptions
from airbyte_cdk.models import AirbyteMessage, FailureType, StreamDescriptor
from airbyte_cdk.sources.streams.http.error_handlers import ResponseAction
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

STREAM = "appointments"

MESSAGE_LENGTH = 300
"""How much of Ravan's own message is passed on, in characters."""

CODE_LENGTH = 60

HTTP_SUCCESS = 2
"""First digit of the HTTP statuses that claim success."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Kind:
    """One consequence: who has to act, whether asking again may help, and the sentence for the person.

    The sentence's fields are ``org_id``, ``code`` (the API's code and the HTTP status), ``detail`` (what was
    seen, with its own punctuation), ``host``, ``tries`` and ``said`` (Ravan's own message, with its own
    punctuation).
    """

    name: str
    failure_type: FailureType
    action: ResponseAction
    sentence: str
    stops_sync: bool = False


_CONFIG, _SYSTEM, _TRANSIENT = (
    FailureType.config_error,
    FailureType.system_error,
    FailureType.transient_error,
)

SETTING = Kind("setting", _CONFIG, ResponseAction.FAIL, "{detail}")

TOKEN_REFUSED = Kind(
    "token_refused",
    _CONFIG,
    ResponseAction.FAIL,
    "Ravan refused the Access Token ({code}, asked for organization {org_id}){detail}. "
    "Paste a valid token into Access Token.{said}",
    stops_sync=True,
)
FORBIDDEN = Kind(
    "forbidden",
    _CONFIG,
    ResponseAction.FAIL,
    "The Access Token may not read organization {org_id} ({code}). "
    "Use a token of that organization, or remove {org_id} from Organization IDs.{said}",
)
NOT_CONNECTED = Kind(
    "not_connected",
    _CONFIG,
    ResponseAction.FAIL,
    "Organization {org_id} has no primary Cal.com account connected ({code}). "
    "Connect one in Ravan, or remove {org_id} from Organization IDs.{said}",
)
INVALID_REQUEST = Kind(
    "invalid_request",
    _CONFIG,
    ResponseAction.FAIL,
    "Ravan refused the request for organization {org_id} as invalid ({code}). "
    "Check Organization IDs, Booking Statuses and Agent ID.{said}",
)
NOT_FOUND = Kind(
    "not_found",
    _CONFIG,
    ResponseAction.FAIL,
    "Ravan found nothing for organization {org_id} ({code}). Check that ID in Organization IDs.{said}",
)
REQUEST_REFUSED = Kind(
    "request_refused",
    _SYSTEM,
    ResponseAction.FAIL,
    "Ravan refused the request for organization {org_id} ({code}) for a reason this connector does not know. "
    "Report it to the connector's maintainers.{said}",
)
CALCOM_FAILED = Kind(
    "calcom_failed",
    _TRANSIENT,
    ResponseAction.RETRY,
    "Cal.com failed while Ravan read organization {org_id} ({code}, tried {tries}). "
    "The next sync tries again; if it lasts, reconnect Cal.com in Ravan.{said}",
)
SERVER_FAILED = Kind(
    "server_failed",
    _TRANSIENT,
    ResponseAction.RETRY,
    "Ravan failed for organization {org_id} ({code}, tried {tries}). The next sync tries again.{said}",
)
RATE_LIMITED = Kind(
    "rate_limited",
    _TRANSIENT,
    ResponseAction.RATE_LIMITED,
    "Ravan limits the rate of requests: organization {org_id} was not read ({code}, tried {tries}). "
    "Lower Concurrent Requests, or sync less often.{said}",
)
NOT_JSON = Kind(
    "not_json",
    _TRANSIENT,
    ResponseAction.RETRY,
    "Ravan's answer for organization {org_id} is not the documented JSON ({code}, tried {tries}): {detail}. "
    "The next sync tries again; if it lasts, check API URL and any proxy on the way.",
)
WRONG_SHAPE = Kind(
    "wrong_shape",
    _SYSTEM,
    ResponseAction.FAIL,
    "Ravan's answer for organization {org_id} does not have the documented shape ({code}): {detail}. "
    "Report it to the connector's maintainers.",
)
OTHER_TENANT = Kind(
    "other_tenant",
    _SYSTEM,
    ResponseAction.FAIL,
    "Ravan answered the request for organization {org_id} with {detail} ({code}); nothing of that answer was "
    "delivered. Report it to Ravan.",
)
REDIRECTED = Kind(
    "redirected",
    _CONFIG,
    ResponseAction.FAIL,
    "Ravan answered the request for organization {org_id} with a redirect ({code}). It was not followed, so "
    "that the Access Token stays with {host}. Check API URL.{said}",
)
UNREACHABLE = Kind(
    "unreachable",
    _TRANSIENT,
    ResponseAction.RETRY,
    "Could not read organization {org_id} from {host} (tried {tries}): {detail}. The next sync tries again; "
    "if it lasts, check the network between Airbyte and {host}.",
)

KINDS: tuple[Kind, ...] = (
    TOKEN_REFUSED,
    FORBIDDEN,
    NOT_CONNECTED,
    INVALID_REQUEST,
    NOT_FOUND,
    REQUEST_REFUSED,
    CALCOM_FAILED,
    SERVER_FAILED,
    RATE_LIMITED,
    NOT_JSON,
    WRONG_SHAPE,
    OTHER_TENANT,
    REDIRECTED,
    UNREACHABLE,
)
"""Every kind that an answer can lead to; the troubleshooting table in the documentation lists them all."""

BY_CODE: Mapping[str | int, Kind] = {
    # The contract's codes.
    "INVALID_REQUEST": INVALID_REQUEST,
    "NOT_CONNECTED": NOT_CONNECTED,
    "CALCOM_API_ERROR": CALCOM_FAILED,
    "INTERNAL_ERROR": SERVER_FAILED,
    # Codes of sibling endpoints, and names for a refused token in use elsewhere.
    "NOT_FOUND": NOT_FOUND,
    "CONFLICT": REQUEST_REFUSED,
    "UNAUTHORIZED": TOKEN_REFUSED,
    "UNAUTHENTICATED": TOKEN_REFUSED,
    "INVALID_TOKEN": TOKEN_REFUSED,
    "TOKEN_EXPIRED": TOKEN_REFUSED,
    "FORBIDDEN": FORBIDDEN,
    "PERMISSION_DENIED": FORBIDDEN,
    "RATE_LIMITED": RATE_LIMITED,
    "TOO_MANY_REQUESTS": RATE_LIMITED,
    # The integer codes of the oldest error body are gRPC's.
    3: INVALID_REQUEST,
    4: SERVER_FAILED,
    5: NOT_FOUND,
    7: FORBIDDEN,
    8: RATE_LIMITED,
    13: SERVER_FAILED,
    14: SERVER_FAILED,
    16: TOKEN_REFUSED,
}

BY_STATUS: Mapping[int, Kind] = {
    400: INVALID_REQUEST,
    401: TOKEN_REFUSED,
    403: FORBIDDEN,
    404: NOT_FOUND,
    408: SERVER_FAILED,
    422: INVALID_REQUEST,
    425: SERVER_FAILED,
    429: RATE_LIMITED,
}

BY_STATUS_CLASS: Mapping[int, Kind] = {3: REDIRECTED, 4: REQUEST_REFUSED, 5: SERVER_FAILED}
"""By the status's first digit, where neither the code nor the status is known."""

UNEXPLAINED = SERVER_FAILED
"""``success: false`` under a 2xx with no code that we know: never taken for an empty account."""

_CONNECTION_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    # The first that is found anywhere in the chain of causes speaks; the specific come first.
    (urllib3.exceptions.NameResolutionError, "the host name could not be resolved"),
    (requests.exceptions.ProxyError, "the proxy could not be used"),
    (requests.exceptions.SSLError, "the TLS connection could not be made or was broken"),
    (urllib3.exceptions.SSLError, "the TLS connection could not be made or was broken"),
    (ssl.SSLError, "the TLS connection could not be made or was broken"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (urllib3.exceptions.NewConnectionError, "no connection could be made"),  # a timeout to urllib3, though it is none
    (requests.exceptions.ConnectTimeout, "no connection was made in time"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection was made in time"),
    (requests.exceptions.ReadTimeout, "no answer came in time"),
    (urllib3.exceptions.ReadTimeoutError, "the answer stopped coming"),
    (TimeoutError, "the answer did not end in time"),
    (urllib3.exceptions.DecodeError, "the answer could not be decompressed"),
    (urllib3.exceptions.IncompleteRead, "the answer was cut short"),
    (urllib3.exceptions.ProtocolError, "the connection was closed before the answer was complete"),
    (requests.exceptions.ConnectionError, "the connection failed"),
)


class Failure(AirbyteTracedException):
    """A foreseen failure: a sentence for the person in ``message``, the facts in ``internal_message``.

    Args:
        kind: The consequence; gives the failure type.
        message: The finished sentence.
        internal_message: What an engineer wants to know: status, code, exception. No row, no token.
        org_id: The organization it concerns, if it concerns one.
    """

    def __init__(
        self, kind: Kind, message: str, internal_message: str | None = None, org_id: str | None = None
    ) -> None:
        super().__init__(
            message=filter_secrets(message),
            internal_message=filter_secrets(internal_message or message),
            failure_type=kind.failure_type,
            stream_descriptor=StreamDescriptor(name=STREAM) if org_id is not None else None,
        )
        self.kind = kind
        self.org_id = org_id

    def as_airbyte_message(self, stream_descriptor: StreamDescriptor | None = None) -> AirbyteMessage:
        """The error trace, without a stack trace: the cause is known, and our frames say nothing about it."""
        message = super().as_airbyte_message(stream_descriptor)
        if message.trace and message.trace.error:
            message.trace.error.stack_trace = None
        return message

    def without_frames(self) -> Failure:
        """The same failure, without the frames it passed through and the rows in them.

        The engine keeps every failure until the sync ends, and a row must not outlive its partition.
        """
        self.__context__ = self.__cause__ = None
        return self.with_traceback(None)


def refused_setting(sentence: str) -> Failure:
    """A setting that can't be used, in one sentence that names it by its title."""
    return Failure(SETTING, sentence)


def judge(status: int, body: Any) -> tuple[Kind | None, str, str]:
    """Judge one answer by its HTTP status and its parsed body (``None`` where it was not JSON).

    Understands the three error bodies on record: the code beside ``success``, the code in an ``error``
    object, and an integer gRPC code.

    Returns:
        The kind, or ``None`` where the answer is a success; the code as people should see it; and Ravan's
        own message, cleaned, or an empty string.
    """
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = fields.get("error")
    nested: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    code = _first_code(fields.get("code"), nested.get("code"))
    said = clean(fields.get("message") or nested.get("message"), MESSAGE_LENGTH)
    seen = f"HTTP {status}"
    if code is not None:
        seen = f"{clean(code, CODE_LENGTH) if isinstance(code, str) else f'code {code}'}, {seen}"
    if status // 100 == HTTP_SUCCESS:
        failed = fields["success"] is not True if "success" in fields else code and "data" not in fields
        return (BY_CODE.get(code or "", UNEXPLAINED) if failed else None), seen, said
    by_status = BY_STATUS.get(status) or BY_STATUS_CLASS.get(status // 100, UNEXPLAINED)
    return BY_CODE.get(code or "", by_status), seen, said


def _first_code(*candidates: Any) -> str | int | None:
    for candidate in candidates:
        if isinstance(candidate, bool):
            continue
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip()
        if isinstance(candidate, int) and candidate:
            return candidate
    return None


def clean(text: Any, length: int) -> str:
    """Foreign text on one line: control characters and secrets removed, cut to ``length`` characters."""
    if not isinstance(text, str):
        return ""
    line = " ".join(_CONTROL_CHARACTERS.sub(" ", filter_secrets(text)).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def quoted(said: str) -> str:
    """Ravan's own message as the end of a sentence, or nothing."""
    return f" Ravan says: “{said}”" if said else ""


def token_expiry(token: str) -> str:
    """When the token expired, as the middle of a sentence, or nothing where it can't be told.

    The token is decoded without being trusted: nothing but this sentence depends on it.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
        at = datetime.fromtimestamp(claims["exp"], timezone.utc)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return ""
    if at > datetime.now(timezone.utc):
        return ""
    return f": it expired on {at:%Y-%m-%d at %H:%M:%S} UTC"


def connection_words(exception: BaseException) -> str:
    """What went wrong on the way, in words, from the most specific cause in the exception's chain."""
    chain = list(_causes(exception))
    for kind, words in _CONNECTION_WORDS:
        if any(isinstance(cause, kind) for cause in chain):
            return words
    return "the request could not be made"


def _causes(exception: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[Any] = [exception]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
