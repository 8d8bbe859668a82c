"""Tests of scheduled syncs as Airbyte runs them: a failing organization does not stop the others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integration_tests.connection import FAILED_CHECK, Connection, first_error, shown
from sandbox import FAULTS, generated

FOUR = ("one", "two", "three", "four")
BROKEN = "four"
BOTH = ("appointments", "organizations")


@pytest.fixture
def accounts(sandbox):
    sandbox.clock.set(sandbox.clock.now())
    for number, org_id in enumerate(FOUR):
        sandbox.put(generated(org_id, 30, number, sandbox.clock.now()))
    return sandbox.accounts


def changes_everywhere(sandbox, hours: int) -> None:
    for org_id in FOUR:
        sandbox.book(org_id, sandbox.clock.now() + timedelta(hours=hours))


def delivered(connection, org_id) -> set[str]:
    return {uid for owner, uid in connection.table if owner == org_id}


def truth(sandbox, org_id) -> set[str]:
    return set(sandbox.accounts[org_id].bookings)


def test_with_skip_every_sync_delivers_all_changes_and_those_of_a_repaired_organization(connector, sandbox, accounts):
    connection = Connection(connector, *FOUR, streams=BOTH, failing_organizations="skip")
    outcomes = []
    for number in range(5):
        accounts[BROKEN].connected = number not in (1, 2, 3)
        changes_everywhere(sandbox, number + 1)
        job = connection.job()
        assert job.succeeded
        for org_id in FOUR[:3]:
            assert delivered(connection, org_id) == truth(sandbox, org_id)
        outcomes.append(connection.tables["organizations"][BROKEN,]["outcome"])
    assert outcomes == ["read", "failed", "failed", "failed", "read"]
    assert delivered(connection, BROKEN) == truth(sandbox, BROKEN)


SUMMARY = (
    "1 of 4 organizations failed: 1 not connected. To sync the others meanwhile, set Failing Organizations "
    "(failing_organizations) to skip instead of fail. Organization four has no primary Cal.com account connected "
    "(NOT_CONNECTED, HTTP 400). Connect one in Ravan, or remove four from Organization IDs (org_ids). Ravan says: "
    "“no primary Cal.com account”."
)


def test_the_platform_shows_the_summary_of_all_failures_and_its_type_decides_about_retries(
    connector, sandbox, accounts
):
    sandbox.faults = {"one": FAULTS["forbidden"], "two": FAULTS["not-found"], "three": FAULTS["teapot"]}
    job = Connection(connector, *FOUR).job()
    assert len(job.reads) == 1, "a config error is not retried"
    assert job.shown.startswith("3 of 4 organizations failed: 1 forbidden, 1 not found, 1 request refused. To sync the")
    for item in (
        "(1) The Access Token is not allowed to",
        "“access denied”. (2) Ravan found nothing",
        "(3) Ravan refused the",
    ):
        assert item in job.shown
    message = first_error(job.reads[0])["message"]
    assert shown(message) == message, "no line break is lost"


def test_with_fail_no_organization_is_read_until_the_failing_one_is_repaired(connector, sandbox, accounts):
    connection = Connection(connector, *FOUR)
    seen = []
    for number in range(5):
        accounts[BROKEN].connected = number not in (1, 2, 3)
        changes_everywhere(sandbox, number + 1)
        job = connection.job()
        seen.append((len(job.checks), len(job.reads), job.succeeded, job.shown))
    assert [each[:3] for each in seen] == [
        (0, 1, True),
        (0, 1, False),
        (1, 0, False),
        (1, 0, False),
        (1, 1, True),
    ]
    assert [each[3] for each in seen] == ["", SUMMARY, FAILED_CHECK, FAILED_CHECK, ""]
    for org_id in FOUR:
        assert delivered(connection, org_id) == truth(sandbox, org_id)


@pytest.mark.parametrize("setting", ["fail", "skip"])
@pytest.mark.parametrize(
    "catalog",
    [
        {"mode": "full_refresh", "destination": "overwrite"},
        {"mode": "full_refresh", "destination": "append", "generation_id": 2, "minimum_generation_id": 2},
    ],
)
def test_a_failing_organization_fails_a_sync_that_overwrites_even_with_skip(
    connector, sandbox, accounts, catalog, setting
):
    accounts[BROKEN].connected = False
    output = connector.run("read", connector.config(*FOUR, failing_organizations=setting), **catalog)
    assert (output.code, output.ended("appointments")) == (1, "INCOMPLETE")
    assert ("would vanish" in output.errors[-1]["message"]) == (setting == "skip")


def test_with_skip_a_sync_without_any_success_fails_and_temporary_failures_are_no_config_error(
    connector, sandbox, accounts
):
    sandbox.faults = dict.fromkeys(FOUR, FAULTS["internal-error"])
    config = connector.config(*FOUR, failing_organizations="skip")
    output = connector.run("read", config)
    assert output.code == 1
    assert output.errors[-1]["failure_type"] == "transient_error"
    assert output.errors[-1]["message"].startswith("4 of 4 organizations failed: 4 Ravan failed. (1) Ravan")
    assert connector.run("check", config).check["status"] == "FAILED"
    del sandbox.faults["one"]
    assert connector.run("check", connector.config(*FOUR)).check["status"] == "SUCCEEDED"
