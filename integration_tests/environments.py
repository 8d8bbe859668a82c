"""Environments for tools that can't share the one of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from integration_tests.conftest import ENVIRONMENT
from integration_tests.tree import ROOT


@cache
def _make(name: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts" / "environment", name]
    environment = {**ENVIRONMENT, "VENV": sys.prefix}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def require_environment(name: str) -> Path:
    """Make the environment of ``requirements/NAME.txt`` if it does not exist, and return its directory of commands.

    If it can't be made, for example without a network, the test is skipped; in CI it fails.
    """
    made = _make(name)
    if made.returncode and not os.environ.get("CI"):
        pytest.skip(f"scripts/environment {name}: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())
