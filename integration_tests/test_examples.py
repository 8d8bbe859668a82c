"""The examples, run as their readers would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from integration_tests.conftest import ENVIRONMENT
from integration_tests.image import CONTAINER, IMAGE, SHIMS, require_image
from sandbox import ORGANIZATIONS

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ORGANIZATIONS["small"]


@pytest.fixture
def directory(connector, sandbox):
    """A directory that uid 1000 can read, with the settings in it."""
    sandbox.clock.set(sandbox.clock.now())
    connector.directory = connector.directory / "data"
    connector.directory.mkdir(mode=0o755)
    connector.config(SMALL)
    return connector.directory


def test_docker_run_appends_what_changed(directory, sandbox, monkeypatch):
    require_image(monkeypatch)
    environment = {**ENVIRONMENT, "PATH": f"{SHIMS}{os.pathsep}{ENVIRONMENT['PATH']}", "IMAGE": IMAGE}
    script = [str(EXAMPLES / "docker_run.sh"), str(directory)]

    def rows():
        subprocess.run(script, check=True, capture_output=True, env=environment)
        lines = (directory / "appointments.jsonl").read_text().splitlines()
        return [json.loads(line)["record"]["data"]["id"] for line in lines]

    assert len(rows()) == 37
    booked = sandbox.book(SMALL, sandbox.clock.now())
    assert rows()[37:] == [booked.uid]
    sandbox.accounts[SMALL].connected = False
    state = (directory / "state.json").read_text()
    failed = subprocess.run(script, check=False, capture_output=True, text=True, env=environment)
    assert failed.returncode == 1
    assert "has no primary Cal.com account connected" in failed.stderr
    assert json.loads((directory / "state.json").read_text())[0]["stream"] == json.loads(state)[0]["stream"], (
        "a failed organization keeps its state"
    )


def test_the_kubernetes_job_runs_the_image_as_it_says(directory, monkeypatch):
    require_image(monkeypatch)
    job, config_map = yaml.safe_load_all((EXAMPLES / "kubernetes_job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    (directory / "catalog.json").write_text(config_map["data"]["catalog.json"])
    (directory / "state.json").write_text("[]")
    locked = container["securityContext"]
    assert locked == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = [f"--volume={directory}:{mount['mountPath']}:ro" for mount in container["volumeMounts"]]
    options = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"]
    user = ["--user", str(pod["securityContext"]["runAsUser"])]
    memory = ["--memory", container["resources"]["limits"]["memory"].replace("Mi", "m")] if os.getuid() else []
    done = subprocess.run(
        [CONTAINER, "run", "--rm", *options, *user, *memory, *mounts, IMAGE, *container["args"]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"type":"RECORD"') == 37
    assert container["image"] == "airbyte/source-ravan-calcom:0.1.0"


def test_the_dagster_job_materializes_the_appointments(directory, connector, tmp_path):
    pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
    database = tmp_path / "appointments.duckdb"
    home = tmp_path / "dagster"
    home.mkdir()
    environment = {
        **ENVIRONMENT,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "RAVAN_CONFIG": str(directory / "config.json"),
        "RAVAN_DATABASE": str(database),
    }
    command = [str(Path(sys.executable).with_name("dagster")), "job", "execute"]
    command += ["-f", str(EXAMPLES / "dagster_job.py"), "-j", "sync_appointments"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "RUN_SUCCESS" in done.stderr
    assert database.stat().st_size > 0
    connector.config("nobody")
    failed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert failed.returncode != 0
    assert "The Access Token may not read organization nobody" in failed.stderr
