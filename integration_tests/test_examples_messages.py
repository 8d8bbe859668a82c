"""``examples/messages.py`` on its own: what it keeps, what it drops, and how it ends."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from integration_tests.examples import Reader

RECORD = '{"type":"RECORD","record":{"stream":"appointments","emitted_at":1,"data":{"id":"%s"}}}\n'
LOG = '{"type":"LOG","log":{"level":"WARN","message":"careful"}}\n'
ERROR = '{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"it broke"}}}\n'
STATUS = (
    '{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,'
    '"stream_status":{"stream_descriptor":{"name":"appointments"},"status":"COMPLETE"}}}\n'
)


def state(stream: str, number: int) -> str:
    each = {"type": "STREAM", "stream": {"stream_descriptor": {"name": stream}, "stream_state": {"n": number}}}
    return json.dumps({"type": "STATE", "state": each}, separators=(",", ":")) + "\n"


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path / "reader", "messages.py")
    (reader.directory / "data").mkdir()
    return reader


def connector(reader: Reader, printed: str, then: str = "true") -> str:
    """A command that prints messages and ends as told."""
    (reader.directory / "printed").write_text(printed)
    return f"sh -c {shlex.quote(f'cat printed; {then}')}"


def numbers(file: Path) -> dict[str, int]:
    states = [each["stream"] for each in json.loads(file.read_text())]
    return {each["stream_descriptor"]["name"]: each["stream_state"]["n"] for each in states}


def landed(reader: Reader) -> list[list[str]]:
    files = sorted((reader.directory / "data" / "appointments").glob("*"))
    assert all(file.suffix == ".jsonl" for file in files)
    return [[json.loads(line)["id"] for line in file.read_text().splitlines()] for file in files]


def test_forward_passes_on_what_a_destination_takes_and_no_half_line(reader):
    wanted = RECORD % "a" + state("appointments", 1) + STATUS
    (reader.directory / "printed").write_text(wanted + LOG + ERROR + "no message\n" + (RECORD % "b")[:30])
    done = reader.run("python messages.py forward < printed")
    assert (done.returncode, done.stdout) == (0, wanted)
    assert done.stderr == "source: WARN: careful\nsource: ERROR: it broke\nsource: INFO: no message\n"


def test_read_lands_a_file_per_state_and_what_came_after_the_last_one(reader):
    printed = RECORD % "a" + RECORD % "b" + state("appointments", 1) + RECORD % "c" + (RECORD % "d")[:30]
    done = reader.run(f"python messages.py read data -- {connector(reader, printed, 'kill -9 $$')}")
    assert done.returncode == 137
    assert landed(reader) == [["a", "b"], ["c"]]
    kept = reader.directory / "data" / "state.json"
    assert numbers(kept) == {"appointments": 1}
    first, *_ = sorted((reader.directory / "data" / "appointments").iterdir())
    assert first.stat().st_mtime_ns <= kept.stat().st_mtime_ns, (
        "the records are there before the state that covers them"
    )


def test_read_goes_on_from_the_state_and_drops_what_a_killed_run_left(reader):
    data = reader.directory / "data"
    (data / "appointments").mkdir()
    (data / "appointments" / "20260101T000000000000Z-0000.jsonl.part").write_text("half")
    reader.run(f"python messages.py read data -- {connector(reader, state('appointments', 1))}")
    given = connector(reader, state("organizations", 5), 'echo "$@" >&2').removesuffix("'") + "' source"
    done = reader.run(f"python messages.py read data -- {given} read --config x")
    assert done.stderr == "read --config x --state data/state.json\n"
    assert numbers(data / "state.json") == {"appointments": 1, "organizations": 5}
    assert list((data / "appointments").iterdir()) == []


def test_write_keeps_the_last_echo_of_each_stream_and_the_connectors_exit_code(reader):
    printed = state("appointments", 1) + state("organizations", 2) + LOG + state("appointments", 3)
    done = reader.run(f"python messages.py write data/kept.json -- {connector(reader, printed, 'exit 3')}")
    assert (done.returncode, done.stderr) == (3, "destination: WARN: careful\n")
    assert numbers(reader.directory / "data" / "kept.json") == {"appointments": 3, "organizations": 2}
    assert [file.name for file in (reader.directory / "data").iterdir()] == ["kept.json"]


def test_a_state_that_is_none_stops_it_before_anything_is_read(reader):
    (reader.directory / "data" / "state.json").write_text('[{"type"')
    done = reader.run("python messages.py read data -- touch started")
    assert (done.returncode, done.stderr) == (
        1,
        "data/state.json holds no states. Move it away to read everything once more.\n",
    )
    assert not (reader.directory / "started").exists()


def test_a_state_that_can_not_be_written_stops_it_before_anything_is_read(reader):
    (reader.directory / "data" / "state.json.part").mkdir()
    done = reader.run("python messages.py read data -- touch started")
    assert (done.returncode, done.stderr) == (1, "data/state.json.part: Is a directory\n")
    assert not (reader.directory / "started").exists()


def test_a_catalog_takes_every_stream_incrementally(reader):
    stream = {
        "name": "appointments",
        "json_schema": {"type": "object"},
        "default_cursor_field": ["synced_at"],
        "source_defined_primary_key": [["organization_id"], ["id"]],
    }
    (reader.directory / "printed").write_text(LOG + json.dumps({"type": "CATALOG", "catalog": {"streams": [stream]}}))
    [chosen] = json.loads(reader.run("python messages.py catalog < printed").stdout)["streams"]
    assert chosen.pop("sync_id") > 0
    assert chosen == {
        "stream": stream,
        "sync_mode": "incremental",
        "destination_sync_mode": "append_dedup",
        "cursor_field": ["synced_at"],
        "primary_key": [["organization_id"], ["id"]],
        "generation_id": 1,
        "minimum_generation_id": 0,
    }
    (reader.directory / "printed").write_text(ERROR)
    done = reader.run("python messages.py catalog < printed")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ERROR: it broke\n")
