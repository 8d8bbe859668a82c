"""``GET /api/v1/calcom/appointments``: one request → the rows of one window, or a failure.

What a response means stands in :mod:`source_ravan_calcom.ravan.responses`; when a request may leave, in
:mod:`source_ravan_calcom.ravan.throttle`. Retries are decided by :mod:`source_ravan_calcom.workers`, except after a
429: all requests are paused then, so the thread that met it waits like all others and sends the request again.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any
from urllib.parse import unquote

import requests
import urllib3.exceptions
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from requests.adapters import HTTPAdapter

from source_ravan_calcom.bookings.records import Row
from source_ravan_calcom.config import Config, in_words
from source_ravan_calcom.ravan import failures, responses
from source_ravan_calcom.ravan.failures import Facts, Kind, OrganizationFailure
from source_ravan_calcom.ravan.responses import Problem
from source_ravan_calcom.ravan.throttle import Departure, Paused, Resumed, Throttle

PATH = "/api/v1/calcom/appointments"

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Decompressed; far above what 200 rows need. An endless body must not fill the memory."""

_CHUNK_BYTES = 256 * 1024

_YEAR = 365 * 24 * 60 * 60.0


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for one response. All times are in seconds.

    Attributes:
        connect: For the connection.
        read: For the next byte.
        response: For the whole response, headers included. The owner of the threads enforces it.
        rate_limited: For any request to succeed once a rate limit was met.
    """

    connect: float
    read: float
    response: float
    rate_limited: float


READ = Timeouts(connect=10, read=30, response=45, rate_limited=300)
"""For ``read``: nobody waits at a screen, and a passing fault should cost only time."""

CHECK = Timeouts(connect=5, read=10, response=12, rate_limited=40)
"""For ``check``: a person waits for it."""


@dataclass(frozen=True)
class Response:
    """The rows of one window.

    Attributes:
        rows: As Ravan sent them, in its order.
        count: Their number as the response states it; ``None`` if it states none.
        repaired: Whether a part that no parser accepts was replaced.
        at: The API's time when it answered, from the ``Date`` header; the connector's own without one.
        began: The API's time before the request was sent.
    """

    rows: list[Row]
    count: Any
    repaired: bool
    at: datetime
    began: datetime


@dataclass(eq=False)
class Call:
    """The requests of one attempt to read an organization, as its owner sees them from another thread.

    Attributes:
        org_id: The organization.
        requests: How many were sent.
        failures: How often the request at hand has failed before.
        departure: The request under way, if any.
        is_given_up: Whether the owner has stopped waiting: no further request leaves.
    """

    org_id: str
    requests: int = 0
    failures: int = 0
    departure: Departure | None = None
    is_given_up: bool = False


class NotAttempted(Exception):
    """The request did not leave, because the client was closed or its time was over."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: a redirect is an error here, and where it points is not even parsed."""


class Client:
    """The endpoint, for one token. Safe to use from many threads.

    Args:
        config: The user's settings.
        timeouts: How long to wait.
        notify: Told of each pause for a rate limit, and of its end.
        until: The monotonic time after which no request leaves.
    """

    def __init__(
        self,
        config: Config,
        timeouts: Timeouts,
        notify: Callable[[Paused | Resumed], None],
        until: float | None = None,
    ) -> None:
        self.has_succeeded = False
        self._config = config
        self._timeouts = timeouts
        self._until = until
        self._throttle = Throttle(config.num_workers, notify)
        self._session = _session(config)

    def close(self) -> None:
        """Let no further request leave, and release the threads that wait for theirs."""
        self._throttle.close()

    def get(self, call: Call, status: str | None, limit: int) -> Response:
        """Request the rows of one window, when the throttle allows it.

        Args:
            call: The attempt that this request is part of.
            status: One of Cal.com's filters, or ``None`` for an unfiltered request.
            limit: The most rows to return, 1 to 200.

        Raises:
            OrganizationFailure: With the kind and the sentence of what went wrong.
            NotAttempted: The request did not leave.
        """
        while True:
            departure = None if call.is_given_up else self._throttle.depart(self._until)
            if departure is None:
                raise NotAttempted
            call.requests += 1
            call.departure = departure
            try:
                response = self._exchange(call, departure, status, limit)
            finally:
                call.departure = None
                self._throttle.ended(departure)
            if response:
                self.has_succeeded = True
                call.failures = 0
                return response

    def give_up(self, call: Call, departure: Departure) -> OrganizationFailure:
        """Give up a request that exceeds its deadline; what it still returns is to be ignored."""
        call.is_given_up = True
        self._throttle.ended(departure)
        return OrganizationFailure(
            failures.UNREACHABLE, replace(self._facts(call), detail="the response did not end in time")
        )

    @property
    def deadline(self) -> float:
        """Seconds for one response, after which its request is to be given up."""
        return self._timeouts.response

    def _facts(self, call: Call) -> Facts:
        return Facts(call.org_id, host=self._config.host, tries=call.failures + 1)

    def _exchange(self, call: Call, departure: Departure, status: str | None, limit: int) -> Response | None:
        """Send one request; ``None`` after a 429 that is to be waited out."""
        facts = self._facts(call)
        clock = datetime.now(timezone.utc)
        try:
            answer, body = self._send(call.org_id, status, limit)
        except _BodyTooLarge as error:
            self._throttle.succeeded(departure)
            code = f"HTTP {error.status}"
            facts = replace(facts, code=code, detail=f"it is larger than {MAX_BODY_BYTES >> 20} MB")
            raise OrganizationFailure(failures.WRONG_SHAPE, facts) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, AirbyteTracedException, OSError) as error:
            raise _network_failure(error, facts) from None
        result = responses.read(answer.status_code, body, call.org_id)
        if isinstance(result, Problem):
            facts = replace(facts, code=result.code, detail=result.detail, said=result.said, status=answer.status_code)
            if result.kind is failures.RATE_LIMITED:
                self._wait_out(answer, departure, facts)
                return None
            self._throttle.succeeded(departure)
            raise self._failure(result.kind, facts)
        self._throttle.succeeded(departure)
        at, elapsed = _date(answer), timedelta(seconds=monotonic() - departure.at)
        # The header counts whole seconds, rounded down, so the difference errs on the early side.
        began = at - elapsed if at else clock
        return Response(result.rows, result.count, result.repaired, at or datetime.now(timezone.utc), began)

    def _send(self, org_id: str, status: str | None, limit: int) -> tuple[requests.Response, bytes]:
        params = {"org_id": org_id, "limit": str(limit)}
        if status:
            params["status"] = status
        if self._config.agent_id:
            params["agent_id"] = self._config.agent_id
        timeout = (self._timeouts.connect, self._timeouts.read)
        get = partial(self._session.get, self._config.api_url + PATH, params=params, timeout=timeout)
        try:
            answer = get(stream=True, allow_redirects=False)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            # Most likely the server had closed the connection while it was idle.
            answer = get(stream=True, allow_redirects=False)
        with answer:
            if answer.status_code // 100 == 1:
                # The real response follows on this connection, and must not be taken for that of the next request.
                if connection := answer.raw.connection:
                    connection.close()
                raise requests.ConnectionError(f"HTTP {answer.status_code}")
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _BodyTooLarge(answer.status_code)
            return answer, bytes(body)

    def _failure(self, kind: Kind, facts: Facts) -> OrganizationFailure:
        expires = self._config.token_expires_at
        if kind is failures.TOKEN_REFUSED and expires and expires < datetime.now(timezone.utc):
            return OrganizationFailure(failures.TOKEN_EXPIRED, replace(facts, detail=in_words(expires)))
        return OrganizationFailure(kind, facts)

    def _wait_out(self, answer: requests.Response, departure: Departure, facts: Facts) -> None:
        """Pause all requests after a 429.

        Raises:
            OrganizationFailure: The wait is too long.
        """
        retry_after = _retry_after(answer)
        seconds = self._throttle.refused(departure, retry_after)
        detail = ""
        if retry_after and retry_after > self._timeouts.rate_limited:
            detail = f"it asks to wait until {in_words(datetime.now(timezone.utc) + timedelta(seconds=retry_after))}"
        elif seconds > self._timeouts.rate_limited:
            detail = f"no request succeeded for {seconds / 60:.0f} minutes"
        if detail:
            raise OrganizationFailure(failures.RATE_LIMITED, replace(facts, detail=detail))


class _BodyTooLarge(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _session(config: Config) -> requests.Session:
    session = _Session()
    # A proxy from the environment must not see a token that is meant for this machine.
    session.trust_env = not config.on_loopback
    # requests reads REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which go first, but not the name that OpenSSL uses.
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    # A cookie of one organization's response must not travel with another's request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "source-ravan-calcom"

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {config.access_token}"
        return request

    session.auth = authorize  # as a header, a .netrc file would replace it
    for scheme in ("https://", "http://"):  # ignore-https-check
        session.mount(scheme, HTTPAdapter(pool_maxsize=config.num_workers))
    if session.trust_env:
        _mask_proxy_passwords(config.api_url)
    return session


def _mask_proxy_passwords(url: str) -> None:
    """Mask the passwords of the environment's proxies for ``url`` wherever they might be printed."""
    for proxy in requests.utils.get_environ_proxies(url).values():
        # Not parsed as a URL: it may lack its scheme, and a password may hold what no URL can.
        login = proxy.rpartition("@")[0].split("//", 1)[-1]
        for secret in (login, login.partition(":")[2]):
            if secret:
                add_to_secrets(secret)
                add_to_secrets(unquote(secret))


_CERTIFICATES = "set SSL_CERT_FILE or REQUESTS_CA_BUNDLE for the connector to a file that holds "
_UNREADABLE_CERTIFICATES = f"the file of certificates can't be read; {_CERTIFICATES}certificates in PEM format"
_INVALID_ADDRESS = "the address of the host or the proxy is not valid. Check API URL and HTTPS_PROXY"

# (exception, part of its text, kind, sentence). The first row that fits any cause of an error decides; the specific
# rows come first.
_NETWORK: tuple[tuple[type[BaseException], str, Kind, str], ...] = (
    (
        AirbyteTracedException,
        "private network",
        failures.NETWORK_SETTINGS,
        "its address belongs to a private network, which Airbyte Cloud does not allow. Check API URL",
    ),
    (OSError, "CA certificate bundle", failures.NETWORK_SETTINGS, _UNREADABLE_CERTIFICATES),
    (ssl.SSLError, "[X509", failures.NETWORK_SETTINGS, _UNREADABLE_CERTIFICATES),
    (urllib3.exceptions.SSLError, "Permission denied", failures.NETWORK_SETTINGS, _UNREADABLE_CERTIFICATES),
    (
        ssl.SSLCertVerificationError,
        "",
        failures.NETWORK_SETTINGS,
        f"its certificate is not trusted. If a proxy or a private authority signs it, {_CERTIFICATES}that authority's "
        "certificate",
    ),
    (
        OSError,
        "Tunnel connection failed: 407",
        failures.NETWORK_SETTINGS,
        "the proxy demands a login (HTTP 407). Put user and password into HTTPS_PROXY",
    ),
    (
        requests.exceptions.InvalidSchema,
        "SOCKS",
        failures.NETWORK_SETTINGS,
        "HTTPS_PROXY or ALL_PROXY names a SOCKS proxy, which needs the Python package PySocks. Use an HTTP proxy, or "
        "install PySocks beside the connector",
    ),
    (
        requests.exceptions.InvalidProxyURL,
        "",
        failures.NETWORK_SETTINGS,
        "the address of the proxy is not valid. Check HTTPS_PROXY",
    ),
    (requests.exceptions.InvalidURL, "", failures.NETWORK_SETTINGS, _INVALID_ADDRESS),
    (urllib3.exceptions.LocationParseError, "", failures.NETWORK_SETTINGS, _INVALID_ADDRESS),
    (urllib3.exceptions.NameResolutionError, "", failures.UNREACHABLE, "the host name could not be resolved"),
    (requests.exceptions.ProxyError, "", failures.UNREACHABLE, "the proxy could not be used"),
    (requests.exceptions.SSLError, "", failures.UNREACHABLE, "the TLS connection failed"),
    (ConnectionRefusedError, "", failures.UNREACHABLE, "the connection was refused"),
    (ConnectionResetError, "", failures.UNREACHABLE, "the connection was reset"),
    (Exception, "got more than", failures.WRONG_SHAPE, "its headers are too many or too long"),
    # A subclass of urllib3's timeout, though none passed.
    (urllib3.exceptions.NewConnectionError, "", failures.UNREACHABLE, "no connection could be made"),
    (requests.exceptions.ConnectTimeout, "", failures.UNREACHABLE, "no connection was made in time"),
    (requests.exceptions.ReadTimeout, "", failures.UNREACHABLE, "no response came in time"),
    (urllib3.exceptions.ReadTimeoutError, "", failures.UNREACHABLE, "the response stopped before its end"),
    (urllib3.exceptions.DecodeError, "", failures.UNREACHABLE, "the response could not be decompressed"),
    (urllib3.exceptions.IncompleteRead, "", failures.UNREACHABLE, "the response was cut short"),
    (
        urllib3.exceptions.ProtocolError,
        "",
        failures.UNREACHABLE,
        "the connection was closed before the response was complete",
    ),
    (
        requests.exceptions.ConnectionError,
        "HTTP 1",
        failures.UNREACHABLE,
        "the server sent an interim response in place of the response",
    ),
    (BaseException, "", failures.UNREACHABLE, "the request could not be sent"),
)


def _network_failure(error: BaseException, facts: Facts) -> OrganizationFailure:
    """The failure of a request without a response, from the most specific cause in the error's chain."""
    causes = list(_causes(error))
    kind, detail = next(
        (kind, sentence)
        for cause_type, text, kind, sentence in _NETWORK
        for cause in causes
        if isinstance(cause, cause_type) and text in str(cause)
    )
    code = "headers" if kind is failures.WRONG_SHAPE else ""
    internal = f"{type(error).__name__}: {error}"
    return OrganizationFailure(kind, replace(facts, code=code, detail=detail, internal=internal))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]


def _date(answer: requests.Response) -> datetime | None:
    """The API's time, from the ``Date`` header."""
    return _http_date(answer.headers.get("Date", ""))


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds that Retry-After asks to wait, given as a number or a date: at least 0, at most a year."""
    value = answer.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        at = _http_date(value)
        if at is None:
            return None
        # Both times are by the API's clock, if it states its own.
        seconds = (at - (_date(answer) or datetime.now(timezone.utc))).total_seconds()
    return min(max(seconds, 0.0), _YEAR) if seconds == seconds else None  # noqa: PLR0124  NaN is no time


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
