"""The image under test, and how to run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMAGE = "airbyte/source-ravan-calcom:tests"
CONTAINER = ROOT / "scripts" / "container"
SHIMS = ROOT / "scripts" / "shims"


@cache
def _is_built() -> bool:
    return subprocess.run([CONTAINER, "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0


def require_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where there is no image, except in CI, and put our `docker` first on the path."""
    if not _is_built():
        if os.environ.get("CI"):
            pytest.fail("CI builds the image before the tests; it is missing")
        pytest.skip("the image was not built: neither docker nor podman works here")
    monkeypatch.setenv("PATH", f"{SHIMS}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("docker") == str(SHIMS / "docker")
