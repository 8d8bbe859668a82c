"""Every snippet of README and docs, run exactly as printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from integration_tests.snippets import ALL, WAYS, snippets, walk_through

ROOT = Path(__file__).parents[1]


def test_every_snippet_has_a_way_to_be_run():
    counts = Counter(snippet.key for snippet in snippets(ROOT))
    assert set(counts) == set(WAYS), "each block needs an entry in snippets.py, and each entry a block"
    assert {key for key, count in counts.items() if count > 1 and key[1] != ALL} == set(), "blocks that begin alike"


def test_what_is_run_elsewhere_names_a_test_that_is_there():
    assert all((way.run is None) == bool(way.covered_by) for way in WAYS.values())
    covering = {way.covered_by for way in WAYS.values() if way.covered_by}
    assert {name for name in covering if not (ROOT / name).exists()} == set()


def test_the_readme_maps_every_module_and_shows_pictures_that_are_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "source_ravan_calcom").glob("*.py")} - {"__init__.py"}
    assert {name for name in modules if f"(source_ravan_calcom/{name})" not in readme} == set()
    assert {name for name in re.findall(r'<img src="([^"]+)"', readme) if not (ROOT / name).exists()} == set()


@pytest.fixture
def clone(tmp_path):
    """A copy of the repository, with an environment that lends all but its own marks from the tests'."""
    pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
    copy = tmp_path / "a fresh clone"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.rstrip("\0").split("\0"):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    environment = copy / ".venv"
    environment.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.suffix != ".done":
            (environment / part.name).symlink_to(part)
    for extra in ("quickstart", "tests"):
        (environment / f"{extra}.done").touch()
    if (ROOT / ".image").exists():
        (copy / ".image").symlink_to(ROOT / ".image")
    return copy


def test_every_snippet_ends_as_printed(clone, capsys):
    walk_through(clone)
    ran = capsys.readouterr().out
    assert "README.md: make sync …" in ran
    assert "docs/ravan-calcom.md: SELECT" in ran
    assert not (clone / "ravan_calcom").exists()
