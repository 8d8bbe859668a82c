"""Runs Airbyte's standard test suite on the connector and its image by Airbyte's command, with the sandbox.

`acceptance-test-config.yml` names the configurations. Their port is fixed, because they are files. One of the image's
tests compares the spec with the published one in Airbyte's registry, and is skipped if the registry can't be reached.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from integration_tests.conftest import ENVIRONMENT
from integration_tests.environments import require_environment
from integration_tests.image import IMAGE, require_image
from integration_tests.tree import IGNORED, cloned
from sandbox import Sandbox, serving

PORT = 18090


@pytest.fixture(scope="module", autouse=True)
def served():
    """Serve the sample accounts on the port of the configurations."""
    with serving(Sandbox.with_sample_accounts(), PORT):
        yield


def assert_passes(tmp_path, tests: int, *arguments: str) -> None:
    """Run Airbyte's command on a clone, in an environment with only its tools and the connector.

    The command imports the connector by the name of the directory. It must leave no file that git would add.
    """
    clone = cloned(tmp_path / "source-ravan-calcom")
    before = {path.name for path in clone.iterdir()}
    command = [require_environment("cdk") / "airbyte-cdk", *arguments]
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [passed] = re.findall(r"\b(\d+) passed", done.stdout)
    assert int(passed) >= tests
    assert {path.name for path in clone.iterdir()} - before <= set(IGNORED)


def test_the_suite_passes_on_the_connector(tmp_path):
    assert_passes(tmp_path, 8, "connector", "test", ".", "--pytest-arg=-m", "--pytest-arg=not image_tests")


def test_the_suite_passes_on_the_image(tmp_path, monkeypatch):
    require_image(monkeypatch)
    assert_passes(tmp_path, 7, "image", "test", ".", "--image", IMAGE)
