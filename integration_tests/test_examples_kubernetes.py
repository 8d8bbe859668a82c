"""``examples/kubernetes_cronjob.yaml``, by the commands of its header."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from integration_tests.examples import EXAMPLES, ROOT, Reader, commands
from integration_tests.image import require_image
from sandbox import ORGANIZATIONS, TOKEN

SMALL = ORGANIZATIONS["small"]


@pytest.fixture
def reader(tmp_path, sandbox, connector, monkeypatch):
    require_image(monkeypatch)
    sandbox.clock.set(sandbox.clock.now())
    reader = Reader(tmp_path / "reader", "kubernetes_cronjob.yaml", "messages.py", "catalog.json")
    settings = {"access_token": TOKEN, "org_ids": [SMALL], "api_url": connector.url}
    (reader.directory / "config.json").write_text(json.dumps(settings))
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    module = f"PYTHONPATH={ROOT} CLUSTER={cluster} exec {sys.executable} -m integration_tests.kubectl"
    reader.tool("kubectl", f'#!/bin/sh\n{module} "$@"\n')
    return reader


def test_two_jobs_of_the_cron_job(reader, sandbox, tmp_path):
    cluster = tmp_path / "cluster"

    def landed():
        files = sorted((cluster / "PersistentVolumeClaim" / "appointments").glob("*.jsonl"))
        return [json.loads(line)["id"] for file in files for line in file.read_text().splitlines()]

    *preparations, first_sync = commands("kubernetes_cronjob.yaml")
    for command in preparations:
        assert reader.run(command).returncode == 0
    done = reader.run(first_sync)
    assert done.returncode == 0, done.stderr + (cluster / "log").read_text()
    assert len(landed()) == 37
    booked = sandbox.book(SMALL, sandbox.clock.now())
    assert reader.run(first_sync.replace("first", "second")).returncode == 0
    assert landed()[37:] == [booked.uid]
    volume = cluster / "PersistentVolumeClaim"
    assert {path.name for path in volume.iterdir()} == {"appointments", "organizations", "state.json"}
    assert "RECORD" not in (cluster / "log").read_text()
    assert TOKEN not in (cluster / "log").read_text()

    sandbox.accounts[SMALL].connected = False
    assert reader.run(first_sync.replace("first", "third")).returncode == 1
    assert "has no primary Cal.com account connected" in (cluster / "log").read_text()


def test_the_cron_job_never_overlaps_or_repeats_itself_and_is_locked_down():
    _, cron_job = yaml.safe_load_all((EXAMPLES / "kubernetes_cronjob.yaml").read_text())
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    job = cron_job["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    assert 0 < job["activeDeadlineSeconds"] < 3600, "a job that hangs ends before the next one is due"
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"]
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
