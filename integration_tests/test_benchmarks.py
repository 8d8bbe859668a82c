"""Tests of the benchmarks: contenders read every row, and the connector every booking that can be reached."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import orjson
import pytest

from benchmarks import coverage, field, runs
from benchmarks.chart import BOTTOM, TOP
from benchmarks.coverage import Measured, Month, Proof, Sync
from benchmarks.rows import WINDOWS
from benchmarks.server import Endpoint, Service, serving
from sandbox import FAULTS, TOKEN
from sandbox import serving as serving_sandbox


@pytest.mark.parametrize(
    "contender",
    [runs.OURS, runs.OURS_INCREMENTAL, runs.LOWCODE, runs.LOWCODE_INCREMENTAL, runs.FLOOR, runs.BARE],
    ids=lambda contender: contender.name,
)
def test_each_contender_reads_every_row(contender):
    with serving(Service(7)) as url:
        run = runs.run(contender, url, organizations=3, rows=7)
    assert run.rows == 21
    assert run.cpu > 0


def test_a_contender_with_missing_rows_is_not_measured():
    with serving(Service(7)) as url, pytest.raises(RuntimeError, match="printed 7 rows instead of 8"):
        runs.run(runs.OURS, url, organizations=1, rows=8)


def test_a_contender_that_fails_is_not_measured():
    with serving(Service(7, limit="TokenBucket", limits={"capacity": 0, "per_second": 1e-6})) as url:
        done = runs.attempt(runs.BARE, url, organizations=1)
        assert done.code == 1
        with pytest.raises(RuntimeError, match="exit code 1"):
            runs.run(runs.BARE, url, organizations=1, rows=7)


def test_a_contender_is_stopped_after_its_time_limit():
    with serving(Service(7, delay=600)) as url:
        done = runs.attempt(runs.BARE, url, organizations=1, timeout=1)
    assert (done.code, done.wall, done.organizations) == (-9, 1, 0)


def ask(endpoint: Endpoint, number: int, status: str = "") -> tuple[bytes, dict]:
    """The status line and the body of the server's response for an organization."""
    target = f"GET /?org_id={number:036}&status={status} HTTP/1.1" if number else "GET /counts HTTP/1.1"
    head, _, body = endpoint.respond(target.encode())[0].partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], orjson.loads(body)


def test_the_server_sends_different_rows_in_each_window():
    endpoint = Endpoint(Service(200))
    rows = [row for status in WINDOWS for row in ask(endpoint, 7, status.decode())[1]["data"]["appointments"]]
    assert len({row["id"] for row in rows}) == 1200
    assert {row["organization_id"] for row in rows} == {f"{7:036}"}


def test_failing_organizations_of_the_server_never_recover():
    endpoint = Endpoint(Service(1, failing_every=3))
    lines = [ask(endpoint, number)[0] for number in (1, 3, 3, 4, 6)]
    good, bad = b"HTTP/1.1 200 OK", b"HTTP/1.1 502 Bad Gateway"
    assert lines == [good, bad, bad, good, bad]


def test_the_server_refuses_requests_over_its_limit_and_counts_them():
    endpoint = Endpoint(Service(1, limit="FixedWindow", limits={"requests": 2, "seconds": 3600}))
    assert [ask(endpoint, 1)[0].split()[1] for _ in range(3)] == [b"200", b"200", b"429"]
    assert ask(endpoint, 0)[1] == {"allowed": 2, "refused": 1}


def test_both_connectors_are_measured_from_outside_their_processes(monkeypatch):
    monkeypatch.setattr(field, "REQUESTS", 24)
    rows = [field.under(field.LIMITS[0], "seconds", reader) for reader in field.READERS]
    assert [row[0] for row in rows] == ["this connector", "low-code manifest"]
    assert [row[2] for row in rows] == ["0 of 4", "0 of 24"]


@pytest.mark.parametrize(("limited", "ideal"), [*zip(field.LIMITS, (29, 29.9, 30), strict=True)])
def test_the_ideal_duration_follows_from_the_limit(limited, ideal):
    assert limited.ideal(600) == ideal


def test_an_unchanged_sync_starts_from_the_state_of_the_first_one(capsys):
    field.memory(organizations=2)
    assert "unchanged" in capsys.readouterr().out


@pytest.fixture(scope="module")
def four_days():
    """Measure the first four days of the simulated month."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coverage, "DAYS", 4)
        return coverage.measured(150), coverage.reachable(150)


def test_the_connector_delivers_every_booking_that_the_filters_show(four_days):
    month, reachable = four_days
    assert month.ours == reachable
    assert (month.ours.delivered, month.ours.true) == (1, 1)
    assert (month.plain.delivered, month.plain.true, month.plain.visible) == (0, 0, 0)


def test_no_claim_is_false_and_no_warning_is_logged_if_all_bookings_are_delivered(four_days):
    proof = four_days[0].proof
    assert proof.claims > 10_000
    assert (proof.syncs, proof.warned, proof.gaps) == (4 * 24, 0, [])
    assert (proof.false, proof.inside, proof.outside) == (0, 0, 0)


START = datetime(2026, 3, 1, tzinfo=timezone.utc)


def sync_with_claims(**columns) -> Sync:
    """A sync whose organization has these coverage columns; bounds that are not given are null."""
    bounds = dict.fromkeys(("covered_from", "covered_until", "gap_from", "gap_to"))
    return Sync(organization={"coverage": "partial", "requests": 5, **bounds, **columns}, warnings=["a gap"])


@pytest.mark.parametrize(
    ("columns", "false", "inside"),
    [
        ({}, 1, 1),
        ({"coverage": "complete"}, 1, 1),
        ({"covered_from": "2026-03-02T10:00:00Z"}, 0, 0),
        ({"covered_from": "2026-03-02T09:59:00Z"}, 1, 1),
        ({"covered_until": "2026-03-02T10:00:00Z"}, 0, 0),
        ({"gap_from": "2026-03-02T09:00:00Z", "gap_to": "2026-03-02T10:00:00Z"}, 1, 0),
    ],
)
def test_a_false_claim_is_counted(columns, false, inside):
    month, proof = Month(0), Proof()
    month.account.bookings.clear()
    booking = month.add(START + timedelta(days=1, hours=10), "accepted")
    month.made.add(booking.uid)
    booking.status = "cancelled"
    table = {booking.uid: "accepted"}
    proof.take(sync_with_claims(**columns), month, table)
    proof.end(month, table, START + timedelta(days=2))
    assert (proof.false, proof.inside, proof.outside) == (false, inside, 1 - inside)
    assert (proof.warned_share, len(proof.gaps)) == (1, int("gap_from" in columns))


def test_unknown_coverage_makes_no_claim():
    month, proof = Month(0), Proof()
    proof.take(sync_with_claims(coverage="unknown"), month, {})
    assert (proof.claims, proof.false) == (0, 0)


def test_warnings_of_a_sync_are_counted_and_its_state_is_kept(sandbox):
    with serving_sandbox(sandbox) as url:
        org_id = next(iter(sandbox.accounts))
        connection = coverage.Connection({"access_token": TOKEN, "org_ids": [org_id], "api_url": url})
        assert (len(connection.sync().sent), connection.sync().sent) == (37, {})
        sandbox.faults[org_id] = replace(FAULTS["lone-surrogate"], times=1)
        assert connection.sync().warnings
        assert not connection.sync().warnings


def test_the_chart_shows_both_shares_in_a_light_and_a_dark_theme(tmp_path):
    shares = coverage.Coverage(delivered=1.0, true=0.9, visible=0.5)
    nothing = coverage.Coverage(0, 0, 0)
    months = {size: Measured(shares, Proof(syncs=10, warned=size // 100), nothing) for size in (20, 400)}
    coverage.draw(months, tmp_path / "chart.svg")
    elements = list(ElementTree.parse(tmp_path / "chart.svg").iter())
    full = BOTTOM - TOP
    for kind, drawn in {"delivered": (1, 1), "true": (0.9, 0.9), "plain": (0, 0), "warned": (0, 0.4)}.items():
        heights = [float(each.get("cy")) for each in elements if each.get("class") == f"point {kind}"]
        assert heights == [pytest.approx(BOTTOM - share * full, abs=0.1) for share in drawn], kind
    assert "prefers-color-scheme: dark" in (tmp_path / "chart.svg").read_text()
