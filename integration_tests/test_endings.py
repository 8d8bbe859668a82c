"""Tests that the process always ends. Each wait is an upper bound; a longer run counts as a hang."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT
from sandbox import generated

HANG_SECONDS = 40


@pytest.fixture
def large_read(connector, sandbox):
    """A read whose output is far more than a pipe holds."""
    org_ids = [f"org-{number}" for number in range(60)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 199, number, sandbox.clock.now()))
    return connector.arguments("read", connector.config(*org_ids), mode="incremental")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_ends_the_read_with_a_one_line_error(large_read):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            large_read,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANG_SECONDS,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("The output could not be written: [Errno 28] No space left on device.")
    assert "Traceback" not in done.stderr


def test_a_closed_standard_output_ends_a_verb_with_a_one_line_error(connector):
    closed = ["sh", "-c", 'exec "$0" "$@" >&-', *connector.arguments("spec", None)]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=HANG_SECONDS, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr) == (1, "The output could not be written: standard output is closed.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_read_whose_output_is_not_consumed(large_read, number):
    with subprocess.Popen(large_read, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        process.stdout.readline()
        time.sleep(2)  # until the pipe is full
        process.send_signal(number)
        assert process.wait(HANG_SECONDS) in (-number, 128 + number)


def test_a_non_blocking_output_pipe_loses_no_message(large_read):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(large_read, stdout=writer, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        os.close(writer)
        time.sleep(4)  # until the pipe is full
        with os.fdopen(reader, encoding="utf-8") as pipe:
            messages = [json.loads(line) for line in pipe]
        assert process.wait(HANG_SECONDS) == 0
    assert sum(message["type"] == "RECORD" for message in messages) == 60 * 199


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("unshare"),
    reason="only root can start a process as the first one of a namespace",
)
def test_sigterm_ends_a_containers_first_process_during_its_imports(large_read):
    command = ["unshare", "--pid", "--fork", "--kill-child", *large_read]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        children: list[str] = []
        while not children:
            found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
            children = found.stdout.split()
        status = Path("/proc") / children[0] / "status"
        handled = (1 << signal.SIGTERM - 1) | (1 << signal.SIGINT - 1)
        while int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) & handled != handled:
            time.sleep(0.001)  # until it handles the signals
        os.kill(int(children[0]), signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 128 + signal.SIGTERM
        assert process.stdout.read() == b"", "it ended before the CDK was imported"
