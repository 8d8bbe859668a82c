"""Runs the commands of README.md and sandbox/README.md as printed; checks pictures, links and log lines of the docs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integration_tests.snippets import walk_through

ROOT = Path(__file__).parents[1]


def test_the_readme_is_short_and_its_picture_exists():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) < 700
    [picture] = re.findall(r'<img src="([^"]+)"', readme)
    assert (ROOT / picture).exists()


@pytest.mark.parametrize("page", ["README.md", "docs/sql.md", "docs/operations.md", "sandbox/README.md"])
def test_links_lead_to_existing_pages_and_headings(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if heading:
            titles = re.findall(r"(?m)^#+ (.*)", target.read_text(encoding="utf-8"))
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{path}#{heading}"


def test_the_connector_logs_the_lines_of_the_operations_page():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page[page.index("| Line contains |") :].split("\n\n")[0]
    lines = re.findall(r"(?m)^\| `([^`]+)` \|", table)
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "source_ravan_calcom").rglob("*.py"))
    assert lines
    assert [line for line in lines if line not in code] == []


@pytest.fixture
def clone(tmp_path):
    """A copy of the repository, whose environment has links to the tests' environment and its own marker files."""
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
    (environment / "quickstart.done").touch()
    if (ROOT / ".image").exists():
        (copy / ".image").symlink_to(ROOT / ".image")
    return copy


def test_every_command_of_the_readmes_works_as_printed(clone):
    walk_through(clone)
    assert {path.stem.split("-")[0] for path in clone.glob("*.duckdb")} == {"sandbox", "appointments", "bookings"}
