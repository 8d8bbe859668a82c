from __future__ import annotations

import json
import logging
import threading

import pytest
import requests_mock
from airbyte_cdk.models import (
    AirbyteStateMessage,
    Status,
    SyncMode,
    TraceType,
    Type,
)
from airbyte_cdk.test.catalog_builder import CatalogBuilder

from source_ravan_calcom.api import AppointmentsApi
from source_ravan_calcom.errors import Failure
from source_ravan_calcom.source import SourceRavanCalcom
from unit_tests.conftest import LOGGER, ORG

URL = "http://127.0.0.1:9/api/v1/calcom/appointments"


def catalog(name="appointments", mode=SyncMode.full_refresh):
    return CatalogBuilder().with_stream(name, mode).build()


def answer(*rows):
    return {"success": True, "data": {"appointments": list(rows), "count": len(rows)}}


@pytest.fixture
def http():
    with requests_mock.Mocker() as mocker:
        yield mocker


def read(settings, configured, state=None):
    """The messages, and the failure that ended the read, if one did."""
    messages = []
    try:
        for message in SourceRavanCalcom().read(LOGGER, settings, configured, state):
            messages.append(message)
    except Failure as failure:
        return messages, failure
    return messages, None


def error_traces(messages):
    return [m.trace.error for m in messages if m.type is Type.TRACE and m.trace.type is TraceType.ERROR]


def test_check_asks_every_organization(http, settings):
    http.get(URL, json=answer())
    assert SourceRavanCalcom().check(LOGGER, {**settings, "org_ids": ["a", "b", "c"]}).status is Status.SUCCEEDED
    assert sorted(request.qs["org_id"][0] for request in http.request_history) == ["a", "b", "c"]
    assert {request.qs["limit"][0] for request in http.request_history} == {"1"}


def test_check_names_the_broken_organizations_and_only_those(http, settings):
    http.get(URL, json=answer())
    http.get(f"{URL}?org_id=b", status_code=403)
    http.get(f"{URL}?org_id=c", status_code=400, json={"success": False, "code": "NOT_CONNECTED"})
    status = SourceRavanCalcom().check(LOGGER, {**settings, "org_ids": ["a", "b", "c"]})
    assert status.status is Status.FAILED
    first, second = status.message.split("\n")
    assert first.startswith("The Access Token may not read organization b")
    assert second.startswith("Organization c has no primary Cal.com account")


def test_check_says_once_that_the_token_is_refused(http, settings):
    http.get(URL, status_code=401)
    status = SourceRavanCalcom().check(LOGGER, {**settings, "org_ids": list("abcdef"), "num_workers": 1})
    assert status.message.count("Ravan refused the Access Token") == 1
    assert http.call_count == 1


def test_check_asks_for_the_statuses_that_read_would(http, settings):
    http.get(URL, json=answer())
    http.get(f"{URL}?status=past", status_code=400, json={"success": False, "code": "INVALID_REQUEST"})
    status = SourceRavanCalcom().check(LOGGER, {**settings, "statuses": ["upcoming", "past"]})
    assert status.status is Status.FAILED


def test_a_token_that_is_refused_in_the_middle_stops_the_sync_with_one_error(http, settings):
    http.get(URL, [{"json": answer({"id": "1"})}, {"status_code": 401}])
    messages, failure = read({**settings, "org_ids": list("abcdef"), "num_workers": 1}, catalog())
    assert failure.kind.name == "token_refused"
    assert error_traces(messages) == []
    assert len([m for m in messages if m.type is Type.RECORD]) == 1
    assert http.call_count == 2
    statuses = [m.trace.stream_status.status.value for m in messages if m.type is Type.TRACE]
    assert statuses == ["STARTED", "RUNNING", "INCOMPLETE"]


def test_each_organization_fails_alone(http, settings):
    http.get(URL, json=answer({"id": "1"}))
    http.get(f"{URL}?org_id=b", status_code=403)
    messages, failure = read({**settings, "org_ids": ["a", "b"]}, catalog())
    assert [m.record.data["organization_id"] for m in messages if m.type is Type.RECORD] == ["a"]
    [trace] = error_traces(messages)
    assert trace.message.startswith("The Access Token may not read organization b (HTTP 403)")
    assert failure.message == f"1 of 2 organizations failed: {trace.message}"


def test_no_failed_organization_keeps_frames_with_rows(http, settings):
    http.get(URL, status_code=403)
    _, failure = read(settings, catalog())
    assert failure.__context__ is None or failure.__suppress_context__


def test_an_error_nobody_foresaw_keeps_its_stack_trace(http, settings, monkeypatch, caplog):
    http.get(URL, json=answer({"id": "1"}))
    monkeypatch.setattr("source_ravan_calcom.appointments.normalise", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        list(SourceRavanCalcom().read(LOGGER, settings, catalog()))
    assert any(record.exc_info for record in caplog.records)


def test_one_worker_reads_any_number_of_organizations(settings, monkeypatch):
    monkeypatch.setattr(AppointmentsApi, "rows", lambda *_: [])
    org_ids = [str(number) for number in range(10_050)]
    messages, failure = read({**settings, "org_ids": org_ids, "num_workers": 1}, catalog(mode=SyncMode.incremental))
    assert failure is None
    last = [message for message in messages if message.type is Type.STATE][-1]
    assert len(vars(last.state.stream.stream_state)["organizations"]) == len(org_ids)


def test_no_more_requests_are_under_way_than_the_user_allows(settings, monkeypatch):
    under_way, most, lock = [0], [0], threading.Lock()
    three = threading.Barrier(3)

    def rows(*_):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        three.wait(timeout=5)
        with lock:
            under_way[0] -= 1
        return []

    monkeypatch.setattr(AppointmentsApi, "rows", rows)
    read({**settings, "org_ids": [str(number) for number in range(60)], "num_workers": 3}, catalog())
    assert most == [3]


def test_a_stream_that_does_not_exist_is_named(settings):
    _, failure = read(settings, catalog("bookings"))
    assert "does not have: bookings" in failure.message


def test_an_empty_catalog_reads_nothing(settings):
    assert read(settings, CatalogBuilder().build()) == ([], None)


def test_full_refresh_ignores_the_state_and_incremental_uses_it(http, settings):
    http.get(URL, json=answer({"id": "1"}))
    incremental = catalog(mode=SyncMode.incremental)
    messages, _ = read(settings, incremental)
    [state] = [AirbyteStateMessage(type=m.state.type, stream=m.state.stream) for m in messages if m.type is Type.STATE]
    again, _ = read(settings, incremental, [state])
    assert [m for m in again if m.type is Type.RECORD] == []
    full, _ = read(settings, catalog(), [state])
    assert len([m for m in full if m.type is Type.RECORD]) == 1


@pytest.mark.parametrize("verb", ["discover", "read"])
def test_bad_settings_are_refused_without_a_request(http, verb):
    source = SourceRavanCalcom()
    with pytest.raises(Failure, match="Access Token is missing"):
        source.discover(LOGGER, {"org_ids": [ORG]}) if verb == "discover" else list(
            source.read(LOGGER, {"org_ids": [ORG]}, catalog())
        )
    assert http.call_count == 0


def test_the_settings_are_not_written_to_a_file(tmp_path, settings):
    assert SourceRavanCalcom().configure(settings, str(tmp_path)) is settings
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "can't be read"), ("{", "does not hold a valid"), ("[]", "does not hold a valid")]
)
def test_an_unusable_settings_file_is_named(tmp_path, content, sentence):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Failure, match=sentence) as caught:
        SourceRavanCalcom.read_config(str(path))
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "content", ["{", "7", '{"appointments": {}}', '[{"type": "STREAM"}]', '["x"]', '[{"type":"NEW"}]']
)
def test_a_state_file_that_is_no_state_is_as_good_as_none(tmp_path, content, caplog):
    path = tmp_path / "state.json"
    path.write_text(content)
    assert SourceRavanCalcom.read_state(str(path)) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("content", ["[]", "{}"])
def test_an_empty_state_file_is_a_first_sync(tmp_path, content, caplog):
    path = tmp_path / "state.json"
    path.write_text(json.dumps(json.loads(content)))
    assert SourceRavanCalcom.read_state(str(path)) == []
    assert not caplog.records
