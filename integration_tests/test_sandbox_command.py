"""Tests of ``make sandbox``."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT
from source_ravan_calcom.config import Config

pytest.importorskip("aiohttp", reason="the sandbox is not installed", exc_type=ImportError)

from sandbox.__main__ import _container_command

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
    """A running sandbox: its directory, its port, and the three printed commands."""
    directory = tmp_path / "some where"
    directory.mkdir()
    with start(directory, "0") as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(11)]
        yield (
            directory,
            lines[0].split(":")[2].split(";")[0],
            [line.strip() for line in lines if line.startswith("  ")][-3:],
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""


def test_the_printed_commands_work_when_pasted(served):
    directory, _, commands = served
    printed = [
        subprocess.run(command, shell=True, cwd=directory, capture_output=True, text=True, check=True).stdout
        for command in commands[:2]
    ]
    assert '"status":"SUCCEEDED"' in printed[0]
    streams = {json.loads(line)["record"]["stream"] for line in printed[1].splitlines() if '"type":"RECORD"' in line}
    assert streams == {"appointments", "organizations"}


def test_the_container_command_uses_an_address_that_reaches_the_sandbox(served, monkeypatch):
    directory, port, commands = served
    monkeypatch.chdir(directory)
    on_linux, on_a_mac = (shlex.split(_container_command(platform)) for platform in ("linux", "darwin"))
    assert shlex.split(commands[2]) == shlex.split(_container_command(sys.platform))
    assert on_linux[3:5] == ["--network", "host"]
    assert "--network" not in on_a_mac
    for command, host in ((on_linux, "127.0.0.1"), (on_a_mac, "host.docker.internal")):
        [mounted] = [argument.removesuffix(":/sandbox:ro") for argument in command if ":/sandbox:" in argument]
        config = json.loads((Path(mounted) / Path(command[-1]).name).read_text())
        assert config["api_url"] == f"http://{host}:{port}"  # ignore-https-check
        assert Config.parse(config).on_loopback, "requests to it are unencrypted"


def test_a_port_in_use_causes_a_one_line_error(served):
    directory, port, _ = served
    with start(directory, port) as second:
        printed, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert printed == f"Port {port} is in use. For any free port: make sandbox PORT=0\n"


def test_an_invalid_port_causes_a_one_line_error(tmp_path):
    with start(tmp_path, "70000") as process:
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert printed.startswith("Port 70000 can't be used (")
    assert printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
