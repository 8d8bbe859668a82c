"""Runs the queries of the documentation in DuckDB, over the output of syncs."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta

import pytest

from integration_tests.conftest import ENVIRONMENT
from integration_tests.examples import ROOT, Example
from sandbox import Booking, generated

duckdb = pytest.importorskip("duckdb")

ORG = "3f2b8c1e-5a4d-4e6f-9b7a-1c2d3e4f5a6b"
READ = "python messages.py read . -- source-ravan-calcom read --config config.json --catalog catalog.json"
CAP = 50


def queries(page: str = "sql.md", kinds: str = " *[a-z]*") -> dict[str, str]:
    """The SQL under each heading of the page, in code blocks of these kinds."""
    sections = re.split(r"(?m)^###? ", (ROOT / "docs" / page).read_text())
    found = {each.splitlines()[0]: "\n".join(re.findall(rf"(?s)```sql{kinds}\n(.*?)```", each)) for each in sections}
    return {heading: sql for heading, sql in found.items() if sql}


def test_every_query_runs_as_printed_on_the_quick_starts_database(tmp_path):
    pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
    file = tmp_path / "sandbox.duckdb"
    command = [sys.executable, "-m", "quickstart", "--database", file]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
    with duckdb.connect(str(file)) as connection:
        printed = {heading: connection.execute(sql).fetchall() for heading, sql in queries(kinds="").items()}
        empty = {heading for heading, rows in printed.items() if not rows}
        assert empty == {"Gaps", "What a gap may hide"}, "every other query returns rows of the sandbox"
        assert dict(printed["Names of organizations"])["Small"] == 37
        connection.execute("USE ravan_calcom")
        for sql in queries("ravan-calcom.md").values():
            connection.execute(sql)


def test_every_query_of_the_page_returns_the_expected_rows(connector, sandbox, tmp_path, monkeypatch):
    example = Example(tmp_path / "example", "messages.py", "catalog.json")
    connector.directory = example.directory
    connector.config(ORG, "large", "broken", failing_organizations="skip")
    now = sandbox.clock.now().replace(microsecond=0)
    sandbox.cap = CAP
    small = sandbox.put(generated(ORG, 20, 1, now, milliseconds=True))
    moved = small.add(Booking("bk_1", now + timedelta(days=2), now + timedelta(days=2, minutes=30)))
    large = sandbox.put(generated("large", 300, 2, now - timedelta(days=10)))
    sandbox.put(generated("broken", 3, 3, now))
    sandbox.clock.set(now - timedelta(days=10))
    assert example.run(READ).returncode == 0
    monkeypatch.chdir(example.directory)
    with duckdb.connect() as connection:  # before any gap, when some columns are null in every row
        for kinds in (" files", "", " versions"):
            for sql in queries(kinds=kinds).values():
                connection.execute(sql)
    small.set_status("bk_1", "cancelled")
    sandbox.accounts["broken"].connected = False
    # More bookings than a window holds have started since the first sync.
    for hour in range(24, 224):
        sandbox.book("large", now - timedelta(hours=hour))
    sandbox.clock.set(now)
    assert example.run(READ).returncode == 0

    page = queries()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Kolkata'")

        def rows(heading):
            return connection.sql(page.pop(heading)).fetchall()

        connection.execute(queries(kinds=" files")["Tables that hold every version"])
        latest = connection.sql(queries(kinds=" versions")["Tables that hold every version"])
        assert {*latest.fetchall()} == {*connection.sql("FROM ravan_calcom.appointments").fetchall()}
        del page["Tables that hold every version"], page["Names of organizations"]
        alive = [booking for booking in small.bookings.values() if booking.status not in ("cancelled", "rejected")]
        days = [booking.start.date() for booking in alive]
        counts = {day: count for day, org_id, count in rows("Bookings per day") if org_id == ORG}
        assert counts == {day: days.count(day) for day in days}

        cancelled = [booking for booking in small.bookings.values() if booking.status == "cancelled"]
        months = [row for row in rows("Share cancelled") if row[0] == ORG]
        assert sum(count for *_, count, _ in months) == len(small.bookings)
        assert round(sum(count * percent / 100 for *_, count, percent in months)) == len(cancelled)

        ahead = {(start, org_id) for start, _, org_id, *_ in rows("What is ahead") if org_id == ORG}
        assert ahead == {
            (booking.start.replace(tzinfo=None), ORG)
            for booking in alive
            if now < booking.start < now + timedelta(days=7) and booking.status in ("accepted", "pending")
        }

        history = rows("History of one booking")
        assert [(status, start) for _, status, start in history] == [
            ("accepted", moved.start.replace(tzinfo=None)),
            ("cancelled", moved.start.replace(tzinfo=None)),
        ]
        [(org_id, last_read_at, kind, _)] = rows("Skipped organizations")
        assert (org_id, kind, last_read_at is None) == ("broken", "not_connected", False)

        assert rows("Organizations not read lately") == [], "each was read today"
        [(org_id, opened, closed, _)] = rows("Gaps")
        assert org_id == "large"
        assert now.replace(tzinfo=None) - timedelta(days=10, minutes=1) < opened < closed < now.replace(tzinfo=None)
        hidden = rows("What a gap may hide")
        assert {row[0] for row in hidden} == {"large"}
        assert all(opened <= start <= closed for _, _, start, _ in hidden)
        assert {uid for _, uid, *_ in hidden} <= set(large.bookings)
    assert page == {}, "this query is not tested"
