"""Tests of one request: the sent request, the result of its response, and the sentences of network failures."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import socket
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import urllib3
from airbyte_cdk.entrypoint import _init_internal_request_filter
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

from source_ravan_calcom.config import Config
from source_ravan_calcom.ravan import client, failures, responses
from source_ravan_calcom.ravan.client import CHECK, READ, Call, Client, NotAttempted, Response, Timeouts
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.ravan.throttle import Pause
from unit_tests.syncs import ORG, URL

GOOD = {"success": True, "data": {"appointments": [{"id": "1"}], "count": 1, "org_id": ORG}}
DATE = "Mon, 01 Jun 2026 12:00:00 GMT"
NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
API = "https://api.ravan.ai"

ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*ENVIRONMENT, "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def endpoint(settings):
    """Return a function that makes clients; their connections are closed after the test."""
    made = []

    def endpoint(timeouts: Timeouts = READ, notify=lambda event: None, until=None, **more) -> Client:
        made.append(Client(Config.parse({**settings, **more}), timeouts, notify, until))
        return made[-1]

    yield endpoint
    for each in made:
        each._session.close()


def get(endpoint: Client, status: str | None = None, limit: int = 200, call: Call | None = None) -> Response:
    return endpoint.get(call or Call(ORG), status, limit)


def failure(endpoint: Client, call: Call | None = None) -> OrganizationFailure:
    with pytest.raises(OrganizationFailure) as caught:
        get(endpoint, call=call)
    return caught.value


# The request.


def test_a_request_names_the_organization_the_limit_and_the_token(http, endpoint):
    http.get(URL, json=GOOD)
    assert get(endpoint(access_token="Bearer tok")).rows == [{"id": "1"}]
    sent = http.last_request
    assert sent.qs == {"org_id": [ORG], "limit": ["200"]}
    assert sent.headers["Authorization"] == "Bearer tok"
    assert sent.headers["User-Agent"] == "source-ravan-calcom"
    assert sent.timeout == (READ.connect, READ.read)


def test_status_limit_and_agent_are_passed_on(http, endpoint):
    http.get(URL, json=GOOD)
    get(endpoint(agent_id="agent"), "past", 100)
    assert http.last_request.qs == {"org_id": [ORG], "limit": ["100"], "status": ["past"], "agent_id": ["agent"]}


def test_a_netrc_file_does_not_replace_the_token(http, endpoint, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.ravan.ai login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    http.get(f"{API}/api/v1/calcom/appointments", json=GOOD)
    get(endpoint(api_url=API))
    assert http.last_request.headers["Authorization"] == "Bearer some.jwt.token"


def test_a_request_is_counted_when_it_is_sent_and_a_success_resets_the_failures(http, endpoint):
    http.get(URL, [{"status_code": 502}, {"json": GOOD}])
    each, call = endpoint(), Call(ORG, failures=2)
    failure(each, call)
    assert (call.requests, call.failures, each.has_succeeded) == (1, 2, False)
    get(each, call=call)
    assert (call.requests, call.failures, each.has_succeeded) == (2, 0, True)


def test_a_departure_ends_with_its_request(http, endpoint, clock):
    departures = []

    def respond(request, context):
        departures.append(call.departure)
        return GOOD

    call = Call(ORG)
    http.get(URL, json=respond)
    get(endpoint(), call=call)
    assert [departure.at for departure in departures] == [clock.now]
    assert call.departure is None
    assert departures[0].is_over


def test_a_failed_request_is_not_sent_again_by_the_client(http, endpoint):
    http.get(URL, status_code=502)
    failure(endpoint())
    assert http.call_count == 1


def test_an_abandoned_call_sends_no_further_request(http, endpoint):
    each, call = endpoint(), Call(ORG)
    given_up = each.give_up(call, each._throttle.depart())
    assert str(given_up).startswith(f"Could not read organization {ORG} from 127.0.0.1:9 (tried once): ")
    assert "the response did not end in time" in str(given_up)
    with pytest.raises(NotAttempted):
        get(each, call=call)
    assert http.call_count == 0


def test_a_closed_client_sends_nothing(http, endpoint):
    each = endpoint()
    each.close()
    with pytest.raises(NotAttempted):
        get(each)
    assert http.call_count == 0


def test_a_request_is_not_sent_after_its_latest_start(http, endpoint, clock):
    http.get(URL, status_code=429, headers={"Retry-After": "30"})
    with pytest.raises(NotAttempted):
        get(endpoint(CHECK, until=clock.now + 20))
    assert http.call_count == 1


# Data that must not be sent elsewhere.


def test_every_redirect_is_a_failure(http, endpoint):
    for location in ("http://elsewhere.example/", "http://[", ""):
        http.get(URL, status_code=307, headers={"Location": location})
        assert failure(endpoint()).kind is failures.REDIRECTED
    assert {request.hostname for request in http.request_history} == {"127.0.0.1"}


def test_no_cookie_of_a_response_is_sent_with_another_request(http, endpoint):
    http.get(URL, json=GOOD)
    each = endpoint()
    each._session.cookies.set("a", "b")  # as requests does with those of a response
    get(each)
    assert "Cookie" not in http.last_request.headers
    assert each._session.get(URL).request.headers["Cookie"] == "a=b", "as in every other request"


def test_no_proxy_is_used_for_addresses_on_this_machine(http, endpoint, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    http.get(f"{API}/api/v1/calcom/appointments", json=GOOD)
    http.get(URL, json=GOOD)
    get(endpoint(api_url=API))
    assert http.last_request.proxies["https"] == "http://proxy.example"
    get(endpoint())
    assert http.last_request.proxies == {}


def test_a_proxy_is_not_used_for_a_host_that_the_environment_excludes(http, endpoint, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", "ravan.ai")
    http.get(f"{API}/api/v1/calcom/appointments", json=GOOD)
    get(endpoint(api_url=API))
    assert http.last_request.proxies == {}


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
def test_the_password_of_a_proxy_is_masked(endpoint, monkeypatch, scheme, login, host):
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}{login}@{host}")
    endpoint(api_url=API)
    password = login.partition(":")[2]
    for text in (f"{scheme}{login}@{host}", login, password, unquote(login), unquote(password)):
        assert "s3cret" not in filter_secrets(f"by {text}!")


@pytest.mark.parametrize("proxy", ["http://proxy.example:3128", "proxy.example", "http://@proxy.example"])
def test_a_proxy_without_a_password_masks_nothing(endpoint, monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    endpoint(api_url=API)
    assert filter_secrets(f"by {proxy} with user") == f"by {proxy} with user"


def test_certificates_come_from_openssls_variable_unless_that_of_requests_is_set(http, endpoint, monkeypatch):
    http.get(f"{API}/api/v1/calcom/appointments", json=GOOD)
    get(endpoint(api_url=API))
    assert http.last_request.verify
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, f"/{name}")
        get(endpoint(api_url=API))
        assert http.last_request.verify == f"/{name}"


# Responses.


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_response_is_read(http, endpoint, encoding, compress):
    http.get(URL, content=compress(json.dumps(GOOD).encode()), headers={"Content-Encoding": encoding})
    assert get(endpoint()).rows == [{"id": "1"}]


@pytest.mark.parametrize(
    ("response", "kind", "sentence"),
    [
        ({"status_code": 502}, failures.SERVER_FAILED, "Ravan failed for organization"),
        ({"content": b"<html>"}, failures.NOT_JSON, "it is an HTML page"),
        ({"json": {"success": True}}, failures.WRONG_SHAPE, "“data” is missing"),
    ],
)
def test_a_response_without_rows_is_a_failure_with_its_sentence(http, endpoint, response, kind, sentence):
    http.get(URL, **response)
    caught = failure(endpoint())
    assert caught.kind is kind
    assert sentence in str(caught)


def test_a_failure_gives_the_number_of_tries_and_the_host(http, endpoint):
    http.get(URL, exc=requests.exceptions.ReadTimeout)
    caught = failure(endpoint(), Call(ORG, failures=4))
    assert str(caught).startswith(f"Could not read organization {ORG} from 127.0.0.1:9 (tried 5 times): ")


def test_no_body_is_quoted_in_a_failure(http, endpoint):
    http.get(URL, content=b"attendee@example.com")
    caught = failure(endpoint())
    assert "example.com" not in str(caught) + caught.internal_message


def test_the_debug_log_shows_neither_the_body_nor_the_token(http, endpoint, caplog):
    caplog.set_level(logging.DEBUG)
    http.get(URL, json={"success": True, "data": {"appointments": [{"id": "1", "attendee_name": "Somebody"}]}})
    get(endpoint())
    assert "Somebody" not in caplog.text
    assert "some.jwt.token" not in caplog.text


def test_a_body_of_the_maximum_size_is_read_and_a_larger_one_is_a_failure(http, endpoint, monkeypatch):
    monkeypatch.setattr(responses, "MAX_BODY_BYTES", 1 << 20)
    whole = json.dumps(GOOD).encode()
    http.get(URL, [{"content": whole.ljust(1 << 20)}, {"content": whole.ljust((1 << 20) + 1), "status_code": 502}])
    assert get(endpoint()).rows
    caught = failure(endpoint())
    assert caught.kind is failures.WRONG_SHAPE
    assert "(HTTP 502): it is larger than 1 MB." in str(caught)


def test_a_gzip_bomb_is_not_decompressed_beyond_the_maximum_size(http, endpoint, monkeypatch):
    unpacked = []
    stream = urllib3.HTTPResponse.stream

    def watched(*args, **options):
        for chunk in stream(*args, **options):
            unpacked.append(len(chunk))
            yield chunk

    monkeypatch.setattr(responses, "MAX_BODY_BYTES", 1 << 20)
    monkeypatch.setattr(urllib3.HTTPResponse, "stream", watched)
    http.get(URL, content=gzip.compress(bytes(64 << 20)), headers={"Content-Encoding": "gzip"})
    assert failure(endpoint()).kind is failures.WRONG_SHAPE
    assert sum(unpacked) < 3 << 20


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_status_is_a_failure_and_closes_its_connection(http, endpoint, status):
    class Connection:
        closed = 0

        def close(self):
            self.closed += 1

    connection = Connection()
    raw = urllib3.HTTPResponse(body=b"", status=status, preload_content=False, connection=connection)
    http.get(URL, raw=raw)
    caught = failure(endpoint())
    assert caught.kind is failures.UNREACHABLE
    assert f"ProtocolError: HTTP {status}" in caught.internal_message
    assert connection.closed, "the next response on it is that of this request"


# The API's time.


def test_a_response_gives_the_time_of_its_date_header_and_of_its_start(http, endpoint, clock):
    def slow(request, context):
        clock.now += 5
        return GOOD

    http.get(URL, json=slow, headers={"Date": DATE})
    response = get(endpoint())
    assert response.at == NOON
    assert response.began == NOON - timedelta(seconds=5)


@pytest.mark.parametrize(
    "date", [None, "", "soon", "Fri, 31 Dec 9999 23:59:59 -2359", f"Mon, 01 Jun {9**99} 12:00 GMT"]
)
def test_the_time_is_the_connectors_own_without_a_valid_date_header(http, endpoint, date):
    http.get(URL, json=GOOD, headers={"Date": date} if date is not None else {})
    before = datetime.now(timezone.utc)
    response = get(endpoint())
    assert before <= response.began <= response.at <= datetime.now(timezone.utc)


# Rate limits.


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "-5"}, 1),
        ({"Retry-After": "nan"}, 1),
        ({"Retry-After": "soon"}, 1),
        ({"Retry-After": f"Mon, 01 Jun {9**99} 12:00:00 GMT"}, 1),
        ({}, 1),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
        # By the API's clock, even if the local clock differs.
        ({"Retry-After": "Mon, 01 Jun 2026 12:00:30 GMT", "Date": DATE}, 30),
        ({"Retry-After": "Mon, 01 Jun 2026 12:00:30 -0000", "Date": DATE}, 30),
        ({"Retry-After": "Mon, 01 Jun 2026 14:00:30 +0200", "Date": DATE}, 30),
    ],
)
def test_after_a_429_the_request_is_sent_again_after_the_time_that_it_names(http, endpoint, clock, headers, seconds):
    http.get(URL, [{"status_code": 429, "headers": headers}, {"json": GOOD}])
    call = Call(ORG)
    assert get(endpoint(), call=call).rows
    assert clock.waits == [pytest.approx(seconds)]
    assert call.requests == 2


def test_a_429_is_a_rate_limit_with_any_code(http, endpoint, clock):
    refused = {"status_code": 429, "json": {"success": False, "code": "NOT_CONNECTED", "message": "slow down"}}
    http.get(URL, [refused, {"json": GOOD}])
    assert get(endpoint()).rows
    assert clock.waits == [1]


def test_a_pause_and_its_end_are_notified_once(http, endpoint):
    http.get(URL, [{"status_code": 429}, {"status_code": 429}, {"json": GOOD}, {"json": GOOD}])
    events: list[Any] = []
    each = endpoint(notify=events.append)
    get(each)
    get(each)
    assert events == [Pause(1), Pause(None)]


def test_a_retry_after_longer_than_the_longest_wait_is_a_failure_that_gives_its_end(http, endpoint, clock):
    http.get(URL, status_code=429, headers={"Retry-After": "86400"})
    caught = failure(endpoint())
    until = datetime.now(timezone.utc) + timedelta(days=1)
    assert caught.kind is failures.RATE_LIMITED
    assert f"Ravan asks to wait until {until:%Y-%m-%d} at " in str(caught)
    assert clock.waits == []


@pytest.mark.parametrize("retry_after", ["inf", "1e300", "9" * 14, "9" * 999, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_beyond_the_calendar_counts_as_a_year(http, endpoint, retry_after):
    http.get(URL, status_code=429, headers={"Retry-After": retry_after})
    until = datetime.now(timezone.utc) + timedelta(days=365)
    assert f"Ravan asks to wait until {until:%Y-%m-%d} at " in str(failure(endpoint()))


@pytest.mark.parametrize(("timeouts", "minutes"), [(READ, 5), (CHECK, 1)])
def test_a_rate_limit_is_a_failure_after_too_long_without_a_success(http, endpoint, clock, timeouts, minutes):
    http.get(URL, status_code=429)
    began = clock.now
    caught = failure(endpoint(timeouts))
    assert timeouts.rate_limited < clock.now - began < timeouts.rate_limited + 20
    assert f"no request succeeded for {minutes} minutes" in str(caught)


def test_another_failure_ends_the_rate_limit(http, endpoint, clock):
    def refuse(request, context):
        clock.now += 200
        context.status_code = 403 if http.call_count == 2 else 429 if http.call_count < 4 else 200
        return GOOD

    http.get(URL, json=refuse)
    each = endpoint()
    assert failure(each).kind is failures.FORBIDDEN
    assert get(each).rows


# The token.


def token_that_expires(at: datetime) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": int(at.timestamp())}).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"


def test_a_refused_expired_token_is_reported_with_its_expiry(http, endpoint):
    http.get(URL, status_code=401, json={"success": False, "message": "no"})
    ended = datetime.now(timezone.utc) - timedelta(minutes=1)
    caught = failure(endpoint(access_token=token_that_expires(ended)))
    assert caught.kind is failures.TOKEN_EXPIRED
    assert f": it expired on {ended:%Y-%m-%d at %H:%M:%S} UTC. Paste a valid token" in str(caught)


@pytest.mark.parametrize(
    "token", ["no.jwt", token_that_expires(datetime.now(timezone.utc) + timedelta(days=30))], ids=["no expiry", "later"]
)
def test_a_refused_token_that_has_not_expired_is_reported_without_an_expiry(http, endpoint, token):
    http.get(URL, status_code=401)
    assert failure(endpoint(access_token=token)).kind is failures.TOKEN_REFUSED


# Network failures, as requests and urllib3 report them for a connection that fails.

MAX_LABEL = 63
create_connection = urllib3.util.connection.create_connection

HEADERS = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(120)) + b"\r\n"
LONG_HEADER = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"
HALF = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"succ'
GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip"
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LOGIN = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}
CA_FILE = "the file of certificates can't be read; point the connector's SSL_CERT_FILE or REQUESTS_CA_BUNDLE"
ADDRESS = "the address of the host or the proxy is not valid. Check API URL (api_url) and HTTPS_PROXY"


@dataclass
class Case:
    """A network failure.

    Attributes:
        detail: The beginning of its sentence.
        connection: The bytes received before the connection ends, or an exception that is raised instead of connecting.
        tls: The exception of the TLS handshake, if any.
        stays_open: Whether the connection stays open without further bytes instead of ending.
    """

    detail: str
    connection: bytes | Exception = b""
    tls: Exception | None = None
    api_url: str = "http://127.0.0.1:9"
    environment: dict[str, str] = field(default_factory=dict)
    stays_open: bool = False
    kind: failures.Kind = failures.UNREACHABLE


SETTINGS = failures.NETWORK_SETTINGS

CASES = {
    "private network": Case(
        "its address belongs to a private network", api_url=API, environment={"DEPLOYMENT_MODE": "cloud"}, kind=SETTINGS
    ),
    "no file of certificates": Case(
        CA_FILE, api_url=API, environment={"REQUESTS_CA_BUNDLE": "/nowhere.pem"}, kind=SETTINGS
    ),
    "file without certificates": Case(CA_FILE, api_url=API, environment={"SSL_CERT_FILE": __file__}, kind=SETTINGS),
    "forbidden file of certificates": Case(
        CA_FILE, tls=urllib3.exceptions.SSLError("[Errno 13] Permission denied"), api_url=API, kind=SETTINGS
    ),
    "untrusted certificate": Case(
        "its certificate is not trusted",
        tls=ssl.SSLCertVerificationError(1, "verify failed"),
        api_url=API,
        kind=SETTINGS,
    ),
    "proxy demands a login": Case(
        "the proxy demands a login (HTTP 407)", LOGIN, api_url=API, environment=PROXY, kind=SETTINGS
    ),
    "SOCKS proxy": Case(
        "HTTPS_PROXY or ALL_PROXY names a SOCKS proxy",
        api_url=API,
        environment={"HTTPS_PROXY": "socks5://proxy.example:1080"},
        kind=SETTINGS,
    ),
    "proxy without a host": Case(ADDRESS, api_url=API, environment={"HTTPS_PROXY": "http://"}, kind=SETTINGS),
    "proxy with a wrong port": Case(
        ADDRESS, api_url=API, environment={"HTTPS_PROXY": "http://proxy.example:port"}, kind=SETTINGS
    ),
    "host with an empty label": Case(ADDRESS, api_url="https://.example.com", kind=SETTINGS),
    "host with a label that is too long": Case(ADDRESS, api_url=f"https://{'a' * 70}.example", kind=SETTINGS),
    "unknown host": Case("the host name could not be resolved", socket.gaierror(-2, "Name not known")),
    "broken proxy": Case("the proxy could not be used", ConnectionRefusedError(), api_url=API, environment=PROXY),
    "no TLS": Case("the TLS connection failed", tls=ssl.SSLError(1, "wrong version number"), api_url=API),
    "refused": Case("the connection was refused", ConnectionRefusedError(111, "Connection refused")),
    "reset": Case("the connection was reset", b""),
    "too many headers": Case("its headers are too many or too long", HEADERS, kind=failures.WRONG_SHAPE),
    "too long a header": Case("its headers are too many or too long", LONG_HEADER, kind=failures.WRONG_SHAPE),
    "no route": Case("no connection could be made", OSError(113, "No route to host")),
    "no connection in time": Case("no connection was made in time", TimeoutError("timed out")),
    "silence": Case("no response came in time", stays_open=True),
    "silence in the body": Case("the response stopped before its end", HALF, stays_open=True),
    "not gzip": Case("the response could not be decompressed", GZIP),
    "cut short": Case("the response was cut short", HALF),
    "not HTTP": Case("the connection was closed before the response was complete", b"SSH-2.0-OpenSSH\r\n"),
    "interim response": Case("the connection was closed before the response was complete", INTERIM),
    "insecure scheme": Case("the request could not be sent", environment={"DEPLOYMENT_MODE": "cloud"}),
}


@contextmanager
def failing(case: Case) -> Iterator[None]:
    """Make every connection fail as described by a case."""
    opened: list[socket.socket] = []
    wrap = vars(urllib3.connection)["ssl_wrap_socket"]

    def connected(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        if len(address[0]) > MAX_LABEL:
            return create_connection(address)
        if isinstance(case.connection, Exception):
            raise case.connection
        ours, theirs = socket.socketpair()
        opened.extend([ours, theirs])
        theirs.sendall(case.connection)
        if not case.stays_open:
            theirs.shutdown(socket.SHUT_WR)
        return ours

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if case.tls:
            raise case.tls
        return wrap(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in case.environment.items():
            patch.setenv(name, value)
        patch.setattr(urllib3.util.connection, "create_connection", connected)
        patch.setattr(urllib3.connection, "ssl_wrap_socket", wrapped)
        if "DEPLOYMENT_MODE" in case.environment:
            address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443))
            patch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
            patch.setattr(requests.Session, "send", requests.Session.send)
            _init_internal_request_filter()
        yield
    for each in opened:
        each.close()


def worded(endpoint, case: Case) -> tuple[failures.Kind, str]:
    with failing(case):
        caught = failure(endpoint(replace(READ, read=0.01), api_url=case.api_url))
        return caught.kind, caught.facts.detail


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_network_failure_has_the_sentence_of_its_most_specific_cause(endpoint, case):
    kind, detail = worded(endpoint, case)
    assert (kind, detail[: len(case.detail)]) == (case.kind, case.detail)


@pytest.mark.parametrize("row", range(len(client._NETWORK) - 1), ids=lambda row: str(client._NETWORK[row][:2]))
def test_each_row_of_the_network_failures_table_is_needed(endpoint, monkeypatch, row):
    sentence = client._NETWORK[row][3]
    cases = [case for case in CASES.values() if sentence.startswith(case.detail)]
    monkeypatch.setattr(client, "_NETWORK", client._NETWORK[:row] + client._NETWORK[row + 1 :])
    without = [worded(endpoint, case) for case in cases]
    assert without != [(case.kind, sentence) for case in cases]


def test_exceptions_that_cause_each_other_are_handled():
    one, other = requests.ConnectionError("one"), requests.ConnectionError("other")
    one.__context__, other.__context__ = other, one
    assert client._network_failure(one, failures.Facts("a")).kind is failures.UNREACHABLE


def test_a_host_that_airbyte_cloud_could_not_resolve_is_retried(endpoint, monkeypatch):
    """The CDK turns the resolver's error into an invalid URL there."""

    def send(*_):
        try:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        except socket.gaierror:
            raise requests.exceptions.InvalidURL("invalid URL")  # noqa: B904  as the CDK does

    monkeypatch.setattr(Client, "_send", send)
    caught = failure(endpoint())
    assert caught.kind is failures.UNREACHABLE
    assert "the host name could not be resolved" in str(caught)
