"""Tests of the reports of a sync: the log, the ``organizations`` stream, and the closing error."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import pytest
from airbyte_cdk.models import DestinationSyncMode, FailureType, SyncMode

from sandbox.accounts import Account, Booking
from source_ravan_calcom import report
from source_ravan_calcom.ravan.client import Client
from source_ravan_calcom.sync import SCHEMAS
from unit_tests.syncs import (
    BOTH,
    FULL_REFRESH,
    ORG,
    OVER,
    URL,
    catalog,
    lines,
    organizations,
    read,
    response,
    state,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

FAILURES = {
    "broken": {"status_code": 500},
    "calcom": {"status_code": 502, "json": {"success": False, "code": "CALCOM_API_ERROR"}},
    "forbidden": {"status_code": 403},
    "not-connected": {"status_code": 400, "json": {"success": False, "code": "NOT_CONNECTED"}},
    "shape": {"json": {"success": True}},
    "refused": {"status_code": 401},
}


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level("INFO")


@pytest.fixture
def synced(http, settings):
    """Return a function that reads both streams, one organization at a time; the beginning of an ID selects its failure
    in ``FAILURES``."""
    http.get(URL, json=response(OVER))

    def fails(name):
        return lambda request: request.qs["org_id"][0].startswith(name)

    for name, failure in FAILURES.items():
        http.get(URL, additional_matcher=fails(name), **failure)

    def synced(*org_ids, configured=None, **more):
        given = {**settings, "num_workers": 1, **more, "org_ids": list(org_ids)}
        return read(given, configured or catalog(*BOTH))

    return synced


# Failures of organizations.


def test_each_organization_fails_alone_with_an_error_line_and_one_closing_error(synced, caplog):
    ended = synced("a", "forbidden-1", "b")
    assert [row["organization_id"] for row in ended.rows()] == ["a", "b"]
    [line] = lines(caplog, "ERROR")
    assert line.startswith("The Access Token is not allowed to read organization forbidden-1 (HTTP 403)")
    assert ended.error_traces == 0, "the platform shows the first error trace, which must be the closing one"
    assert ended.error.message.endswith(line)
    trace = ended.error.as_airbyte_message().trace.error
    assert trace.stream_descriptor.name == "appointments"


def test_organizations_that_fail_end_the_stream_incomplete_after_everything_else(synced):
    assert synced("a", "forbidden-1").statuses == [
        ("appointments", "STARTED"),
        ("appointments", "RUNNING"),
        ("appointments", "INCOMPLETE"),
        ("organizations", "STARTED"),
        ("organizations", "RUNNING"),
        ("organizations", "COMPLETE"),
    ]


def test_a_sync_without_failures_ends_complete(synced, caplog):
    ended = synced("a", "b")
    assert ended.error is None
    assert ended.statuses[-1] == ("organizations", "COMPLETE")
    assert ("appointments", "COMPLETE") in ended.statuses
    assert lines(caplog, "ERROR") == lines(caplog, "WARNING") == []


@pytest.mark.parametrize(
    ("org_ids", "failure_type"),
    [
        (["broken"], FailureType.transient_error),
        (["broken", "calcom"], FailureType.transient_error),
        (["broken", "not-connected"], FailureType.config_error),
        (["broken", "shape"], FailureType.system_error),
        (["shape", "forbidden"], FailureType.config_error),
    ],
)
def test_the_closing_error_is_transient_only_if_every_failure_was(synced, org_ids, failure_type):
    assert synced("a", *org_ids).error.failure_type is failure_type


def test_the_closing_error_begins_with_the_counts_by_kind_and_the_remedy(synced):
    message = synced("a", "calcom-1", "calcom-2", "not-connected-1").error.message
    assert message.startswith(
        "3 of 4 organizations failed: 1 not connected, 2 Cal.com failed. To sync the others meanwhile, set Failing "
        "Organizations (failing_organizations) to skip instead of fail. (1) Organization not-connected-1 has no "
    )
    first, second, third = (message.index(f"({number}) ") for number in (1, 2, 3))
    assert first < message.index("not-connected-1") < second < message.index("organization calcom-") < third
    assert "\n" not in message
    for item in (message[first:second], message[second:third], message[third:]):
        assert item.rstrip().endswith(".")


def test_the_closing_error_of_one_organization_has_no_numbers(synced):
    assert synced("a", "forbidden-1").error.message == (
        "1 of 2 organizations failed: 1 forbidden. To sync the others meanwhile, set Failing Organizations "
        "(failing_organizations) to skip instead of fail. The Access Token is not allowed to read organization "
        "forbidden-1 (HTTP 403). Use a token of that organization, or remove forbidden-1 from Organization IDs "
        "(org_ids)."
    )


def test_the_closing_error_does_not_advise_to_skip_if_no_organization_could_be_read(synced):
    assert synced("forbidden-1").error.message.startswith(
        "1 of 1 organization failed: 1 forbidden. The Access Token is not allowed to read organization forbidden-1"
    )


@pytest.mark.parametrize("said", ["gone", "gone.", "gone\r\nfor good", "why?"])
def test_every_item_of_the_closing_error_ends_in_a_full_stop_after_any_message_of_ravan(http, settings, said):
    http.get(URL, status_code=403, json={"success": False, "message": said})
    message = read({**settings, "org_ids": ["a", "b"]}).error.message
    assert message.count("Ravan says: “") == 2
    assert "\n" not in message
    assert all(item.rstrip().endswith(("”.", ".”")) for item in message.split("(1) ")[1].split("(2) "))


def test_a_long_closing_error_lists_twenty_and_counts_the_rest(synced):
    message = synced("a", *(f"forbidden-{number}" for number in range(60))).error.message
    assert "(20) " in message
    assert "(21) " not in message
    assert message.endswith("And 40 more. The organizations stream and the log name each.")


def test_an_unexpected_error_fails_only_its_organization_and_logs_its_stack_trace(synced, caplog, monkeypatch):
    monkeypatch.setattr(
        "source_ravan_calcom.ravan.responses._rows",
        lambda body, org_id: 1 / 0 if org_id == "b" else (body["data"]["appointments"], None),
    )
    ended = synced("a", "b", "c")
    assert [row["organization_id"] for row in ended.rows()] == ["a", "c"]
    [line] = lines(caplog, "ERROR")
    assert line.startswith("Unexpected error while reading organization b (ZeroDivisionError). Report it")
    [trace] = [line for line in lines(caplog, "INFO") if "Traceback" in line]
    assert trace.startswith("Stack trace of the unexpected error: ")
    assert "ZeroDivisionError" in trace
    assert "Traceback" not in ended.error.message + ended.error.internal_message


def test_a_failed_organization_keeps_no_response_in_memory(http, settings, monkeypatch):
    held = []
    send = Client._send

    def watched(*arguments):
        response, body = send(*arguments)
        held.append(weakref.ref(response))
        return response, body

    monkeypatch.setattr(Client, "_send", watched)
    http.get(URL, json={"success": True, "data": {"appointments": [OVER, "x"]}})
    ended = read({**settings, "org_ids": ["a", "b"], "num_workers": 1}, catalog(*BOTH))
    assert ended.outcomes == [("failed", "wrong_shape")] * 2
    http.reset_mock()
    assert [response() for response in held] == [None, None]


def test_the_closing_error_shows_no_secret(synced):
    assert "some.jwt.token" not in synced("forbidden-some.jwt.token").error.message


# Refused tokens.


def test_a_token_refused_for_three_organizations_before_any_success_stops_the_sync_with_one_error(synced, caplog, http):
    ended = synced(*(f"refused-{letter}" for letter in "abcdef"))
    assert ended.error.message.startswith("Ravan refused the Access Token (HTTP 401, requested for organization ")
    assert ended.error.failure_type is FailureType.config_error
    assert lines(caplog, "ERROR") == []
    assert ended.error_traces == 0
    assert len(organizations(http)) == 3
    assert ended.outcomes == [("failed", "token_refused")] * 3 + [("not_asked", "token_refused")] * 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_token_refused_for_all_of_fewer_than_three_organizations_causes_one_error(synced, count):
    ended = synced(*(f"refused-{number}" for number in range(count)))
    assert ended.error.message.startswith("Ravan refused the Access Token (HTTP 401")


def test_a_401_after_a_success_fails_only_its_organization(synced, caplog):
    ended = synced("a", *(f"refused-{number}" for number in range(4)), "b")
    assert [row["organization_id"] for row in ended.rows()] == ["a", "b"]
    assert [kind for _, kind in ended.outcomes] == [None, *["token_refused_here"] * 4, None]
    assert len(lines(caplog, "ERROR")) == 4
    assert "refused the Access Token for organization refused-0 (HTTP 401), but not for others" in ended.error.message


def test_a_401_before_a_success_fails_only_its_organization_and_is_logged_once(synced, caplog):
    ended = synced("refused-0", "refused-1", "a", "refused-2")
    assert [kind for _, kind in ended.outcomes] == ["token_refused_here"] * 2 + [None, "token_refused_here"]
    assert [line.split(" organization ")[1][:9] for line in lines(caplog, "ERROR")] == [
        "refused-0",
        "refused-1",
        "refused-2",
    ]


def test_one_successful_request_of_six_proves_that_the_token_works(http, settings):
    http.get(URL, status_code=401)
    http.get(f"{URL}?org_id=d", json=response({"id": "1", "status": "accepted"}))
    http.get(f"{URL}?org_id=d&status=past", status_code=502)
    ended = read({**settings, "org_ids": list("dabc"), "num_workers": 1}, catalog(*BOTH))
    assert ended.outcomes == [("failed", "server_failed")] + [("failed", "token_refused_here")] * 3


def test_a_401_of_one_organization_fails_only_that_organization(synced):
    ended = synced("refused-0", "not-connected-1", "not-connected-2", "not-connected-3")
    assert [kind for _, kind in ended.outcomes] == ["token_refused_here"] + ["not_connected"] * 3


def test_a_refused_expired_token_stops_the_sync_at_once(http, settings):
    http.get(URL, status_code=401)
    http.get(f"{URL}?org_id=a", json=response(OVER))
    expired = "ey.eyJleHAiOiAxNzAwMDAwMDAwfQ.x"
    ended = read({**settings, "access_token": expired, "org_ids": list("abcde"), "num_workers": 1}, catalog(*BOTH))
    assert "it expired on 2023-11-14 at 22:13:20 UTC" in ended.error.message
    assert ended.outcomes[-1] == ("not_asked", "token_expired")


@pytest.mark.parametrize("succeeds", [False, True])
def test_network_settings_stop_the_sync_only_if_no_request_has_succeeded(http, settings, succeeds):
    http.get(URL, exc=OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /nowhere"))
    if succeeds:
        http.get(f"{URL}?org_id=a", json=response(OVER))
    ended = read({**settings, "org_ids": list("abcdef"), "num_workers": 1}, catalog(*BOTH))
    kinds = [kind for _, kind in ended.outcomes]
    if succeeds:
        assert kinds == [None] + ["unreachable"] * 5
    else:
        assert kinds == ["network_settings"] * 6
        assert ended.outcomes[-1][0] == "not_asked"
        assert ended.error.message.startswith("Could not connect to 127.0.0.1:9 (requested for organization ")
        assert ended.error.failure_type is FailureType.config_error


# Skipping.


def test_a_skipped_organization_causes_a_warning_and_the_sync_succeeds(synced, caplog):
    ended = synced("a", "forbidden-1", "broken-1", failing_organizations="skip")
    assert ended.error is None
    assert [status for _, status in ended.statuses].count("COMPLETE") == 2
    assert ended.outcomes == [("read", None), ("failed", "forbidden"), ("failed", "server_failed")]
    assert lines(caplog, "ERROR") == []
    assert [line[:42] for line in lines(caplog, "WARNING")] == [
        "Skipped: The Access Token is not allowed t",
        "Skipped: Ravan failed for organization bro",
    ]


def test_a_sync_that_skips_every_organization_fails(synced):
    ended = synced("forbidden-1", "forbidden-2", failing_organizations="skip")
    assert ended.error.message.startswith("2 of 2 organizations failed: 2 forbidden. (1) The Access Token")


def test_a_refused_token_is_never_skipped(synced):
    ended = synced(*(f"refused-{number}" for number in range(3)), failing_organizations="skip")
    assert ended.error.message.startswith("Ravan refused the Access Token")


def test_a_skipped_unexpected_error_keeps_its_stack_trace_in_the_log(synced, caplog, monkeypatch):
    monkeypatch.setattr("source_ravan_calcom.ravan.responses._rows", lambda body, org_id: ([], 1 / (org_id != "b")))
    ended = synced("a", "b", failing_organizations="skip")
    assert ended.error is None
    assert any("Traceback" in line for line in lines(caplog, "INFO"))


OVERWRITING = [
    {"destination": DestinationSyncMode.overwrite},
    {"destination": DestinationSyncMode.append_dedup, "generation_id": 3, "minimum_generation_id": 3},
]


@pytest.mark.parametrize("fields", OVERWRITING)
def test_a_sync_that_overwrites_the_table_fails_instead_of_skipping_and_gives_the_reason(synced, fields):
    configured = catalog(mode=SyncMode.full_refresh, **fields)
    ended = synced("a", "forbidden-1", configured=configured, failing_organizations="skip")
    assert ended.error.message.startswith(
        "1 of 2 organizations failed: 1 forbidden. Failing Organizations (failing_organizations) is set to skip, but "
        "this sync overwrites the table (a full refresh), so the rows of a skipped organization would vanish from "
        "it. Choose a sync mode that appends; with PyAirbyte, leave out force_full_refresh."
    )
    assert ended.statuses[-1] == ("appointments", "INCOMPLETE")


@pytest.mark.parametrize(
    "configured",
    [
        catalog(
            mode=SyncMode.full_refresh,
            destination=DestinationSyncMode.append,
            generation_id=3,
            minimum_generation_id=0,
        ),
        # PyAirbyte's configuration of incremental streams, which it merges.
        catalog(destination=DestinationSyncMode.overwrite, generation_id=2, minimum_generation_id=1),
        catalog(destination=DestinationSyncMode.overwrite),
    ],
)
def test_a_sync_that_keeps_the_rows_of_earlier_syncs_may_skip(synced, configured):
    assert synced("a", "forbidden-1", configured=configured, failing_organizations="skip").error is None


# The organizations stream.


def test_the_columns_of_organizations_match_its_schema(synced):
    [row] = synced("a").rows("organizations")
    assert row.keys() == json.loads((SCHEMAS / "organizations.json").read_text())["properties"].keys()


def test_the_row_of_a_read_organization_has_its_counts_and_coverage(synced):
    [booking], [row] = (synced("a").rows(stream) for stream in BOTH)
    expected = {
        "outcome": "read",
        "error_kind": None,
        "error": None,
        "bookings_read": 1,
        "bookings_sent": 1,
        "requests": 1,
        "coverage": "complete",
        "full_windows": [],
    }
    assert {name: row[name] for name in expected} == expected
    assert row["synced_at"] == row["last_read_at"]
    assert booking.keys() > {"synced_at"}


def test_the_row_of_a_failed_organization_has_the_reason(synced):
    [row] = synced("not-connected-1").rows("organizations")
    assert row["error"].startswith("Organization not-connected-1 has no primary Cal.com account connected")
    assert (row["bookings_read"], row["bookings_sent"], row["coverage"], row["requests"]) == (None, None, None, 1)
    assert row["last_read_at"] is None
    assert row["synced_at"]


def test_the_rows_of_organizations_come_after_the_bookings_and_their_state(synced):
    ended = synced("a", "b")
    kinds = [
        (message.record.stream if message.record else message.state.stream.stream_descriptor.name, bool(message.record))
        for message in ended.messages
        if message.record or message.state
    ]
    assert kinds[-4:] == [("appointments", False), *[("organizations", True)] * 2, ("organizations", False)]


def test_organizations_alone_delivers_no_booking_and_claims_nothing(synced):
    ended = synced("a", "forbidden-1", configured=catalog("organizations"))
    assert ended.rows() == []
    assert ended.outcomes == [("read", None), ("failed", "forbidden")]
    assert [row["coverage"] for row in ended.rows("organizations")] == [None, None]
    assert [row["bookings_sent"] for row in ended.rows("organizations")] == [0, None]
    assert {name for name, _ in ended.statuses} == {"organizations"}
    assert ended.statuses[-1] == ("organizations", "INCOMPLETE")
    assert [each.stream.stream_descriptor.name for each in ended.states] == ["organizations"]


def test_the_organizations_stream_causes_no_additional_requests(synced, http):
    synced("a", configured=catalog())
    alone = http.call_count
    synced("a")
    assert http.call_count == 2 * alone


def test_last_read_at_is_the_later_one_of_two_states(http, settings):
    http.get(URL, status_code=403)
    early, late = "2026-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"
    before = [
        state("appointments", version=2, organizations={ORG: {"sent": "", "synced_at": early}}),
        state("organizations", version=1, organizations={ORG: late}),
    ]
    assert read(settings, catalog(*BOTH), before).rows("organizations")[0]["last_read_at"] == late


def test_last_read_at_is_kept_through_failed_syncs(http, settings):
    http.get(URL, json=response(OVER))
    first = read(settings, catalog(*BOTH))
    http.get(URL, status_code=403)
    second = read(settings, catalog(*BOTH), first.last_states)
    third = read(settings, catalog(*BOTH), second.last_states)
    [then], [now] = first.rows("organizations"), third.rows("organizations")
    assert now["last_read_at"] == then["synced_at"] < now["synced_at"]


# Progress and totals.


def test_the_closing_line_counts_organizations_bookings_and_requests(synced, caplog):
    synced("a", "b", "not-connected-1")
    assert lines(caplog, "INFO")[-1] == (
        "Done: 2 of 3 organizations read, 1 failed; 2 bookings read, 2 delivered, 3 requests."
    )


def test_the_closing_line_counts_organizations_that_were_not_attempted(synced, caplog):
    synced(*(f"refused-{number}" for number in range(9)))
    assert "0 of 9 organizations read, 3 failed, 6 not attempted; " in lines(caplog, "INFO")[-1]


def test_a_long_sync_logs_its_progress_every_thirty_seconds(http, settings, caplog, clock):
    def slow(request, context):
        clock.now += 1
        return response(OVER)

    http.get(URL, json=slow)
    read({**settings, "org_ids": [str(number) for number in range(100)], "num_workers": 1})
    progress = [line for line in caplog.messages if line.startswith("So far: ")]
    assert len(progress) == 3
    assert progress[0].startswith("So far: 29 of 100 organizations read, 0 failed; 29 bookings read, ")


# Coverage. Accounts are read at a time by the API's clock.


def booked(org_id: str, starts: Iterable[datetime], status: str = "accepted") -> Account:
    account = Account(org_id)
    for number, start in enumerate(starts):
        account.add(Booking(f"{status}-{number}-{start:%d%H%M}", start, start + HOUR / 2, status, attendee=number))
    return account


def past(count: int, until: datetime = NOW) -> list[datetime]:
    """Hourly starts, the last of them well before ``until``."""
    return [until - HOUR * (number + 2) for number in range(count)]


@pytest.fixture
def sync_of(http, settings):
    """Sync accounts at a time by the API's clock."""

    def sync_of(accounts, now, configured=None, before=(), **more):
        by_id = {account.org_id: account for account in accounts}

        def respond(request, context):
            account = by_id[request.qs["org_id"][0]]
            context.headers["Date"] = f"{now:%a, %d %b %Y %H:%M:%S} GMT"
            shown = account.shown(request.qs.get("status", [None])[0], now, int(request.qs["limit"][0]))
            return response(*(account.row(booking, "") for booking in shown))

        http.get(URL, json=respond)
        return read({**settings, **more, "org_ids": [*by_id]}, configured or catalog(*BOTH), before)

    return sync_of


def grown(count: int, status: str) -> tuple[list[Account], list[Account]]:
    """Accounts with 100 bookings, and the same accounts with 220 more of this status, which started later."""
    org_ids = [f"org-{number}" for number in range(count)]
    before = [booked(org_id, past(100)) for org_id in org_ids]
    after = [booked(org_id, past(100)) for org_id in org_ids]
    for account in after:
        for booking in booked("", past(220, NOW + 20 * DAY), status).bookings.values():
            account.add(booking)
    return before, after


def test_a_gap_causes_one_warning_with_its_times_its_window_and_the_remedy(sync_of, caplog):
    before, after = grown(1, "accepted")
    first = sync_of(before, NOW)
    ended = sync_of(after, NOW + 20 * DAY, before=first.last_states)
    [warning] = lines(caplog, "WARNING")
    assert warning == (
        "Organization org-0 has a gap: bookings that start between 2026-06-01 at 12:00:00 UTC and 2026-06-13 at "
        "03:00:00 UTC may be missing or out of date, because a full window (past) no longer reaches back to the last "
        "sync. Sync more often."
    )
    [row] = ended.rows("organizations")
    assert (row["coverage"], "past" in row["full_windows"]) == ("partial", True)


def test_the_warning_of_a_gap_in_the_cancelled_window_says_that_more_frequent_syncs_do_not_help(sync_of, caplog):
    before, after = grown(1, "cancelled")
    first = sync_of(before, NOW)
    sync_of(after, NOW + 20 * DAY, before=first.last_states)
    [warning] = lines(caplog, "WARNING")
    assert "a full window (cancelled) no longer reaches back to the last sync." in warning
    assert "may still show as accepted. Syncing more often does not help" in warning
    assert not warning.endswith("Sync more often.")


def test_gaps_in_many_organizations_cause_a_few_warnings_and_a_count(sync_of, caplog, monkeypatch):
    monkeypatch.setattr(report, "ITEMS", 2)
    before, after = grown(4, "accepted")
    first = sync_of(before, NOW)
    sync_of(after, NOW + 20 * DAY, before=first.last_states)
    warnings = lines(caplog, "WARNING")
    assert len(warnings) == 3
    assert warnings[-1] == "In 2 more organizations a gap opened; the organizations stream names them."


def test_a_full_window_without_a_gap_causes_no_warning(sync_of, caplog):
    account = booked("a", past(300))
    first = sync_of([account], NOW)
    sync_of([account], NOW + HOUR, before=first.last_states)
    assert lines(caplog, "WARNING") == []
    assert "Coverage: 0 complete, 1 partial, 0 unknown." in caplog.messages


def test_the_first_incremental_sync_of_a_large_account_logs_the_start_of_its_coverage(sync_of, caplog):
    sync_of([booked("large", past(300)), booked("small", past(3))], NOW)
    covered = [line for line in caplog.messages if "is covered" in line]
    assert covered == [
        "Organization large is covered from 2026-05-24 at 03:00:00 UTC on. "
        "Earlier bookings are no longer available from Ravan's API."
    ]


def test_the_first_sync_of_an_account_with_many_future_bookings_logs_the_end_of_its_coverage(sync_of, caplog):
    account = booked("a", [*past(300), *(NOW + HOUR * (number + 1) for number in range(300))])
    sync_of([account], NOW)
    [covered] = [line for line in caplog.messages if "is covered" in line]
    assert covered.startswith(
        "Organization a is covered from 2026-05-24 at 03:00:00 UTC to 2026-06-09 at 20:00:00 UTC."
    )


def test_a_full_refresh_of_large_accounts_causes_one_warning(sync_of, caplog):
    large = [booked(f"org-{number}", past(300)) for number in range(12)]
    sync_of([*large, booked("small", past(3))], NOW, FULL_REFRESH)
    [warning] = lines(caplog, "WARNING")
    assert warning.startswith("One sync can't read all bookings of 12 organizations (org-0, org-1, org-2")
    assert "org-9 and 2 more)" in warning
    assert warning.endswith("Sync incrementally, so that the history builds up.")


def ignoring(org_id: str) -> Account:
    """An account with the version of Cal.com's API that ignores the status."""
    account = booked(org_id, [*past(20), *(NOW + HOUR * (number + 1) for number in range(20))])
    account.version = "2024-04-15"
    return account


def test_responses_that_contradict_the_filters_cause_a_warning_and_their_rows_are_delivered(sync_of, caplog):
    ended = sync_of([ignoring("a")], NOW)
    [warning] = lines(caplog, "WARNING")
    assert warning == (
        "Organization a: coverage is unknown, because Ravan's responses don't match the requested filters "
        "(past: 20 of its 20 rows do not belong in it). The rows were synced."
    )
    assert len(ended.rows()) == 20
    assert [row["coverage"] for row in ended.rows("organizations")] == ["unknown"]


def test_unknown_coverage_of_many_organizations_causes_twenty_warnings_and_a_count(sync_of, caplog):
    sync_of([ignoring(f"org-{number}") for number in range(25)], NOW)
    warnings = lines(caplog, "WARNING")
    assert len(warnings) == report.ITEMS + 1
    assert warnings[-1] == ("Coverage of 5 more organizations is unknown, see coverage in the organizations stream.")


def test_an_account_with_too_few_bookings_for_a_proof_causes_no_warning(sync_of, caplog):
    ended = sync_of([Account("a")], NOW)
    assert [row["coverage"] for row in ended.rows("organizations")] == ["unknown"]
    assert lines(caplog, "WARNING") == []


def test_organizations_with_chosen_statuses_are_counted_separately(sync_of, caplog):
    sync_of([booked("a", past(3))], NOW, statuses=["past", "upcoming"])
    assert "Coverage: 0 complete, 0 partial, 0 unknown, 1 only for the chosen statuses." in caplog.messages
