"""``make sync``, as its user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT
from sandbox import FAULTS, ORGANIZATIONS, TOKEN, generated

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)

ROOT = Path(__file__).parents[1]


def quickstart(tmp_path: Path, *arguments: str, wait: bool = True):
    """Run it with a temporary directory of its own, so that what it leaves behind can be seen."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "quickstart", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**ENVIRONMENT, "TMPDIR": str(temporary), "COLUMNS": "200"},
    )
    if wait:
        process.printed, _ = process.communicate(timeout=120)
    return process, temporary


def test_two_syncs_of_the_sandbox_show_a_table_and_what_changed(tmp_path):
    file = tmp_path / "sandbox.duckdb"
    first, temporary = quickstart(tmp_path, "--database", str(file))
    assert first.returncode == 0, first.printed
    assert "Appointments by organization and status:" in first.printed
    assert "Next appointments:" in first.printed
    assert f"They are in {file}; to query it:" in first.printed
    assert "Warning: Organization" in first.printed
    query = first.printed.splitlines()[-1].strip()
    shown = subprocess.run(query, shell=True, capture_output=True, text=True, check=True)
    assert "attendee_name" in shown.stdout
    second, _ = quickstart(tmp_path, "--database", str(file))
    assert "3 bookings were new or changed in this sync." in second.printed
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"access_token": "wrong.token"}, "Ravan refused the Access Token (HTTP 401"),
        ({"org_ids": [ORGANIZATIONS["not-connected"]]}, "has no primary Cal.com account connected"),
        ({"org_ids": []}, "Organization IDs needs at least one entry."),
    ],
)
def test_a_failed_check_is_told_in_the_connectors_words(connector, tmp_path, settings, sentence):
    config = connector.config(ORGANIZATIONS["small"], **settings)
    done, temporary = quickstart(tmp_path, "--config", str(config), "--database", str(tmp_path / "a.duckdb"))
    assert done.returncode == 1
    assert sentence in done.printed.splitlines()[-1]
    assert "Traceback" not in done.printed
    assert list(temporary.iterdir()) == []


def test_a_failed_read_is_told_in_the_connectors_words_and_changes_nothing(connector, sandbox, tmp_path):
    sandbox.put(generated("org", 300, 1, sandbox.clock.now()))
    sandbox.on_request = lambda org_id, status, number: sandbox.faults.update(
        {"org": FAULTS["forbidden"]} if number == 2 else {}
    )
    file = tmp_path / "a.duckdb"
    done, _ = quickstart(tmp_path, "--config", str(connector.config("org")), "--database", str(file))
    assert done.returncode == 1
    assert f"The sync failed; {file} is as it was." in done.printed
    assert "1 of 1 organization failed: The Access Token may not read organization org" in done.printed.splitlines()[-1]


def test_a_settings_file_that_is_not_there_is_said(tmp_path):
    done, _ = quickstart(tmp_path, "--config", str(tmp_path / "nowhere.json"))
    assert (done.returncode, done.printed) == (1, f"There is no configuration file {tmp_path / 'nowhere.json'}.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_token_is_in_no_file_however_the_run_ends(connector, sandbox, tmp_path, number):
    sandbox.delay = 5
    config = connector.config(ORGANIZATIONS["small"])
    process, temporary = quickstart(
        tmp_path, "--config", str(config), "--database", str(tmp_path / "a.duckdb"), wait=False
    )
    with process:
        while not sandbox.requests and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None
        os.kill(process.pid, number)
        process.stdout.close()
        process.wait(timeout=30)
    left = [path for path in temporary.rglob("*") if path.is_file()]
    assert [path for path in left if TOKEN in path.read_text(errors="replace")] == []
    if number != signal.SIGKILL:
        assert left == []


def test_an_unfit_python_gets_a_sentence(tmp_path):
    unfit = tmp_path / "python"
    unfit.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo Python 3.9.1\nexec {sys.executable} -c 'exit(1)'\n")
    unfit.chmod(0o755)
    done = subprocess.run(
        ["make", "sync", f"PYTHON={unfit}", f"VENV={tmp_path / 'venv'}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode != 0
    assert "PyAirbyte needs Python 3.10, 3.11 or 3.12" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_file_named_like_the_schema_is_refused_before_anything_is_read(tmp_path):
    done, _ = quickstart(tmp_path, "--database", str(tmp_path / "ravan_calcom.duckdb"))
    assert done.returncode == 1
    assert "give the file another name" in done.printed


def test_the_settings_stay_the_users_own(connector, tmp_path):
    config = connector.config(ORGANIZATIONS["small"])
    before = config.read_text()
    done, _ = quickstart(tmp_path, "--config", str(config), "--database", str(tmp_path / "a.duckdb"))
    assert done.returncode == 0, done.printed
    assert config.read_text() == before
    assert json.loads(before)["access_token"] not in done.printed
