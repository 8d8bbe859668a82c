"""``GET /api/v1/calcom/appointments``: one request → the rows of one window, or a failure.

``workers`` retries requests, except after a 429: then the thread that sent the request waits and sends it again.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from time import monotonic
from urllib.parse import unquote, urlencode

import requests
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from requests import exceptions as http
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as net

from source_ravan_calcom.config import Config, in_words
from source_ravan_calcom.ravan import failures, responses
from source_ravan_calcom.ravan.failures import Facts, Kind, OrganizationFailure
from source_ravan_calcom.ravan.responses import Rows
from source_ravan_calcom.ravan.throttle import Departure, Pause, Throttle

PATH = "/api/v1/calcom/appointments"
_YEAR = 365 * 24 * 60 * 60.0
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect: float  # for the connection
    read: float  # for the next byte
    response: float  # for the whole response; the worker pool enforces it
    rate_limited: float  # for any request to succeed after a 429


READ = Timeouts(connect=10, read=30, response=45, rate_limited=300)
CHECK = Timeouts(connect=5, read=10, response=12, rate_limited=40)


@dataclass(frozen=True, kw_only=True)
class Response(Rows):
    """The rows of one window, and when the request ended and began, by the API's clock if it states its time."""

    at: datetime
    began: datetime


@dataclass(eq=False)
class Call:
    """The requests of one attempt to read an organization."""

    org_id: str
    requests: int = 0
    failures: int = 0  # how often the current request has failed
    given_up: int = 0  # how many earlier attempts were given up; a successful request does not reset it
    departure: Departure | None = None  # the request under way
    is_given_up: bool = False  # no further request leaves


class NotAttempted(Exception):
    """The request was not sent: the client was closed, its time was up, or the attempt was given up."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: a redirect is an error, so its target is not needed."""


class Client:
    """The endpoint, for one token. Safe to use from many threads.

    ``notify`` is called with each pause for a rate limit and with its end. No request leaves after the monotonic time
    ``until``.
    """

    def __init__(
        self, config: Config, timeouts: Timeouts, notify: Callable[[Pause], None], until: float | None = None
    ) -> None:
        self.has_succeeded = False
        self.deadline = timeouts.response  # seconds after which a request is to be given up
        self._config = config
        self._timeouts = timeouts
        self._until = until
        self._throttle = Throttle(config.num_workers, notify)
        self._session = _session(config)
        _mask_passwords(self._session.proxies.values())

    def close(self) -> None:
        """Send no further requests, and release the threads that wait to send one."""
        self._throttle.close()

    def get(self, call: Call, status: str | None, limit: int) -> Response:
        """Request at most ``limit`` rows (1 to 200) of one window, or of all bookings if ``status`` is ``None``.

        Raises:
            OrganizationFailure: The request failed.
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
                call.failures = call.given_up
                return response

    def give_up(self, call: Call, departure: Departure) -> OrganizationFailure:
        """Give up a request that exceeds its deadline, and return the failure."""
        call.is_given_up = True
        self._throttle.ended(departure)
        facts = replace(self._facts(call), detail="the response did not end in time")
        return OrganizationFailure(failures.UNREACHABLE, facts)

    def _facts(self, call: Call) -> Facts:
        return Facts(call.org_id, host=self._config.host, tries=call.failures + 1)

    def _exchange(self, call: Call, departure: Departure, status: str | None, limit: int) -> Response | None:
        """Send one request; ``None`` after a 429 that is to be waited out."""
        facts = self._facts(call)
        clock = datetime.now(timezone.utc)
        try:
            raw, body = self._send(call.org_id, status, limit)
        except (OSError, net.HTTPError, AirbyteTracedException) as error:  # the requests library raises OSErrors
            raise _network_failure(error, facts) from None
        try:
            rows = responses.read(raw.status_code, body, facts)
        except OrganizationFailure as failure:
            if failure.kind is failures.RATE_LIMITED:
                self._wait_out(raw, departure, failure.facts)
                return None
            self._throttle.succeeded(departure)
            raise self._with_expiry(failure) from None
        self._throttle.succeeded(departure)
        at, elapsed = _date(raw, "Date"), timedelta(seconds=monotonic() - departure.at)
        # The header holds whole seconds, rounded down, so this may be too early, but not too late.
        began = at - elapsed if at else clock
        return Response(**vars(rows), at=at or datetime.now(timezone.utc), began=began)

    @cached_property
    def _prepared(self) -> requests.PreparedRequest:
        """The request without its parameters, and without cookies. Raises for an invalid address."""
        return requests.Request("GET", self._config.api_url + PATH, self._session.headers).prepare()

    def _send(self, org_id: str, status: str | None, limit: int) -> tuple[requests.Response, bytes]:
        """Send one request, and read the body, up to just over the size limit."""
        params = {"org_id": org_id, "limit": limit, "status": status, "agent_id": self._config.agent_id}
        request = self._prepared.copy()
        request.url = f"{request.url}?{urlencode({name: value for name, value in params.items() if value})}"
        timeout = (self._timeouts.connect, self._timeouts.read)
        send = partial(requests.Session.send, request=request, stream=True, timeout=timeout, allow_redirects=False)
        try:
            raw = send(self._session)
        except http.Timeout:
            raise
        except http.ConnectionError:
            # Most likely the server had closed this idle connection, and perhaps others.
            raw = send(_session(self._config))
        with raw:
            if raw.status_code // 100 == 1:
                # The final response would follow on this connection. The error closes it.
                raise net.ProtocolError(f"HTTP {raw.status_code}")
            return raw, raw.raw.read(responses.MAX_BODY_BYTES + 1, decode_content=True)

    def _with_expiry(self, failure: OrganizationFailure) -> OrganizationFailure:
        """If an expired token was refused, say when it expired."""
        expires = self._config.token_expires_at
        if failure.kind is failures.TOKEN_REFUSED and expires and expires < datetime.now(timezone.utc):
            return OrganizationFailure(failures.TOKEN_EXPIRED, replace(failure.facts, detail=in_words(expires)))
        return failure

    def _wait_out(self, raw: requests.Response, departure: Departure, facts: Facts) -> None:
        """Pause all requests after a 429, or raise an OrganizationFailure if the wait is too long."""
        retry_after = _retry_after(raw)
        seconds = self._throttle.refused(departure, retry_after)
        if retry_after > self._timeouts.rate_limited:
            detail = f"Ravan asks to wait until {in_words(datetime.now(timezone.utc) + timedelta(seconds=retry_after))}"
        elif seconds > self._timeouts.rate_limited:
            detail = f"no request succeeded for {seconds / 60:.0f} minutes"
        else:
            return
        raise OrganizationFailure(failures.RATE_LIMITED, replace(facts, detail=detail))


def _session(config: Config) -> requests.Session:
    session = _Session()
    session.trust_env = False  # the environment is read here, and not again for each request
    # A proxy must not see a token that is meant for this machine.
    session.proxies = {} if config.on_loopback else requests.utils.get_environ_proxies(config.api_url)
    session.verify = next(filter(None, map(os.environ.get, _CERTIFICATE_VARIABLES)), True)
    session.headers.update({"User-Agent": "source-ravan-calcom", "Authorization": f"Bearer {config.access_token}"})
    for scheme in ("https://", "http://"):  # ignore-https-check
        session.mount(scheme, HTTPAdapter(pool_maxsize=config.num_workers))
    return session


def _mask_passwords(proxies: Iterable[str]) -> None:
    for proxy in proxies:
        # Not parsed as a URL: the scheme may be missing, and a password may hold any character.
        login = proxy.rpartition("@")[0].split("//", 1)[-1]
        for secret in filter(None, (login, login.partition(":")[2])):
            add_to_secrets(secret)
            add_to_secrets(unquote(secret))


_CERTIFICATES = "point the connector's SSL_CERT_FILE or REQUESTS_CA_BUNDLE to a file that holds "
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
_SETTINGS, _DOWN = failures.NETWORK_SETTINGS, failures.UNREACHABLE

# (exception, part of its text, kind, sentence). The first row that fits a cause of the error decides.
_NETWORK: tuple[tuple[type[BaseException], str, Kind, str], ...] = (
    (AirbyteTracedException, "private network", _SETTINGS, _PRIVATE),
    (OSError, "CA certificate bundle", _SETTINGS, _UNREADABLE),
    (ssl.SSLError, "[X509", _SETTINGS, _UNREADABLE),
    (net.SSLError, "Permission denied", _SETTINGS, _UNREADABLE),
    (ssl.SSLCertVerificationError, "", _SETTINGS, _UNTRUSTED),
    (OSError, "Tunnel connection failed: 407", _SETTINGS, _LOGIN),
    (http.InvalidSchema, "SOCKS", _SETTINGS, _SOCKS),
    (socket.gaierror, "", _DOWN, "the host name could not be resolved"),
    (http.InvalidURL, "", _SETTINGS, _ADDRESS),
    (net.LocationParseError, "", _SETTINGS, _ADDRESS),
    (http.ProxyError, "", _DOWN, "the proxy could not be used"),
    (http.SSLError, "", _DOWN, "the TLS connection failed"),
    (ConnectionRefusedError, "", _DOWN, "the connection was refused"),
    (ConnectionResetError, "", _DOWN, "the connection was reset"),
    (Exception, "got more than", failures.WRONG_SHAPE, "its headers are too many or too long"),
    (net.NewConnectionError, "", _DOWN, "no connection could be made"),
    (http.ConnectTimeout, "", _DOWN, "no connection was made in time"),
    (http.ReadTimeout, "", _DOWN, "no response came in time"),
    (net.ReadTimeoutError, "", _DOWN, "the response stopped before its end"),
    (net.DecodeError, "", _DOWN, "the response could not be decompressed"),
    (net.IncompleteRead, "", _DOWN, "the response was cut short"),
    (net.ProtocolError, "", _DOWN, "the connection was closed before the response was complete"),
    (BaseException, "", _DOWN, "the request could not be sent"),
)


def _network_failure(error: BaseException, facts: Facts) -> OrganizationFailure:
    """The failure of a request without a response."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    kind, detail = next(
        (kind, sentence)
        for cause_type, text, kind, sentence in _NETWORK
        for cause in causes
        if isinstance(cause, cause_type) and text in str(cause)
    )
    code = "headers" if kind is failures.WRONG_SHAPE else ""
    return OrganizationFailure(
        kind, replace(facts, code=code, detail=detail, internal=f"{type(error).__name__}: {error}")
    )


def _retry_after(raw: requests.Response) -> float:
    """Seconds that Retry-After asks to wait, as a number or a date; at most a year."""
    try:
        seconds = float(raw.headers.get("Retry-After", ""))
    except ValueError:
        now = _date(raw, "Date") or datetime.now(timezone.utc)
        seconds = ((_date(raw, "Retry-After") or now) - now).total_seconds()
    return min(max(0.0, seconds), _YEAR)  # 0 for NaN


def _date(raw: requests.Response, header: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(raw.headers.get(header, ""))
        return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
