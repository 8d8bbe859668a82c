"""Tests of a read: its requests, its records and its states."""

from __future__ import annotations

import json

import orjson
import pytest
from airbyte_cdk.models import AirbyteMessageSerializer, SyncMode, Type
from airbyte_cdk.test.catalog_builder import CatalogBuilder

from source_ravan_calcom import sync
from unit_tests.conftest import InlineThreads
from unit_tests.syncs import (
    BOTH,
    FULL_REFRESH,
    ORG,
    OVER,
    URL,
    bookings,
    catalog,
    lines,
    organizations,
    read,
    requested,
    response,
    state,
)

FUTURE = "2999-01-01T00:00:00.000Z"

TOO_HIGH = {"status_code": 400, "json": {"success": False, "code": "INVALID_REQUEST"}}


def failing(status_code: int = 502, code: str | None = None):
    return {"status_code": status_code, "json": {"success": False, "message": "no", **({"code": code} if code else {})}}


# The order of organizations.


def test_organizations_are_requested_in_the_order_of_the_settings(http, settings):
    http.get(URL, json=response(OVER))
    synced = read({**settings, "org_ids": list("cab"), "num_workers": 1})
    assert organizations(http) == list("cab")
    assert [row["organization_id"] for row in synced.rows()] == list("cab")


def test_one_worker_reads_any_number_of_organizations(http, settings):
    http.get(URL, json=response(OVER))
    org_ids = [str(number) for number in range(50)]
    synced = read({**settings, "org_ids": org_ids, "num_workers": 1})
    assert synced.error is None
    assert [*synced.saved()["organizations"]] == org_ids


def test_an_organization_that_waits_for_its_retry_frees_its_worker(http, settings):
    http.get(URL, json=response(OVER))
    http.get(f"{URL}?org_id=a", [failing(), {"json": response(OVER)}])
    synced = read({**settings, "org_ids": list("abc"), "num_workers": 1})
    assert organizations(http) == ["a", "b", "c", "a"]
    assert synced.error is None


def test_a_retried_organization_is_requested_before_new_ones_once_it_is_due(http, settings, clock, jitter):
    def slow(request, context):
        clock.now += 0.6
        return response(OVER)

    http.get(URL, json=slow)
    http.get(f"{URL}?org_id=a", [failing(), {"json": response(OVER)}])
    read({**settings, "org_ids": list("abcde"), "num_workers": 1})
    assert organizations(http) == ["a", "b", "c", "a", "d", "e"]


def test_retried_organizations_are_requested_in_the_order_in_which_they_are_due(http, settings, jitter):
    def fails(request, context):
        jitter({"a": 1.2, "b": 0.8, "c": 1.0}[request.qs["org_id"][0]])
        context.status_code = 502 if organizations(http).count(request.qs["org_id"][0]) == 1 else 200
        return response(OVER)

    http.get(URL, json=fails)
    read({**settings, "org_ids": list("abc"), "num_workers": 1})
    assert organizations(http) == ["a", "b", "c", "b", "c", "a"]


def test_a_retry_continues_at_the_window_that_failed(http, settings):
    http.get(URL, json=response(*bookings(200)))
    http.get(f"{URL}?status=past", [failing(), {"json": response(*bookings(200))}])
    synced = read(settings)
    assert synced.error is None
    assert len(synced.rows()) == 200
    assert requested(http) == [None, "unconfirmed", "recurring", "upcoming", "past", "past", "cancelled"]


def test_each_backoff_is_twice_as_long_until_the_organization_fails_for_good(http, settings, clock, jitter):
    http.get(URL, **failing())
    synced = read(settings)
    assert clock.waits == [1, 2, 4, 8]
    assert http.call_count == 5
    assert "tried 5 times" in str(synced.error.message)


@pytest.mark.parametrize("seconds", [36, 44], ids=["after the backoff", "before it"])
def test_no_retry_starts_two_minutes_after_the_first_failure(http, settings, clock, jitter, seconds):
    def slow(request, context):
        clock.now += seconds
        context.status_code = 502
        return {}

    http.get(URL, json=slow)
    read(settings)
    assert http.call_count == 4
    assert clock.waits == [1, 2, 4]


def test_a_success_gives_the_next_window_all_retries_again(http, settings, clock, jitter):
    http.get(URL, json=response(*bookings(200)))
    for window in ("upcoming", "past"):
        http.get(f"{URL}?status={window}", [*[failing()] * 4, {"json": response(*bookings(1))}])
    synced = read(settings)
    assert synced.error is None
    assert clock.waits == [1, 2, 4, 8] * 2


@pytest.mark.parametrize("status_code", [401, 403, 404, 418])
def test_a_failure_that_a_retry_would_not_help_is_requested_once(http, settings, status_code):
    http.get(URL, status_code=status_code)
    assert read(settings).error
    assert http.call_count == 1


def test_each_retry_is_logged_with_its_reason_and_time(http, settings, caplog, jitter):
    caplog.set_level("INFO")
    http.get(URL, [failing(), {"json": response(OVER)}])
    read(settings)
    assert f"Organization {ORG}: HTTP 502. Retrying in 1 s (try 2 of 5)." in lines(caplog, "INFO")


def test_requests_are_counted_over_all_tries_and_windows(http, settings):
    http.get(URL, json=response(*bookings(200)))
    http.get(f"{URL}?status=past", [failing(), {"json": response()}])
    [row] = read(settings, catalog(*BOTH)).rows("organizations")
    assert row["requests"] == http.call_count == 7


# Requests in progress.


def test_no_more_requests_are_in_progress_than_the_setting_allows(http, settings, clock, monkeypatch):
    under_way, most = [], []

    class LateThreads(InlineThreads):
        """Threads whose jobs run while the owner of the pool waits."""

        def run(self, job, busy):
            under_way.append(job)
            most.append(len(under_way))

    def finish_the_first(seconds):
        under_way.pop(0)()

    http.get(URL, json=response(OVER))
    monkeypatch.setattr("source_ravan_calcom.workers.Threads", LateThreads)
    monkeypatch.setattr(clock, "wait", finish_the_first)
    synced = read({**settings, "org_ids": [str(number) for number in range(20)], "num_workers": 3})
    assert len(synced.rows()) == 20
    assert max(most) == 3


# Rate limits.


def test_the_stream_status_shows_a_rate_limit_until_a_request_succeeds(http, settings, caplog):
    caplog.set_level("INFO")
    http.get(URL, [{"status_code": 429, "headers": {"Retry-After": "7"}}, {"json": response(OVER)}])
    synced = read(settings)
    assert synced.error is None
    assert [status for _, status in synced.statuses] == ["STARTED", "RATE_LIMITED", "RUNNING", "RUNNING", "COMPLETE"]
    assert synced.rows()
    assert "Ravan limits the rate of requests (HTTP 429). All requests wait for 7 s." in caplog.messages
    assert caplog.messages.count("Requests succeed again.") == 1


def test_the_status_of_a_rate_limit_is_running_with_one_reason(http, settings):
    http.get(URL, [{"status_code": 429}, {"json": response(OVER)}])
    [limited] = [
        message.trace.stream_status
        for message in read(settings).messages
        if message.trace and message.trace.stream_status and message.trace.stream_status.reasons
    ]
    assert (limited.status.value, len(limited.reasons)) == ("RUNNING", 1)


def test_a_429_uses_up_no_retry(http, settings, clock):
    http.get(URL, [*[{"status_code": 429}] * 20, {"json": response(OVER)}])
    synced = read(settings)
    assert synced.error is None
    assert http.call_count == 21
    assert synced.statuses.count(("appointments", "RATE_LIMITED")) == 1


def test_a_lasting_rate_limit_stops_the_sync_with_one_error(http, settings, clock):
    http.get(URL, json=response(OVER))
    for org_id in "bc":
        http.get(f"{URL}?org_id={org_id}", status_code=429)
    synced = read({**settings, "org_ids": list("abcd"), "num_workers": 1}, catalog(*BOTH))
    assert synced.error.message.startswith(
        "Ravan limits the rate of requests, so organization b was not read (HTTP 429)"
    )
    assert "no request succeeded for 5 minutes" in synced.error.message
    assert synced.outcomes == [("read", None), ("failed", "rate_limited"), *[("not_asked", "rate_limited")] * 2]
    assert set(organizations(http)) == {"a", "b"}


# Refused limits and windows.


def rows_if_limit_allows(most: int, rows):
    """Rows of an API that refuses a higher limit."""

    def respond(request, context):
        if int(request.qs["limit"][0]) > most:
            context.status_code = 400
            return {"success": False, "code": "INVALID_REQUEST"}
        return response(*rows)

    return respond


def test_a_refused_limit_is_lowered_once_for_the_whole_sync_and_logged_once(http, settings, caplog):
    caplog.set_level("INFO")
    http.get(URL, json=rows_if_limit_allows(100, bookings(3)))
    synced = read({**settings, "org_ids": list("abc"), "num_workers": 1})
    assert synced.error is None
    assert len(synced.rows()) == 9
    # The first request for b was sent before a was read.
    limits = [(request.qs["org_id"][0], request.qs["limit"][0]) for request in http.request_history]
    assert limits == [("a", "200"), ("a", "100"), ("b", "200"), ("b", "100"), ("c", "100")]
    assert [line for line in caplog.messages if "200" in line] == [
        "Ravan refuses to return 200 rows at once. This sync requests 100 at most."
    ]


@pytest.mark.parametrize("code", ["INVALID_REQUEST", "CONFLICT", "CALCOM_API_ERROR", "INTERNAL_ERROR"])
def test_the_limit_is_lowered_after_each_of_these_codes_with_http_400(http, settings, code):
    http.get(f"{URL}?limit=200", **failing(400, code))
    http.get(f"{URL}?limit=100", json=response(OVER))
    assert read(settings).error is None
    assert http.call_count == 2


@pytest.mark.parametrize(("status_code", "code"), [(502, "CALCOM_API_ERROR"), (400, "NOT_CONNECTED"), (403, None)])
def test_another_failure_does_not_lower_the_limit(http, settings, status_code, code):
    http.get(URL, **failing(status_code, code))
    assert read(settings).error
    assert {request.qs["limit"][0] for request in http.request_history} == {"200"}


def test_a_request_refused_with_either_limit_fails_as_invalid(http, settings):
    http.get(URL, **TOO_HIGH)
    synced = read(settings)
    assert "as invalid (INVALID_REQUEST, HTTP 400)" in synced.error.message
    assert [request.qs["limit"][0] for request in http.request_history] == ["200", "100"]


def test_a_window_refused_as_invalid_is_skipped(http, settings):
    http.get(URL, json=response(*bookings(200)))
    http.get(f"{URL}?status=recurring", **failing(400, "INVALID_REQUEST"))
    synced = read(settings)
    assert synced.error is None
    assert requested(http) == [None, "unconfirmed", "recurring", "upcoming", "past", "cancelled"]


def test_a_chosen_status_refused_as_invalid_fails_the_organization(http, settings):
    http.get(URL, json=response(OVER))
    http.get(f"{URL}?status=recurring", **failing(400, "INVALID_REQUEST"))
    synced = read({**settings, "statuses": ["recurring", "past"]})
    assert "as invalid (INVALID_REQUEST, HTTP 400)" in synced.error.message


@pytest.mark.parametrize("window_failure", [failing(404), failing(418), failing(502, "CALCOM_API_ERROR")])
def test_a_window_that_keeps_failing_is_skipped_if_an_unfiltered_request_succeeds(http, settings, window_failure):
    http.get(URL, json=response(*bookings(200)))
    http.get(f"{URL}?status=recurring", **window_failure)
    synced = read(settings)
    assert synced.error is None
    tries = 5 if window_failure["status_code"] == 502 else 1
    assert requested(http) == [
        *[None, "unconfirmed"],
        *["recurring"] * tries,
        *[None, "upcoming", "past", "cancelled"],
    ]


def test_a_window_is_not_skipped_if_the_unfiltered_request_fails_too(http, settings):
    http.get(URL, [{"json": response(*bookings(200))}, failing(502, "CALCOM_API_ERROR")])
    http.get(f"{URL}?status=unconfirmed", **failing(502, "CALCOM_API_ERROR"))
    synced = read(settings, catalog(*BOTH))
    assert synced.outcomes == [("failed", "calcom_failed")]
    assert synced.rows() == []


def test_a_window_skipped_for_one_organization_is_skipped_for_the_next_after_one_failure(http, settings, clock):
    def small_and_slow(request, context):
        clock.now += 5
        return response(OVER)

    http.get(URL, json=small_and_slow)
    for org_id in ("first", "last"):
        http.get(f"{URL}?org_id={org_id}", json=response(*bookings(200)))
        http.get(f"{URL}?org_id={org_id}&status=recurring", **failing(502, "CALCOM_API_ERROR"))
    org_ids = ["first", *(str(number) for number in range(10)), "last"]
    synced = read({**settings, "org_ids": org_ids, "num_workers": 1})
    assert synced.error is None
    last = [status for org_id, status in zip(organizations(http), requested(http), strict=True) if org_id == "last"]
    assert last == [None, "unconfirmed", "recurring", None, "upcoming", "past", "cancelled"]


@pytest.mark.parametrize("code", ["NOT_CONNECTED", "INTERNAL_ERROR"])
def test_a_window_that_fails_otherwise_fails_the_organization(http, settings, code):
    http.get(URL, json=response(*bookings(200)))
    http.get(f"{URL}?status=recurring", **failing(400, code))
    synced = read(settings)
    assert f"({code}, HTTP 400" in synced.error.message
    assert synced.rows() == []


# Records and states.


def test_an_organization_is_delivered_whole_or_not_at_all(http, settings):
    http.get(URL, json=response(*bookings(200)))
    http.get(f"{URL}?status=cancelled", status_code=403)
    synced = read(settings)
    assert (synced.rows(), synced.saved()["organizations"]) == ([], {})


def test_an_incremental_sync_sends_only_new_rows(http, settings):
    http.get(URL, json=response(*bookings(3)))
    first = read(settings)
    http.get(URL, json=response(*bookings(2), {**OVER, "id": "new"}))
    second = read(settings, state=first.last_states)
    assert [row["id"] for row in second.rows()] == ["new"]


def test_a_full_refresh_ignores_the_state(http, settings):
    http.get(URL, json=response(OVER))
    first = read(settings)
    assert read(settings, state=first.last_states).rows() == []
    assert len(read(settings, FULL_REFRESH, first.last_states).rows()) == 1


def test_the_state_of_a_full_refresh_is_ignored_by_the_next_incremental_sync(http, settings):
    http.get(URL, json=response(OVER))
    [left] = read(settings, FULL_REFRESH).states
    assert vars(left.stream.stream_state) == {"__ab_no_cursor_state_message": True}
    assert len(read(settings, state=[left]).rows()) == 1


def test_a_state_follows_the_records_that_it_includes(http, settings):
    http.get(URL, json=response(OVER))
    synced = read({**settings, "org_ids": list("abc")})
    printed: set[str] = set()
    for message in synced.messages:
        if message.record:
            printed.add(message.record.data["organization_id"])
        if message.state:
            assert set(vars(message.state.stream.stream_state)["organizations"]) == printed
    assert printed == set("abc")


def test_a_sync_with_records_of_every_organization_prints_ten_states(http, settings):
    http.get(URL, json=response(OVER))
    assert len(read({**settings, "org_ids": [str(number) for number in range(100)]}).states) == 10


def test_a_sync_that_sends_nothing_prints_one_state(http, settings):
    http.get(URL, json=response())
    assert len(read({**settings, "org_ids": [str(number) for number in range(100)]}).states) == 1


def test_a_failed_organization_keeps_its_earlier_state(http, settings):
    http.get(URL, json=response(OVER))
    first = read(settings)
    http.get(URL, status_code=403)
    second = read(settings, state=first.last_states)
    assert second.saved() == first.saved()


def test_the_rows_of_one_organization_have_one_synced_at_in_utc_that_always_increases(http, settings):
    http.get(URL, json=response(OVER, {**OVER, "id": "2"}))
    synced = read(settings)
    [synced_at] = {row["synced_at"] for row in synced.rows()}
    assert synced_at.endswith("Z")
    synced.saved()["organizations"][ORG]["synced_at"] = FUTURE
    http.get(URL, json=response({**OVER, "status": "pending"}))
    assert [row["synced_at"] for row in read(settings, state=synced.last_states).rows()] == ["2999-01-01T00:00:00.001Z"]


@pytest.mark.parametrize(
    ("streams", "mode"),
    [(("organizations",), SyncMode.incremental), (BOTH, SyncMode.full_refresh), (BOTH, SyncMode.incremental)],
)
def test_synced_at_increases_with_the_state_of_either_stream(http, settings, streams, mode):
    http.get(URL, json=response(OVER))
    before = [state("organizations", version=1, organizations={ORG: FUTURE})]
    synced = read(settings, catalog(*streams, mode=mode), before)
    assert all(row["synced_at"] > FUTURE for name in streams for row in synced.rows(name))


@pytest.mark.parametrize(
    ("saved", "problem"),
    [
        ({"version": 9, "organizations": {}}, "it has version 9, this connector writes version 3"),
        ({"date": "2026-01-01"}, "it has no version, this connector writes version 3"),
        ({"version": 2, "organizations": 5}, "it holds no organizations"),
        ({"version": 2, "organizations": {"a": {}}}, "its entry for organization a is damaged"),
    ],
)
def test_an_invalid_state_causes_one_warning_and_a_full_read(http, settings, caplog, saved, problem):
    http.get(URL, json=response(OVER))
    synced = read(settings, catalog(*BOTH), [state("appointments", **saved)])
    assert synced.error is None
    assert len(synced.rows()) == 1
    assert lines(caplog, "WARNING") == [
        f"The saved state was not understood ({problem}), so every booking is read and sent again. "
        "Nothing is lost; a destination that merges by primary key gets no duplicates."
    ]


@pytest.mark.parametrize("saved", [{"version": 9, "organizations": {"a": FUTURE}}, {"version": 1, "organizations": 5}])
def test_an_invalid_state_of_organizations_counts_as_none(http, settings, caplog, saved):
    http.get(URL, json=response(OVER))
    synced = read(settings, catalog("organizations"), [state("organizations", **saved)])
    assert synced.error is None
    assert synced.rows("organizations")[0]["synced_at"] < FUTURE


def size(content) -> int:
    return len(json.dumps(content, separators=(",", ":")))


@pytest.mark.parametrize("more", [0, 1])
def test_states_near_the_platforms_limit_cause_a_warning(http, settings, caplog, monkeypatch, more):
    http.get(URL, json=response(*bookings(3)))
    monkeypatch.setattr(sync, "STATE_BYTES", size(read(settings).saved()) - more)
    read(settings)
    warnings = lines(caplog, "WARNING")
    assert len(warnings) == more
    assert all("fails a sync whose states exceed 10 MiB. Split Organization IDs (org_ids)" in each for each in warnings)


def test_the_states_of_both_streams_count_together_against_the_platforms_limit(http, settings, caplog, monkeypatch):
    http.get(URL, json=response(OVER))
    before = read(settings, catalog(*BOTH))
    both = size(before.saved()) + size(before.saved("organizations"))
    monkeypatch.setattr(sync, "STATE_BYTES", both - 1)
    read(settings)
    assert lines(caplog, "WARNING") == []
    read(settings, catalog(*BOTH))
    assert len(lines(caplog, "WARNING")) == 1


def test_states_of_eight_megabytes_cause_no_warning():
    assert sync.STATE_BYTES == 8_000_000


# Unusual responses.


def test_a_wrong_count_causes_a_warning_and_the_rows_are_delivered(http, settings, caplog):
    body = response(OVER)
    body["data"]["count"] = 5
    http.get(URL, json=body)
    assert len(read(settings).rows()) == 1
    assert lines(caplog, "WARNING") == [
        f"Organization {ORG}: Ravan returned 1 rows, but its count is 5. The rows returned are delivered."
    ]


def test_a_lone_surrogate_is_replaced_with_one_warning(http, settings, caplog):
    body = json.dumps(response(*bookings(200, attendee_name="Ann 😀"))).replace("\\ude00", "")
    http.get(URL, content=body.encode())
    synced = read(settings)
    assert {row["attendee_name"] for row in synced.rows()} == {"Ann �"}
    assert [line for line in lines(caplog, "WARNING") if "invalid" in line] == [
        f"Organization {ORG}: Ravan's response held invalid characters or a number out of range. "
        "The characters are delivered as �, the number as text."
    ]


def test_lost_values_are_reported_in_meta_and_in_one_warning_per_column(http, settings, caplog):
    odd = [
        {**OVER, "id": "a", "duration_minutes": "secret", "attendee_phone": 15550000001},
        {**OVER, "id": 7, "duration_minutes": [1], "attendee_name": "secret\0"},
        {**OVER, "id": "c"},
    ]
    http.get(URL, json=response(*odd))
    synced = read(settings)
    lost = {"reason": "SOURCE_SERIALIZATION_ERROR"}
    printed = [
        json.loads(orjson.dumps(AirbyteMessageSerializer.dump(message)))["record"]
        for message in synced.messages
        if message.type is Type.RECORD
    ]
    assert [(record["data"]["id"], record.get("meta")) for record in printed] == [
        ("a", {"changes": [{"field": "duration_minutes", "change": "NULLED", **lost}]}),
        (
            "7",
            {
                "changes": [
                    {"field": "attendee_name", "change": "TRUNCATED", **lost},
                    {"field": "duration_minutes", "change": "NULLED", **lost},
                ]
            },
        ),
        ("c", None),
    ]
    for record in printed:
        message = AirbyteMessageSerializer.load({"type": "RECORD", "record": record})
        assert AirbyteMessageSerializer.dump(message)["record"] == record
    assert lines(caplog, "WARNING") == [
        f"Organization {ORG}: duration_minutes is null in 2 of 3 rows, because the values sent do not fit the column's "
        "type. The first of them is booking a.",
        f"Organization {ORG}: A part of attendee_name was replaced or cut in 1 of 3 rows, because databases can't "
        "store it. The first of them is booking 7.",
    ]


def test_a_warning_about_lost_values_of_a_row_without_an_id_says_so(http, settings, caplog):
    http.get(URL, json=response({**OVER, "id": "", "start_time": "soon"}))
    read(settings)
    assert any("start_time is null in 1 of 1 rows" in line for line in lines(caplog, "WARNING"))
    assert any(line.endswith(" The first of them has no id.") for line in lines(caplog, "WARNING"))


def test_an_unchanged_row_with_converted_values_is_not_sent_again(http, settings):
    http.get(URL, json=response({**OVER, "id": 7, "duration_minutes": "?", "attendee_name": {"a": "\0"}}))
    first = read(settings)
    assert len(first.rows()) == 1
    assert read(settings, state=first.last_states).rows() == []


def test_rows_of_several_attendees_are_delivered_as_one_booking_that_is_not_sent_again(http, settings, caplog):
    seats = [{**OVER, "attendee_email": f"{letter}@example.com"} for letter in "bcad"]
    other = {**OVER, "id": "2"}
    http.get(URL, json=response(*seats, other))
    first = read(settings)
    assert [row.get("attendee_email") for row in first.rows()] == ["a@example.com", None]
    assert lines(caplog, "WARNING") == [
        f"Organization {ORG}: Ravan returned several rows for 1 of 2 bookings. Of each booking, the row with the "
        "alphabetically first attendee_email is delivered; 3 others are not."
    ]
    http.get(URL, json=response(other, *reversed(seats)))
    assert read(settings, state=first.last_states).rows() == []


def test_every_row_of_several_attendees_counts_towards_the_cap(http, settings):
    seats = [{**OVER, "id": str(number // 2), "attendee_email": str(number)} for number in range(200)]
    http.get(URL, json=response(*seats))
    assert len(read(settings).rows()) == 100
    assert len(requested(http)) == 6


def test_rows_without_an_id_are_delivered_with_a_warning(http, settings, caplog):
    http.get(URL, json=response({**OVER, "id": None}, {**OVER, "id": ""}))
    assert len(read(settings).rows()) == 2
    assert lines(caplog, "WARNING") == [
        f"Organization {ORG}: 2 rows have no id. They are delivered, but can't be told apart by primary key."
    ]


def test_bookings_and_organizations_have_the_same_id_despite_its_case(http, settings):
    http.get(URL, json=response({**OVER, "organization_id": ORG.upper()}))
    synced = read(settings, catalog(*BOTH))
    assert synced.rows()[0]["organization_id"] == synced.rows("organizations")[0]["organization_id"] == ORG


def test_an_empty_catalog_sends_no_request(http, settings):
    assert read(settings, CatalogBuilder().build()).messages == []
    assert http.call_count == 0
