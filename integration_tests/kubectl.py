"""``kubectl`` of the example's header: keeps objects that Kubernetes' own schemas allow, and runs jobs with podman.

It knows what that header uses. A pod becomes a container with the same command, user, root file system, capabilities
and mounts; a claim becomes a directory that stays from one job to the next.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

VERSIONS = ("1.27", "1.37")
CLUSTER = Path(os.environ["CLUSTER"])


def main() -> int:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    apply = verbs.add_parser("apply")
    apply.add_argument("-f", dest="file", type=Path, required=True)
    kinds = verbs.add_parser("create").add_subparsers(dest="kind", required=True)
    secret = kinds.add_parser("secret")
    secret.add_argument("type", choices=["generic"])
    config_map = kinds.add_parser("configmap")
    for each in (secret, config_map):
        each.add_argument("name")
        each.add_argument("--from-file", dest="files", type=Path, action="append", required=True)
    job = kinds.add_parser("job")
    job.add_argument("name")
    job.add_argument("--from", dest="origin", required=True)
    asked = parser.parse_args()
    if asked.verb == "apply":
        for each in yaml.safe_load_all(asked.file.read_text()):
            keep(each)
    elif asked.kind == "secret":
        data = {file.name: base64.b64encode(file.read_bytes()).decode() for file in asked.files}
        keep({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": asked.name}, "data": data})
    elif asked.kind == "configmap":
        data = {file.name: file.read_text() for file in asked.files}
        keep({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": asked.name}, "data": data})
    else:
        kind, _, name = asked.origin.partition("/")
        assert kind == "cronjob"
        template = kept("CronJob", name)["spec"]["jobTemplate"]
        started = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": asked.name}, "spec": template["spec"]}
        return run(keep(started)["spec"]["template"]["spec"])
    return 0


def keep(content: dict) -> dict:
    """Validate an object by each version's schema and keep it."""
    for version in VERSIONS:
        kubernetes_validate.validate(content, version, strict=True)
    file = CLUSTER / f"{content['kind']}-{content['metadata']['name']}.json"
    file.write_text(json.dumps(content))
    return content


def kept(kind: str, name: str) -> dict:
    """The object, or the end."""
    return json.loads((CLUSTER / f"{kind}-{name}.json").read_text())


def run(pod: dict) -> int:
    """Run a pod's only container to its end, and keep what it printed."""
    [container] = pod["containers"]
    context = {**pod["securityContext"], **container["securityContext"]}
    assert context["runAsNonRoot"]
    options = ["--rm", "--user", f"{context['runAsUser']}:{context['runAsGroup']}"]
    options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
    options += [f"--cap-drop={capability}" for capability in context["capabilities"]["drop"]]
    options += [] if context["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    if os.getuid():
        options += ["--memory", container["resources"]["limits"]["memory"].replace("Mi", "m")]
    volumes = {volume["name"]: directory_of(volume, context["fsGroup"]) for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        mode = "ro" if mount.get("readOnly") else "rw"
        options.append(f"--volume={volumes[mount['name']]}:{mount['mountPath']}:{mode}")
    [entrypoint, *command] = container["command"]
    done = subprocess.run(
        ["docker", "run", *options, "--entrypoint", entrypoint, container["image"], *command, *container["args"]],
        check=False,
        capture_output=True,
        text=True,
    )
    (CLUSTER / "log").write_text(done.stdout + done.stderr)
    return done.returncode


def directory_of(volume: dict, group: int) -> Path:
    """A volume as a directory, owned as Kubernetes would have it."""
    if "persistentVolumeClaim" in volume:
        directory = CLUSTER / kept("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])["kind"]
        directory.mkdir(exist_ok=True)
        mode, files = 0o2775, []
    else:
        directory = CLUSTER / volume["name"]
        directory.mkdir(exist_ok=True)
        if "secret" in volume:
            content = kept("Secret", volume["secret"]["secretName"])["data"]
            texts = {name: base64.b64decode(text).decode() for name, text in content.items()}
        else:
            texts = kept("ConfigMap", volume["configMap"]["name"])["data"]
        files = [directory / name for name in texts]
        for file in files:
            file.unlink(missing_ok=True)
            file.write_text(texts[file.name])
            file.chmod(volume.get("secret", {}).get("defaultMode", 0o644))
        mode = 0o755
    for path in (directory, *files):
        if os.getuid() == 0:
            os.chown(path, 0, group)
    # Only root can give files away; everybody else opens them.
    directory.chmod(mode if os.getuid() == 0 else 0o777)
    return directory


if __name__ == "__main__":
    sys.exit(main())
