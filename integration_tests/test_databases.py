"""``examples/pyairbyte_sync.py`` with real databases: the content of the tables after several syncs and changes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from integration_tests.dbt import Dbt
from integration_tests.examples import ROOT, Example, commands
from sandbox import TOKEN, Account, Fault, generated

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
import duckdb
import psycopg

CAP = 50
INSTALL, TO_DUCKDB, TO_POSTGRES = commands("pyairbyte_sync.py")


class Database:
    """A database that the example syncs to, and a connection to query it."""

    def __init__(self, command: str, connect, dbt: Callable[[], Dbt] | None = None) -> None:
        self.command = command
        self.query = connect
        self._dbt = dbt

    def rows(self) -> list[tuple]:
        return self.query("SELECT id, status, start_time FROM ravan_calcom.appointments WHERE organization_id = 'org'")

    def build(self) -> None:
        """Build the dbt package on PostgreSQL; test_dbt.py builds it on DuckDB."""
        if self._dbt:
            dbt = self._dbt()
            assert "WARN=0 ERROR=0 SKIP=0" in dbt.run("build", "--target", "postgres")
            assert "PASS freshness" in dbt.run("source", "freshness", "--target", "postgres")
            [(moved,)] = self.query(
                "SELECT count(*) FROM analytics.stg_appointments AS staged "
                "JOIN ravan_calcom.appointments AS landed USING (organization_id, id) "
                "WHERE staged.start_time <> landed.start_time AT TIME ZONE 'UTC'"
            )
            assert moved == 0

    def types(self) -> dict[tuple[str, str], str]:
        """The types of the columns, without PyAirbyte's own columns."""
        found = self.query(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'ravan_calcom' AND table_name IN ('appointments', 'organizations')"
        )
        return {(table, column): kind.lower() for table, column, kind in found if not column.startswith("_")}


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server on loopback, in a temporary directory, with the time zone of India."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, although CI installs it")
        pytest.skip("PostgreSQL is not installed. To install it on Debian: apt-get install postgresql")
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

    run("initdb", "-D", str(data), "-U", "user", "-A", "trust")
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": directory, "fsync": "off"}
    settings["timezone"] = "Asia/Kolkata"
    options = " ".join((f"-p {port}", *(f"-c {name}={value}" for name, value in settings.items())))
    run("pg_ctl", "-D", str(data), "-w", "-l", str(directory / "log"), "-o", options, "start")
    try:
        with psycopg.connect(f"postgresql://user@127.0.0.1:{port}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE warehouse")
        yield f"127.0.0.1:{port}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(directory)


@pytest.fixture
def example(tmp_path):
    """The example, with its own temporary directory, so that the test can look for left files."""
    example = Example(tmp_path / "example", "pyairbyte_sync.py")
    (tmp_path / "tmp").mkdir()
    return example


@pytest.fixture(params=["duckdb", "postgres"])
def database(request, example):
    if request.param == "duckdb":

        def in_duckdb(query):
            with closing(duckdb.connect(str(example.directory / "appointments.duckdb"), read_only=True)) as connection:
                return connection.sql(query).fetchall()

        return Database(TO_DUCKDB, in_duckdb)
    server = request.getfixturevalue("postgres")

    def in_postgres(query):
        with psycopg.connect(f"postgresql://user@{server}/warehouse") as connection:
            return connection.execute(query).fetchall()

    host, port = server.split(":")
    dbt = partial(Dbt, example.directory.parent / "dbt", PGHOST=host, PGPORT=port)
    return Database(TO_POSTGRES.replace("localhost:5432", server), in_postgres, dbt)


def run(example: Example, command: str):
    done = example.run(command, TMPDIR=str(example.directory.parent / "tmp"))
    assert list((example.directory.parent / "tmp").iterdir()) == [], "PyAirbyte's files hold the token"
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def simulate_days(sandbox, account: Account) -> None:
    """Advance four days: add more bookings than a window holds, cancel some, and reschedule one."""
    now = sandbox.clock.now() + timedelta(days=4)
    sandbox.clock.set(now)
    ahead = account.shown("upcoming", now, 2)
    for hours in range(1, 61):
        sandbox.book("org", now + timedelta(hours=hours))
        sandbox.book("org", now - timedelta(hours=hours))
    account.set_status(ahead[0].uid, "cancelled")
    sandbox.reschedule("org", ahead[1].uid, now + timedelta(hours=40))


def assert_table_equals_account(rows, account: Account, now) -> None:
    """Assert that the table has each booking once with its latest status, also those that no window shows any more."""
    assert len(rows) == len({row[0] for row in rows})
    table = {uid: (status, start) for uid, status, start in rows}
    for uid, (status, start) in table.items():
        booking = account.bookings[uid]
        assert status == booking.status
        assert start == booking.start.replace(tzinfo=None)
    windows = [account.shown(window, now, CAP) for window in (None, "upcoming", "past", "cancelled")]
    visible = {booking.uid for window in windows for booking in window}
    assert visible <= set(table)
    assert len(table) > len(visible), "the table keeps bookings that no window shows any more"


def documented_types(database: str) -> dict[tuple[str, str], str]:
    """The types of the columns in docs/sql.md."""
    text = (ROOT / "docs" / "sql.md").read_text()
    column = {"duckdb": 2, "postgres": 3}[database]
    cells = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    tables = {"appointments", "organizations"}
    rows = [row for row in cells if len(row) == 4 and row[0] in tables]
    return {(row[0], name.strip()): row[column] for row in rows for name in row[1].split(",")}


def test_tables_equal_the_accounts_after_several_syncs(connector, sandbox, example, database, request):
    assert example.run(INSTALL).returncode == 0
    sandbox.cap = CAP
    sandbox.clock.set(sandbox.clock.now().replace(minute=0, second=0, microsecond=0))
    # An account above the cap, whose windows move between syncs, and a small one.
    account = sandbox.put(generated("org", 120, 5, sandbox.clock.now()))
    sandbox.put(generated("broken", 5, 6, sandbox.clock.now()))
    connector.directory = example.directory
    connector.config("org", "broken", failing_organizations="skip")
    first = run(example, database.command)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout == f"{len(database.rows()) + 5} bookings were new or changed.\n"
    assert database.types() == documented_types(request.node.callspec.params["database"])
    database.build()

    # One organization is disconnected: it is named, and the changes of the other one are committed.
    simulate_days(sandbox, account)
    sandbox.accounts["broken"].connected = False
    skipped = run(example, database.command)
    assert skipped.returncode == 0, skipped.stderr
    database.build()
    assert re.match(r"\d+ bookings were new or changed.\n *Not read: 1 of 2 organizations", skipped.stdout)
    assert "Organization broken has no primary Cal.com account connected" in plain(skipped.stdout)
    assert re.search(r"New gaps: 1 of 2 organizations(.|\n)* org ", skipped.stdout)
    assert_table_equals_account(database.rows(), account, sandbox.clock.now())
    assert database.query("SELECT organization_id, outcome FROM ravan_calcom.organizations ORDER BY 1") == [
        ("broken", "failed"),
        ("org", "read"),
    ]

    # Without skip, nothing is committed, and the connector's message is printed.
    before = database.rows()
    simulate_days(sandbox, account)
    connector.config("org", "broken")
    failed = run(example, database.command)
    assert failed.returncode == 1
    assert failed.stderr.startswith("The sync failed; the database is unchanged.\n1 of 2 organizations")
    assert "Organization broken has no primary Cal.com account connected" in failed.stderr
    assert sorted(database.rows()) == sorted(before)


def test_a_stopped_sync_leaves_no_file_with_the_token(connector, sandbox, example):
    sandbox.delay = 5
    sandbox.put(generated("org", 5, 1, sandbox.clock.now()))
    connector.directory = example.directory
    connector.config("org")
    temporary = example.directory.parent / "tmp"
    process = example.start(f"export {TO_DUCKDB.replace(' python', '; exec python')}", TMPDIR=str(temporary))
    with process:
        while not sandbox.requests:
            assert process.poll() is None
            time.sleep(0.05)
        assert any(TOKEN in file.read_text(errors="replace") for file in temporary.rglob("*") if file.is_file())
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list(temporary.iterdir()) == []


def test_each_schema_has_its_own_state(connector, sandbox, example, postgres):
    sandbox.put(generated("org", 5, 1, sandbox.clock.now()))
    connector.directory = example.directory
    connector.config("org")
    command = TO_POSTGRES.replace("localhost:5432", postgres)
    for schema in ("group_1", "group_2"):
        assert run(example, f"SCHEMA={schema} {command}").stdout == "5 bookings were new or changed.\n"


def plain(printed: str) -> str:
    """The text of a printed table as one line."""
    return " ".join(re.sub("[│┃━┏┓┗┛┡┩└┘─┴┳╇]", " ", printed).split())


@pytest.mark.parametrize(
    ("settings", "database", "sentence"),
    [
        ({"access_token": TOKEN, "org_ids": []}, "a.duckdb", "Organization IDs (org_ids) is missing."),
        ({"access_token": TOKEN, "org_ids": ["x"]}, "postgresql://user@127.0.0.1:1/x", "Connection refused"),
        ({"access_token": TOKEN, "org_ids": ["x"]}, "ravan_calcom.duckdb", "Choose another name"),
        (None, "a.duckdb", "No such file or directory: 'config.json'"),
    ],
)
def test_an_invalid_argument_or_setting_causes_a_one_line_error(example, connector, settings, database, sentence):
    if settings is not None:
        (example.directory / "config.json").write_text(json.dumps({**settings, "api_url": connector.url}))
    done = run(example, f"DATABASE={database} python pyairbyte_sync.py config.json")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) < 5


GOOD_ROW = {
    "agent_id": "",
    "attendee_name": "Zoë 😀",
    "attendee_email": "zoe@example.com",
    "attendee_phone": "+15550000001",
    "attendee_timezone": "Europe/Berlin",
    "start_time": "2026-03-25T14:00:00Z",
    "end_time": "2026-03-25T14:30:00.000Z",
    "duration_minutes": 30,
    "status": "accepted",
}
COLUMNS = ("id", *GOOD_ROW)
STORED_TIMES = {"start_time": datetime(2026, 3, 25, 14), "end_time": datetime(2026, 3, 25, 14, 30)}

# Column, value in Ravan's response, value in the table; each is tested in its own row.
ODD_VALUES = [
    *(
        ("attendee_name", name, name)
        for name in ("Nan", "null", "None", "1e5", "12e45", "-inf", "", "\\N", "'", "a\nb")
    ),
    ("attendee_name", "A\0B", "A\ufffdB"),
    ("attendee_name", "\ud83d", "\ufffd"),
    ("attendee_name", {"first": "A", "last": ["B", None]}, '{"first":"A","last":["B",null]}'),
    ("attendee_name", ["A"], '["A"]'),
    ("attendee_name", True, "true"),
    ("attendee_name", None, None),
    *(("attendee_phone", phone, phone) for phone in ("+15550000004", "0301234567", "15551234567", "15551234567.0")),
    ("attendee_phone", 15551234567, "15551234567"),
    ("attendee_phone", 15551234567.0, "15551234567"),
    ("duration_minutes", "30", 30),
    ("duration_minutes", 30.0, 30),
    ("duration_minutes", 45.5, None),
    ("duration_minutes", "30 min", None),
    ("duration_minutes", "", None),
    ("duration_minutes", True, None),
    ("duration_minutes", 2**63, None),
    ("duration_minutes", [30], None),
    *(
        ("start_time", time, datetime(2026, 3, 25, 14))
        for time in (
            "2026-03-25 14:00:00 +0000 UTC",
            "2026-03-25 15:00:00 +0100 CET m=+0.1",
            "2026-03-25T19:30:00+05:30",
            "20260325T140000Z",
            1774447200,
            1774447200000,
            "1774447200",
        )
    ),
    ("start_time", "2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59)),
    ("start_time", "2026-03-25T14:00:00.123456012345Z", datetime(2026, 3, 25, 14, 0, 0, 123456)),
    ("start_time", "9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59)),
    *(
        ("start_time", time, None)
        for time in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0, "", "tomorrow", "2026-02-30T10:00:00Z", -1, {})
    ),
    ("undeclared", {"any": ["\0", 2**64 - 1, None]}, ...),
]
# Values that need raw bytes: numbers out of range, and a byte that is not UTF-8.
RAW_VALUES = [
    ("duration_minutes", b"1e400", None),
    ("attendee_phone", b"1e400", "1e400"),
    ("attendee_name", b'"J\xfcrgen"', "J\ufffdrgen"),
]
ODD_IDS = [
    (12345, "12345"),
    ("12e45", "12e45"),
    ("0012", "0012"),
    ("Nan", "Nan"),
    (2**53 + 1, str(2**53 + 1)),
    ("1_0", "1_0"),
]


def response(rows: list[dict]) -> Fault:
    return Fault(200, json.dumps({"success": True, "data": {"appointments": rows, "count": len(rows)}}).encode())


def test_unusual_values_are_loaded_as_documented_and_normal_rows_unchanged(connector, sandbox, example, database):
    good = sandbox.put(generated("good", 40, 3, sandbox.clock.now()))
    rows: list[dict] = []
    expected: dict[str, dict] = {}
    sent: Any
    for column, sent, stored in [*ODD_VALUES, *RAW_VALUES]:
        uid = f"odd-{len(rows)}"
        rows.append({**GOOD_ROW, "id": uid, column: f"RAW {uid}" if isinstance(sent, bytes) else sent})
        expected[uid] = {**GOOD_ROW, **STORED_TIMES, "id": uid} | ({} if stored is ... else {column: stored})
    for sent, stored in ODD_IDS:
        rows.append({**GOOD_ROW, "id": sent})
        expected[stored] = {**GOOD_ROW, **STORED_TIMES, "id": stored}
    fault = response(rows)
    for number, (_, raw, _) in enumerate(RAW_VALUES, start=len(ODD_VALUES)):
        fault = Fault(200, fault.content.replace(f'"RAW odd-{number}"'.encode(), raw))
    sandbox.faults["odd"] = fault
    connector.directory = example.directory
    connector.config("good", "odd")
    done = run(example, database.command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{40 + len(rows)} bookings were new or changed.\n")

    def stored_rows(org_id):
        found = database.query(
            f"SELECT {', '.join(COLUMNS)} FROM ravan_calcom.appointments WHERE organization_id = '{org_id}'"
        )
        return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found}

    assert stored_rows("good") == {
        uid: {
            **{name: value for name, value in good.row(booking, "").items() if name in COLUMNS},
            "start_time": booking.start.replace(tzinfo=None),
            "end_time": booking.end.replace(tzinfo=None),
        }
        for uid, booking in good.bookings.items()
    }
    odd = stored_rows("odd")
    assert odd == expected
    assert {uid: {name: type(value) for name, value in row.items()} for uid, row in odd.items()} == {
        uid: {name: type(value) for name, value in row.items()} for uid, row in expected.items()
    }


def test_texts_that_look_like_numbers_stay_text_in_every_sync(connector, sandbox, example, database):
    phones = {f"{number}e{number}": f"+1555000000{number}" for number in range(4)}
    names = dict(zip(phones, ("Nan", "null", "1e5", "007"), strict=True))
    rows: list[dict] = [
        {**GOOD_ROW, "id": uid, "attendee_phone": phones[uid], "attendee_name": names[uid]} for uid in phones
    ]
    connector.directory = example.directory
    connector.config("phones")
    sandbox.faults["phones"] = response(rows)
    assert run(example, database.command).returncode == 0

    # The second sync has a new booking and a cancelled one.
    phones["4e4"], names["4e4"] = "0301234567", "Nan"
    cancelled = {**rows[0], "status": "cancelled"}
    new = {**rows[0], "id": "4e4", "attendee_phone": phones["4e4"]}
    sandbox.faults["phones"] = response([cancelled, *rows[1:], new])
    assert run(example, database.command).stdout.startswith("2 bookings were new or changed.")
    found = database.query(
        "SELECT id, attendee_phone, attendee_name FROM ravan_calcom.appointments WHERE organization_id = 'phones'"
    )
    assert sorted(found) == sorted((uid, phones[uid], names[uid]) for uid in phones)


def test_the_program_in_docs_pyairbyte_prints_every_booking(connector, sandbox, example):
    sandbox.put(generated("org", 5, 1, sandbox.clock.now()))
    connector.directory = example.directory
    connector.config("org")
    [program] = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs" / "pyairbyte.md").read_text())
    (example.directory / "program.py").write_text(program)
    done = example.run("python program.py", HOME=str(example.directory), TMPDIR=str(example.directory))
    assert done.returncode == 0, done.stderr
    statuses = [booking.status for booking in sandbox.accounts["org"].bookings.values()]
    assert sorted(line.split()[-1] for line in done.stdout.splitlines() if line.startswith("20")) == sorted(statuses)


def test_the_usage_is_printed_without_arguments(example):
    done = run(example, "python pyairbyte_sync.py")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "usage: pyairbyte_sync.py [-h] [--json] config")
