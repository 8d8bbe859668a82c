"""Runs Airbyte's quality checks, as for certified connectors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration_tests.conftest import ENVIRONMENT
from integration_tests.environments import require_environment
from integration_tests.image import IMAGE, require_image
from integration_tests.tree import ROOT, cloned

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] not in ((3, 11), (3, 12)), reason="Airbyte's quality checks need Python 3.11 or 3.12"
)

EXEMPT = {
    "CheckConnectorUsesPoetry": "the project is packaged with setuptools and locked by uv (scripts/lock)",
    "CheckConnectorUsesPythonBaseImage": "the project has a Dockerfile of its own, on the base image of metadata.yaml",
}

OF_OTHER_LANGUAGES = {"CheckManifestOnlyConnectorBaseImage"}


def in_airbytes_layout(repository: Path) -> Path:
    """Copy the connector to its place in the layout of Airbyte's repository."""
    connector = cloned(repository / "airbyte-integrations" / "connectors" / "source-ravan-calcom")
    pages = repository / "docs" / "integrations" / "sources"
    pages.mkdir(parents=True)
    shutil.copy(connector / "docs" / "ravan-calcom.md", pages)
    subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
    return connector


def run(repository: Path, *arguments: str) -> Any:
    """Run `quality.py` with the interpreter of Airbyte's tools, and return its findings."""
    python = require_environment("qa") / "python"
    command = [python, "-W", "ignore", ROOT / "integration_tests" / "quality.py", *arguments]
    environment = {**ENVIRONMENT, "PATH": os.environ["PATH"]}  # whose `docker` runs docker or podman
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((repository / "found.json").read_text())


def test_every_check_for_certified_connectors_passes_except_the_listed_ones(tmp_path):
    metadata = in_airbytes_layout(tmp_path) / "metadata.yaml"
    content = yaml.safe_load(metadata.read_text())
    content["data"]["supportLevel"] = "certified"
    content["data"]["ab_internal"]["sl"] = 300
    metadata.write_text(yaml.safe_dump(content))
    outcomes = run(tmp_path, "checks")
    failed = {name: message for name, (status, message) in outcomes.items() if status == "FAILED"}
    assert {name: message for name, message in failed.items() if name not in EXEMPT} == {}
    assert set(EXEMPT) == set(failed), "this exemption is no longer needed"
    assert {name for name, (status, _) in outcomes.items() if status == "SKIPPED"} == OF_OTHER_LANGUAGES
    assert len(outcomes) > 25


def test_the_registry_entry_contains_our_dependencies_and_spec(tmp_path, monkeypatch):
    require_image(monkeypatch)
    metadata = in_airbytes_layout(tmp_path) / "metadata.yaml"
    found = run(tmp_path, "artifacts", IMAGE)
    assert found["errors"] == []
    locked = (ROOT / "requirements.lock").read_text()
    dependencies = {each["package_name"]: each["version"] for each in found["dependencies"]["dependencies"]}
    assert f"airbyte-cdk=={dependencies['airbyte-cdk']} " in locked
    assert {"jsonschema", "orjson", "PyJWT", "requests"} <= set(dependencies)
    version = yaml.safe_load(metadata.read_text())["data"]["dockerImageTag"]
    for registry in ("cloud", "oss"):
        entry = found[registry]
        assert entry["dockerImageTag"] == version
        assert entry["packageInfo"] == {"cdk_version": f"python:{dependencies['airbyte-cdk']}"}
        assert entry["spec"]["connectionSpecification"]["required"] == ["access_token", "org_ids"]
        assert entry["maxSecondsBetweenMessages"]
