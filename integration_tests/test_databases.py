"""Real databases behind PyAirbyte: what the table holds after several syncs with changes between them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT
from sandbox import Account, generated

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
import duckdb
import psycopg

ROOT = Path(__file__).parents[1]
CAP = 50


def to_duckdb(config: Path, file: Path) -> int:
    """Sync with the quickstart, and return how many bookings it says were new or changed."""
    arguments = [sys.executable, "-m", "quickstart", "--config", str(config), "--database", str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT, env=ENVIRONMENT)
    [line] = [line for line in done.stdout.splitlines() if "bookings were new or changed" in line]
    return int(line.split()[0])


def to_postgres(config: Path, url: str) -> int:
    """Sync with the example script, and return how many bookings it says were new or changed."""
    script = ROOT / "examples" / "pyairbyte_to_postgres.py"
    environment = {**ENVIRONMENT, "DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, str(script), str(config)], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout.splitlines()[-1].split()[0])


def rows_in_duckdb(file: Path) -> list[tuple]:
    with closing(duckdb.connect(str(file))) as connection:
        return connection.sql("SELECT id, status, start_time FROM ravan_calcom.appointments").fetchall()


def rows_in_postgres(url: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id, status, start_time FROM ravan.appointments").fetchall()


@pytest.fixture
def postgres(tmp_path):
    """A PostgreSQL server of our own, in a temporary directory, on loopback."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("CI installs PostgreSQL; it is missing")
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    tools = found[-1].parent
    # PostgreSQL refuses to run as root, and its user must be able to enter the directory.
    directory = Path("/tmp") / f"ravan-calcom-postgres-{os.getpid()}"
    directory.mkdir(mode=0o700)
    prefix: list[str] = []
    if os.getuid() == 0:
        shutil.chown(directory, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = directory / "data"

    def run(tool, *arguments):
        subprocess.run(
            [*prefix, str(tools / tool), *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=60
        )

    run("initdb", "-D", str(data), "-U", "ravan", "-A", "trust")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(directory / "log"), "-o", options, "start")
    try:
        yield f"postgresql://ravan:unused@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(directory)


def changed_account(sandbox) -> Account:
    """An account past the cap, whose windows will have moved on after each sync."""
    sandbox.cap = CAP
    sandbox.clock.set(sandbox.clock.now().replace(minute=0, second=0, microsecond=0))
    return sandbox.put(generated("org", 60, 5, sandbox.clock.now()))


def live(sandbox, account: Account) -> None:
    """Four days of bookings, cancellations and a reschedule."""
    now = sandbox.clock.now() + timedelta(days=4)
    sandbox.clock.set(now)
    ahead = account.shown("upcoming", now, 2)
    for hours in range(1, 31):
        sandbox.book("org", now + timedelta(hours=hours))
    account.set_status(ahead[0].uid, "cancelled")
    sandbox.reschedule("org", ahead[1].uid, now + timedelta(hours=40))


def assert_the_table_is_the_account(rows, account: Account, now) -> None:
    """Each booking once, with its latest status, those included that no window shows any more."""
    assert len(rows) == len({row[0] for row in rows})
    table = {uid: (status, start) for uid, status, start in rows}
    for uid, (status, start) in table.items():
        booking = account.bookings[uid]
        assert status == booking.status
        assert start.replace(tzinfo=booking.start.tzinfo) == booking.start
    windows = [account.shown(window, now, CAP) for window in (None, "upcoming", "past", "cancelled")]
    visible = {booking.uid for window in windows for booking in window}
    assert visible <= set(table)
    assert len(table) > len(visible), "history has built up behind the windows"


@pytest.mark.parametrize("database", ["duckdb", "postgres"])
def test_after_several_syncs_the_table_is_the_account(connector, sandbox, tmp_path, database, request):
    if database == "duckdb":
        target, sync, rows = tmp_path / "history.duckdb", to_duckdb, rows_in_duckdb
    else:
        target, sync, rows = request.getfixturevalue("postgres"), to_postgres, rows_in_postgres
    account = changed_account(sandbox)
    config = connector.config("org")
    assert sync(config, target) == len(rows(target)) > CAP
    for _ in range(2):
        live(sandbox, account)
        assert sync(config, target) >= 30 + 3
    assert_the_table_is_the_account(rows(target), account, sandbox.clock.now())
    assert sync(config, target) == 0
