"""``docs/sql.md``: each query, run in DuckDB over what syncs have landed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from integration_tests.examples import ROOT, Reader
from sandbox import Booking, generated

duckdb = pytest.importorskip("duckdb")

ORG = "3f2b8c1e-5a4d-4e6f-9b7a-1c2d3e4f5a6b"
READ = "python messages.py read . -- source-ravan-calcom read --config config.json --catalog catalog.json"
CAP = 50


def queries() -> dict[str, str]:
    """The SQL under each heading of the page."""
    sections = re.split(r"(?m)^###? ", (ROOT / "docs" / "sql.md").read_text())
    return {section.splitlines()[0]: "\n".join(re.findall(r"(?s)```sql\n(.*?)```", section)) for section in sections}


def test_every_query_of_the_page_finds_what_is_there(connector, sandbox, tmp_path, monkeypatch):
    reader = Reader(tmp_path / "reader", "messages.py", "catalog.json")
    connector.directory = reader.directory
    connector.config(ORG, "large", "broken", failing_organizations="skip")
    now = sandbox.clock.now().replace(microsecond=0)
    sandbox.cap = CAP
    small = sandbox.put(generated(ORG, 20, 1, now, milliseconds=True))
    moved = small.add(Booking("bk_1", now + timedelta(days=2), now + timedelta(days=2, minutes=30)))
    large = sandbox.put(generated("large", 300, 2, now - timedelta(days=10)))
    sandbox.put(generated("broken", 3, 3, now))
    sandbox.clock.set(now - timedelta(days=10))
    assert reader.run(READ).returncode == 0
    monkeypatch.chdir(reader.directory)
    with duckdb.connect() as connection:  # before any hole, and whatever is null everywhere as yet
        for section in queries().values():
            connection.execute(section)
    small.set_status("bk_1", "cancelled")
    sandbox.accounts["broken"].connected = False
    # More bookings have begun since than a window holds, and one of them was cancelled unseen.
    for hour in range(24, 224):
        sandbox.book("large", now - timedelta(hours=hour))
    sandbox.clock.set(now)
    assert reader.run(READ).returncode == 0

    page = queries()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Kolkata'")

        def rows(heading):
            return connection.sql(page.pop(heading)).fetchall()

        for statement in page.pop("One row per booking").split(";"):
            connection.execute(statement)
        days = [row for row in rows("Bookings per day") if row[1] == ORG]
        alive = [booking for booking in small.bookings.values() if booking.status not in ("cancelled", "rejected")]
        assert sum(count for *_, count in days) == len(alive)
        assert {day for day, *_ in days} == {booking.start.date() for booking in alive}

        months = [row for row in rows("Share cancelled") if row[0] == ORG]
        cancelled = [booking for booking in small.bookings.values() if booking.status == "cancelled"]
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
        [broken] = rows("Broken organizations")
        assert (broken[0], broken[2]) == ("broken", "not_connected")
        assert broken[1] is not None

        [hole] = rows("Holes")
        org_id, opened, closed, _ = hole
        assert org_id == "large"
        assert now.replace(tzinfo=None) - timedelta(days=10, minutes=1) < opened < closed < now.replace(tzinfo=None)
        hidden = rows("What a hole may hide")
        assert hidden
        assert {row[0] for row in hidden} == {"large"}
        assert all(opened <= start <= closed for _, _, start, _ in hidden)
        for _, uid, *_ in hidden:
            assert uid in large.bookings
    assert [heading for heading, sql in page.items() if sql] == [], "a query that no test runs"
