"""Airbyte's standard test suite, in process and on the image, against the sandbox.

`acceptance-test-config.yml` names the configurations; their port is fixed, because they are files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

from integration_tests.conftest import ENVIRONMENT
from integration_tests.image import IMAGE, require_image
from integration_tests.tree import IGNORED, cloned
from sandbox import Sandbox, serving
from source_ravan_calcom.source import SourceRavanCalcom

PORT = 18090


@pytest.fixture(scope="module", autouse=True)
def served():
    """The sample accounts, where the configurations expect them."""
    with serving(Sandbox.with_sample_accounts(), PORT):
        yield


@pytest.fixture
def connector_image_override(monkeypatch):
    """The image that was built for these tests; the suite's `docker` calls are served by our shim."""
    require_image(monkeypatch)
    return IMAGE


class TestStandard(SourceTestSuiteBase):
    connector = SourceRavanCalcom

    @pytest.mark.skip(
        reason="it compares with a published version in Airbyte's registry; there is none, and no network"
    )
    def test_docker_image_spec_backward_compatibility(
        self, connector_image_override: str | None, connector_base_image_override: str | None
    ) -> None: ...


@pytest.mark.skipif(not os.environ.get("CI"), reason="outside CI, the image's tests may be skipped")
def test_the_suite_found_a_docker_when_it_was_imported():
    marks = vars(TestStandard.test_docker_image_build_and_spec)["pytestmark"]
    assert [mark.args for mark in marks if mark.name == "skipif"] == [(False,)]


def test_airbytes_own_command_passes_on_a_clone(tmp_path):
    """It imports the connector by the directory's name, and leaves nothing behind that git would add."""
    clone = cloned(tmp_path / "source-ravan-calcom")
    before = {path.name for path in clone.iterdir()}
    command = [str(Path(sys.executable).with_name("airbyte-cdk")), "connector", "test"]
    options = ["--pytest-arg=-m", "--pytest-arg=not image_tests"]
    done = subprocess.run([*command, *options], cwd=clone, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 8 passed" in done.stdout
    assert {path.name for path in clone.iterdir()} - before <= set(IGNORED)
