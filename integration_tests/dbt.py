"""Runs dbt in a copy of the package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from integration_tests.conftest import ENVIRONMENT
from integration_tests.environments import require_environment
from integration_tests.tree import ROOT


class Dbt:
    """A copy of the dbt package outside the repository.

    Args:
        directory: The directory of the copy.
        environment: The environment variables that its profiles read.
    """

    def __init__(self, directory: Path, **environment: str) -> None:
        shutil.copytree(ROOT / "dbt", directory, ignore=shutil.ignore_patterns("target", "logs"), dirs_exist_ok=True)
        self.directory = directory
        self._bin = require_environment("dbt")
        self._environment = {**ENVIRONMENT, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **environment}

    def run(self, *arguments: str) -> str:
        """Run a dbt command that must succeed, and return its standard output."""
        done = subprocess.run(
            [self._bin / "dbt", "--no-use-colors", *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
