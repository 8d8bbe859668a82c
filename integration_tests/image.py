"""The image under test, and how to run it."""

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
"""How ``BUILD`` ends where no image can be built: no docker or podman, or no base image."""


@cache
def _build() -> tuple[int, str]:
    """Build the image when the first test asks for it; the exit code, and what was said."""
    with BUILD.open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)  # one of the test processes builds, the others find the layers cached
        done = subprocess.run([BUILD], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


def require_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where no image can be built, except in CI, and put our `docker` first on the path."""
    code, said = _build()
    if code == UNAVAILABLE and not os.environ.get("CI"):
        pytest.skip(said)
    if code:
        pytest.fail(f"The image was not built: {said}", pytrace=False)
    monkeypatch.setenv("PATH", f"{SHIMS}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("docker") == str(SHIMS / "docker")
