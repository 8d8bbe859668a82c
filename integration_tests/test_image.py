"""Tests of the built image, run as Airbyte and pipelines do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest

from integration_tests.conftest import Output
from integration_tests.image import CONTAINER, IMAGE, require_image
from sandbox import ORGANIZATIONS, generated

SMALL = ORGANIZATIONS["small"]
MOUNT = "/data"


@pytest.fixture(autouse=True)
def _image(monkeypatch):
    require_image(monkeypatch)


def command(*arguments: str, options: tuple[str, ...] = (), directory=None) -> list[str]:
    mount = ("-v", f"{directory}:{MOUNT}:ro") if directory else ()
    return [str(CONTAINER), "run", "--rm", *options, *mount, IMAGE, *arguments]


def run(*arguments: str, options: tuple[str, ...] = ("--network", "host"), directory=None) -> Output:
    done = subprocess.run(
        command(*arguments, options=options, directory=directory),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Output(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def files(connector, sandbox):
    """A directory that user 1000 can read, with the settings and a catalog for each sync mode."""
    sandbox.clock.set(sandbox.clock.now())
    directory = connector.directory / "data"
    directory.mkdir()
    connector.directory = directory
    connector.config(SMALL)
    for mode in ("full_refresh", "incremental"):
        connector.catalog(mode)
    for path in (directory, *directory.iterdir()):
        path.chmod(0o755)
    return directory


def read(files, mode: str, *more: str) -> Output:
    return run(
        "read", "--config", f"{MOUNT}/config.json", "--catalog", f"{MOUNT}/catalog-{mode}.json", *more, directory=files
    )


def inspected() -> dict:
    done = subprocess.run([CONTAINER, "image", "inspect", IMAGE], capture_output=True, check=True)
    return json.loads(done.stdout)[0]["Config"]


def test_spec_runs_without_a_network_or_files():
    output = run("spec", options=("--read-only", "--cap-drop", "all", "--network", "none"))
    assert output.code == 0
    assert output.of("SPEC")


def test_check_discover_and_read_succeed_in_the_image(files):
    config = ("--config", f"{MOUNT}/config.json")
    assert run("check", *config, directory=files).check == {"status": "SUCCEEDED"}
    assert [stream["name"] for stream in run("discover", *config, directory=files).of("CATALOG")[0]["streams"]] == [
        "appointments",
        "organizations",
    ]
    output = read(files, "full_refresh")
    assert (output.code, len(output.rows)) == (0, 37)


def test_read_works_without_write_access_or_capabilities(files):
    locked = ("--network", "host", "--read-only", "--cap-drop", "all")
    config, catalog = f"{MOUNT}/config.json", f"{MOUNT}/catalog-incremental.json"
    output = run("read", "--config", config, "--catalog", catalog, options=locked, directory=files)
    assert (output.code, len(output.rows)) == (0, 37)


def test_a_second_incremental_read_sends_only_changed_bookings(files, sandbox):
    first = read(files, "incremental")
    (files / "state.json").write_text(json.dumps([first.states[-1]]))
    (files / "state.json").chmod(0o644)
    booked = sandbox.book(SMALL, sandbox.clock.now())
    second = read(files, "incremental", "--state", f"{MOUNT}/state.json")
    assert (len(first.rows), [row["id"] for row in second.rows]) == (37, [booked.uid])


def test_a_failing_organization_causes_exit_code_1(files, sandbox):
    sandbox.accounts[SMALL].connected = False
    output = read(files, "full_refresh")
    assert output.code == 1
    assert "has no primary Cal.com account connected" in output.errors[0]["message"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file that user 1000 can't read")
def test_an_unreadable_settings_file_is_named_in_the_error(files):
    (files / "config.json").chmod(0o600)
    output = run("check", "--config", f"{MOUNT}/config.json", directory=files)
    assert output.check["status"] == "FAILED"
    assert output.check["message"].startswith(f"The configuration file {MOUNT}/config.json can't be read: ")
    assert "user ID 1000" in output.check["message"]
    assert "Traceback" not in output.stdout + output.stderr


def test_sigterm_ends_the_container_at_once_and_leaves_complete_messages(files, connector, sandbox):
    sandbox.delay = 0.2
    org_ids = [f"org-{number}" for number in range(300)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, 20, number, sandbox.clock.now()))
    connector.config(*org_ids, num_workers=2).chmod(0o644)
    name = f"ravan-calcom-test-{os.getpid()}"
    arguments = ("read", "--config", f"{MOUNT}/config.json", "--catalog", f"{MOUNT}/catalog-incremental.json")
    process = subprocess.Popen(
        command(*arguments, options=("--network", "host", "--name", name), directory=files),
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = [process.stdout.readline()]
    while '"type":"RECORD"' not in lines[-1]:
        lines.append(process.stdout.readline())
    started = time.monotonic()
    subprocess.run([CONTAINER, "kill", "--signal", "TERM", name], check=True, capture_output=True)
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait(timeout=30) in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert time.monotonic() - started < 30, "the whole sync would take far longer"
    assert Output(0, "".join(lines), "").rows


def test_the_image_has_the_labels_that_airbyte_expects():
    config = inspected()
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["AIRBYTE_ENTRYPOINT"] == " ".join(config["Entrypoint"])
    assert config["User"] == "airbyte"
    labels = config["Labels"]
    assert labels["io.airbyte.name"] == "airbyte/source-ravan-calcom"
    assert labels["org.opencontainers.image.version"] == labels["io.airbyte.version"]
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert "/" in labels["org.opencontainers.image.base.name"]


def test_modules_are_precompiled_and_files_are_not_writable():
    script = (
        "import pathlib, sys, importlib.util as u; import source_ravan_calcom.main, source_ravan_calcom.source; "
        "files = [m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)]; "
        "ours = [f for f in files if f.startswith('/opt/connector') and f.endswith('.py')]; "
        "print(len(ours), sum(not pathlib.Path(u.cache_from_source(f)).exists() for f in ours))"
    )
    options = ("--network", "none", "--entrypoint", "/opt/connector/bin/python")
    done = subprocess.run(command("-c", script, options=options), capture_output=True, text=True, check=True)
    imported, uncompiled = map(int, done.stdout.split())
    assert imported > 500
    assert uncompiled == 0


def _pins(lines) -> set[str]:
    """Lines `name==version` of a lock file or of `pip freeze`, with normalised names."""
    pins = (line.split()[0].partition("==") for line in lines if "==" in line and not line.startswith(" "))
    return {f"{re.sub('[-_.]+', '-', name).lower()}=={version}" for name, _, version in pins}


def in_image(entrypoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run another command in the image, without a network."""
    options = ("--network", "none", "--entrypoint", entrypoint)
    return subprocess.run(command(*arguments, options=options), capture_output=True, text=True, check=False)


def test_the_image_contains_the_locked_versions_and_lists_them():
    script = "import importlib.metadata as m; [print(f'{d.name}=={d.version}') for d in m.distributions()]"
    done = in_image("/opt/connector/bin/python", "-I", "-c", script)
    held = {pin for pin in _pins(done.stdout.splitlines()) if not pin.startswith("airbyte-source-ravan-calcom")}
    assert held
    assert held <= _pins((CONTAINER.parents[1] / "requirements.lock").read_text().splitlines())
    frozen = _pins(in_image("pip", "freeze").stdout.splitlines())
    assert {pin for pin in held - frozen if not pin.startswith("setuptools")} == set(), "Airbyte's registry requires it"
    components = json.loads(in_image("cat", "/opt/connector/sbom.cdx.json").stdout)["components"]
    listed = _pins(f"{each['name']}=={each['version']}" for each in components)
    assert {pin for pin in listed if not pin.startswith("airbyte-source-ravan-calcom")} == held


def test_the_image_contains_all_required_packages_except_numpy_and_pandas():
    done = in_image("pip", "check")
    assert re.fullmatch(r"airbyte-cdk \S+ requires pandas, which is not installed\.\n", done.stdout)
