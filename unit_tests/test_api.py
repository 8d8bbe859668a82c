from __future__ import annotations

import gzip
import json
import logging
import zlib

import pytest
import requests
import requests_mock

from source_ravan_calcom import errors
from source_ravan_calcom.api import IMPATIENT, PATIENT, AppointmentsApi
from source_ravan_calcom.config import Config
from source_ravan_calcom.errors import Failure
from unit_tests.conftest import LOGGER, ORG

URL = "http://127.0.0.1:9/api/v1/calcom/appointments"
GOOD = {"success": True, "data": {"appointments": [{"id": "1"}], "count": 1, "org_id": ORG}}


@pytest.fixture
def http():
    with requests_mock.Mocker() as mocker:
        yield mocker


def api(settings, patience=PATIENT, **more) -> AppointmentsApi:
    return AppointmentsApi(Config.parse({**settings, **more}), patience, LOGGER)


def failure(settings, patience=PATIENT, **more) -> Failure:
    with pytest.raises(Failure) as caught:
        api(settings, patience, **more).rows(ORG)
    return caught.value


def test_a_request_asks_for_as_many_rows_as_there_are(http, settings):
    http.get(URL, json=GOOD)
    assert api(settings, access_token="Bearer tok").rows(ORG) == [{"id": "1"}]
    sent = http.last_request
    assert sent.qs == {"org_id": [ORG], "limit": ["200"]}
    assert sent.headers["Authorization"] == "Bearer tok"
    assert sent.timeout == (10, 30)


def test_status_agent_and_limit_are_passed_on(http, settings):
    http.get(URL, json=GOOD)
    api(settings, agent_id="agent").rows(ORG, "past", limit=1)
    assert http.last_request.qs == {"org_id": [ORG], "limit": ["1"], "status": ["past"], "agent_id": ["agent"]}


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_answer_is_read(http, settings, encoding, compress):
    http.get(URL, content=compress(json.dumps(GOOD).encode()), headers={"Content-Encoding": encoding})
    assert api(settings).rows(ORG) == [{"id": "1"}]


def test_an_answer_that_can_not_be_decompressed_is_tried_again(http, settings):
    http.get(URL, [{"content": b"not gzip", "headers": {"Content-Encoding": "gzip"}}, {"json": GOOD}])
    assert api(settings).rows(ORG) == [{"id": "1"}]


@pytest.mark.parametrize("rows", [None, []])
def test_no_appointments_is_an_empty_account(http, settings, rows):
    http.get(URL, json={"success": True, "data": {"appointments": rows, "count": 0}})
    assert api(settings).rows(ORG) == []


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "it is a list, not an object"),
        ({"success": True}, "“data” is missing"),
        ({"success": True, "data": None}, "“data” is null, not an object"),
        ({"success": True, "data": {}}, "“appointments” is missing"),
        ({"success": True, "data": {"appointments": "x"}}, "“appointments” is text, not a list"),
        ({"success": True, "data": {"appointments": [{}, 7]}}, "row 2 is a number, not an object"),
    ],
)
def test_an_answer_of_another_shape_is_named_and_not_asked_for_again(http, settings, body, detail):
    http.get(URL, json=body)
    caught = failure(settings)
    assert caught.kind is errors.WRONG_SHAPE
    assert detail in caught.message
    assert http.call_count == 1


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "the body is empty"),
        (b"<!DOCTYPE html><p>attendee@example.com", "it is an HTML page"),
        (b'{"success": true, "data": {"appo', "it is cut short or broken JSON"),
        (b"attendee@example.com", "it is some other text"),
    ],
)
def test_an_answer_that_is_no_json_is_tried_again_and_never_shown(http, settings, content, detail):
    http.get(URL, content=content)
    caught = failure(settings)
    assert caught.kind is errors.NOT_JSON
    assert detail in caught.message
    assert "example.com" not in caught.message + caught.internal_message
    assert http.call_count == PATIENT.retries + 1


@pytest.mark.parametrize("echo", ["another", 7, [], {"a": 1}])
def test_the_echo_of_another_organization_is_refused(http, settings, echo):
    http.get(URL, json={"success": True, "data": {"appointments": [{"id": "1"}], "org_id": echo}})
    assert failure(settings).kind is errors.OTHER_TENANT


@pytest.mark.parametrize("owner", ["another", 7])
def test_a_row_of_another_organization_is_refused(http, settings, owner):
    http.get(URL, json={"success": True, "data": {"appointments": [{}, {"id": "1", "organization_id": owner}]}})
    assert failure(settings).kind is errors.OTHER_TENANT


@pytest.mark.parametrize("echo", [None, "", ORG.upper(), f" {ORG}"])
def test_an_echo_that_is_absent_or_the_same_is_fine(http, settings, echo):
    http.get(URL, json={"success": True, "data": {"appointments": [{"id": "1"}], "org_id": echo}})
    assert len(api(settings).rows(ORG)) == 1


def test_a_count_that_does_not_add_up_is_warned_about(http, settings, caplog):
    http.get(URL, json={"success": True, "data": {"appointments": [{"id": "1"}], "count": 5}})
    api(settings).rows(ORG)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "returned 1 rows but counts 5" in caplog.text


def test_a_passing_fault_costs_only_time(http, settings, sleeps):
    http.get(
        URL, [{"status_code": 500}, {"exc": requests.exceptions.ConnectTimeout}, {"content": b"x"}, {"json": GOOD}]
    )
    assert len(api(settings).rows(ORG)) == 1
    for slept, expected in zip(sleeps, (1, 2, 4), strict=True):
        assert expected * 0.74 <= slept <= expected * 1.26 or slept == pytest.approx(1, abs=0.01)


def test_a_lasting_fault_is_tried_as_often_as_patience_says(http, settings):
    http.get(URL, status_code=502, json={"success": False, "code": "CALCOM_API_ERROR", "message": "down"})
    caught = failure(settings)
    assert caught.message == (
        f"Cal.com failed while Ravan read organization {ORG} (CALCOM_API_ERROR, HTTP 502, tried 5 times). "
        "The next sync tries again; if it lasts, reconnect Cal.com in Ravan. Ravan says: “down”"
    )
    assert http.call_count == PATIENT.retries + 1
    http.reset()
    failure(settings, IMPATIENT)
    assert http.call_count == IMPATIENT.retries + 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("-5", 1),
        ("86400", PATIENT.longest_wait),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 21 Oct 2099 07:28:00 -0000", PATIENT.longest_wait),
    ],
)
def test_retry_after_is_obeyed_within_bounds(http, settings, sleeps, retry_after, seconds):
    http.get(URL, [{"status_code": 429, "headers": {"Retry-After": retry_after}}, {"json": GOOD}])
    api(settings).rows(ORG)
    assert sleeps == [pytest.approx(seconds, abs=0.01)]


@pytest.mark.parametrize("retry_after", ["", "soon", "nan"])
def test_a_429_without_a_time_waits_longer_each_time(http, settings, sleeps, retry_after):
    http.get(URL, status_code=429, headers={"Retry-After": retry_after})
    assert failure(settings).kind is errors.RATE_LIMITED
    assert sleeps == sorted(sleeps)
    assert sum(sleeps) > 60, "Cal.com counts requests by the minute"


def test_every_repetition_is_said_and_no_server_error_is_called_a_rate_limit(http, settings, caplog):
    http.get(URL, status_code=502)
    with caplog.at_level(logging.INFO):
        failure(settings)
    ours = [record.getMessage() for record in caplog.records if "Asking again" in record.getMessage()]
    assert [line.rpartition("(")[2] for line in ours] == [f"try {number} of 5)." for number in (2, 3, 4, 5)]
    assert all(f"Organization {ORG}: HTTP 502." in line for line in ours)


def test_a_redirect_is_an_answer_whatever_it_points_at(http, settings):
    for location in ("http://elsewhere.example/", "http://[", ""):
        http.get(URL, status_code=307, headers={"Location": location})
        assert failure(settings).kind is errors.REDIRECTED
    assert {request.hostname for request in http.request_history} == {"127.0.0.1"}


def test_a_refused_token_leaves_only_once(http, settings):
    http.get(URL, status_code=401, json={"success": False, "message": "no"})
    endpoint = api(settings)
    with pytest.raises(Failure) as first:
        endpoint.rows(ORG)
    with pytest.raises(Failure) as second:
        endpoint.rows("another")
    assert second.value is first.value
    assert http.call_count == 1


def test_an_endless_answer_is_refused(http, settings, monkeypatch):
    monkeypatch.setattr("source_ravan_calcom.api.MAX_BODY_BYTES", 1 << 20)
    http.get(URL, content=b" " * ((1 << 20) + 1))
    assert "larger than 1 MB" in failure(settings).message


def test_a_failed_connection_names_the_host(http, settings):
    http.get(URL, exc=requests.exceptions.ConnectionError(ConnectionRefusedError("refused")))
    caught = failure(settings)
    assert caught.message.startswith(f"Could not read organization {ORG} from 127.0.0.1:9 (tried 5 times): ")
    assert "the connection was refused" in caught.message


def test_an_environment_proxy_never_sees_a_token_for_this_machine(settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    assert api(settings)._session.trust_env is False
    assert api(settings, api_url="https://api.ravan.ai")._session.trust_env is True
