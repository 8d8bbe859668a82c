"""The sandbox as accounts that change between syncs: the same bookings in every run, with a few changes each time.

The bookings are around the day of the first sync. The database file stores the times of all syncs, so a sync on a later
day finds the bookings of the first sync and all changes since then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb

from sandbox import ORGANIZATIONS, TOKEN, Sandbox, generated, serving

SMALL, MEDIUM, BUSY = (ORGANIZATIONS[name] for name in ("small", "medium", "busy"))

BUSY_BOOKINGS = 600
"""Enough to cut the past window, but not the forward windows: without changes, a sync finds no new bookings."""


def _cancel(sandbox: Sandbox, at: datetime) -> int:
    """Cancel one booking."""
    ahead = sandbox.accounts[SMALL].shown("upcoming", at, 1)
    for booking in ahead:
        sandbox.accounts[SMALL].set_status(booking.uid, "cancelled")
    return len(ahead)


def _move(sandbox: Sandbox, at: datetime) -> int:
    """Move one booking by a week, as Cal.com does: cancel it and make a new one."""
    ahead = sandbox.accounts[MEDIUM].shown("upcoming", at, 1)
    for booking in ahead:
        sandbox.reschedule(MEDIUM, booking.uid, booking.start + timedelta(days=7))
    return len(ahead)


def _book(sandbox: Sandbox, at: datetime) -> int:
    """Make a few bookings."""
    starts = [(SMALL, 1), (SMALL, 3), (MEDIUM, 2), (BUSY, 1)]
    for org_id, days in starts:
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        sandbox.book(org_id, day + timedelta(days=days, hours=13))
    return len(starts)


EVENTS: Sequence[tuple[str, Callable[[Sandbox, datetime], int]]] = (
    ("cancelled", _cancel),
    ("moved", _move),
    ("made", _book),
)
"""The changes between two syncs, in order; each function returns the number of changed bookings."""


def sandbox_after(syncs: Sequence[datetime], now: datetime) -> tuple[Sandbox, dict[str, int]]:
    """Return the sandbox at the time of a sync.

    Args:
        syncs: The times of the earlier syncs, oldest first.
        now: The time of this sync.

    Returns:
        The sandbox, and the number of bookings by change since the last sync, empty for the first sync.
    """
    first = (syncs[0] if syncs else now).replace(hour=0, minute=0, second=0, microsecond=0)
    sandbox = Sandbox.with_sample_accounts(now=first)
    sandbox.put(generated(BUSY, BUSY_BOOKINGS, seed=3, now=first))
    happened: dict[str, int] = {}
    for at in [*syncs, now][1:]:
        happened = {name: event(sandbox, at) for name, event in EVENTS}
    return sandbox, happened


@contextmanager
def serving_demo(connection: duckdb.DuckDBPyConnection, directory: Path) -> Iterator[Path]:
    """Serve the sandbox and print its changes; store the time of the sync if it succeeds.

    Args:
        connection: A connection to the DuckDB file of the sync.
        directory: The directory for the settings.

    Yields:
        The settings' file.
    """
    now = datetime.now(timezone.utc)
    sandbox, happened = sandbox_after(_syncs(connection), now)
    with serving(sandbox) as url:
        settings = {
            "access_token": TOKEN,
            "org_ids": list(ORGANIZATIONS.values()),
            "failing_organizations": "skip",
            "api_url": url,
        }
        config = directory / "sandbox.json"
        config.write_text(json.dumps(settings), encoding="utf-8")
        print("No CONFIG given: reading the sandbox, a stand-in for Ravan on this machine.", flush=True)
        if happened:
            changes = ", ".join(f"{count} {event}" for event, count in happened.items())
            print(f"Since the last sync, its bookings have changed: {changes}.", flush=True)
            print("A move is two rows: the old booking, now cancelled, and a new one.", flush=True)
        yield config
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (synced_at TIMESTAMP)")
    connection.execute(f"INSERT INTO {_TABLE} VALUES (?)", [now.replace(tzinfo=None)])


# In the same file as the data, so that both are deleted together.
_TABLE = "ravan_calcom.sandbox_syncs"


def _syncs(connection: duckdb.DuckDBPyConnection) -> list[datetime]:
    try:
        rows = connection.execute(f"SELECT synced_at FROM {_TABLE} ORDER BY 1").fetchall()
    except duckdb.CatalogException:  # no sync has succeeded yet
        return []
    return [at.replace(tzinfo=timezone.utc) for (at,) in rows]
