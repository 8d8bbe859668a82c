from __future__ import annotations

import gzip
import json
import logging
import zlib
from datetime import datetime, timedelta, timezone

import jwt
import pytest
import requests

from source_ravan_calcom import errors, transport
from source_ravan_calcom.api import IMPATIENT, PATIENT, Answer, AppointmentsApi
from source_ravan_calcom.config import Config
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.line import Waiting
from unit_tests.conftest import LOGGER, ORG, URL

GOOD = {"success": True, "data": {"appointments": [{"id": "1"}], "count": 1, "org_id": ORG}}
DATE = "Mon, 01 Jun 2026 12:00:00 GMT"
NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def api(settings, patience=PATIENT, **more) -> AppointmentsApi:
    return AppointmentsApi(Config.parse({**settings, **more}), patience, LOGGER)


def ask(endpoint: AppointmentsApi, *arguments, **options) -> Answer:
    return endpoint.ask(Waiting(ORG), *arguments, **options)


def failure(settings, patience=PATIENT, **more) -> OrganizationFailure:
    with pytest.raises(OrganizationFailure) as caught:
        ask(api(settings, patience, **more))
    return caught.value


def test_a_request_asks_for_as_many_rows_as_there_are(http, settings):
    http.get(URL, json=GOOD)
    assert ask(api(settings, access_token="Bearer tok")).rows == [{"id": "1"}]
    sent = http.last_request
    assert sent.qs == {"org_id": [ORG], "limit": ["200"]}
    assert sent.headers["Authorization"] == "Bearer tok"
    assert sent.timeout == (10, 30)


def test_status_agent_and_limit_are_passed_on(http, settings):
    http.get(URL, json=GOOD)
    ask(api(settings, agent_id="agent"), "past", limit=1)
    assert http.last_request.qs == {"org_id": [ORG], "limit": ["1"], "status": ["past"], "agent_id": ["agent"]}


def test_requests_are_counted_as_they_are_sent_and_success_forgets_the_failures(http, settings):
    http.get(URL, [{"status_code": 502}, {"json": GOOD}])
    endpoint, organization = api(settings), Waiting(ORG, tries=2, refusals=3, failing_since=1.0)
    with pytest.raises(OrganizationFailure):
        endpoint.ask(organization)
    assert (organization.requests, organization.tries) == (1, 2)
    endpoint.ask(organization)
    assert (organization.requests, organization.tries, organization.refusals) == (2, 0, 0)
    assert organization.failing_since is None


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_answer_is_read(http, settings, encoding, compress):
    http.get(URL, content=compress(json.dumps(GOOD).encode()), headers={"Content-Encoding": encoding})
    assert ask(api(settings)).rows == [{"id": "1"}]


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        ({"status_code": 502}, errors.SERVER_FAILED, "Ravan failed for organization"),
        ({"content": b"<html>"}, errors.NOT_JSON, "it is an HTML page"),
        ({"json": {"success": True}}, errors.WRONG_SHAPE, "“data” is missing"),
        ({"exc": requests.exceptions.ConnectTimeout}, errors.UNREACHABLE, "no connection was made in time"),
        (
            {"content": b"not gzip", "headers": {"Content-Encoding": "gzip"}},
            errors.UNREACHABLE,
            "could not be decompressed",
        ),
        ({"exc": OSError("disk")}, errors.UNREACHABLE, "the connection failed"),
    ],
)
def test_a_failure_is_one_request_and_one_sentence(http, settings, answer, kind, sentence):
    http.get(URL, **answer)
    caught = failure(settings)
    assert caught.kind is kind
    assert sentence in caught.message
    assert http.call_count == 1, "who asks again is the line's business"


def test_the_sentence_says_how_often_it_was_tried_and_where(http, settings):
    http.get(URL, exc=requests.exceptions.ConnectionError(ConnectionRefusedError("refused")))
    with pytest.raises(OrganizationFailure) as caught:
        api(settings).ask(Waiting(ORG, tries=4))
    assert caught.value.message.startswith(f"Could not read organization {ORG} from 127.0.0.1:9 (tried 5 times): ")
    assert "the connection was refused" in caught.value.message


def test_no_answer_is_ever_shown(http, settings):
    http.get(URL, content=b"attendee@example.com")
    caught = failure(settings)
    assert "example.com" not in caught.message + caught.internal_message


def test_a_redirect_is_an_answer_whatever_it_points_at(http, settings):
    for location in ("http://elsewhere.example/", "http://[", ""):
        http.get(URL, status_code=307, headers={"Location": location})
        assert failure(settings).kind is errors.REDIRECTED
    assert {request.hostname for request in http.request_history} == {"127.0.0.1"}


def test_an_endless_answer_is_refused(http, settings, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1 << 20)
    http.get(URL, content=b" " * ((1 << 20) + 1))
    caught = failure(settings)
    assert caught.kind is errors.WRONG_SHAPE
    assert "(HTTP 200): it is larger than 1 MB" in caught.message


def test_an_environment_proxy_never_sees_a_token_for_this_machine(settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    assert api(settings)._session.trust_env is False
    assert api(settings, api_url="https://api.ravan.ai")._session.trust_env is True


def test_a_count_that_does_not_add_up_is_warned_about(http, settings, caplog):
    http.get(URL, json={"success": True, "data": {"appointments": [{"id": "1"}], "count": 5}})
    ask(api(settings))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "returned 1 rows but counts 5" in caplog.text


def test_half_a_character_is_warned_about_once_and_replaced(http, settings, caplog):
    http.get(URL, content=json.dumps(GOOD).replace('"1"', '"\\ud800"').encode())
    endpoint = api(settings)
    assert ask(endpoint).rows == ask(endpoint).rows == [{"id": "�"}]
    assert caplog.text.count("a text held half a character") == 1


# The API's time.


def test_the_apis_time_is_the_date_of_its_answer_and_the_reading_began_before(http, settings, monkeypatch):
    http.get(URL, json=GOOD, headers={"Date": DATE})
    answer = ask(api(settings))
    assert answer.at == NOON
    assert NOON - timedelta(seconds=5) < answer.began <= NOON


@pytest.mark.parametrize(
    "date", [None, "", "soon", "Fri, 31 Dec 9999 23:59:59 -2359", f"Mon, 01 Jun {9**99} 12:00 GMT"]
)
def test_without_a_date_it_is_the_connectors_own(http, settings, date):
    http.get(URL, json=GOOD, headers={"Date": date} if date is not None else {})
    before = datetime.now(timezone.utc)
    answer = ask(api(settings))
    assert before <= answer.began <= answer.at <= datetime.now(timezone.utc)


# Rate limits.


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "-5"}, 1),
        ({"Retry-After": "nan"}, 1),
        ({"Retry-After": "soon"}, 1),
        ({"Retry-After": f"Mon, 01 Jun {9**99} 12:00:00 GMT"}, 1),
        ({}, 1),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
        # By the API's own clock, whatever ours says.
        ({"Retry-After": "Mon, 01 Jun 2026 12:00:30 GMT", "Date": DATE}, 30),
        ({"Retry-After": "Mon, 01 Jun 2026 12:00:30 -0000", "Date": DATE}, 30),
    ],
)
def test_a_429_pauses_for_what_it_names(http, settings, clock, headers, seconds):
    http.get(URL, [{"status_code": 429, "headers": headers}, {"json": GOOD}])
    endpoint = api(settings)
    with pytest.raises(OrganizationFailure) as caught:
        ask(endpoint)
    assert caught.value.kind is errors.RATE_LIMITED
    assert caught.value.ask_again
    ask(endpoint)
    assert clock.waits == [pytest.approx(seconds)]


def test_a_429_is_a_rate_limit_whatever_code_it_carries(http, settings):
    http.get(URL, status_code=429, json={"success": False, "code": "NOT_CONNECTED", "message": "slow down"})
    assert failure(settings).kind is errors.RATE_LIMITED


def test_a_retry_after_beyond_all_patience_says_until_when(http, settings):
    http.get(URL, status_code=429, headers={"Retry-After": "86400"})
    caught = failure(settings)
    assert not caught.ask_again
    until = datetime.now(timezone.utc) + timedelta(days=1)
    assert f"it asks to wait until {until:%Y-%m-%d} at " in caught.message
    assert caught.kind.stops_sync


@pytest.mark.parametrize("retry_after", ["inf", "1e300", "9" * 14, "9" * 999, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_beyond_the_calendar_is_a_year(http, settings, clock, retry_after):
    http.get(URL, status_code=429, headers={"Retry-After": retry_after})
    endpoint = api(settings)
    with pytest.raises(OrganizationFailure) as caught:
        ask(endpoint)
    until = datetime.now(timezone.utc) + timedelta(days=365)
    assert f"it asks to wait until {until:%Y-%m-%d} at " in caught.value.message
    with pytest.raises(OrganizationFailure):
        ask(endpoint)
    assert clock.waits == [365 * 24 * 60 * 60]


def test_it_is_given_up_only_when_nothing_got_through_for_minutes(http, settings, clock):
    http.get(URL, status_code=429)
    endpoint, started, tries = api(settings), clock.now, 0
    while True:
        tries += 1
        with pytest.raises(OrganizationFailure) as caught:
            ask(endpoint)
        if not caught.value.ask_again:
            break
    assert 300 < clock.now - started < 320
    assert "no request got through for 5 minutes" in caught.value.message
    assert tries > 30


def test_another_failure_shows_that_requests_get_through(http, settings, clock):
    http.get(URL, [{"status_code": 429}, {"status_code": 403}, {"status_code": 429}])
    endpoint = api(settings)
    for _ in range(3):
        with pytest.raises(OrganizationFailure):
            ask(endpoint)
        clock.now += 200
    assert endpoint._pace._tempo.limited_since > 1_300


def test_a_turn_that_would_come_too_late_is_not_waited_for(http, settings, clock):
    http.get(URL, status_code=429, headers={"Retry-After": "30"})
    endpoint = api(settings, IMPATIENT)
    for _ in range(2):
        with pytest.raises(OrganizationFailure) as caught:
            ask(endpoint)
    assert caught.value.came_too_early
    assert http.call_count == 2
    with pytest.raises(OrganizationFailure, match="its turn did not come in time"):
        ask(endpoint)
    assert http.call_count == 2


def test_a_stop_lets_nobody_leave(http, settings):
    endpoint = api(settings)
    endpoint.close()
    with pytest.raises(OrganizationFailure) as caught:
        ask(endpoint)
    assert caught.value.came_too_early
    assert http.call_count == 0


# The token.


def jwt_that_ends(at: datetime) -> str:
    return jwt.encode({"exp": int(at.timestamp())}, "k" * 32)


def test_a_refused_token_that_has_expired_says_when(http, settings):
    http.get(URL, status_code=401, json={"success": False, "message": "no"})
    ended = datetime.now(timezone.utc) - timedelta(minutes=1)
    caught = failure(settings, access_token=jwt_that_ends(ended))
    assert caught.kind is errors.TOKEN_EXPIRED
    assert f": it expired on {ended:%Y-%m-%d at %H:%M:%S} UTC. Paste a valid token" in caught.message
    assert caught.message.endswith("Ravan says: “no”")


@pytest.mark.parametrize("token", ["no.jwt", None])
def test_a_refused_token_that_has_not_expired_is_just_refused(http, settings, token):
    http.get(URL, status_code=401)
    token = token or jwt_that_ends(datetime.now(timezone.utc) + timedelta(days=30))
    assert failure(settings, access_token=token).kind is errors.TOKEN_REFUSED


def test_the_debug_log_shows_neither_the_body_nor_the_token(http, settings, caplog):
    caplog.set_level(logging.DEBUG)
    http.get(URL, json={"success": True, "data": {"appointments": [{"id": "1", "attendee_name": "Somebody"}]}})
    ask(api(settings))
    assert "Somebody" not in caplog.text
