"""Copies of the repository, for tests that change files."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]

IGNORED = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line and line[0] != "#"]
"""The patterns of .gitignore."""


def cloned(target: Path) -> Path:
    """Copy the repository without the files that .gitignore names."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".git", *IGNORED))
    return target
