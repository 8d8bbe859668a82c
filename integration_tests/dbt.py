"""dbt, and a copy of the package to run it in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from integration_tests.conftest import ENVIRONMENT
from integration_tests.environments import require_environment
from integration_tests.tree import ROOT


class Dbt:
    """The package, copied out of the repository.

    Args:
        directory: Where to copy it.
        environment: The variables that its profiles read.
    """

    def __init__(self, directory: Path, **environment: str) -> None:
        shutil.copytree(ROOT / "dbt", directory, ignore=shutil.ignore_patterns("target", "logs"), dirs_exist_ok=True)
        self.directory = directory
        self._bin = require_environment("dbt")
        self._environment = {**ENVIRONMENT, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **environment}

    def run(self, *arguments: str) -> str:
        """Run a command that has to end well; what it printed."""
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
