"""``examples/docker_run.sh`` with the built image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from integration_tests.examples import ROOT, Example, commands
from integration_tests.image import require_image
from sandbox import ORGANIZATIONS, TOKEN, generated

SMALL = ORGANIZATIONS["small"]
[COMMAND] = commands("docker_run.sh")


@pytest.fixture
def example(tmp_path, sandbox, connector, monkeypatch):
    """The script in a directory with a space in its name, and settings for one organization."""
    require_image(monkeypatch)
    sandbox.clock.set(sandbox.clock.now())
    example = Example(tmp_path / "my files", "docker_run.sh", "container.sh", "messages.py", "catalog.json")
    directory = example.directory / "DIRECTORY"
    directory.mkdir(mode=0o700)
    config = directory / "config.json"
    config.write_text(json.dumps({"access_token": TOKEN, "org_ids": [SMALL], "api_url": connector.url}))
    config.chmod(0o600)
    return example


def landed(example: Example, stream: str = "appointments") -> list[dict]:
    files = sorted((example.directory / "DIRECTORY" / stream).iterdir())
    assert {file.suffix for file in files} == {".jsonl"}
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_each_run_adds_only_changed_bookings(example, sandbox):
    done = example.run(COMMAND)
    assert done.returncode == 0, done.stderr
    assert len(landed(example)) == 37
    assert [row["outcome"] for row in landed(example, "organizations")] == ["read"]
    ran = (example.tools / "containers.log").read_text()
    assert " --read-only --cap-drop ALL --security-opt no-new-privileges " in ran
    booked = sandbox.book(SMALL, sandbox.clock.now())
    assert example.run(COMMAND).returncode == 0
    assert [row["id"] for row in landed(example)[37:]] == [booked.uid]
    sandbox.accounts[SMALL].connected = False
    failed = example.run(COMMAND)
    assert failed.returncode == 1
    assert f"Organization {SMALL} has no primary Cal.com account connected" in failed.stderr
    sandbox.accounts[SMALL].connected = True
    assert example.run(COMMAND).returncode == 0
    assert len(landed(example)) == 38, "a failed organization keeps its state"


def no_config(config: Path) -> None:
    config.unlink()


def wrong_type(config: Path) -> None:
    config.write_text('{"access_token": "x", "org_ids": "one"}')


def owned_by_another_user(config: Path) -> None:
    if os.getuid() == 0:
        os.chown(config.parent, 12345, 12345)
    config.chmod(0)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (no_config, "config.json can't be read: No such file or directory."),
        (wrong_type, "Organization IDs (org_ids) must be a list."),
        (
            owned_by_another_user,
            f"config.json can't be read: user ID {os.getuid()}, the connector's, needs read permission.",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_in_the_first_run_prints_the_connectors_error_and_leaves_no_data(example, mistake, sentence):
    directory = example.directory / "DIRECTORY"
    mistake(directory / "config.json")
    done = example.run(COMMAND)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in directory.iterdir()} <= {"config.json"}


def test_a_missing_directory_causes_a_one_line_error(example):
    (example.directory / "DIRECTORY").rename(example.directory / "another")
    done = example.run(COMMAND)
    assert done.returncode == 1
    assert "DIRECTORY: No such file or directory" in done.stderr


def test_a_stopped_or_killed_run_leaves_only_complete_files_and_the_next_one_continues(example, sandbox, connector):
    org_ids = [f"org-{number:02d}" for number in range(30)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 20, number, sandbox.clock.now()))
    directory = example.directory / "DIRECTORY"
    settings = {"access_token": TOKEN, "org_ids": org_ids, "api_url": connector.url, "num_workers": 2}
    (directory / "config.json").write_text(json.dumps(settings))
    sandbox.delay = 0.3
    for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        state = directory / "state.json"
        before = state.read_bytes() if state.exists() else b""
        process = example.start(f"exec {COMMAND}")
        with process:
            while not state.exists() or state.read_bytes() == before:
                assert process.poll() is None
                time.sleep(0.05)
            second = example.run(COMMAND)
            assert (second.returncode, second.stderr) == (1, f"Another sync is running in {directory}.\n")
            process.send_signal(number)
            process.communicate()
        assert process.returncode == code
        assert json.loads(state.read_bytes())
    sandbox.delay = 0
    assert example.run(COMMAND).returncode == 0
    rows = {(row["organization_id"], row["id"]) for row in landed(example)}
    assert rows == {(org_id, uid) for org_id in org_ids for uid in sandbox.accounts[org_id].bookings}


@pytest.mark.parametrize(
    ("docker", "uid", "expected"),
    [
        ("[name=seccomp,profile=builtin]", 1234, "docker run --rm --user 1234:1234 --read-only"),
        ("[name=seccomp,profile=builtin name=rootless]", 1234, "docker run --rm --read-only"),
        ("", 1234, "podman run --rm --user 1234:1234 --userns keep-id --read-only"),
        ("", 0, "podman run --rm --user 0:0 --read-only"),
    ],
)
def test_the_container_runs_as_the_current_user_with_docker_and_podman(tmp_path, docker, uid, expected):
    example = Example(tmp_path / "example", "docker_run.sh", "container.sh", "messages.py", "catalog.json")
    (example.directory / "DIRECTORY").mkdir()
    info = f"[ $1 = info ] && {{ echo '{docker}'; exit {0 if docker else 1}; }}"
    for tool in ("docker", "podman"):
        example.tool(tool, f'#!/bin/bash\n{info}\necho "{tool} $*" > {tmp_path}/ran\n')
    example.tool("id", f"#!/bin/sh\necho {uid}\n")
    assert example.run(COMMAND).returncode == 0
    assert (tmp_path / "ran").read_text().startswith(expected)


def test_options_of_the_container_are_read_from_a_variable():
    show = '. examples/container.sh; printf "%s|" "${container[@]}"'

    def shown(options: str) -> str:
        command, environment = ["bash", "-euo", "pipefail", "-c", show], {**os.environ, "CONTAINER_OPTIONS": options}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert shown("--memory 1g") == shown("") + "--memory|1g|"
