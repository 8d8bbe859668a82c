"""``make sandbox``, as its user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT

pytest.importorskip("aiohttp", reason="the sandbox is not installed", exc_type=ImportError)

ROOT = Path(__file__).parents[1]


def start(directory: Path, port: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", port],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def served(tmp_path):
    """A directory from which the sandbox is served, the port, and the two commands that were printed."""
    directory = tmp_path / "some where"
    directory.mkdir()
    with start(directory, "0") as process:
        assert process.stdout
        said = [process.stdout.readline() for _ in range(9)]
        yield directory, said[0].split(":")[2].split(";")[0], [line.strip() for line in said[-2:]]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""


def test_what_it_prints_works_when_pasted(served):
    directory, _, commands = served
    printed = [
        subprocess.run(command, shell=True, cwd=directory, capture_output=True, text=True, check=True).stdout
        for command in commands
    ]
    assert '"status":"SUCCEEDED"' in printed[0]
    streams = {json.loads(line)["record"]["stream"] for line in printed[1].splitlines() if '"type":"RECORD"' in line}
    assert streams == {"appointments", "organizations"}


def test_a_port_that_is_taken_is_one_sentence(served):
    directory, port, _ = served
    with start(directory, port) as second:
        printed, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert printed == f"Port {port} is taken. To take any free one: make sandbox PORT=0\n"


def test_a_port_that_is_none_is_one_sentence(tmp_path):
    with start(tmp_path, "70000") as process:
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert printed.startswith("Port 70000 can't be used (")
    assert printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
