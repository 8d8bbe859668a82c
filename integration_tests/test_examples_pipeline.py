"""``examples/pipeline.sh`` into a destination that somebody else wrote, and killed on either side."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from integration_tests.environments import require_environment
from integration_tests.examples import COMMANDS, EXAMPLES, Reader, commands
from integration_tests.image import require_image
from sandbox import TOKEN, generated

duckdb = pytest.importorskip("duckdb")

DESTINATION = "airbyte-destination-ailake"
ORG_IDS = [f"org-{number:02d}" for number in range(20)]
BY_IMAGE, BY_COMMAND = commands("pipeline.sh")

# A process that says who it is, so that it can be killed.
KILLABLE = """#!/usr/bin/env bash
[ "$1" = discover ] || echo $$ > {pid}
exec {command} "$@"
"""


@pytest.fixture
def reader(tmp_path, sandbox, connector):
    """The script in a directory, with settings for twenty organizations and a table."""
    destination = require_environment("destination") / DESTINATION
    reader = Reader(tmp_path / "reader", "pipeline.sh", "container.sh", "messages.py")
    for number, org_id in enumerate(ORG_IDS):
        sandbox.put(generated(org_id, 60, number, sandbox.clock.now()))
    sandbox.clock.set(sandbox.clock.now())
    directory = reader.directory / "DIRECTORY"
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
        reader.tool(name, KILLABLE.format(pid=tmp_path / f"{name}.pid", command=command))
    return reader


def rows(tmp_path: Path) -> list[tuple]:
    """Every row that the destination has committed, by its own list of committed files."""
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


def assert_nothing_is_missing_or_double(tmp_path: Path, sandbox) -> None:
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
    """Something happens in every organization; how many bookings that changes."""
    for org_id in ORG_IDS:
        sandbox.book(org_id, sandbox.clock.now())
        bookings = sandbox.accounts[org_id].bookings.values()
        next(booking for booking in bookings if booking.status == "accepted").status = "cancelled"
    return 2 * len(ORG_IDS)


def test_killed_on_either_side_it_goes_on_with_nothing_lost(reader, sandbox, tmp_path):
    state = reader.directory / "DIRECTORY" / "state.json"
    for side in ("source-ravan-calcom", DESTINATION):
        before = state.read_bytes() if state.exists() else b""
        asked = sandbox.requests.total()

        def kill(org_id, status, number, side=side, before=before, asked=asked):
            # Half of the organizations are through, and something of this sync has been confirmed.
            if (
                sandbox.requests.total() >= asked + len(ORG_IDS) // 2
                and state.exists()
                and state.read_bytes() != before
            ):
                sandbox.on_request = None
                os.kill(int((tmp_path / f"{side}.pid").read_text()), signal.SIGKILL)

        sandbox.on_request, sandbox.delay = kill, 0.1
        killed = reader.run(BY_COMMAND)
        assert sandbox.on_request is None, f"nothing was killed: {killed.stderr}"
        assert killed.returncode == 128 + signal.SIGKILL
        assert "the next run goes on from state.json" in killed.stderr
        assert json.loads(state.read_bytes())
        change(sandbox)
    sandbox.delay = 0
    assert reader.run(BY_COMMAND).returncode == 0
    assert_nothing_is_missing_or_double(tmp_path, sandbox)

    sent = len(rows(tmp_path))
    changed = change(sandbox)
    done = reader.run(BY_COMMAND)
    assert done.returncode == 0, done.stderr
    assert "WARNING: The destination" not in done.stderr
    assert_nothing_is_missing_or_double(tmp_path, sandbox)
    assert {table.name for table in (tmp_path / "lake").iterdir()} == {"appointments", "organizations"}
    assert len(rows(tmp_path)) == sent + changed, "a run that was not killed sends what changed and nothing else"
    left = {path.name for path in (reader.directory / "DIRECTORY").iterdir()}
    assert left == {"source.json", "destination.json", "state.json"}


def test_the_images_of_the_header_are_run(reader, sandbox, tmp_path, monkeypatch):
    require_image(monkeypatch)
    # A catalog of the reader's own: one stream of the two.
    catalog = json.loads((EXAMPLES / "catalog.json").read_text())
    (reader.directory / "DIRECTORY" / "catalog.json").write_text(json.dumps({"streams": catalog["streams"][:1]}))
    destination = str(require_environment("destination") / DESTINATION)
    done = reader.run(BY_IMAGE, DESTINATION_COMMAND=destination)
    assert done.returncode == 0, done.stderr
    assert [table.name for table in (tmp_path / "lake").iterdir()] == ["appointments"]
    changed, sent = change(sandbox), len(rows(tmp_path))
    assert reader.run(BY_IMAGE, DESTINATION_COMMAND=destination).returncode == 0
    assert_nothing_is_missing_or_double(tmp_path, sandbox)
    assert len(rows(tmp_path)) == sent + changed


def test_each_sides_failure_is_the_exit_code_and_its_sentence_is_shown(reader, sandbox, tmp_path):
    sandbox.accounts[ORG_IDS[3]].connected = False
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = reader.run(BY_COMMAND, TMPDIR=str(temporary))
    assert list(temporary.iterdir()) == []
    assert done.returncode == 1
    assert "The source ended with 1, the destination with 0" in done.stderr
    assert f"Organization {ORG_IDS[3]} has no primary Cal.com account connected" in done.stderr
    (reader.directory / "DIRECTORY" / "destination.json").write_text('{"table_base_path": "/proc/nowhere"}')
    done = reader.run(BY_COMMAND)
    assert done.returncode == 1
    assert "the destination with 1;" in done.stderr
    (reader.directory / "DIRECTORY" / "source.json").unlink()
    done = reader.run(BY_COMMAND)
    assert done.returncode == 1
    assert "source.json can't be read: No such file or directory." in done.stderr


# It prints its states as airbyte-destination-pgvector 0.1.4 does, without the message around them.
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


def test_a_destination_that_confirms_no_state_is_a_warning_in_every_run(reader):
    reader.tool("forgetful", FORGETFUL)
    for _ in range(2):
        done = reader.run(BY_COMMAND.replace(DESTINATION, "forgetful"))
        assert done.returncode == 0, done.stderr
        assert "WARNING: The destination confirmed no state, so the next run starts where this one did" in done.stderr
        delivered = (reader.directory / "delivered").read_text().splitlines()
        assert len([line for line in delivered if '"stream":"appointments"' in line]) == 60 * len(ORG_IDS)
        assert not (reader.directory / "DIRECTORY" / "state.json").exists()
