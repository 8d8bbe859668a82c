"""Tests of states, second syncs, and syncs after a killed one."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest

from integration_tests.conftest import Output
from sandbox import FAULTS, ORGANIZATIONS, generated

SMALL, MEDIUM, BUSY = (ORGANIZATIONS[name] for name in ("small", "medium", "busy"))


class Syncs:
    """One connection over several syncs, with its state and its table, which is merged by primary key."""

    def __init__(self, connector, *org_ids, **settings) -> None:
        self.connector, self.org_ids, self.settings = connector, org_ids, settings
        self.state: Any = None
        self.table: dict[tuple[str, str], dict] = {}

    def sync(self, **changed) -> Output:
        self.settings.update(changed)
        config = self.connector.config(*self.org_ids, **self.settings)
        output = self.connector.run("read", config, mode="incremental", state=self.state)
        self.take(output.stdout)
        return output

    def take(self, stdout: str) -> None:
        """Commit as a destination does: complete lines, and records only with a state after them."""
        for line in stdout.splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            message = json.loads(line)
            if message["type"] == "RECORD":
                row = message["record"]["data"]
                self.table[row["organization_id"], row["id"]] = row
            elif message["type"] == "STATE":
                self.state = [message["state"]]


@pytest.fixture
def syncs(connector, sandbox):
    sandbox.clock.set(sandbox.clock.now())
    return Syncs(connector, SMALL, MEDIUM)


def test_an_unchanged_account_sends_no_records_and_the_same_state(syncs):
    assert len(syncs.sync().rows) == 37 + 180
    before = syncs.state[0]["stream"]["stream_state"]["organizations"]
    second = syncs.sync()
    assert (second.code, second.rows) == (0, [])
    assert len(second.states) == 1
    after = syncs.state[0]["stream"]["stream_state"]["organizations"]
    assert {org_id: entry["sent"] for org_id, entry in before.items()} == {
        org_id: entry["sent"] for org_id, entry in after.items()
    }


def test_one_cancelled_booking_sends_exactly_one_record(syncs, sandbox):
    syncs.sync()
    uid = next(iter(sandbox.accounts[SMALL].bookings))
    sandbox.accounts[SMALL].set_status(uid, "rejected")
    assert [(row["id"], row["status"]) for row in syncs.sync().rows] == [(uid, "rejected")]
    assert syncs.sync().rows == []


def test_a_change_and_its_reversal_are_both_sent(syncs, sandbox):
    syncs.sync()
    account = sandbox.accounts[SMALL]
    uid = account.shown("upcoming", sandbox.clock.now(), 1)[0].uid
    before = account.bookings[uid].status
    for status in ("cancelled", before):
        account.set_status(uid, status)
        assert [row["status"] for row in syncs.sync().rows] == [status]


def test_a_reschedule_sends_the_cancelled_booking_and_the_new_one(syncs, sandbox):
    syncs.sync()
    old = sandbox.accounts[SMALL].shown("upcoming", sandbox.clock.now(), 1)[0]
    new = sandbox.reschedule(SMALL, old.uid, sandbox.clock.now() + timedelta(days=9))
    assert {row["id"]: row["status"] for row in syncs.sync().rows} == {old.uid: "cancelled", new.uid: "accepted"}


def test_a_new_booking_is_sent_wherever_it_starts(syncs, sandbox):
    syncs.sync()
    booked = {sandbox.book(SMALL, sandbox.clock.now() + timedelta(days=days)).uid for days in (-90, 90)}
    assert {row["id"] for row in syncs.sync().rows} == booked


def test_a_booking_that_only_moves_into_the_past_is_not_sent_again(syncs, sandbox):
    syncs.sync()
    sandbox.clock.set(sandbox.clock.now() + timedelta(days=400))
    assert syncs.sync().rows == []


def test_a_new_agent_id_sends_every_row_again(syncs):
    syncs.sync()
    assert len(syncs.sync(agent_id="agent_2").rows) == 37 + 180
    assert syncs.sync().rows == []


def test_additional_statuses_send_only_bookings_not_sent_before(syncs):
    first = syncs.sync(statuses=["upcoming"])
    second = syncs.sync(statuses=["upcoming", "past"])
    assert {row["id"] for row in first.rows} & {row["id"] for row in second.rows} == set()
    assert second.rows


def test_a_failing_organization_keeps_its_state_and_a_removed_one_loses_it(syncs, sandbox):
    syncs.sync()
    before = syncs.state[0]["stream"]["stream_state"]["organizations"]
    sandbox.faults[SMALL] = FAULTS["forbidden"]
    sandbox.book(SMALL, sandbox.clock.now())
    sandbox.book(MEDIUM, sandbox.clock.now())
    failed = syncs.sync()
    assert failed.code == 1
    assert [row["organization_id"] for row in failed.rows] == [MEDIUM]
    after = syncs.state[0]["stream"]["stream_state"]["organizations"]
    assert after[SMALL] == before[SMALL]
    assert after[MEDIUM] != before[MEDIUM]
    del sandbox.faults[SMALL]
    assert [row["organization_id"] for row in syncs.sync().rows] == [SMALL]
    syncs.org_ids = (MEDIUM,)
    syncs.sync()
    assert set(syncs.state[0]["stream"]["stream_state"]["organizations"]) == {MEDIUM}
    syncs.org_ids = (MEDIUM, SMALL)
    assert len(syncs.sync().rows) == 38, "an organization that was removed and added again has no state"


@pytest.mark.parametrize(
    "state",
    [
        [{"type": "STREAM", "stream": {"stream_descriptor": {"name": "appointments"}, "stream_state": blob}}]
        for blob in (
            {"version": 99, "organizations": {}},
            {"synced_at": "2026-01-01T00:00:00Z"},
            {"version": 1, "organizations": {SMALL: "?"}},
        )
    ]
    + [
        {"appointments": {"synced_at": "2026"}},
        [{"type": "LEGACY", "data": {"appointments": {"synced_at": "2026"}}}],
        [{"stream": {"stream_descriptor": {"name": "appointments"}, "stream_state": {"version": 2}}}],
        "not json",
        [{"type": "GLOBAL", "global": {"shared_state": {"a": 1}, "stream_states": []}}],
    ],
)
def test_an_unknown_state_causes_a_full_read_with_one_warning(syncs, state):
    syncs.state = state
    output = syncs.sync()
    assert output.code == 0
    assert len(output.rows) == 37 + 180
    [warning] = output.logs("WARN")
    assert "was not understood" in warning


def test_the_state_contains_no_attendee_and_no_token(syncs):
    output = syncs.sync()
    printed = json.dumps(output.states)
    assert "example.com" not in printed
    assert "Attendee" not in printed
    assert "sandbox-token" not in printed


def test_a_sync_after_a_killed_one_resumes_from_its_last_state(connector, sandbox):
    sandbox.clock.set(sandbox.clock.now())
    rng = random.Random(11)
    org_ids = [f"org-{number:02}" for number in range(60)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 60 + number, number, sandbox.clock.now()))
    undisturbed = Syncs(connector, *org_ids, num_workers=4)
    killed = Syncs(connector, *org_ids, num_workers=4)
    for round_number in range(3):
        sandbox.delay = 0.01
        lines, stop_after = [], rng.randrange(200, 3000) // (round_number * 8 + 1)
        config = connector.config(*org_ids, num_workers=4)
        with connector.start("read", config, mode="incremental", state=killed.state) as process:
            for line in process.stdout:
                lines.append(line)
                if len(lines) >= stop_after:
                    process.kill()
                    break
            lines += process.stdout.readlines()
        killed.take("".join(lines))
        for org_id in rng.sample(org_ids, 5):
            account = sandbox.accounts[org_id]
            account.set_status(rng.choice(list(account.bookings)), "cancelled")
            sandbox.book(org_id, sandbox.clock.now() + timedelta(days=rng.randrange(-20, 20)))
    sandbox.delay = 0
    undisturbed.sync()
    resumed = killed.sync()
    assert len(resumed.rows) < len(undisturbed.table), "the printed states save requests"
    for table in (undisturbed.table, killed.table):
        for row in table.values():
            del row["synced_at"]
    assert killed.table == undisturbed.table


def test_states_of_a_thousand_organizations_have_a_bounded_size(connector, sandbox):
    sandbox.clock.set(sandbox.clock.now())
    template = generated("template", 99, 1, sandbox.clock.now())
    org_ids = [f"{number:036}" for number in range(1000)]
    for org_id in org_ids:
        account = sandbox.put(generated(org_id, 0, 1, sandbox.clock.now()))
        account.bookings, account._by_start = template.bookings, template._by_start
    syncs = Syncs(connector, *org_ids, num_workers=20)
    for expected in (99 * 1000, 0):
        output = syncs.sync()
        assert len(output.rows) == expected
        printed = sum(len(line) for line in output.stdout.splitlines() if '"type":"STATE"' in line)
        assert printed < 50_000_000
        assert len(syncs.state[0]["stream"]["stream_state"]["organizations"]) == 1000
