from __future__ import annotations

import re

import pytest
from airbyte_cdk.models import Status

from source_ravan_calcom import report
from source_ravan_calcom.api import IMPATIENT
from source_ravan_calcom.check import Check
from source_ravan_calcom.config import Config
from unit_tests.conftest import LOGGER, URL

EMPTY = {"success": True, "data": {"appointments": None, "count": 0}}
BROKEN = {
    "forbidden": {"status_code": 403},
    "not-connected": {"status_code": 400, "json": {"success": False, "code": "NOT_CONNECTED"}},
    "down": {"status_code": 502},
    "html": {"content": b"<html>"},
    "refused": {"status_code": 401},
}


@pytest.fixture
def checked(http, settings):
    """Check organizations, of which those whose names begin so are broken in that way."""

    for name, answer in {"": {"json": EMPTY}, **BROKEN}.items():
        http.get(re.compile(f"{URL}.*org_id={name}"), **answer)

    def check(*org_ids, **more):
        config = Config.parse({**settings, "org_ids": list(org_ids), "num_workers": 1, **more})
        return Check(config, LOGGER).status()

    return check


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_it_succeeds_when_every_organization_answers(checked, http):
    assert checked("a", "b").status is Status.SUCCEEDED
    assert http.call_count == 2


def test_it_fails_for_what_a_person_can_mend_and_says_how_to_go_on(checked, caplog):
    status = checked("a", "down-1", "not-connected-1", "forbidden-1", "not-connected-2")
    assert status.status is Status.FAILED
    lines = status.message.split("\n")
    assert lines[0] == "4 of 5 organizations failed (1 forbidden, 2 not connected, 1 Ravan failed):"
    assert [line.split("organization ")[-1].split(" ")[0].lower() for line in lines[1:2]] == ["forbidden-1"]
    assert "down-1" in lines[4]
    assert lines[-1] == "To go on with the others meanwhile, set Failing Organizations to skip."
    assert len(warnings(caplog)) == 4


def test_skip_succeeds_as_long_as_one_can_be_read_and_warns_of_the_others(checked, caplog):
    assert checked("forbidden-1", "a", "down-1", failing_organizations="skip").status is Status.SUCCEEDED
    assert len(warnings(caplog)) == 2
    failed = checked("forbidden-1", "not-connected-1", failing_organizations="skip")
    assert failed.status is Status.FAILED
    assert "skip" not in failed.message


def test_passing_failures_alone_never_fail_it_while_somebody_was_read(checked, caplog):
    assert checked("a", "down-1", "html-1").status is Status.SUCCEEDED
    assert len(warnings(caplog)) == 2
    assert checked("down-1", "html-1").status is Status.FAILED


def test_a_passing_fault_costs_only_a_second_request(checked, http, settings):
    http.get(URL, [{"status_code": 502}, {"json": EMPTY}])
    assert Check(Config.parse(settings), LOGGER).status().status is Status.SUCCEEDED
    assert http.call_count == 2


def test_ten_thousand_broken_organizations_are_a_short_message(checked):
    status = checked("a", *(f"forbidden-{number}" for number in range(10_000)))
    assert len(status.message) < 6_000
    assert status.message.startswith("10000 of 10001 organizations failed (10000 forbidden):")
    assert f"And {10_000 - report.SENTENCES} more. The log of this check names each." in status.message


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_token_that_everybody_refuses_is_one_sentence(checked, http, count):
    status = checked(*(f"refused-{number}" for number in range(count)))
    assert status.message.startswith("Ravan refused the Access Token (HTTP 401")
    assert "\n" not in status.message
    assert http.call_count == min(3, count)


def test_one_organizations_refusal_is_its_own(checked):
    status = checked("refused-1", "refused-2", "a", "b")
    assert status.message.startswith("2 of 4 organizations failed (2 token refused for one organization):")
    assert checked("refused-1", "a", failing_organizations="skip").status is Status.SUCCEEDED


def test_every_chosen_status_is_asked_for(http, checked):
    assert checked("a", statuses=["upcoming", "past"]).status is Status.SUCCEEDED
    assert [request.qs["status"] for request in http.request_history] == [["upcoming"], ["past"]]


def test_an_error_nobody_foresaw_is_one_organizations(checked, monkeypatch):
    monkeypatch.setattr("source_ravan_calcom.ravan.responses.read", lambda *_: 1 / 0)
    status = checked("a", "b")
    assert status.status is Status.FAILED
    assert "2 of 2 organizations failed (2 failed unexpectedly):" in status.message


def test_what_could_not_be_asked_in_time_is_a_warning(checked, http, clock, caplog):
    def slow(request, context):
        clock.now += 20
        return EMPTY

    http.get(URL, json=slow)
    config = {"access_token": "t", "org_ids": list("abcdef"), "api_url": "http://127.0.0.1:9", "num_workers": 1}
    assert Check(Config.parse(config), LOGGER).status().status is Status.SUCCEEDED
    assert http.call_count == 3, "no request leaves after 45 seconds"
    assert warnings(caplog) == [
        "3 of 6 organizations were not asked, because something stopped the check, or within the "
        f"{IMPATIENT.whole:.0f} seconds that it takes at most. A sync asks them all."
    ]


def test_an_api_that_lets_nothing_through_is_told_in_words(http, settings):
    http.get(URL, status_code=429)
    status = Check(Config.parse(settings), LOGGER).status()
    assert status.status is Status.FAILED
    assert "limits the rate of requests" in status.message


def test_whoever_waits_to_be_asked_again_when_time_is_up_has_failed(http, settings, clock):
    def answer(request, context):
        if request.qs["org_id"] == ["a"]:
            context.status_code = 502
        clock.now += 22
        return EMPTY

    http.get(URL, json=answer)
    config = {"access_token": "t", "org_ids": list("abc"), "api_url": "http://127.0.0.1:9", "num_workers": 1}
    check = Check(Config.parse(config), LOGGER)
    assert check.status().status is Status.SUCCEEDED
    assert [failure.facts.org_id for failure in check._outcomes.failures] == ["a"]


def test_what_answered_for_one_of_its_statuses_is_a_token_that_works(http):
    http.get(URL, status_code=401)
    http.get(f"{URL}?org_id=d", [{"json": EMPTY}, {"status_code": 403}])
    config = {"access_token": "t", "org_ids": list("dabc"), "api_url": "http://127.0.0.1:9", "num_workers": 1}
    check = Check(Config.parse({**config, "statuses": ["past", "upcoming"]}), LOGGER)
    check.status()
    assert len(check._outcomes.failures) == 4
    assert check._outcomes.stopped_by is None


def test_a_failure_is_named_though_a_rate_limit_kept_it_from_being_asked_again(http, settings, caplog):
    http.get(URL, [{"json": EMPTY}, {"status_code": 502}, {"status_code": 429, "headers": {"Retry-After": "35"}}])
    config = Config.parse({**settings, "org_ids": ["a", "b"], "num_workers": 1})
    assert Check(config, LOGGER).status().status is Status.SUCCEEDED
    [warning] = warnings(caplog)
    assert warning.startswith("Ravan failed for organization b (HTTP 502, tried once).")
