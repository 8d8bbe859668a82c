"""Tests of ``make sync``."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT
from sandbox import FAULTS, ORGANIZATIONS, TOKEN, generated
from sandbox.accounts import FILTERS

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)

import duckdb

from quickstart import sql
from quickstart.demo import sandbox_after
from quickstart.failures import Failed, Refused
from quickstart.run import Output, default_database, run
from quickstart.summary import show
from quickstart.sync import Progress
from source_ravan_calcom.config import Config

ROOT = Path(__file__).parents[1]
SMALL = ORGANIZATIONS["small"]


class Quickstart(subprocess.Popen):
    """A run with its own temporary directory, so that the test can look for left files."""

    def __init__(self, tmp_path: Path, *arguments: str) -> None:
        self.temporary = tmp_path / "tmp"
        self.temporary.mkdir(exist_ok=True)
        super().__init__(
            [sys.executable, "-m", "quickstart", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**ENVIRONMENT, "TMPDIR": str(self.temporary), "COLUMNS": "80"},
        )


@dataclass
class Done:
    code: int
    printed: str
    left: list[Path]


def quickstart(tmp_path: Path, *arguments: str) -> Done:
    process = Quickstart(tmp_path, *arguments)
    printed, _ = process.communicate(timeout=120)
    return Done(process.returncode, printed, list(process.temporary.iterdir()))


def on_one_line(printed: str) -> str:
    return " ".join(printed.split())


def test_the_first_sync_shows_all_bookings_and_the_second_one_the_changes(tmp_path):
    directory = tmp_path / "o'brien's data"
    directory.mkdir()
    file = directory / "sand box.duckdb"
    first = quickstart(tmp_path, "--database", str(file))
    assert first.code == 0, first.printed
    for title in ("Bookings by organization and status", "Next appointments", "How each organization was read"):
        assert title in first.printed
    assert re.search(rf"^{ORGANIZATIONS['not-connected']} +skipped: not connected", first.printed, re.MULTILINE)
    assert f"Organization {ORGANIZATIONS['not-connected']} has no primary Cal.com" in on_one_line(first.printed)
    assert re.search(rf"^{ORGANIZATIONS['busy']} +complete from 2", first.printed, re.MULTILINE)
    assert f"817 rows are new or changed, in {file}. To query it:" in first.printed
    query = first.printed.splitlines()[-1]
    count = "SELECT count(*) FROM ravan_calcom.appointments;"
    shown = subprocess.run(query, shell=True, input=count, capture_output=True, text=True, check=True)
    assert "817" in shown.stdout
    for step in ("Starting the connector and PyAirbyte …", "Reading …", f"Writing {file} …"):
        assert step in first.printed.splitlines(), "without a terminal, each step is printed on its own line"
    second = quickstart(tmp_path, "--database", str(file))
    assert "Since the last sync, its bookings have changed: 1 cancelled, 1 moved, 4 made." in second.printed
    assert f"7 rows are new or changed, in {file}" in second.printed
    assert first.left + second.left == []


@pytest.mark.parametrize("days", [0, 1, 7, 45, 400])
def test_a_few_bookings_have_changed_on_any_later_day(days):
    first = datetime(2026, 11, 23, 17, 30, tzinfo=timezone.utc)
    syncs = [first, first + timedelta(days=days, minutes=1), first + timedelta(days=2 * days, minutes=2)]
    known: dict[str, dict] = {}
    changed = []
    for number, now in enumerate(syncs):
        sandbox, _ = sandbox_after(syncs[:number], now)
        rows = {
            booking.uid: account.row(booking, "")
            for account in sandbox.accounts.values()
            for status in FILTERS
            for booking in account.shown(status, now, 200)
        }
        changed.append(sum(known.get(uid) != row for uid, row in rows.items()))
        known |= rows
        assert sum(str(row["start_time"]) > f"{now:%Y-%m-%dT%H:%M:%SZ}" for row in rows.values()) > 3, (
            "some bookings are in the future"
        )
    assert changed[0] == 817
    assert all(4 <= count <= 8 for count in changed[1:]), changed


def test_a_failed_check_prints_the_connectors_message(connector, tmp_path):
    config = connector.config(SMALL, access_token="wrong.token")
    file = tmp_path / "a.duckdb"
    done = quickstart(tmp_path, "--config", str(config), "--database", str(file))
    assert done.code == 1
    assert f"The sync failed; {file} was not created.\nRavan refused the Access Token (HTTP 401" in done.printed
    assert "Traceback" not in done.printed
    assert "Log file" not in done.printed
    assert not file.exists()
    assert done.left == []


def test_a_failed_read_prints_the_connectors_message_and_leaves_the_file_unchanged(connector, sandbox, tmp_path):
    sandbox.put(generated("org", 300, 1, sandbox.clock.now()))
    sandbox.on_request = lambda org_id, status, number: sandbox.faults.update(
        {"org": FAULTS["forbidden"]} if number == 2 else {}
    )
    file = tmp_path / "a.duckdb"
    duckdb.connect(str(file)).close()
    done = quickstart(tmp_path, "--config", str(connector.config("org")), "--database", str(file))
    assert done.code == 1
    assert f"The sync failed; {file} is unchanged." in done.printed
    assert "The Access Token is not allowed to read organization org" in done.printed.splitlines()[-1]


def test_with_skip_the_other_organizations_are_read_if_one_fails(connector, tmp_path):
    org_ids = (SMALL, ORGANIZATIONS["not-connected"])
    config = connector.config(*org_ids, failing_organizations="skip")
    file = tmp_path / "a.duckdb"
    done = quickstart(tmp_path, "--config", str(config), "--database", str(file))
    assert done.code == 0, done.printed
    assert "37 rows are new or changed" in done.printed
    assert on_one_line(done.printed).count("has no primary Cal.com account") == 1, (
        "printed once, not repeated as a warning"
    )
    config = json.loads(config.read_text())
    assert config["access_token"] not in done.printed


SWALLOWING = """
import builtins, os, runpy, signal

genuine, swallowed = builtins.__import__, []

def importing(name, *rest, **more):
    if name == "airbyte" and not swallowed:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException as error:
            swallowed.append(error)
    return genuine(name, *rest, **more)

builtins.__import__ = importing
runpy.run_module("quickstart", run_name="__main__")
"""
"""The code of a run in which an import swallows the exception of a signal, as some libraries do."""


def test_a_signal_stops_the_run_even_if_an_import_swallows_its_exception(connector, tmp_path):
    file = tmp_path / "a.duckdb"
    arguments = ["--config", str(connector.config(SMALL)), "--database", str(file)]
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWING, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
    )
    assert (done.returncode, file.exists()) == (128 + signal.SIGINT, False)
    assert done.stderr.endswith(f"Stopped; {file} was not created.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_prints_a_message_and_leaves_no_temporary_file_or_process(connector, sandbox, tmp_path, number):
    sandbox.delay = 5
    config = connector.config(SMALL)
    before = config.read_text()
    file = tmp_path / "a.duckdb"
    with Quickstart(tmp_path, "--config", str(config), "--database", str(file)) as process:
        while not sandbox.requests and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None
        for _ in range(2):  # a second signal must not interrupt the cleanup
            os.kill(process.pid, number)
        if number == signal.SIGKILL:
            process.wait(timeout=30)
        else:
            assert process.stdout.read().endswith(f"\nStopped; {file} was not created.\n")
            assert process.wait(timeout=30) == 128 + number
            assert not file.exists()
        process.stdout.close()
    left = [path for path in process.temporary.rglob("*") if path.is_file()]
    assert [path for path in left if TOKEN in path.read_text(errors="replace")] == []
    if number != signal.SIGKILL:
        assert left == []
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert str(config) not in running, "the connector's processes were ended"
    assert config.read_text() == before, "only the user can read the settings"


def test_a_database_open_in_another_program_is_refused_before_reading(connector, sandbox, tmp_path):
    file = tmp_path / "a.duckdb"
    with duckdb.connect(str(file)):
        done = quickstart(tmp_path, "--config", str(connector.config(SMALL)), "--database", str(file))
    assert done.code == 1
    assert done.printed.startswith(f"{file} is open in another program (python")
    assert done.printed.endswith(f"process {os.getpid()}). Close it there, and try again.\n")
    assert not sandbox.requests


def test_a_second_sync_into_the_same_file_is_refused_while_the_first_one_runs(connector, sandbox, tmp_path):
    sandbox.delay = 1
    arguments = ("--config", str(connector.config(SMALL)), "--database", str(tmp_path / "a.duckdb"))
    with Quickstart(tmp_path, *arguments) as first:
        assert first.stdout.readline() == "Starting the connector and PyAirbyte …\n"
        second = quickstart(tmp_path, *arguments)
        assert second.code == 1
        assert "a.duckdb is open in another program (python" in second.printed
        assert f"process {first.pid}). Close it there, and try again." in second.printed
        assert "37 rows are new or changed" in first.stdout.read()


def refusal(config: Path | None, database: Path | None) -> str:
    with pytest.raises(Refused) as refused:
        run(config, database)
    return str(refused.value)


def test_a_run_that_can_not_start_is_refused_with_a_one_line_error(tmp_path):
    nowhere = tmp_path / "nowhere" / "a.duckdb"
    assert (
        refusal(None, nowhere)
        == f"{nowhere} can't be opened: No such file or directory. For another file: make sync DATABASE=path"
    )
    assert not nowhere.parent.exists()
    schema = tmp_path / "ravan_calcom.v2.duckdb"
    assert refusal(None, schema).endswith("from its schema ravan_calcom. Give the file another name.")
    text = tmp_path / "a.duckdb"
    text.write_text("not a database")
    assert "not a valid DuckDB database file." in refusal(None, text)
    assert text.read_text() == "not a database"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{\n"access_token": "a.b.c",\n"org_ids": ["one",]\n}', "Trailing comma at line 3, column 18"),
        ({"access_token": "a.b.c"}, "Organization IDs (org_ids) is missing."),
        ({"access_token": "a b", "org_ids": ["one"]}, "Access Token (access_token) is "),
    ],
)
def test_settings_are_refused_before_pyairbyte_or_the_connector_is_started(connector, tmp_path, content, sentence):
    done = quickstart(tmp_path, "--config", str(connector.write("config", content)))
    assert done.code == 1
    assert sentence in done.printed
    assert "Starting" not in done.printed
    assert done.printed.count("\n") == 1


def test_refusing_settings_imports_neither_pyairbyte_nor_the_cdk(connector):
    """Each import takes seconds."""
    imported = (
        "import sys; from pathlib import Path; from quickstart.run import run\n"
        "try: run(Path(sys.argv[1]), None)\n"
        "finally: print([name for name in ('airbyte', 'airbyte_cdk', 'requests') if name in sys.modules])"
    )
    command = [sys.executable, "-c", imported, connector.write("config", {})]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert "Access Token (access_token) is missing." in done.stderr
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("api_url", "name"),
    [
        (None, "appointments.duckdb"),
        ("https://api.ravan.ai/", "appointments.duckdb"),
        ("http://127.0.0.1:8090", "appointments-127.0.0.1-8090.duckdb"),
        ("https://staging.example.com/ravan", "appointments-staging.example.com.duckdb"),
    ],
)
def test_each_api_url_has_its_own_default_file(api_url, name):
    settings = Config.parse({"access_token": TOKEN, "org_ids": ["one"], "api_url": api_url})
    assert default_database(settings) == Path(name)


def test_a_closed_output_pipe_ends_the_run_without_an_error(tmp_path):
    process = Quickstart(tmp_path, "--database", str(tmp_path / "a.duckdb"))
    process.stdout.close()
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    assert list(tmp_path.iterdir()) == [process.temporary]
    assert list(process.temporary.iterdir()) == []


def test_an_output_pipe_closed_during_the_summary_is_left_to_the_caller():
    class Left(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Output(file=Left()).print("a table")


def test_a_failure_while_writing_the_file_warns_that_it_may_be_incomplete(connector, monkeypatch, tmp_path):
    def fail(config: Path, database: Path, private: Path, progress: Progress) -> None:
        progress.end("read")
        raise RuntimeError("no space left\nand much more")

    monkeypatch.setattr("quickstart.run.sync", fail)
    file = tmp_path / "a.duckdb"
    duckdb.connect(str(file)).close()
    with pytest.raises(Failed) as failed:
        run(connector.config(SMALL), file)
    assert str(failed.value) == (
        f"The sync failed; {file} may contain only a part of the rows that were read; the next sync completes it.\n"
        "RuntimeError: no space left"
    )


COLUMNS = (
    "organization_id VARCHAR, outcome VARCHAR, error_kind VARCHAR, error VARCHAR, "
    "bookings_read BIGINT, coverage VARCHAR, covered_from TIMESTAMP, covered_until TIMESTAMP, gap_from TIMESTAMP, "
    "gap_to TIMESTAMP, full_windows JSON"
)


@pytest.fixture
def shown(tmp_path):
    """Return a function that prints the summary of a file with these rows, 80 columns wide."""

    def show_rows(appointments: list[tuple], organizations: list[tuple], *cautions: str) -> str:
        file = tmp_path / "a.duckdb"
        with duckdb.connect(str(file)) as connection:
            connection.execute("CREATE SCHEMA ravan_calcom; USE ravan_calcom")
            connection.execute(
                "CREATE TABLE appointments (id VARCHAR, organization_id VARCHAR, start_time TIMESTAMP, "
                "duration_minutes BIGINT, attendee_name VARCHAR, status VARCHAR)"
            )
            connection.execute(f"CREATE TABLE organizations ({COLUMNS})")
            for table, rows in (("appointments", appointments), ("organizations", organizations)):
                for row in rows:
                    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        printed = io.StringIO()
        synced = [row[0] for row in organizations if row[0] != EARLIER]
        progress = Progress(changed=1, organizations=synced, cautions=dict.fromkeys(cautions))
        with duckdb.connect(str(file)) as connection:
            show(Output(file=printed, width=80), connection, file, progress)
        return printed.getvalue()

    return show_rows


NOW = datetime(2026, 11, 23, 12)

EARLIER = "only-in-earlier-settings"


def organization(org_id: str, **fields) -> tuple:
    row = dict.fromkeys(column.split()[0] for column in COLUMNS.split(", "))
    read = {"organization_id": org_id, "outcome": "read", "coverage": "complete", "bookings_read": 1}
    return tuple((row | read | fields).values())


def test_the_summary_fits_in_80_columns_without_losing_essentials(shown):
    start = datetime.now() + timedelta(days=1)
    org_id = SMALL
    name = "Maximiliana von Hohen\x1b[31mfels"
    printed = shown(
        [("1", org_id, start, 30, name, "accepted"), ("2", org_id, start, 30, "B", "awaiting_host")],
        [organization(org_id)],
    )
    header, _, crossed = printed.splitlines()[2:5]
    assert header.split() == ["organization", "accepted", "pending", "cancelled", "rejected", "other"]
    assert crossed.split() == [org_id, "1", "0", "0", "0", "1"]
    assert re.search(rf"^{start:%Y-%m-%d %H:%M} +30 +Maximiliana", printed, re.MULTILINE)
    assert "\x1b" not in printed, "escape sequences are removed from names"
    assert max(len(line) for line in printed.splitlines()[:-2]) <= 80
    assert "1 row is new or changed" in printed


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "complete"),
        ({"bookings_read": 0}, "no bookings"),
        ({"bookings_read": 0, "coverage": "unknown"}, "no bookings"),
        ({"coverage": "unknown"}, "unknown"),
        (
            {"coverage": "partial", "covered_from": NOW, "full_windows": '["unfiltered", "past"]'},
            "complete from 2026-11-23 12:00",
        ),
        (
            {"coverage": "partial", "covered_from": NOW, "gap_from": NOW, "gap_to": NOW + timedelta(hours=1)},
            "complete from 2026-11-23 12:00, with a gap from 2026-11-23 12:00 to 2026-11-23 13:00",
        ),
        (
            {"coverage": "filtered", "covered_until": NOW},
            "complete for the chosen Booking Statuses to 2026-11-23 12:00",
        ),
        ({"outcome": "failed", "error_kind": "calcom_failed", "coverage": "unknown"}, "skipped: calcom failed"),
        ({"outcome": "not_asked", "coverage": "unknown"}, "not attempted"),
    ],
)
def test_each_outcome_is_described(shown, fields, words):
    printed = shown([], [organization("o", **fields)])
    coverage = printed[printed.index("How each") : printed.index("1 row")]
    assert " ".join(coverage.split()).endswith(f"o {words}")


def test_of_a_thousand_organizations_the_failed_are_listed_first_and_the_others_counted(shown):
    failed = {"outcome": "failed", "error_kind": "forbidden", "error": "No access.", "coverage": "unknown"}
    organizations = [organization(f"org-{number:04}") for number in range(999)] + [organization("org-x", **failed)]
    printed = shown([], organizations, "Skipped: No access.", "The Access Token ends soon.")
    assert "… and 980 more." in printed
    assert printed[printed.index("coverage") :].split("\n")[2].split() == ["org-x", "skipped:", "forbidden"]
    assert printed.count("No access.") == 1
    assert "The Access Token ends soon." in printed
    assert printed.count("\n") < 70


def test_organizations_of_earlier_settings_are_not_shown(shown):
    assert EARLIER not in shown([], [organization("now"), organization(EARLIER)])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 41 AS number")
    return path


def ask(monkeypatch, capsys, file: Path, *query: str, typed: str = "") -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["quickstart.sql", str(file), *query])
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code = sql.main()
    return code, *capsys.readouterr()


def test_a_query_prints_a_table(monkeypatch, capsys, file):
    code, printed, errors = ask(monkeypatch, capsys, file, "SELECT number + 1 FROM numbers")
    assert (code, errors) == (0, "")
    assert "42" in printed


def test_statements_from_standard_input_run_in_order_even_after_an_invalid_one(monkeypatch, capsys, file):
    typed = "SELEC 1;\nCREATE VIEW more AS\nSELECT number + 1 AS next FROM numbers;\nFROM more"
    code, printed, errors = ask(monkeypatch, capsys, file, typed=typed)
    assert code == 1
    assert "42" in printed
    assert "syntax error" in errors


def test_a_query_on_a_missing_file_creates_none(monkeypatch, capsys, tmp_path):
    code, printed, errors = ask(monkeypatch, capsys, tmp_path / "no.duckdb", "SELECT 1")
    assert (code, printed) == (1, "")
    assert errors.startswith(f"{tmp_path / 'no.duckdb'} does not exist")
    assert not list(tmp_path.iterdir())
