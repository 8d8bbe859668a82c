from __future__ import annotations

import importlib
import logging
import threading

import pytest
from airbyte_cdk.models import (
    AirbyteStateMessage,
    ConfiguredAirbyteCatalog,
    DestinationSyncMode,
    Level,
    Status,
    SyncMode,
    TraceType,
    Type,
)
from airbyte_cdk.test.catalog_builder import CatalogBuilder, ConfiguredAirbyteStreamBuilder

import source_ravan_calcom
from source_ravan_calcom import changes
from source_ravan_calcom.api import Answer, AppointmentsApi
from source_ravan_calcom.ravan.failures import Failure
from source_ravan_calcom.bookings.records import normalise
from source_ravan_calcom.source import SourceRavanCalcom
from unit_tests.conftest import LOGGER, ORG, URL
from unit_tests.living import START

OVER = {"id": "1", "status": "accepted", "start_time": "2020-01-01T10:00:00Z", "end_time": "2020-01-01T10:30:00Z"}


def catalog(*names, mode=SyncMode.full_refresh):
    builder = CatalogBuilder()
    for name in names or ("appointments",):
        builder.with_stream(name, mode)
    configured = builder.build()
    for stream in configured.streams:
        stream.destination_sync_mode = DestinationSyncMode.append_dedup
    return configured


def answer(*rows):
    return {"success": True, "data": {"appointments": list(rows), "count": len(rows)}}


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


def rows(messages, stream="appointments"):
    return [m.record.data for m in messages if m.type is Type.RECORD and m.record.stream == stream]


def statuses(messages):
    return [
        (m.trace.stream_status.stream_descriptor.name, m.trace.stream_status.status.value)
        for m in messages
        if m.type is Type.TRACE and m.trace.type is TraceType.STREAM_STATUS
    ]


def states(messages):
    return [AirbyteStateMessage(type=m.state.type, stream=m.state.stream) for m in messages if m.type is Type.STATE]


def test_the_package_exports_the_source_as_airbytes_tools_look_for_it():
    module = importlib.import_module("source_ravan_calcom")
    assert module.SourceRavanCalcom is SourceRavanCalcom
    assert source_ravan_calcom.__all__ == ["SourceRavanCalcom"]
    with pytest.raises(AttributeError):
        _ = source_ravan_calcom.SourceRavanCalendly


def test_discover_finds_both_streams():
    streams = SourceRavanCalcom().discover(LOGGER, {"access_token": "ey.J.w", "org_ids": ["a"]}).streams
    assert [stream.name for stream in streams] == ["appointments", "organizations"]
    appointments, organizations = streams
    assert appointments.source_defined_primary_key == [["organization_id"], ["id"]]
    assert organizations.source_defined_primary_key == [["organization_id"]]
    for stream in streams:
        assert stream.supported_sync_modes == [SyncMode.full_refresh, SyncMode.incremental]
        assert (stream.source_defined_cursor, stream.default_cursor_field) == (True, ["synced_at"])


def test_check_asks_every_organization(http, settings):
    http.get(URL, json=answer())
    assert SourceRavanCalcom().check(LOGGER, {**settings, "org_ids": ["a", "b", "c"]}).status is Status.SUCCEEDED
    assert sorted(request.qs["org_id"][0] for request in http.request_history) == ["a", "b", "c"]
    assert {request.qs["limit"][0] for request in http.request_history} == {"1"}


def test_check_refuses_settings_in_words(http):
    status = SourceRavanCalcom().check(LOGGER, {"org_ids": []})
    assert status.status is Status.FAILED
    assert status.message == "Access Token is missing. Organization IDs needs at least one entry."


def test_each_organization_fails_alone(http, settings):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    messages, failure = read({**settings, "org_ids": ["a", "b"]}, catalog())
    assert [row["organization_id"] for row in rows(messages)] == ["a"]
    [trace] = error_traces(messages)
    assert trace.message.startswith("The Access Token may not read organization b (HTTP 403)")
    assert trace.stack_trace is None
    assert failure.message == f"1 of 2 organizations failed (1 forbidden):\n{trace.message}"
    assert statuses(messages)[-1] == ("appointments", "INCOMPLETE")
    assert failure.as_airbyte_message().trace.error.stream_descriptor.name == "appointments"


def test_a_refused_token_is_one_error(http, settings):
    http.get(URL, status_code=401)
    messages, failure = read({**settings, "org_ids": list("abcdef"), "num_workers": 1}, catalog())
    assert failure.message.startswith("Ravan refused the Access Token (HTTP 401")
    assert error_traces(messages) == []
    assert http.call_count == 3
    assert statuses(messages)[-1] == ("appointments", "INCOMPLETE")


def test_a_401_in_the_middle_is_that_organizations(http, settings):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=c", status_code=401)
    messages, failure = read({**settings, "org_ids": list("abcdef"), "num_workers": 1}, catalog())
    assert {row["organization_id"] for row in rows(messages)} == set("abdef")
    assert "refused the Access Token for organization c (HTTP 401), though not for every" in failure.message


def test_an_organization_that_comes_back_goes_on_where_it_was_left(http, settings, sleeps):
    upcoming = [{**OVER, "id": str(number)} for number in range(200)]
    http.get(URL, json=answer(*upcoming))
    http.get(f"{URL}?status=past", [{"status_code": 502}, {"json": answer(*upcoming)}])
    messages, failure = read(settings, catalog())
    assert failure is None
    assert len(rows(messages)) == 200
    asked = [request.qs.get("status", [None])[0] for request in http.request_history]
    assert asked == [None, "unconfirmed", "recurring", "upcoming", "past", "past", "cancelled"]


def test_waiting_leaves_the_place_to_the_next(http, settings):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=a", [{"status_code": 502}, {"json": answer(OVER)}])
    read({**settings, "org_ids": list("abc"), "num_workers": 1}, catalog())
    assert [request.qs["org_id"][0] for request in http.request_history] == ["a", "b", "c", "a"]


def test_an_error_nobody_foresaw_is_that_organizations_with_its_stack_trace(http, settings, monkeypatch):
    http.get(URL, json=answer(OVER))
    broken = lambda row, org_id: 1 / 0 if org_id == "b" else normalise(row, org_id)  # noqa: E731
    monkeypatch.setattr("source_ravan_calcom.appointments.normalise", broken)
    messages, failure = read({**settings, "org_ids": list("abc")}, catalog())
    assert {row["organization_id"] for row in rows(messages)} == {"a", "c"}
    [trace] = error_traces(messages)
    assert "nobody foresaw ended the reading of organization b (ZeroDivisionError)" in trace.message
    assert "in normalise" in trace.stack_trace or "<lambda>" in trace.stack_trace
    assert "Traceback" not in trace.message + failure.message


def test_skip_leaves_out_what_is_broken_and_succeeds(http, settings):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    skipping = {**settings, "org_ids": ["a", "b"], "failing_organizations": "skip"}
    messages, failure = read(skipping, catalog("appointments", "organizations"))
    assert failure is None
    assert error_traces(messages) == []
    assert [status for _, status in statuses(messages)].count("COMPLETE") == 2
    assert [(row["organization_id"], row["outcome"]) for row in rows(messages, "organizations")] == [
        ("a", "read"),
        ("b", "failed"),
    ]
    [log] = [message.log for message in messages if message.log and message.log.level is Level.WARN]
    assert (log.message[:40], log.stack_trace) == ("Skipped: The Access Token may not read o", None)


def test_a_skipped_error_that_nobody_foresaw_keeps_its_stack_trace(http, settings, monkeypatch):
    http.get(URL, json=answer(OVER))
    monkeypatch.setattr("source_ravan_calcom.appointments.normalise", lambda row, org_id: 1 / (org_id != "b"))
    messages, failure = read({**settings, "org_ids": ["a", "b"], "failing_organizations": "skip"}, catalog())
    assert failure is None
    [log] = [message.log for message in messages if message.log and message.log.level is Level.WARN]
    assert log.message.startswith("Skipped: An error that nobody foresaw ended the reading of organization b")
    assert "ZeroDivisionError" in log.stack_trace


def overwriting(**fields) -> ConfiguredAirbyteCatalog:
    builder = ConfiguredAirbyteStreamBuilder().with_name("appointments").with_sync_mode(SyncMode.full_refresh)
    stream = builder.build()
    for name, value in fields.items():
        setattr(stream, name, value)
    return ConfiguredAirbyteCatalog(streams=[stream])


@pytest.mark.parametrize(
    "configured",
    [
        overwriting(destination_sync_mode=DestinationSyncMode.overwrite),
        overwriting(destination_sync_mode=DestinationSyncMode.append_dedup, generation_id=3, minimum_generation_id=3),
    ],
)
def test_skip_never_lets_rows_vanish_from_a_table_that_is_overwritten(http, settings, configured):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    messages, failure = read({**settings, "org_ids": ["a", "b"], "failing_organizations": "skip"}, configured)
    assert "would vanish" in failure.message
    assert statuses(messages)[-1] == ("appointments", "INCOMPLETE")


@pytest.mark.parametrize(
    "fields",
    [
        {"destination_sync_mode": DestinationSyncMode.append, "generation_id": 3, "minimum_generation_id": 0},
        # As PyAirbyte asks for every incremental stream, which it merges.
        {
            "sync_mode": SyncMode.incremental,
            "destination_sync_mode": DestinationSyncMode.overwrite,
            "generation_id": 1,
            "minimum_generation_id": 1,
        },
    ],
)
def test_what_keeps_the_rows_of_earlier_syncs_overwrites_nothing(http, settings, fields):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    configured = overwriting(**fields)
    _, failure = read({**settings, "org_ids": ["a", "b"], "failing_organizations": "skip"}, configured)
    assert failure is None


def test_one_worker_reads_any_number_of_organizations(settings, monkeypatch):
    monkeypatch.setattr(AppointmentsApi, "ask", lambda *_: Answer([dict(OVER)], START, START))
    org_ids = [str(number) for number in range(10_050)]
    messages, failure = read({**settings, "org_ids": org_ids, "num_workers": 1}, catalog(mode=SyncMode.incremental))
    assert failure is None
    assert len(vars(states(messages)[-1].stream.stream_state)["organizations"]) == len(org_ids)


def test_no_more_requests_are_under_way_than_the_user_allows(settings, monkeypatch):
    under_way, most, lock = [0], [0], threading.Lock()
    three = threading.Barrier(3)

    def ask(*_):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        three.wait(timeout=5)
        with lock:
            under_way[0] -= 1
        return Answer([dict(OVER)], START, START)

    monkeypatch.setattr(AppointmentsApi, "ask", ask)
    read({**settings, "org_ids": [str(number) for number in range(60)], "num_workers": 3}, catalog())
    assert most == [3]


def test_an_organization_waits_for_room_before_it_is_read(settings, monkeypatch):
    waited = []
    monkeypatch.setattr("source_ravan_calcom.backlog.Backlog.wait_for_room", lambda self: waited.append(1))
    monkeypatch.setattr(AppointmentsApi, "ask", lambda *_: Answer([dict(OVER)], START, START))
    read({**settings, "org_ids": list("abc")}, catalog())
    assert waited == [1, 1, 1]


def test_a_stream_that_does_not_exist_is_named(settings):
    _, failure = read(settings, catalog("bookings"))
    assert "does not have: bookings" in failure.message


def test_an_empty_catalog_reads_nothing(settings):
    assert read(settings, CatalogBuilder().build()) == ([], None)


def test_full_refresh_ignores_the_state_and_incremental_uses_it(http, settings):
    http.get(URL, json=answer(OVER))
    incremental = catalog(mode=SyncMode.incremental)
    messages, _ = read(settings, incremental)
    [state] = states(messages)
    again, _ = read(settings, incremental, [state])
    assert rows(again) == []
    full, _ = read(settings, catalog(), [state])
    assert len(rows(full)) == 1


def test_the_rows_of_one_organization_carry_one_time_with_z_that_never_goes_backwards(http, settings):
    http.get(URL, json=answer(OVER, {**OVER, "id": "2"}))
    incremental = catalog(mode=SyncMode.incremental)
    messages, _ = read(settings, incremental)
    [synced_at] = {row["synced_at"] for row in rows(messages)}
    assert synced_at.endswith("Z")
    [state] = states(messages)
    vars(state.stream.stream_state)["organizations"][ORG]["synced_at"] = "2999-01-01T00:00:00.000Z"
    http.get(URL, json=answer({**OVER, "status": "pending"}))
    again, _ = read(settings, incremental, [state])
    assert [row["synced_at"] for row in rows(again)] == ["2999-01-01T00:00:00.001Z"]


def test_a_state_that_is_not_understood_is_one_warning_and_a_full_read(http, settings, caplog):
    http.get(URL, json=answer(OVER))
    incremental = catalog("appointments", "organizations", mode=SyncMode.incremental)
    odd = AirbyteStateMessage(type=changes.UNREADABLE, data={"problem": "ValueError"})
    messages, failure = read(settings, incremental, [odd])
    assert failure is None
    assert len(rows(messages)) == 1
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "The saved state was not understood (ValueError), so every booking is read and sent again. "
        "Nothing is lost; a destination that merges by primary key ends up the same."
    ]


@pytest.mark.parametrize("verb", ["discover", "read"])
def test_bad_settings_are_refused_without_a_request(http, verb):
    source = SourceRavanCalcom()
    with pytest.raises(Failure, match="Access Token is missing"):
        source.discover(LOGGER, {"org_ids": [ORG]}) if verb == "discover" else list(
            source.read(LOGGER, {"org_ids": [ORG]}, catalog())
        )
    assert http.call_count == 0


@pytest.mark.parametrize("verb", ["check", "discover"])
def test_a_setting_that_is_probably_not_meant_is_a_warning(http, settings, caplog, verb):
    http.get(URL, json=answer())
    getattr(SourceRavanCalcom(), verb)(LOGGER, {**settings, "org_id": "x"})
    assert "Unknown setting org_id; did you mean Organization IDs (`org_ids`)?" in caplog.messages


def test_the_settings_are_not_written_to_a_file(tmp_path, settings):
    assert SourceRavanCalcom().configure(settings, str(tmp_path)) is settings
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["{", "7", '{"appointments": {}}', '[{"type": "STREAM"}]', '["x"]', '[{"type":"NEW"}]']
)
def test_a_state_file_that_is_no_state_is_handed_on_as_not_understood(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    [state] = SourceRavanCalcom.read_state(str(path))
    with pytest.raises(ValueError, match="Error"):
        changes.stream_states([state])


@pytest.mark.parametrize("content", ["[]", "{}"])
def test_an_empty_state_file_is_a_first_sync(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    assert SourceRavanCalcom.read_state(str(path)) == []


def test_what_answered_one_request_of_six_is_a_token_that_works(http, settings):
    http.get(URL, status_code=401)
    http.get(f"{URL}?org_id=d", json=answer({"id": "1", "status": "accepted"}))
    http.get(f"{URL}?org_id=d&status=past", [{"status_code": 502}, {"json": answer()}])
    messages, failure = read({**settings, "org_ids": list("dabc"), "num_workers": 1}, catalog())
    assert [row["organization_id"] for row in rows(messages)] == ["d"]
    assert "3 of 4 organizations failed (3 token refused for one organization)" in failure.message


def test_the_pause_of_a_rate_limit_is_a_stream_status(http, settings, sleeps, caplog):
    caplog.set_level(logging.INFO)
    http.get(URL, [{"status_code": 429, "headers": {"Retry-After": "1"}}, {"json": answer(OVER)}])
    messages, failure = read(settings, catalog())
    assert failure is None
    reasons = [
        reason.type.value
        for m in messages
        if m.type is Type.TRACE and m.trace.type is TraceType.STREAM_STATUS
        for reason in m.trace.stream_status.reasons or []
    ]
    assert reasons == ["RATE_LIMITED"]
