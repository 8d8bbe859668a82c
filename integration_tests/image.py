"""Builds the image under test."""

from __future__ import annotations

import fcntl
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
BUILD = ROOT / "scripts" / "test-image"

UNAVAILABLE = 69
"""The exit code of ``BUILD`` if no image can be built, because docker and podman or the base image are missing."""


@cache
def _build() -> tuple[int, str]:
    """Build the image for the first test that needs it; return the exit code and the output."""
    with BUILD.open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)  # one test process builds, the others use its cached layers
        done = subprocess.run([BUILD], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


def require_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the test if no image can be built, except in CI; put the stand-in for `docker` first on the PATH."""
    code, output = _build()
    if code == UNAVAILABLE and not os.environ.get("CI"):
        pytest.skip(output)
    if code:
        pytest.fail(f"The image was not built: {output}", pytrace=False)
    monkeypatch.setenv("PATH", f"{SHIMS}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("docker") == str(SHIMS / "docker")
