"""``examples/pipeline.sh`` with a destination from PyPI, killed on either side."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from integration_tests.environments import require_environment
from integration_tests.examples import COMMANDS, EXAMPLES, Example, commands
from integration_tests.image import require_image
from sandbox import TOKEN, generated

duckdb = pytest.importorskip("duckdb")

DESTINATION = "airbyte-destination-ailake"
ORG_IDS = [f"org-{number:02d}" for number in range(20)]
BY_IMAGE, BY_COMMAND = commands("pipeline.sh")

# A command that saves its process ID, so that the test can kill it.
KILLABLE = """#!/usr/bin/env bash
[ "$1" = discover ] || echo $$ > {pid}
exec {command} "$@"
"""


@pytest.fixture
def example(tmp_path, sandbox, connector):
    """The script, settings for twenty organizations, and settings of the destination."""
    destination = require_environment("destination") / DESTINATION
    example = Example(tmp_path / "example", "pipeline.sh", "container.sh", "messages.py")
    for number, org_id in enumerate(ORG_IDS):
        sandbox.put(generated(org_id, 60, number, sandbox.clock.now()))
    sandbox.clock.set(sandbox.clock.now())
    directory = example.directory / "DIRECTORY"
    directory.mkdir()
    settings = {"access_token": TOKEN, "org_ids": ORG_IDS, "api_url": connector.url, "num_workers": 2}
    vectors = "import json, sys; print(json.dumps([[1.0, 0.0] for _ in json.load(sys.stdin)]))"
    table = {
        "table_base_path": str(tmp_path / "lake"),
        "embed_mode": "cmd",
        "embed_cmd": f"{shutil.which('python3')} -S -c '{vectors}'",
        "embedding_dim": 2,
        "text_field": "nothing",
    }
    for name, content in (("source", settings), ("destination", table)):
        file = directory / f"{name}.json"
        file.write_text(json.dumps(content))
        file.chmod(0o600)
    for name, command in (("source-ravan-calcom", COMMANDS / "source-ravan-calcom"), (DESTINATION, destination)):
        example.tool(name, KILLABLE.format(pid=tmp_path / f"{name}.pid", command=command))
    return example


def rows(tmp_path: Path) -> list[tuple]:
    """The rows in the files that the destination's log lists as committed."""
    table = tmp_path / "lake" / "appointments"
    metadata = table / "default" / "table" / "metadata"
    current = int((metadata / "version-hint.text").read_text())
    snapshots = json.loads((metadata / f"v{current}.metadata.json").read_text())["snapshots"]
    manifests = [(metadata / f"{snapshot['snapshot-id']}-m0.avro").read_bytes() for snapshot in snapshots]
    names = {name for manifest in manifests for name in re.findall(rb"part-[0-9a-f]+-\d+\.parquet", manifest)}
    files = [str(table / "data" / name.decode()) for name in sorted(names)]
    return duckdb.sql(
        f"SELECT organization_id, id, status, start_time, synced_at FROM read_parquet({files}, union_by_name = true)"
    ).fetchall()


def assert_each_version_is_delivered_once(tmp_path: Path, sandbox) -> None:
    latest = {}
    for org_id, uid, status, start, synced_at in rows(tmp_path):
        latest[org_id, uid] = max(latest.get((org_id, uid), ("",)), (synced_at, status, start))
    truth = {
        (org_id, uid): (booking.status, f"{booking.start:%Y-%m-%dT%H:%M:%SZ}")
        for org_id in ORG_IDS
        for uid, booking in sandbox.accounts[org_id].bookings.items()
    }
    assert {key: row[1:] for key, row in latest.items()} == truth


def change(sandbox) -> int:
    """Change bookings of every organization, and return how many records that causes."""
    for org_id in ORG_IDS:
        sandbox.book(org_id, sandbox.clock.now())
        bookings = sandbox.accounts[org_id].bookings.values()
        next(booking for booking in bookings if booking.status == "accepted").status = "cancelled"
    return 2 * len(ORG_IDS)


def test_a_run_continues_without_loss_after_either_side_was_killed(example, sandbox, tmp_path):
    state = example.directory / "DIRECTORY" / "state.json"
    for side in ("source-ravan-calcom", DESTINATION):
        before = state.read_bytes() if state.exists() else b""
        sent_before = sandbox.requests.total()

        def kill(org_id, status, number, side=side, before=before, sent_before=sent_before):
            # Half of the organizations were read, and the destination has confirmed a state of this sync.
            if (
                sandbox.requests.total() >= sent_before + len(ORG_IDS) // 2
                and state.exists()
                and state.read_bytes() != before
            ):
                sandbox.on_request = None
                os.kill(int((tmp_path / f"{side}.pid").read_text()), signal.SIGKILL)

        sandbox.on_request, sandbox.delay = kill, 0.1
        killed = example.run(BY_COMMAND)
        assert sandbox.on_request is None, f"nothing was killed: {killed.stderr}"
        assert killed.returncode == 128 + signal.SIGKILL
        assert "the next run continues from state.json" in killed.stderr
        assert json.loads(state.read_bytes())
        change(sandbox)
    sandbox.delay = 0
    assert example.run(BY_COMMAND).returncode == 0
    assert_each_version_is_delivered_once(tmp_path, sandbox)

    sent = len(rows(tmp_path))
    changed = change(sandbox)
    done = example.run(BY_COMMAND)
    assert done.returncode == 0, done.stderr
    assert "WARNING: The destination" not in done.stderr
    assert_each_version_is_delivered_once(tmp_path, sandbox)
    assert {table.name for table in (tmp_path / "lake").iterdir()} == {"appointments", "organizations"}
    assert len(rows(tmp_path)) == sent + changed, "a run without interruption sends only changed bookings"
    left = {path.name for path in (example.directory / "DIRECTORY").iterdir()}
    assert left == {"source.json", "destination.json", "state.json"}


def test_the_command_in_the_header_runs_both_images(example, sandbox, tmp_path, monkeypatch):
    require_image(monkeypatch)
    # A custom catalog with one of the two streams.
    catalog = json.loads((EXAMPLES / "catalog.json").read_text())
    (example.directory / "DIRECTORY" / "catalog.json").write_text(json.dumps({"streams": catalog["streams"][:1]}))
    destination = str(require_environment("destination") / DESTINATION)
    done = example.run(BY_IMAGE, DESTINATION_COMMAND=destination)
    assert done.returncode == 0, done.stderr
    assert [table.name for table in (tmp_path / "lake").iterdir()] == ["appointments"]
    changed, sent = change(sandbox), len(rows(tmp_path))
    assert example.run(BY_IMAGE, DESTINATION_COMMAND=destination).returncode == 0
    assert_each_version_is_delivered_once(tmp_path, sandbox)
    assert len(rows(tmp_path)) == sent + changed


def test_a_failure_of_either_side_sets_the_exit_code_and_prints_its_error(example, sandbox, tmp_path):
    sandbox.accounts[ORG_IDS[3]].connected = False
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = example.run(BY_COMMAND, TMPDIR=str(temporary))
    assert list(temporary.iterdir()) == []
    assert done.returncode == 1
    assert "The source ended with 1, the destination with 0" in done.stderr
    assert f"Organization {ORG_IDS[3]} has no primary Cal.com account connected" in done.stderr
    (example.directory / "DIRECTORY" / "destination.json").write_text('{"table_base_path": "/proc/nowhere"}')
    done = example.run(BY_COMMAND)
    assert done.returncode == 1
    assert "the destination with 1;" in done.stderr
    (example.directory / "DIRECTORY" / "source.json").unlink()
    done = example.run(BY_COMMAND)
    assert done.returncode == 1
    assert "source.json can't be read: No such file or directory." in done.stderr


# Prints states without the enclosing message, as airbyte-destination-pgvector 0.1.4 does.
FORGETFUL = f"""#!{shutil.which("python3")}
import json, sys
with open("delivered", "w") as delivered:
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "RECORD":
            delivered.write(line)
        elif message["type"] == "STATE":
            print(json.dumps(message["state"]), flush=True)
"""


def test_every_run_warns_of_a_destination_that_confirms_no_state(example):
    example.tool("forgetful", FORGETFUL)
    for _ in range(2):
        done = example.run(BY_COMMAND.replace(DESTINATION, "forgetful"))
        assert done.returncode == 0, done.stderr
        assert (
            "WARNING: The destination confirmed no state, so the next run continues from the same state as"
            in done.stderr
        )
        delivered = (example.directory / "delivered").read_text().splitlines()
        assert len([line for line in delivered if '"stream":"appointments"' in line]) == 60 * len(ORG_IDS)
        assert not (example.directory / "DIRECTORY" / "state.json").exists()
