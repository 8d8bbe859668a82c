"""``GET /api/v1/calcom/appointments``: one request → the rows of one window, or a failure.

``workers`` decides on retries, except after a 429: the thread that met it waits and sends the request again.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlencode

import requests
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from requests import exceptions as http
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as net

from source_ravan_calcom.bookings.records import Row
from source_ravan_calcom.config import Config, in_words
from source_ravan_calcom.ravan import failures, responses
from source_ravan_calcom.ravan.failures import Facts, Kind, OrganizationFailure
from source_ravan_calcom.ravan.responses import Problem, Rows
from source_ravan_calcom.ravan.throttle import Departure, Paused, Resumed, Throttle

PATH = "/api/v1/calcom/appointments"

MAX_BODY_BYTES = 32 * 1024 * 1024  # decompressed, far above 200 rows: an endless body must not fill the memory
_YEAR = 365 * 24 * 60 * 60.0


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for one response, in seconds."""

    connect: float  # for the connection
    read: float  # for the next byte
    response: float  # for the whole response, headers included; the owner of the threads enforces it
    rate_limited: float  # for any request to succeed once a rate limit was met


READ = Timeouts(connect=10, read=30, response=45, rate_limited=300)
CHECK = Timeouts(connect=5, read=10, response=12, rate_limited=40)
"""For ``check``: a person waits for it, but nobody for ``read``."""


@dataclass(frozen=True)
class Response:
    """The rows of one window. Both times are the API's, from the ``Date`` header; the connector's without one."""

    rows: list[Row]  # as Ravan sent them, in its order
    count: Any  # their number as the response states it; None if it states none
    repaired: bool  # whether a part that no parser accepts was replaced
    at: datetime  # when the API answered
    began: datetime  # before the request was sent


@dataclass(eq=False)
class Call:
    """The requests of one attempt to read an organization, as its owner sees them from another thread."""

    org_id: str
    requests: int = 0  # how many were sent
    failures: int = 0  # how often the request at hand has failed before
    given_up: int = 0  # how often an earlier attempt was given up; a success of another request does not excuse it
    departure: Departure | None = None  # the request under way
    is_given_up: bool = False  # the owner has stopped waiting: no further request leaves


class NotAttempted(Exception):
    """The request did not leave, because the client was closed or its time was over."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: a redirect is an error here, and its target is not even parsed."""


class Client:
    """The endpoint, for one token. Safe to use from many threads.

    Args:
        config: The user's settings.
        timeouts: How long to wait.
        notify: Called with each pause for a rate limit, and with its end.
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
        if self._session.trust_env:
            _mask_proxy_passwords(config.api_url)

    @cached_property
    def _prepared(self) -> tuple[requests.PreparedRequest, Mapping[str, Any]]:
        """A request without parameters, and the options of the environment. An invalid address raises."""
        url = self._config.api_url + PATH
        request = self._session.prepare_request(requests.Request("GET", url))
        request.headers["Authorization"] = f"Bearer {self._config.access_token}"  # in place of a .netrc file's
        return request, self._session.merge_environment_settings(url, {}, True, None, None)

    def close(self) -> None:
        """Send no further request, and release the threads that wait for theirs."""
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
                rows = self._exchange(call, departure, status, limit)
            finally:
                call.departure = None
                self._throttle.ended(departure)
            if rows:
                self.has_succeeded = True
                call.failures = call.given_up
                return rows

    def give_up(self, call: Call, departure: Departure) -> OrganizationFailure:
        """Give up a request that exceeds its deadline; what it still returns is to be ignored."""
        call.is_given_up = True
        self._throttle.ended(departure)
        facts = replace(self._facts(call), detail="the response did not end in time")
        return OrganizationFailure(failures.UNREACHABLE, facts)

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
            response, body = self._send(call.org_id, status, limit)
        except (http.RequestException, net.HTTPError, AirbyteTracedException, OSError) as error:
            raise _network_failure(error, facts) from None
        http_status = response.status_code
        if len(body) > MAX_BODY_BYTES:
            detail = f"it is larger than {MAX_BODY_BYTES >> 20} MB"
            result: Rows | Problem = Problem(failures.WRONG_SHAPE, f"HTTP {http_status}", detail)
        else:
            result = responses.read(http_status, body, call.org_id)
        if isinstance(result, Problem):
            facts = replace(facts, code=result.code, detail=result.detail, said=result.said, status=http_status)
            if result.kind is failures.RATE_LIMITED:
                self._wait_out(response, departure, facts)
                return None
        self._throttle.succeeded(departure)
        if isinstance(result, Problem):
            raise self._failure(result.kind, facts)
        at, elapsed = _date(response), timedelta(seconds=monotonic() - departure.at)
        # The header counts whole seconds, rounded down, so the difference errs on the early side.
        began = at - elapsed if at else clock
        return Response(result.rows, result.count, result.repaired, at or datetime.now(timezone.utc), began)

    def _send(self, org_id: str, status: str | None, limit: int) -> tuple[requests.Response, bytes]:
        params = {"org_id": org_id, "limit": str(limit)}
        if status:
            params["status"] = status
        if self._config.agent_id:
            params["agent_id"] = self._config.agent_id
        prepared, options = self._prepared
        request = prepared.copy()
        request.url = f"{prepared.url}?{urlencode(params)}"
        options = {**options, "timeout": (self._timeouts.connect, self._timeouts.read), "allow_redirects": False}
        try:
            response = self._session.send(request, **options)
        except http.Timeout:
            raise
        except http.ConnectionError:
            # Most likely the server had closed the connection while it was idle, perhaps other idle ones too.
            response = _session(self._config).send(request, **options)
        with response:
            if response.status_code // 100 == 1:
                # The real response follows on this connection, and must not be taken for that of the next request.
                if connection := response.raw.connection:
                    connection.close()
                raise http.ConnectionError(f"HTTP {response.status_code}")
            body = response.raw.read(MAX_BODY_BYTES + 1, decode_content=True)
        return response, body

    def _failure(self, kind: Kind, facts: Facts) -> OrganizationFailure:
        expires = self._config.token_expires_at
        if kind is failures.TOKEN_REFUSED and expires and expires < datetime.now(timezone.utc):
            return OrganizationFailure(failures.TOKEN_EXPIRED, replace(facts, detail=in_words(expires)))
        return OrganizationFailure(kind, facts)

    def _wait_out(self, response: requests.Response, departure: Departure, facts: Facts) -> None:
        """Pause all requests after a 429.

        Raises:
            OrganizationFailure: The wait is too long.
        """
        retry_after = _retry_after(response)
        seconds = self._throttle.refused(departure, retry_after)
        detail = ""
        if retry_after and retry_after > self._timeouts.rate_limited:
            detail = f"it asks to wait until {in_words(datetime.now(timezone.utc) + timedelta(seconds=retry_after))}"
        elif seconds > self._timeouts.rate_limited:
            detail = f"no request succeeded for {seconds / 60:.0f} minutes"
        if detail:
            raise OrganizationFailure(failures.RATE_LIMITED, replace(facts, detail=detail))


def _session(config: Config) -> requests.Session:
    session = _Session()
    # A proxy from the environment must not see a token that is meant for this machine.
    session.trust_env = not config.on_loopback
    # requests reads REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which go first, but not the name that OpenSSL uses.
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    # A cookie of one organization's response must not travel with another's request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "source-ravan-calcom"
    for scheme in ("https://", "http://"):  # ignore-https-check
        session.mount(scheme, HTTPAdapter(pool_maxsize=config.num_workers))
    return session


def _mask_proxy_passwords(url: str) -> None:
    """Mask the passwords of the environment's proxies in all output."""
    for proxy in requests.utils.get_environ_proxies(url).values():
        # Not parsed as a URL: it may lack its scheme, and a password may hold what no URL can.
        login = proxy.rpartition("@")[0].split("//", 1)[-1]
        for secret in (login, login.partition(":")[2]):
            if secret:
                add_to_secrets(secret)
                add_to_secrets(unquote(secret))


_CERTIFICATES = "set SSL_CERT_FILE or REQUESTS_CA_BUNDLE for the connector to a file that holds "
_UNREADABLE = f"the file of certificates can't be read; {_CERTIFICATES}certificates in PEM format"
_UNTRUSTED = (
    f"its certificate is not trusted. If a proxy or a private authority signs it, {_CERTIFICATES}that authority's "
    "certificate"
)
_ADDRESS = "the address of the host or the proxy is not valid. Check API URL (api_url) and HTTPS_PROXY"
_PRIVATE = "its address belongs to a private network, which Airbyte Cloud does not allow. Check API URL (api_url)"
_LOGIN = "the proxy demands a login (HTTP 407). Put user and password into HTTPS_PROXY"
_SOCKS = (
    "HTTPS_PROXY or ALL_PROXY names a SOCKS proxy, which needs the Python package PySocks. Use an HTTP proxy, or "
    "install PySocks beside the connector"
)
_PROXY = "the address of the proxy is not valid. Check HTTPS_PROXY"
_INTERIM = "the server sent an interim response in place of the response"
_SETTINGS, _DOWN, _SHAPE = failures.NETWORK_SETTINGS, failures.UNREACHABLE, failures.WRONG_SHAPE

# (exception, part of its text, kind, sentence). The first row that fits any cause of an error decides.
_NETWORK: tuple[tuple[type[BaseException], str, Kind, str], ...] = (
    (AirbyteTracedException, "private network", _SETTINGS, _PRIVATE),
    (OSError, "CA certificate bundle", _SETTINGS, _UNREADABLE),
    (ssl.SSLError, "[X509", _SETTINGS, _UNREADABLE),
    (net.SSLError, "Permission denied", _SETTINGS, _UNREADABLE),
    (ssl.SSLCertVerificationError, "", _SETTINGS, _UNTRUSTED),
    (OSError, "Tunnel connection failed: 407", _SETTINGS, _LOGIN),
    (http.InvalidSchema, "SOCKS", _SETTINGS, _SOCKS),
    (http.InvalidProxyURL, "", _SETTINGS, _PROXY),
    (http.InvalidURL, "", _SETTINGS, _ADDRESS),
    (net.LocationParseError, "", _SETTINGS, _ADDRESS),
    (net.NameResolutionError, "", _DOWN, "the host name could not be resolved"),
    (http.ProxyError, "", _DOWN, "the proxy could not be used"),
    (http.SSLError, "", _DOWN, "the TLS connection failed"),
    (ConnectionRefusedError, "", _DOWN, "the connection was refused"),
    (ConnectionResetError, "", _DOWN, "the connection was reset"),
    (Exception, "got more than", _SHAPE, "its headers are too many or too long"),
    # A subclass of urllib3's timeout, though none passed.
    (net.NewConnectionError, "", _DOWN, "no connection could be made"),
    (http.ConnectTimeout, "", _DOWN, "no connection was made in time"),
    (http.ReadTimeout, "", _DOWN, "no response came in time"),
    (net.ReadTimeoutError, "", _DOWN, "the response stopped before its end"),
    (net.DecodeError, "", _DOWN, "the response could not be decompressed"),
    (net.IncompleteRead, "", _DOWN, "the response was cut short"),
    (net.ProtocolError, "", _DOWN, "the connection was closed before the response was complete"),
    (http.ConnectionError, "HTTP 1", _DOWN, _INTERIM),
    (BaseException, "", _DOWN, "the request could not be sent"),
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


def _date(response: requests.Response) -> datetime | None:
    """The API's time, from the ``Date`` header."""
    return _http_date(response.headers.get("Date", ""))


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that Retry-After asks to wait, given as a number or a date: at least 0, at most a year."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        at = _http_date(value)
        if at is None:
            return None
        # Both times are by the API's clock, if it states its own.
        seconds = (at - (_date(response) or datetime.now(timezone.utc))).total_seconds()
    return min(max(seconds, 0.0), _YEAR) if seconds == seconds else None  # noqa: PLR0124  NaN is no time


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
