"""Airbyte's standard test suite, in process and on the image, against the sandbox.

`acceptance-test-config.yml` names the configurations; their port is fixed, because they are files.
"""

from __future__ import annotations

import pytest
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

from integration_tests.image import IMAGE, require_image
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
    def test_docker_image_spec_backward_compatibility(self) -> None: ...
