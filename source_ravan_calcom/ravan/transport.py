"""One HTTP exchange, bounded: the answer's headers and body within a deadline and a size, and nobody else's.

requests and urllib3 do the work. What they leave open is closed here: a timeout that counts from byte to byte lets an
answer drip for ever, redirects and cookies carry things to where they do not belong, and a connection that the server
closed while it was idle fails the next request.
"""

from __future__ import annotations

import io
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import CONTINUE, HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from math import inf
from socket import socket
from time import monotonic
from typing import Any
from urllib.parse import unquote

import requests
import urllib3
import urllib3.exceptions
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Far above what 200 rows need; an endless answer must not fill the memory. Decompressed bytes."""

STALE_SECONDS = 2.0
"""Within how many seconds a connection ends that the server had closed while it was idle."""

_CHUNK_BYTES = 256 * 1024


class AnswerTooLarge(requests.RequestException):
    """The body passed ``MAX_BODY_BYTES``; ``code`` is the HTTP status, for people."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"it is larger than {MAX_BODY_BYTES >> 20} MB", response=response)
        self.code = f"HTTP {response.status_code}"


class DeadlinePassed(TimeoutError):
    """The answer went on and on."""


class _Timed(io.RawIOBase):
    """A socket's bytes until a deadline: no read waits longer, and none begins after it."""

    def __init__(self, connection: socket, seconds: float) -> None:
        self._connection = connection
        self._bytes = connection.makefile("rb", buffering=0)
        self._silence = connection.gettimeout()
        self._deadline = monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - monotonic()
        if left <= 0:
            raise DeadlinePassed
        self._connection.settimeout(left if self._silence is None else min(left, self._silence))
        try:
            return self._bytes.readinto(buffer)
        except TimeoutError:
            if monotonic() >= self._deadline:
                raise DeadlinePassed from None
            raise

    def close(self) -> None:
        self._bytes.close()
        super().close()


class _Sent(threading.local):
    """When this thread sent its request."""

    at = inf


_sent = _Sent()


class _StaleConnection(urllib3.Retry):
    """One repetition, at once, where a connection ended without an answer: most likely it was closed while idle."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        # Neither a timeout nor an end that took its time is a sign of it, and repeating one would double the wait.
        was_at_once = monotonic() - _sent.at <= STALE_SECONDS
        if error and (isinstance(error, urllib3.exceptions.ReadTimeoutError) or not was_at_once):
            raise error
        return super().increment(method, url, response, error, *more, **options)


class _Adapter(HTTPAdapter):
    """Connections whose whole answer, headers and framing included, ends within ``seconds``."""

    def __init__(self, connections: int, seconds: float) -> None:
        class Response(HTTPResponse):
            def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
                super().__init__(sock, *args, **options)
                self.fp.close()
                self.fp = io.BufferedReader(_Timed(sock, seconds))

            def _read_status(self) -> tuple[str, int, str]:
                # http.client passes over a 100 alone. It would take a 102 or 103 for the answer, and the answer that
                # follows it for that of the next request on this connection: another organization's.
                version, status, reason = super()._read_status()  # type: ignore[misc]
                return version, CONTINUE if status // 100 == 1 else status, reason

        class Plain(HTTPConnection):
            response_class = Response

        class Encrypted(HTTPSConnection):
            response_class = Response

        self._pools = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": Plain}),
            "https": type("EncryptedPool", (HTTPSConnectionPool,), {"ConnectionCls": Encrypted}),
        }
        again = _StaleConnection(connect=0, read=1, other=0, status=0, respect_retry_after_header=False)
        super().__init__(pool_maxsize=connections, max_retries=again)

    def send(self, *args: Any, **options: Any) -> requests.Response:
        _sent.at = monotonic()
        return super().send(*args, **options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


class Session(requests.Session):
    """A session that hands out whole answers.

    Args:
        connections: How many are kept open.
        seconds: For a whole answer.
        trusts_environment: Whether proxies and certificates are taken from the environment.
    """

    def __init__(self, connections: int, seconds: float, *, trusts_environment: bool) -> None:
        super().__init__()
        self.trust_env = trusts_environment
        # What one organization's answer sets must not travel with another's request.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(connections, seconds)
        for scheme in ("https://", "http://"):
            self.mount(scheme, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """A redirect is an answer; not even where it points is looked at."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send, and read the whole body.

        Raises:
            requests.RequestException: No whole answer came. Every other error of the way there is its cause.
        """
        try:
            response = super().send(request, **{**options, "stream": True, "allow_redirects": False})
            with closing(response):
                response._content = bytes(self._body(response))
        except requests.RequestException:
            raise
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # Some errors of urllib3, of http.client and of the certificates' file come through as they are.
            raise requests.ConnectionError(error) from error
        return response

    def _body(self, response: requests.Response) -> bytearray:
        body = bytearray()
        # read1 gives what has arrived, unpacked piece by piece, where read would wait for all of it.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise AnswerTooLarge(response)
        return body


def mask_proxy_passwords(url: str) -> None:
    """Have the passwords of the environment's proxies for ``url`` masked wherever they might be printed."""
    for proxy in requests.utils.get_environ_proxies(url).values():
        # Not as a URL: it may lack its scheme, and a password may hold what no URL can.
        login = proxy.rpartition("@")[0].split("//", 1)[-1]
        for secret in (login, login.partition(":")[2]):
            if secret:
                add_to_secrets(secret)
                add_to_secrets(unquote(secret))


_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    # The first that is found anywhere in the chain of causes speaks; the specific come first.
    (urllib3.exceptions.NameResolutionError, "the host name could not be resolved"),
    (requests.exceptions.InvalidProxyURL, "the address of the proxy can't be used"),
    (urllib3.exceptions.LocationParseError, "an address of the host or the proxy can't be used"),
    (requests.exceptions.ProxyError, "the proxy could not be used"),
    (requests.exceptions.SSLError, "the TLS connection could not be made or was broken"),
    (urllib3.exceptions.SSLError, "the TLS connection could not be made or was broken"),
    (ssl.SSLError, "the TLS connection could not be made or was broken"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (urllib3.exceptions.NewConnectionError, "no connection could be made"),  # a timeout to urllib3, though it is none
    (requests.exceptions.ConnectTimeout, "no connection was made in time"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection was made in time"),
    (DeadlinePassed, "the answer did not end in time"),
    (requests.exceptions.ReadTimeout, "no answer came in time"),
    (urllib3.exceptions.ReadTimeoutError, "the answer stopped coming"),
    (urllib3.exceptions.DecodeError, "the answer could not be decompressed"),
    (urllib3.exceptions.IncompleteRead, "the answer was cut short"),
    (urllib3.exceptions.ProtocolError, "the connection was closed before the answer was complete"),
    (requests.exceptions.ConnectionError, "the connection failed"),
)

_CERTIFICATES = "the file of certificates that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names can't be used"


def words(error: BaseException) -> str:
    """What went wrong on the way, in words, from the most specific cause in the error's chain."""
    chain = list(_causes(error))
    if any(type(cause) is OSError and "CA certificate bundle" in str(cause) for cause in chain):
        return _CERTIFICATES
    for kind, sentence in _WORDS:
        if any(isinstance(cause, kind) for cause in chain):
            return sentence
    return "the request could not be made"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
