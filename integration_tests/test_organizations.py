"""Tests of the organizations stream and its coverage, by the installed command."""

from __future__ import annotations

import base64
from datetime import timedelta
from hashlib import blake2b

import orjson
import pytest

from integration_tests.connection import Connection
from sandbox import FAULTS, ORGANIZATIONS, TOKEN, generated

BOTH = ("appointments", "organizations")
SMALL, BUSY, EMPTY, BROKEN = (ORGANIZATIONS[name] for name in ("small", "busy", "empty", "not-connected"))


def rows(output, stream="organizations"):
    records = [record for record in output.of("RECORD") if record["stream"] == stream]
    return {record["data"]["organization_id"]: record["data"] for record in records}


@pytest.fixture(autouse=True)
def _stop_the_clock(sandbox):
    sandbox.clock.set(sandbox.clock.now())


def test_every_organization_has_a_row_even_if_the_sync_fails(connector):
    output = connector.run("read", connector.config(SMALL, BUSY, EMPTY, BROKEN), mode="incremental", streams=BOTH)
    assert output.code == 1
    found = rows(output)
    assert {org_id: row["outcome"] for org_id, row in found.items()} == {
        SMALL: "read",
        BUSY: "read",
        EMPTY: "read",
        BROKEN: "failed",
    }
    assert {org_id: row.get("coverage") for org_id, row in found.items()} == {
        SMALL: "complete",
        BUSY: "partial",
        EMPTY: "unknown",
        BROKEN: None,
    }
    assert found[BROKEN]["error_kind"] == "not_connected"
    assert [found[org_id]["requests"] for org_id in (SMALL, BUSY, EMPTY)] == [1, 6, 2]
    assert output.ended("organizations") == "COMPLETE"
    assert [line for line in output.logs("INFO") if line.startswith(f"Organization {BUSY} is covered from ")]
    assert output.logs("WARN") == []


def test_organizations_alone_delivers_no_booking_and_does_not_affect_appointments_if_unselected(connector, sandbox):
    alone = connector.run("read", connector.config(SMALL), streams=("organizations",))
    assert (alone.code, rows(alone, "appointments"), len(rows(alone))) == (0, {}, 1)
    without = connector.run("read", connector.config(SMALL))
    assert rows(without) == {}
    assert sandbox.requests_for(SMALL) == 2


def test_a_gap_causes_one_warning_and_stays_in_the_organizations_row(connector, sandbox):
    connection = Connection(connector, "org", streams=BOTH)
    sandbox.put(generated("org", 260, 1, sandbox.clock.now()))
    connection.sync()
    before = sandbox.clock.now()
    sandbox.clock.set(before + timedelta(days=3))
    for minutes in range(260):
        sandbox.book("org", before + timedelta(hours=2, minutes=10 * minutes))
    output = connection.sync()
    [warning] = output.logs("WARN")
    assert warning.startswith("Organization org has a gap: bookings that start between ")
    assert warning.endswith("a full window (past) no longer reaches back to the last sync. Sync more often.")
    row = connection.tables["organizations"]["org",]
    assert row["gap_from"] < row["gap_to"] == row["covered_from"]
    gap = {name: row[name] for name in ("gap_from", "gap_to", "gap_found_at")}
    assert gap["gap_found_at"] == row["synced_at"]
    sandbox.faults["org"] = FAULTS["forbidden"]
    for outcome in ("failed", "read"):
        connection.sync()
        row = connection.tables["organizations"]["org",]
        assert (row["outcome"], {name: row[name] for name in gap}) == (outcome, gap), "the row keeps the latest gap"
        sandbox.faults.clear()


def test_coverage_restarts_if_another_account_is_connected(connector, sandbox):
    connection = Connection(connector, "org", streams=BOTH)
    sandbox.put(generated("org", 20, 1, sandbox.clock.now()))
    connection.sync()
    assert connection.tables["organizations"]["org",]["coverage"] == "complete"
    sandbox.put(generated("org", 900, 2, sandbox.clock.now()))
    assert connection.sync().code == 0
    row = connection.tables["organizations"]["org",]
    assert (row["coverage"], "gap_from" in row) == ("partial", False)
    assert row["covered_from"]


def test_coverage_is_unknown_if_the_api_version_ignores_the_filter(connector, sandbox):
    account = sandbox.put(generated("org", 400, 1, sandbox.clock.now()))
    account.version = "2024-04-15"
    output = connector.run("read", connector.config("org"), mode="incremental", streams=BOTH)
    assert rows(output)["org"]["coverage"] == "unknown"
    [warning] = output.logs("WARN")
    assert "coverage is unknown" in warning


def test_a_sync_continues_from_a_state_of_version_1(connector, sandbox):
    account = sandbox.accounts[SMALL]
    sent = [account.row(booking, "") for booking in account.bookings.values()]
    marks = sorted(blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=9).digest() for row in sent)
    blob = {"version": 1, "organizations": {SMALL: base64.b64encode(b"".join(marks)).decode()}}
    state = [{"type": "STREAM", "stream": {"stream_descriptor": {"name": "appointments"}, "stream_state": blob}}]
    booked = sandbox.book(SMALL, sandbox.clock.now() + timedelta(hours=1))
    output = connector.run("read", connector.config(SMALL), mode="incremental", state=state)
    assert [row["id"] for row in output.rows] == [booked.uid]
    assert output.logs("WARN") == []
    assert output.states[-1]["stream"]["stream_state"]["version"] == 3


def test_synced_at_increases_even_if_the_clock_was_set_back(connector, sandbox):
    connection = Connection(connector, SMALL)
    connection.sync()
    connection.remembered()[SMALL]["synced_at"] = "2999-01-01T00:00:00.000Z"
    sandbox.book(SMALL, sandbox.clock.now() + timedelta(hours=1))
    assert [row["synced_at"] for row in connection.sync().rows] == ["2999-01-01T00:00:00.001Z"]


def test_a_refused_token_marks_the_remaining_organizations_as_not_attempted(connector):
    org_ids = [f"org-{number}" for number in range(8)]
    config = connector.config(*org_ids, access_token=f"{TOKEN}-wrong", num_workers=1)
    output = connector.run("read", config, streams=BOTH)
    assert [row["outcome"] for row in rows(output).values()] == ["failed"] * 3 + ["not_asked"] * 5
    [error] = output.errors
    assert error["message"].startswith("Ravan refused the Access Token (HTTP 401")
