"""Tests of ``examples/messages.py`` without a connector: kept and dropped messages, and exit codes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from integration_tests.examples import Example

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
def example(tmp_path):
    example = Example(tmp_path / "example", "messages.py")
    (example.directory / "data").mkdir()
    return example


def connector(example: Example, printed: str, then: str = "true") -> str:
    """A command that prints these messages, then runs ``then``."""
    (example.directory / "printed").write_text(printed)
    return f"sh -c {shlex.quote(f'cat printed; {then}')}"


def numbers(file: Path) -> dict[str, int]:
    states = [each["stream"] for each in json.loads(file.read_text())]
    return {each["stream_descriptor"]["name"]: each["stream_state"]["n"] for each in states}


def landed(example: Example) -> list[list[str]]:
    files = sorted((example.directory / "data" / "appointments").glob("*"))
    assert all(file.suffix == ".jsonl" for file in files)
    return [[json.loads(line)["id"] for line in file.read_text().splitlines()] for file in files]


def test_forward_passes_on_records_and_states_but_no_incomplete_line(example):
    wanted = RECORD % "a" + state("appointments", 1) + STATUS
    (example.directory / "printed").write_text(wanted + LOG + ERROR + "no message\n" + (RECORD % "b")[:30])
    done = example.run("python messages.py forward < printed")
    assert (done.returncode, done.stdout) == (0, wanted)
    assert done.stderr == "source: WARN: careful\nsource: ERROR: it broke\nsource: INFO: no message\n"


def test_read_writes_a_file_per_state_and_one_for_the_records_after_the_last_state(example):
    printed = RECORD % "a" + RECORD % "b" + state("appointments", 1) + RECORD % "c" + (RECORD % "d")[:30]
    done = example.run(f"python messages.py read data -- {connector(example, printed, 'kill -9 $$')}")
    assert done.returncode == 137
    assert landed(example) == [["a", "b"], ["c"]]
    kept = example.directory / "data" / "state.json"
    assert numbers(kept) == {"appointments": 1}
    first, *_ = sorted((example.directory / "data" / "appointments").iterdir())
    assert first.stat().st_mtime_ns <= kept.stat().st_mtime_ns, (
        "records are written before the state that includes them"
    )


def test_read_continues_from_the_state_and_deletes_partial_files_of_a_killed_run(example):
    data = example.directory / "data"
    (data / "appointments").mkdir()
    (data / "appointments" / "20260101T000000000000Z-0000.jsonl.part").write_text("half")
    example.run(f"python messages.py read data -- {connector(example, state('appointments', 1))}")
    given = connector(example, state("organizations", 5), 'echo "$@" >&2').removesuffix("'") + "' source"
    done = example.run(f"python messages.py read data -- {given} read --config x")
    assert done.stderr == "read --config x --state data/state.json\n"
    assert numbers(data / "state.json") == {"appointments": 1, "organizations": 5}
    assert list((data / "appointments").iterdir()) == []


def test_write_saves_the_last_confirmed_state_of_each_stream_and_returns_the_exit_code(example):
    printed = state("appointments", 1) + state("organizations", 2) + LOG + state("appointments", 3)
    done = example.run(f"python messages.py write data/kept.json -- {connector(example, printed, 'exit 3')}")
    assert (done.returncode, done.stderr) == (3, "destination: WARN: careful\n")
    assert numbers(example.directory / "data" / "kept.json") == {"appointments": 3, "organizations": 2}
    assert [file.name for file in (example.directory / "data").iterdir()] == ["kept.json"]


def test_an_invalid_state_file_stops_the_run_before_reading(example):
    (example.directory / "data" / "state.json").write_text('[{"type"')
    done = example.run("python messages.py read data -- touch started")
    assert (done.returncode, done.stderr) == (
        1,
        "data/state.json contains no states. Move it away to read everything again.\n",
    )
    assert not (example.directory / "started").exists()


def test_a_state_file_that_can_not_be_written_stops_the_run_before_reading(example):
    (example.directory / "data" / "state.json.part").mkdir()
    done = example.run("python messages.py read data -- touch started")
    assert (done.returncode, done.stderr) == (1, "data/state.json.part: Is a directory\n")
    assert not (example.directory / "started").exists()


def test_the_catalog_selects_every_stream_for_incremental_syncs(example):
    stream = {
        "name": "appointments",
        "json_schema": {"type": "object"},
        "default_cursor_field": ["synced_at"],
        "source_defined_primary_key": [["organization_id"], ["id"]],
    }
    (example.directory / "printed").write_text(LOG + json.dumps({"type": "CATALOG", "catalog": {"streams": [stream]}}))
    [chosen] = json.loads(example.run("python messages.py catalog < printed").stdout)["streams"]
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
    (example.directory / "printed").write_text(ERROR)
    done = example.run("python messages.py catalog < printed")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ERROR: it broke\n")
