"""Tests of conditions in production: rate limits, closed connections, cookies, invalid settings of the machine."""

from __future__ import annotations

import pytest

from sandbox import FAULTS, ORGANIZATIONS, FixedWindow, TokenBucket, generated

SMALL = ORGANIZATIONS["small"]
ROWS = 20


@pytest.fixture
def org_ids(sandbox):
    names = [f"org-{number:02}" for number in range(60)]
    for number, org_id in enumerate(names):
        sandbox.put(generated(org_id, ROWS, number, sandbox.clock.now()))
    return names


@pytest.mark.parametrize(
    "limit",
    [
        lambda: TokenBucket(capacity=5, per_second=10),
        lambda: TokenBucket(capacity=5, per_second=10, retry_after="zero"),
        lambda: FixedWindow(requests=30, seconds=3, retry_after="none"),
        lambda: FixedWindow(requests=30, seconds=3, retry_after="date"),
    ],
)
def test_no_organization_fails_because_of_a_rate_limit(connector, sandbox, org_ids, limit):
    sandbox.limit = limit()
    output = connector.run("read", connector.config(*org_ids), mode="incremental")
    assert output.code == 0
    assert len(output.rows) == ROWS * len(org_ids)
    assert sandbox.limit.refused > 0
    assert sandbox.limit.refused <= sandbox.limit.allowed, "few requests are sent after a refusal"
    paused = [line for line in output.logs("INFO") if "limits the rate of requests" in line]
    through = [line for line in output.logs("INFO") if line == "Requests succeed again."]
    assert len(paused) == len(through) >= 1


def test_a_check_succeeds_under_a_rate_limit(connector, sandbox, org_ids):
    sandbox.limit = TokenBucket(capacity=2, per_second=20)
    assert connector.run("check", connector.config(*org_ids)).check == {"status": "SUCCEEDED"}


def test_a_rate_limit_until_tomorrow_ends_the_sync_at_once_and_gives_its_end(connector, sandbox, org_ids):
    sandbox.faults = dict.fromkeys(org_ids, FAULTS["rate-limited-day"])
    output = connector.run("read", connector.config(*org_ids), streams=("appointments", "organizations"))
    assert output.code == 1
    [error] = output.errors
    assert error["failure_type"] == "transient_error"
    assert "Ravan asks to wait until 20" in error["message"]
    assert sandbox.requests.total() <= 10


def test_a_closed_idle_connection_causes_no_failure(connector, sandbox, org_ids):
    sandbox.goes_stale = True
    output = connector.run("read", connector.config(*org_ids, num_workers=10))
    assert (output.code, len(output.rows)) == (0, ROWS * len(org_ids))
    assert sandbox.stale_requests > 0
    assert not [line for line in output.logs("INFO") if "Retrying" in line]
    assert output.logs("WARN") == []


def test_no_cookie_is_sent_with_another_organizations_request(connector, sandbox, org_ids):
    sandbox.sets_cookies = True
    assert connector.run("read", connector.config(*org_ids, num_workers=1)).code == 0
    assert not any(sandbox.cookies.values())


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"REQUESTS_CA_BUNDLE": "/nowhere.pem"}, "the file of certificates can't be read"),
        ({"HTTPS_PROXY": "http://user:hunter2hunter2@127.0.0.1:9"}, "the proxy could not be used"),
        ({"HTTPS_PROXY": "http://user:hunter2hunter2@127.0.0.1:none"}, "is not valid"),
    ],
)
def test_invalid_network_settings_are_named_without_the_proxys_password(connector, environment, sentence):
    config = connector.config(SMALL, api_url=connector.url.replace("http://127.0.0.1", "https://localhost.invalid"))
    output = connector.run("check", config, "--debug", environment=environment)
    assert sentence in output.check["message"]
    assert "hunter2hunter2" not in output.text
    assert "Traceback" not in output.text
