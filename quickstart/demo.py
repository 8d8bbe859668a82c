"""The sandbox as an account that lives on: the same bookings in every run, and a few things that happened since.

The bookings lie around the day of the first sync, which the database file remembers together with every later sync.
So a sync of another day, week or month finds what the first one found, and what happened before each sync since then.
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
"""So many that the past window is cut and the forward windows are not: without changes, a sync finds nothing new."""


def _cancel(sandbox: Sandbox, at: datetime) -> int:
    """One is cancelled."""
    ahead = sandbox.accounts[SMALL].shown("upcoming", at, 1)
    for booking in ahead:
        sandbox.accounts[SMALL].set_status(booking.uid, "cancelled")
    return len(ahead)


def _move(sandbox: Sandbox, at: datetime) -> int:
    """One is moved by a week: to Cal.com, a cancelled booking and a new one."""
    ahead = sandbox.accounts[MEDIUM].shown("upcoming", at, 1)
    for booking in ahead:
        sandbox.reschedule(MEDIUM, booking.uid, booking.start + timedelta(days=7))
    return len(ahead)


def _book(sandbox: Sandbox, at: datetime) -> int:
    """Some are made."""
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
"""What happens between two syncs, in this order; each says to how many bookings."""


def sandbox_after(syncs: Sequence[datetime], now: datetime) -> tuple[Sandbox, dict[str, int]]:
    """The sandbox as it is now.

    Args:
        syncs: When it was synced before, oldest first.
        now: The time of this sync.

    Returns:
        The sandbox, and what has happened since the last sync: how many bookings by event; nothing before the first.
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
    """Serve it, say so, and remember the sync when it ends well.

    Args:
        connection: To the DuckDB file that the demo is synced into.
        directory: Where to write the settings.

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
            told = ", ".join(f"{count} {event}" for event, count in happened.items())
            print(f"Since the last sync, its bookings have changed: {told}.", flush=True)
            print("A move is two rows: the old booking, now cancelled, and a new one.", flush=True)
        yield config
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (synced_at TIMESTAMP)")
    connection.execute(f"INSERT INTO {_TABLE} VALUES (?)", [now.replace(tzinfo=None)])


# Beside the data, so that it comes and goes with the file.
_TABLE = "ravan_calcom.sandbox_syncs"


def _syncs(connection: duckdb.DuckDBPyConnection) -> list[datetime]:
    try:
        rows = connection.execute(f"SELECT synced_at FROM {_TABLE} ORDER BY 1").fetchall()
    except duckdb.CatalogException:  # never synced to its end
        return []
    return [at.replace(tzinfo=timezone.utc) for (at,) in rows]
