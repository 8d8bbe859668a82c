"""Tests of a check: its requests, and when it fails."""

from __future__ import annotations

import pytest
from airbyte_cdk.models import Status

from source_ravan_calcom.source import SourceRavanCalcom
from unit_tests.syncs import LOGGER, URL, lines, organizations, requested, response

FAILURES = {
    "forbidden": {"status_code": 403},
    "not-connected": {"status_code": 400, "json": {"success": False, "code": "NOT_CONNECTED"}},
    "down": {"status_code": 502},
    "html": {"content": b"<html>"},
    "refused": {"status_code": 401},
}

REMEDY = "To sync the others meanwhile, set Failing Organizations (failing_organizations) to skip instead of fail."


@pytest.fixture
def checked(http, settings):
    """Return a function that checks organizations; the beginning of an ID selects its failure in ``FAILURES``."""
    http.get(URL, json=response())

    def fails(name):
        return lambda request: request.qs["org_id"][0].startswith(name)

    for name, failure in FAILURES.items():
        http.get(URL, additional_matcher=fails(name), **failure)

    def check(*org_ids, **more):
        given = {**settings, "num_workers": 1, **more, "org_ids": list(org_ids)}
        return SourceRavanCalcom().check(LOGGER, given)

    return check


def test_a_check_sends_one_request_per_organization_with_the_limit_of_read(checked, http):
    assert checked("a", "b", "c", num_workers=10).status is Status.SUCCEEDED
    assert sorted(organizations(http)) == ["a", "b", "c"]
    assert {request.qs["limit"][0] for request in http.request_history} == {"200"}


def test_a_check_requests_each_chosen_status(checked, http):
    assert checked("a", statuses=["upcoming", "past"]).status is Status.SUCCEEDED
    assert requested(http) == ["upcoming", "past"]


def test_a_refused_chosen_status_fails_the_check(checked, http):
    refused = {"status_code": 400, "json": {"success": False, "code": "INVALID_REQUEST"}}
    http.get(f"{URL}?status=recurring", **refused)
    assert checked("a", statuses=["recurring"]).status is Status.FAILED


def test_a_refused_limit_does_not_fail_the_check_because_read_lowers_it_too(checked, http):
    http.get(f"{URL}?limit=200", status_code=400, json={"success": False, "code": "INVALID_REQUEST"})
    assert checked("a").status is Status.SUCCEEDED
    assert [request.qs["limit"][0] for request in http.request_history] == ["200", "100"]


def test_failures_that_a_user_has_to_fix_fail_the_check_with_counts_and_remedy_first(checked, caplog):
    status = checked("a", "down-1", "not-connected-1", "forbidden-1", "not-connected-2")
    assert status.status is Status.FAILED
    assert status.message.startswith(
        "4 of 5 organizations failed: 1 forbidden, 2 not connected, 1 Ravan failed. "
        f"{REMEDY} (1) The Access Token is not allowed to read organization forbidden-1 (HTTP 403). "
    )
    assert status.message.index("not-connected-2") < status.message.index("(4) Ravan failed for organization down-1")
    assert "\n" not in status.message
    assert len(lines(caplog, "WARNING")) == 4


def test_with_skip_a_check_succeeds_if_one_organization_can_be_read_and_warns_of_the_others(checked, caplog):
    assert checked("forbidden-1", "a", "down-1", failing_organizations="skip").status is Status.SUCCEEDED
    assert len(lines(caplog, "WARNING")) == 2


def test_with_skip_a_check_fails_if_no_organization_can_be_read_and_does_not_advise_to_skip(checked):
    failed = checked("forbidden-1", "not-connected-1", failing_organizations="skip")
    assert failed.status is Status.FAILED
    assert "skip" not in failed.message


def test_transient_failures_alone_do_not_fail_a_check_if_one_organization_can_be_read(checked, caplog):
    assert checked("a", "down-1", "html-1").status is Status.SUCCEEDED
    assert len(lines(caplog, "WARNING")) == 2


def test_transient_failures_of_every_organization_fail_the_check(checked):
    assert checked("down-1", "html-1").status is Status.FAILED


def test_a_transient_failure_is_retried_once(http, settings):
    http.get(URL, [{"status_code": 502}, {"json": response()}])
    assert SourceRavanCalcom().check(LOGGER, settings).status is Status.SUCCEEDED
    assert http.call_count == 2


def test_a_permanent_failure_is_requested_twice(checked, http):
    checked("down-1")
    assert http.call_count == 2


def test_a_long_message_lists_twenty_and_counts_the_rest(checked):
    status = checked("a", *(f"forbidden-{number}" for number in range(100)))
    assert len(status.message) < 6_000
    assert status.message.startswith("100 of 101 organizations failed: 100 forbidden. ")
    assert "(20) " in status.message
    assert status.message.endswith("And 80 more. The log names each.")


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_token_refused_for_every_organization_is_reported_once(checked, http, count):
    status = checked(*(f"refused-{number}" for number in range(count)), failing_organizations="skip")
    assert status.status is Status.FAILED
    assert status.message.startswith("Ravan refused the Access Token (HTTP 401")
    assert http.call_count == min(3, count)


def test_a_token_refused_for_some_organizations_fails_only_those(checked):
    status = checked("refused-1", "refused-2", "a", "b")
    assert status.message.startswith("2 of 4 organizations failed: 2 token refused for one organization. ")
    assert checked("refused-1", "a", failing_organizations="skip").status is Status.SUCCEEDED


def test_a_successful_status_proves_that_the_token_works(checked, http):
    http.get(f"{URL}?org_id=d&status=upcoming", status_code=403)
    status = checked("d", "refused-1", "refused-2", "refused-3", statuses=["past", "upcoming"])
    assert status.message.startswith("4 of 4 organizations failed: 3 token refused for one organization, 1 forbidden. ")


def test_an_unexpected_error_fails_only_its_organization(checked, monkeypatch):
    monkeypatch.setattr("source_ravan_calcom.ravan.responses.read", lambda *_: 1 / 0)
    status = checked("a", "b")
    assert status.status is Status.FAILED
    assert status.message.startswith("2 of 2 organizations failed: 2 failed unexpectedly. ")


def test_a_failure_shows_no_secret(checked):
    assert "some.jwt.token" not in checked("forbidden-some.jwt.token").message


# The time limit.


def slow(clock, seconds, fails=()):
    """A response that takes this many seconds, and fails for these organizations."""

    def respond(request, context):
        clock.now += seconds
        context.status_code = 502 if request.qs["org_id"][0] in fails else 200
        return response()

    return respond


def test_organizations_not_reached_in_time_cause_one_warning(checked, http, clock, caplog):
    http.get(URL, json=slow(clock, 20))
    assert checked(*"abcdef").status is Status.SUCCEEDED
    assert http.call_count == 3, "no request starts after 45 seconds"
    assert lines(caplog, "WARNING") == [
        "3 of 6 organizations were not checked, because the check was stopped or had used up its 45 seconds. "
        "A sync reads them all."
    ]


def test_an_organization_fails_at_once_if_its_retry_would_start_too_late(checked, http, clock, jitter, caplog):
    http.get(URL, json=slow(clock, 22, fails="b"))
    assert checked("a", "b").status is Status.SUCCEEDED
    assert clock.waits == []
    assert [line.split(" (")[0] for line in lines(caplog, "WARNING")] == ["Ravan failed for organization b"]


def test_a_lasting_rate_limit_fails_the_check_within_its_time_limit(http, settings, clock):
    http.get(URL, status_code=429)
    began = clock.now
    status = SourceRavanCalcom().check(LOGGER, settings)
    assert status.status is Status.FAILED
    assert "limits the rate of requests" in status.message
    assert clock.now - began <= 45


def test_a_rate_limit_longer_than_the_time_limit_fails_the_check_at_once(http, settings, clock):
    http.get(URL, status_code=429, headers={"Retry-After": "86400"})
    status = SourceRavanCalcom().check(LOGGER, settings)
    assert status.status is Status.FAILED
    assert "Ravan asks to wait until" in status.message
    assert clock.waits == []


def test_a_failure_is_named_even_if_a_rate_limit_prevented_its_retry(checked, http, caplog):
    http.get(URL, [{"json": response()}, {"status_code": 502}, {"status_code": 429, "headers": {"Retry-After": "35"}}])
    assert checked("a", "b").status is Status.SUCCEEDED
    assert any(line.startswith("Ravan failed for organization b (HTTP 502, tried once).") for line in caplog.messages)


def test_a_pause_for_a_rate_limit_is_logged(checked, http, caplog):
    caplog.set_level("INFO")
    http.get(URL, [{"status_code": 429, "headers": {"Retry-After": "5"}}, {"json": response()}])
    assert checked("a").status is Status.SUCCEEDED
    assert lines(caplog, "INFO") == [
        "Ravan limits the rate of requests (HTTP 429). All requests wait for 5 s.",
        "Requests succeed again.",
    ]
