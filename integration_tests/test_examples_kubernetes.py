"""``examples/kubernetes_cronjob.yaml``, validated by Kubernetes' schemas, and its pod run as a container."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from integration_tests.examples import EXAMPLES, Example, commands
from integration_tests.image import CONTAINER, IMAGE, require_image
from sandbox import ORGANIZATIONS, TOKEN

SMALL = ORGANIZATIONS["small"]
VERSIONS = ("1.27", "1.37")
SECRET, CONFIG_MAP, APPLY, _ = commands("kubernetes_cronjob.yaml")
NAME = "registry.example.com/source-ravan-calcom:0.3.0"


def applied(example: Example) -> list[dict]:
    """The objects that the command in the header applies."""
    example.tool("kubectl", "#!/bin/sh\ncat\n")
    done = example.run(APPLY, IMAGE=NAME)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture
def example(tmp_path):
    return Example(tmp_path / "example", "kubernetes_cronjob.yaml", "messages.py", "catalog.json")


def run(container: dict, user: dict, volumes: dict[str, Path]) -> subprocess.CompletedProcess[str]:
    """Run the container of a pod, with directories for its volumes."""
    security = container["securityContext"]
    [entrypoint, *command] = container["command"]
    options = ["--rm", "--network", "host", "--user", f"{user['runAsUser']}:{user['runAsGroup']}"]
    options += ["--read-only"] * security["readOnlyRootFilesystem"]
    options += [f"--cap-drop={capability}" for capability in security["capabilities"]["drop"]]
    options += ["--security-opt", "no-new-privileges"] * (not security["allowPrivilegeEscalation"])
    for mount in container["volumeMounts"]:
        options.append(
            f"--volume={volumes[mount['name']]}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"
        )
    return subprocess.run(
        [CONTAINER, "run", *options, "--entrypoint", entrypoint, IMAGE, *command, *container["args"]],
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_second_run_of_the_pod_adds_only_changed_bookings(example, sandbox, connector, tmp_path, monkeypatch):
    require_image(monkeypatch)
    sandbox.clock.set(sandbox.clock.now())
    _, cron_job = applied(example)
    pod = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == NAME
    # The files in the header's first commands, in the pod's directories.
    files = {"ravan-calcom": {"secret": SECRET, "configMap": CONFIG_MAP}}
    settings = {"access_token": TOKEN, "org_ids": [SMALL], "api_url": connector.url}
    (example.directory / "config.json").write_text(json.dumps(settings))
    volumes = {}
    for volume in pod["volumes"]:
        directory = volumes[volume["name"]] = tmp_path / volume["name"]
        directory.mkdir()
        directory.chmod(0o777)
        for kind, source in volume.items():
            if kind in ("secret", "configMap"):
                command = files[source.get("secretName") or source["name"]][kind]
                for name in command.split("--from-file=")[1:]:
                    (directory / name.strip()).write_bytes((example.directory / name.strip()).read_bytes())

    def landed() -> list[str]:
        found = sorted((volumes["data"] / "appointments").glob("*.jsonl"))
        return [json.loads(line)["id"] for file in found for line in file.read_text().splitlines()]

    user = pod["securityContext"]
    first = run(container, user, volumes)
    assert first.returncode == 0, first.stderr
    assert len(landed()) == 37
    booked = sandbox.book(SMALL, sandbox.clock.now())
    assert run(container, user, volumes).returncode == 0
    assert landed()[37:] == [booked.uid]
    assert {path.name for path in volumes["data"].iterdir()} == {"appointments", "organizations", "state.json"}
    assert "RECORD" not in first.stdout + first.stderr
    assert TOKEN not in first.stdout + first.stderr

    sandbox.accounts[SMALL].connected = False
    failed = run(container, user, volumes)
    assert failed.returncode == 1
    assert "has no primary Cal.com account connected" in failed.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_schemas_allow_every_object(example, version):
    for each in applied(example):
        kubernetes_validate.validate(each, version, strict=True)


def test_the_cron_job_does_not_overlap_or_retry_and_has_restricted_permissions():
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
