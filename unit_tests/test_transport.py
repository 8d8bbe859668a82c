from __future__ import annotations

import gzip
import io
import json
import ssl
import zlib
from http.client import HTTPMessage
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import urllib3
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from requests.cookies import MockRequest, MockResponse
from urllib3 import exceptions as urllib3_errors

from source_ravan_calcom import transport
from source_ravan_calcom.transport import AnswerTooLarge, DeadlinePassed, Session, mask_proxy_passwords, words
from unit_tests.conftest import URL

TLS = "the TLS connection could not be made or was broken"
IN_TIME = "no connection was made in time"
POOL = urllib3.HTTPConnectionPool("h")


def session(**options) -> Session:
    return Session(2, 45, **{"trusts_environment": False, **options})


def exhausted(reason: Exception) -> Exception:
    """As requests reports what urllib3 gave up on."""
    return requests.ConnectionError(urllib3_errors.MaxRetryError(POOL, "/", reason))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (exhausted(urllib3_errors.NameResolutionError("h", None, OSError("x"))), "the host name could not be resolved"),
        (requests.exceptions.InvalidProxyURL(), "the address of the proxy can't be used"),
        (urllib3_errors.LocationParseError("x"), "an address of the host or the proxy can't be used"),
        (requests.exceptions.ProxyError(ConnectionRefusedError()), "the proxy could not be used"),
        (requests.exceptions.SSLError(), TLS),
        (urllib3_errors.SSLError("x"), TLS),
        (requests.ConnectionError(ssl.SSLEOFError("x")), TLS),
        (exhausted(urllib3_errors.NewConnectionError(None, "x")), "no connection could be made"),
        (requests.exceptions.ConnectTimeout(), IN_TIME),
        (requests.exceptions.ConnectTimeout(urllib3_errors.ConnectTimeoutError()), IN_TIME),
        (urllib3_errors.ConnectTimeoutError(), IN_TIME),
        (exhausted(DeadlinePassed()), "the answer did not end in time"),
        (requests.exceptions.ReadTimeout(), "no answer came in time"),
        (urllib3_errors.ReadTimeoutError(POOL, "/", "x"), "the answer stopped coming"),
        (urllib3_errors.DecodeError(), "the answer could not be decompressed"),
        (urllib3_errors.ProtocolError("x", urllib3_errors.IncompleteRead(1, 2)), "the answer was cut short"),
        (urllib3_errors.ProtocolError("x"), "the connection was closed before the answer was complete"),
        (urllib3_errors.ProtocolError("x", ConnectionResetError()), "the connection was reset"),
        (requests.ConnectionError(), "the connection failed"),
        (requests.exceptions.InvalidURL(), "the request could not be made"),
        (ZeroDivisionError(), "the request could not be made"),
    ],
)
def test_what_went_wrong_is_told_by_its_most_specific_cause(error, said):
    assert words(error) == said


def test_a_cause_is_found_wherever_it_hangs():
    refused = ConnectionRefusedError()
    for attribute in ("__cause__", "__context__", "reason"):
        wrapped = requests.ConnectionError()
        setattr(wrapped, attribute, refused)
        assert words(requests.ConnectionError(wrapped)) == "the connection was refused"


def test_causes_that_go_in_circles_end():
    one, other = requests.ConnectionError(), requests.ConnectionError()
    one.__context__, other.__context__ = other, one
    assert words(one) == "the connection failed"


def test_a_file_of_certificates_that_can_not_be_used_is_named_by_its_setting(http):
    http.get(URL, exc=OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /nowhere"))
    with pytest.raises(requests.ConnectionError) as caught:
        session().get(URL)
    assert words(caught.value) == (
        "the file of certificates that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names can't be used"
    )
    assert words(requests.ConnectionError(OSError("no route"))) == "the connection failed"


@pytest.mark.parametrize(
    "error", [OSError("x"), ValueError("x"), urllib3_errors.DecodeError("x"), TimeoutError("x"), UnicodeError("x")]
)
def test_every_error_of_the_way_is_one_of_requests_with_its_cause(http, error):
    http.get(URL, exc=error)
    with pytest.raises(requests.ConnectionError) as caught:
        session().get(URL)
    assert caught.value.__cause__ is error


def test_an_error_of_requests_stays_as_it_is(http):
    http.get(URL, exc=requests.exceptions.SSLError)
    with pytest.raises(requests.exceptions.SSLError):
        session().get(URL)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_answer_is_unpacked(http, encoding, compress):
    http.get(URL, content=compress(json.dumps({"a": "b" * 999}).encode()), headers={"Content-Encoding": encoding})
    assert session().get(URL).json() == {"a": "b" * 999}


def test_an_answer_that_can_not_be_unpacked_is_an_error_of_the_way(http):
    http.get(URL, content=b"not gzip", headers={"Content-Encoding": "gzip"})
    with pytest.raises(requests.ConnectionError) as caught:
        session().get(URL)
    assert words(caught.value) == "the answer could not be decompressed"


def test_an_answer_of_the_largest_size_is_read_and_a_larger_one_is_not(http, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 3 << 20)
    http.get(URL, [{"content": b" " * (3 << 20)}, {"content": b" " * ((3 << 20) + 1), "status_code": 502}])
    assert len(session().get(URL).content) == 3 << 20
    with pytest.raises(AnswerTooLarge, match="it is larger than 3 MB") as caught:
        session().get(URL)
    assert caught.value.code == "HTTP 502"


def test_a_bomb_is_never_unpacked_beyond_the_bound(http, monkeypatch):
    unpacked = []
    read1 = urllib3.HTTPResponse.read1
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1 << 20)
    monkeypatch.setattr(
        urllib3.HTTPResponse, "read1", lambda *args, **options: unpacked.append(read1(*args, **options)) or unpacked[-1]
    )
    http.get(URL, content=gzip.compress(bytes(64 << 20)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(AnswerTooLarge):
        session().get(URL)
    assert sum(map(len, unpacked)) < 3 << 20


def test_a_redirect_is_an_answer_whatever_it_points_at(http):
    for location in ("http://elsewhere.example/", "http://[", ""):
        http.get(URL, status_code=307, headers={"Location": location})
        assert session().get(URL).status_code == 307
    assert {request.hostname for request in http.request_history} == {"127.0.0.1"}


def cookie_sent_after_one_was_set(each: requests.Session) -> str | None:
    headers = HTTPMessage()
    headers["Set-Cookie"] = "a=b; Path=/"
    request = requests.Request("GET", URL)
    each.cookies.extract_cookies(MockResponse(headers), MockRequest(request.prepare()))
    return each.prepare_request(request).headers.get("Cookie")


def test_no_cookie_of_an_answer_travels_with_another_request():
    assert cookie_sent_after_one_was_set(requests.Session()) == "a=b", "as every other session does"
    assert cookie_sent_after_one_was_set(session()) is None


def test_the_environment_is_trusted_only_where_that_is_said():
    assert session(trusts_environment=True).trust_env
    assert not session().trust_env


@pytest.mark.parametrize(
    ("scheme", "login", "host"),
    [
        ("http://", "user:s3cret", "proxy.example:3128"),
        ("http://", "user:s3cret", "proxy.example:port"),
        ("http://", "user:s3cret", "[proxy"),
        ("http://", "user:s3cret%2Fmore", "proxy.example"),
        ("http://", "user:s3cret//more", "proxy.example"),
        ("http://", "user:with@s3cret", "proxy.example"),
        ("", "user:s3cret", "proxy.example:3128"),
    ],
)
def test_the_password_of_a_proxy_is_masked(monkeypatch, scheme, login, host):
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}{login}@{host}")
    mask_proxy_passwords("https://api.ravan.ai")
    password = login.partition(":")[2]
    for said in (f"{scheme}{login}@{host}", login, password, unquote(login), unquote(password)):
        assert "s3cret" not in filter_secrets(f"by {said}!")


@pytest.mark.parametrize("proxy", ["http://proxy.example:3128", "proxy.example", "http://@proxy.example"])
def test_a_proxy_without_a_password_masks_nothing(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    mask_proxy_passwords("https://api.ravan.ai")
    assert filter_secrets(f"by {proxy} with user") == f"by {proxy} with user"


class Wire:
    """A socket that gives these pieces, one a read; an exception among them is raised."""

    def __init__(self, *pieces, silence: float | None = 30.0, takes: float = 0.0, clock=None) -> None:
        self.pieces, self.silence, self.takes, self.clock = list(pieces), silence, takes, clock
        self.timeouts: list[float | None] = []
        self.closed = False

    def gettimeout(self):
        return self.silence

    def settimeout(self, seconds):
        self.timeouts.append(seconds)

    def makefile(self, *_, **__):
        return SimpleNamespace(readinto=self._readinto, close=self._close)

    def _close(self):
        self.closed = True

    def _readinto(self, buffer):
        if self.clock:
            self.clock.now += self.takes
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.fixture
def timed(clock, monkeypatch):
    monkeypatch.setattr(transport, "monotonic", clock)

    def make(*pieces, seconds=45.0, **options):
        wire = Wire(*pieces, clock=clock, **options)
        return wire, io.BufferedReader(transport._Timed(wire, seconds))

    return make


def test_no_read_waits_longer_than_what_is_left(timed):
    wire, stream = timed(b"a", b"b", b"c", takes=10.0)
    assert stream.read() == b"abc"
    assert wire.timeouts == [30.0, 30.0, 25.0, 15.0]


def test_what_is_left_bounds_a_socket_without_a_timeout_of_its_own(timed):
    wire, stream = timed(b"a", silence=None)
    stream.read()
    assert wire.timeouts == [45.0, 45.0]


def test_no_read_begins_after_the_deadline(timed):
    wire, stream = timed(*[b"a"] * 9, takes=9.0)
    with pytest.raises(DeadlinePassed):
        stream.read()
    assert len(wire.pieces) == 4


def test_silence_is_no_passed_deadline_unless_it_ends_there(timed):
    with pytest.raises(TimeoutError) as silence:
        timed(TimeoutError("silent"), takes=30.0)[1].read()
    assert type(silence.value) is TimeoutError
    with pytest.raises(DeadlinePassed):
        timed(TimeoutError("silent"), takes=45.0)[1].read()


def test_the_socket_is_let_go_of(timed):
    wire, stream = timed(b"a")
    stream.close()
    assert wire.closed


def responses(adapter):
    """The classes of the answers that come directly, encrypted, and through a proxy."""
    managers = [adapter.poolmanager, adapter.proxy_manager_for("http://proxy.example:3128")]
    pools = [
        manager.connection_from_url(url) for manager in managers for url in ("http://h.example", "https://h.example")
    ]
    return [pool.ConnectionCls.response_class for pool in pools]


@pytest.mark.parametrize("url", ["http://h.example", "https://h.example"])
def test_the_headers_of_every_answer_count_too(clock, monkeypatch, url):
    monkeypatch.setattr(transport, "monotonic", clock)
    adapter = session().get_adapter(url)
    for response in responses(adapter):
        whole = response(Wire(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\nok"), method="GET")
        whole.begin()
        assert (whole.status, whole.read()) == (200, b"ok")
        dripped = response(Wire(b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 90, clock=clock, takes=1.0), method="GET")
        with pytest.raises(DeadlinePassed):
            dripped.begin()


@pytest.mark.parametrize("interim", [100, 101, 102, 103])
def test_what_comes_before_the_answer_is_not_taken_for_it(interim):
    hint = f"HTTP/1.1 {interim} Early\r\nLink: </style.css>\r\n\r\n".encode()
    for response in responses(adapter()):
        whole = response(Wire(hint * 2, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), method="GET")
        whole.begin()
        assert (whole.status, whole.headers["Link"], whole.read()) == (200, None, b"ok")


def adapter() -> Any:
    return session().get_adapter(URL)


def test_a_session_keeps_as_many_connections_as_are_used():
    assert adapter().poolmanager.connection_pool_kw["maxsize"] == 2


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (urllib3_errors.ProtocolError("closed"), 2),
        (urllib3_errors.NewConnectionError(None, "x"), 1),
        (urllib3_errors.ConnectTimeoutError(), 1),
        (urllib3_errors.SSLError("x"), 1),
    ],
)
def test_only_a_connection_that_was_closed_is_tried_again_at_once(error, tries, sleeps):
    retry = adapter().max_retries
    for _ in range(tries - 1):
        retry = retry.increment("GET", "/", error=error, _pool=POOL)
        retry.sleep()
    with pytest.raises(urllib3_errors.MaxRetryError):
        retry.increment("GET", "/", error=error, _pool=POOL)
    assert sleeps == []


@pytest.mark.parametrize(("seconds", "again"), [(1.9, True), (2.1, False)])
def test_a_connection_that_ends_after_a_while_was_not_stale(clock, monkeypatch, seconds, again):
    monkeypatch.setattr(transport, "monotonic", clock)
    made, closed = adapter(), urllib3_errors.ProtocolError("closed")

    def urlopen(*args, retries, **options):
        clock.now += seconds
        retries.increment("GET", "/", error=closed, _pool=POOL)
        raise urllib3_errors.ProtocolError("asked again")

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", urlopen)
    with pytest.raises(requests.ConnectionError, match="asked again" if again else "closed"):
        made.send(requests.Request("GET", URL).prepare())


def test_a_timeout_stays_one():
    retry = adapter().max_retries
    with pytest.raises(urllib3_errors.ReadTimeoutError):
        retry.increment("GET", "/", error=urllib3_errors.ReadTimeoutError(POOL, "/", "x"), _pool=POOL)


def test_no_status_is_tried_again_here():
    retry = adapter().max_retries
    assert not any(retry.is_retry("GET", status, has_retry_after=True) for status in (413, 429, 500, 502, 503))
