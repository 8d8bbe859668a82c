"""Runs Airbyte's quality checks, with the interpreter of `scripts/environment qa`.

usage: quality.py checks             run every check; the working directory has the layout of Airbyte's repository
       quality.py artifacts IMAGE    generate the registry's entries for this metadata.yaml and image

Lookups on the web are replaced by fixed results. The outcome is written to found.json: check → [status, message], or
the registry's entries.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import requests
from airbyte_ops_mcp import metadata_validator
from airbyte_ops_mcp.connector_ops import utils
from airbyte_ops_mcp.connector_qa.checks import ENABLED_CHECKS
from airbyte_ops_mcp.registry import generate

NAME = "source-ravan-calcom"
METADATA = Path("airbyte-integrations/connectors") / NAME / "metadata.yaml"


def get(url: str, **_: Any) -> SimpleNamespace:
    """Replace `requests.get`: every URL exists except the connector's files on Airbyte's main branch."""
    found = "raw.githubusercontent.com/airbytehq/airbyte/master" not in url
    return SimpleNamespace(ok=found, status_code=200 if found else 404, text="")


def checks() -> dict[str, tuple[str, str]]:
    """The outcome of every check, by the name of its class."""
    utils.download_catalog = lambda _: {"sources": []}  # not released
    metadata_validator.is_image_on_docker_hub = lambda *_, **__: True  # the base image is
    metadata_validator.get_latest_version_on_dockerhub = lambda _: None  # the connector's own isn't
    vars(requests)["get"] = get
    connector = utils.Connector(NAME)
    outcomes = {}
    for check in ENABLED_CHECKS:
        result = check.run(connector)
        outcomes[type(check).__name__] = (result.status.name, result.message)
    return outcomes


def artifacts(image: str) -> dict[str, Any]:
    """The generated registry entries, and the errors of the generator and its validators."""
    result = generate.generate_version_artifacts(
        METADATA, image, Path("artifacts"), Path(), with_sbom=False, with_github_lookup=False
    )
    entries = {path.stem: json.loads(path.read_text()) for path in Path("artifacts").glob("*.json")}
    return {"errors": [*result.errors, *result.validation_errors], **entries}


if __name__ == "__main__":
    commands: dict[str, Callable[..., dict[str, Any]]] = {"checks": checks, "artifacts": artifacts}
    with contextlib.redirect_stdout(io.StringIO()):  # the validators print
        found = commands[sys.argv[1]](*sys.argv[2:])
    Path("found.json").write_text(json.dumps(found))
