"""Tests of each verb of the installed command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import jsonschema
import pytest

from integration_tests.conftest import COMMAND, ENVIRONMENT, Output
from sandbox import ORGANIZATIONS, TOKEN, generated
from sandbox.faults import today

GOOD = [ORGANIZATIONS[name] for name in ("small", "medium", "busy", "empty")]


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["write"], 2), (["read"], 2), (["--help"], 0)])
def test_a_wrong_call_prints_the_usage(arguments, code):
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == code
    assert "usage: source-ravan-calcom" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_spec_prints_the_settings(connector):
    output = connector.run("spec")
    [spec] = output.of("SPEC")
    assert output.code == 0
    assert list(spec["connectionSpecification"]["properties"]) == [
        "access_token",
        "org_ids",
        "statuses",
        "agent_id",
        "failing_organizations",
        "num_workers",
        "api_url",
    ]


def test_check_succeeds_if_every_organization_can_be_read(connector, sandbox):
    output = connector.run("check", connector.config(*GOOD))
    assert output.code == 0
    assert output.check == {"status": "SUCCEEDED"}
    assert {requested for requested, _ in sandbox.requests} == set(GOOD)


def test_check_fails_if_only_the_second_organization_fails(connector):
    output = connector.run("check", connector.config(ORGANIZATIONS["small"], ORGANIZATIONS["not-connected"]))
    assert output.code == 0
    assert output.check == {
        "status": "FAILED",
        "message": "1 of 2 organizations failed: 1 not connected. To sync the others meanwhile, set Failing "
        "Organizations (failing_organizations) to skip instead of fail. "
        f"Organization {ORGANIZATIONS['not-connected']} has no primary Cal.com account connected "
        f"(NOT_CONNECTED, HTTP 400). Connect one in Ravan, or remove {ORGANIZATIONS['not-connected']} "
        "from Organization IDs (org_ids). Ravan says: “no primary Cal.com account”.",
    }


def test_the_output_of_discover_is_refused_as_a_configured_catalog(connector):
    config = connector.config(GOOD[0])
    printed = connector.run("discover", config).stdout.splitlines()[-1]
    catalog = connector.write("discovered", printed)
    arguments = [*connector.arguments("read", config)[:-1], str(catalog)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert "it is what discover printed" in Output(1, done.stdout, done.stderr).errors[0]["message"]


def test_discover_sends_no_request(connector, sandbox):
    output = connector.run("discover", connector.config(*GOOD))
    [catalog] = output.of("CATALOG")
    assert [stream["name"] for stream in catalog["streams"]] == ["appointments", "organizations"]
    assert catalog["streams"][0]["source_defined_primary_key"] == [["organization_id"], ["id"]]
    for stream in catalog["streams"]:
        assert stream["supported_sync_modes"] == ["full_refresh", "incremental"]
        assert stream["source_defined_cursor"] is True
        assert stream["default_cursor_field"] == ["synced_at"]
    assert not sandbox.requests


def test_every_record_fits_the_discovered_schema(connector, sandbox):
    before = datetime.now(timezone.utc)
    [catalog] = connector.run("discover", connector.config(*GOOD)).of("CATALOG")
    validator = jsonschema.Draft7Validator(
        catalog["streams"][0]["json_schema"], format_checker=jsonschema.FormatChecker()
    )
    output = connector.run("read", connector.config(*GOOD))
    assert output.code == 0
    assert output.statuses == ["STARTED", "RUNNING", "COMPLETE"]
    assert len(output.rows) > 37 + 180
    for row in output.rows:
        assert list(validator.iter_errors(row)) == []
        assert datetime.fromisoformat(row["synced_at"].replace("Z", "+00:00")) >= before - timedelta(seconds=1)
    small = [row for row in output.rows if row["organization_id"] == ORGANIZATIONS["small"]]
    account = sandbox.accounts[ORGANIZATIONS["small"]]
    expected = [account.row(booking, "") for booking in account.bookings.values()]
    assert sorted(map(_without_synced_at, small)) == sorted(map(_without_synced_at, expected))


def _without_synced_at(row) -> str:
    return json.dumps({name: value for name, value in row.items() if name != "synced_at"}, sort_keys=True)


def test_an_empty_account_succeeds_without_rows(connector):
    output = connector.run("read", connector.config(ORGANIZATIONS["empty"]))
    assert (output.code, output.rows, output.errors) == (0, [], [])
    assert output.statuses[-1] == "COMPLETE"


def test_the_agent_id_is_written_to_every_row_and_filters_none(connector):
    small = ORGANIZATIONS["small"]
    output = connector.run("read", connector.config(small, agent_id=" agent_1 "))
    assert {row["agent_id"] for row in output.rows} == {"agent_1"}
    assert len(output.rows) == 37


def test_an_organization_id_repeated_or_with_spaces_is_read_once(connector, sandbox):
    small = ORGANIZATIONS["small"]
    output = connector.run("read", connector.config(small, f" {small} "))
    assert len(output.rows) == 37
    assert sandbox.requests_for(small) == 1


def test_a_booking_in_two_chosen_windows_is_delivered_once(connector, sandbox):
    medium = ORGANIZATIONS["medium"]
    output = connector.run("read", connector.config(medium, statuses=["upcoming", "recurring", "unconfirmed"]))
    delivered = [row["id"] for row in output.rows]
    account, now = sandbox.accounts[medium], sandbox.clock.now()
    windows = {status: account.shown(status, now, 200) for status in ("upcoming", "recurring", "unconfirmed")}
    assert sum(map(len, windows.values())) > len(delivered)
    assert sorted(delivered) == sorted({booking.uid for shown in windows.values() for booking in shown})
    assert sandbox.requests_for(medium) == 3


@pytest.mark.parametrize("verb", ["check", "discover", "read"])
def test_all_invalid_settings_are_reported_together_without_a_request(connector, sandbox, verb):
    config = connector.config(" ", access_token="two\nlines", statuses=["accepted"], num_workers="many", org_id="x")
    output = connector.run(verb, config)
    message = output.check["message"] if verb == "check" else output.errors[0]["message"]
    for sentence in (
        "Access Token (access_token) is incomplete, or holds a line break",
        "Organization IDs (org_ids) entry 1 holds no organization ID.",
        "Booking Statuses (statuses) entry 1 can only be",
        "accepted is a value of the status column.",
        "Concurrent Requests (num_workers) must be a whole number from 1 to 50.",
        "Unknown setting org_id; did you mean Organization IDs (org_ids)?",
    ):
        assert sentence in message
    assert output.code == (0 if verb == "check" else 1)
    assert len(output.errors) == (0 if verb == "check" else 1)
    assert "Traceback" not in output.text
    assert not sandbox.requests


@pytest.mark.parametrize("verb", ["check", "read"])
def test_a_missing_settings_file_is_named_in_the_error(connector, verb):
    output = connector.run(verb, connector.directory / "nowhere.json")
    message = output.check["message"] if verb == "check" else output.errors[0]["message"]
    assert message.endswith("nowhere.json can't be read: No such file or directory.")
    assert (output.code, len(output.errors)) == ((0, 0) if verb == "check" else (1, 1))
    assert "Traceback" not in output.stdout + output.stderr


def test_a_closed_output_pipe_ends_the_process(connector, sandbox):
    org_ids = [f"large-{number}" for number in range(120)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 199, number, sandbox.clock.now()))
    arguments = connector.arguments("read", connector.config(*org_ids))
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -1', "bash", *arguments],
        capture_output=True,
        timeout=60,
        check=True,
        env=ENVIRONMENT,
    )
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
    assert time.monotonic() - started < 60


def test_an_unexpected_error_ends_the_process_with_its_trace(connector, sandbox):
    org_ids = [f"large-{number}" for number in range(60)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 199, number, sandbox.clock.now()))
    code = (
        "from airbyte_cdk.entrypoint import AirbyteEntrypoint\n"
        "def broken(message, counts): raise ZeroDivisionError('nobody foresaw it')\n"
        "AirbyteEntrypoint.handle_record_counts = staticmethod(broken)\n"
        "from source_ravan_calcom import main; main.run()"
    )
    arguments = [sys.executable, "-c", code, *connector.arguments("read", connector.config(*org_ids))[1:]]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    [error] = Output(1, done.stdout, done.stderr).errors
    assert error["internal_message"] == "nobody foresaw it"
    assert "Traceback" in error["stack_trace"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_read_leaves_complete_messages_and_only_states_of_printed_rows(connector, sandbox, number):
    sandbox.delay = 0.05
    org_ids = [f"org-{index:03}" for index in range(200)]
    for index, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 50 + index % 3, index, sandbox.clock.now()))
    lines = []
    with connector.start("read", connector.config(*org_ids, num_workers=2), mode="incremental") as process:
        for line in process.stdout:
            lines.append(line)
            if '"type":"STATE"' in line:
                process.send_signal(number)
                break
        rest, stderr = process.stdout.read(), process.stderr.read()
        assert process.wait(timeout=30) in (-number, 128 + number)
    output = Output(process.returncode, "".join(lines) + rest, stderr)
    assert "Traceback" not in rest + stderr
    _assert_rows_precede_their_states(output, sandbox)
    assert len({row["organization_id"] for row in output.rows}) < len(org_ids)


def _assert_rows_precede_their_states(output: Output, sandbox) -> None:
    """Assert that all rows of each organization in a state were printed before the state."""
    rows: dict[str, int] = {}
    for message in output.messages:
        if message["type"] == "RECORD":
            org_id = message["record"]["data"]["organization_id"]
            rows[org_id] = rows.get(org_id, 0) + 1
        elif message["type"] == "STATE":
            for org_id in message["state"]["stream"]["stream_state"]["organizations"]:
                assert rows.get(org_id, 0) == len(sandbox.accounts[org_id].bookings)


def test_with_many_organizations_every_state_follows_its_records(connector, sandbox):
    org_ids = [f"org-{index:03}" for index in range(150)]
    for index, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 101 + index % 7, index, sandbox.clock.now()))
    output = connector.run("read", connector.config(*org_ids, num_workers=20), mode="incremental")
    assert output.code == 0
    assert len(output.states) > 3
    _assert_rows_precede_their_states(output, sandbox)


@pytest.mark.parametrize("pasted", [TOKEN, f"Bearer {TOKEN}", f"  {TOKEN}\n", f" bearer  {TOKEN} "])
@pytest.mark.parametrize("verb", ["check", "discover", "read"])
def test_no_log_contains_a_token_or_an_attendee(connector, verb, pasted):
    config = connector.config(ORGANIZATIONS["small"], ORGANIZATIONS["not-connected"], access_token=pasted)
    arguments = connector.arguments(verb, config)
    done = subprocess.run([*arguments, "--debug"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    kept = [line for line in done.stdout.splitlines() if '"type":"RECORD"' not in line]
    assert not any(TOKEN in line for line in [*kept, done.stderr])
    assert not any("example.com" in line or "Attendee 0" in line for line in [*kept, done.stderr])


@pytest.mark.parametrize("verb", ["check", "read"])
def test_a_token_quoted_in_ravans_response_is_masked(connector, sandbox, verb):
    sandbox.faults[ORGANIZATIONS["small"]] = today(403, None, f"the token {TOKEN} may not")
    output = connector.run(verb, connector.config(ORGANIZATIONS["small"], access_token=f"Bearer {TOKEN}"))
    assert TOKEN not in output.stdout + output.stderr
    assert "the token **** may not" in output.stdout


def test_debug_logs_of_the_platform_contain_no_token_and_no_attendee(connector):
    arguments = connector.arguments("read", connector.config(ORGANIZATIONS["small"], access_token=f"Bearer {TOKEN}"))
    environment = {**ENVIRONMENT, "LOG_LEVEL": "debug"}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    kept = [line for line in done.stdout.splitlines() if '"type":"RECORD"' not in line]
    assert not any(TOKEN in line or "example.com" in line for line in [*kept, done.stderr])


def test_no_file_is_left_in_the_temporary_directory(connector, sandbox, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    arguments = connector.arguments("read", connector.config(ORGANIZATIONS["small"]))
    environment = {**ENVIRONMENT, "TMPDIR": str(temporary)}
    subprocess.run(arguments, capture_output=True, check=True, env=environment)
    assert list(temporary.iterdir()) == []
    sandbox.delay = 60
    sandbox.requests.clear()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=environment) as process:
        while not sandbox.requests and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
        process.kill()
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
