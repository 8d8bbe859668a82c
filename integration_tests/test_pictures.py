"""Tests of the pictures in README and the documentation, and of the script that makes them."""

from __future__ import annotations

import importlib.util
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rich", reason="the pictures are drawn with rich", exc_type=ImportError)

DOCS = Path(__file__).parents[1] / "docs"

PICTURES = [DOCS / "sync.svg", DOCS / "windows.svg", DOCS / "coverage.svg"]


@pytest.fixture(scope="module")
def pictures():
    """The script as a module."""
    specification = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def words(svg: str) -> str:
    return unescape(" ".join("".join(ElementTree.fromstring(svg).itertext()).split()))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_loads_nothing_and_has_a_light_and_a_dark_theme(path):
    svg = path.read_text(encoding="utf-8")
    ElementTree.fromstring(svg)
    assert "prefers-color-scheme: dark" in svg
    assert svg.count("http") == svg.count("http://www.w3.org/") + svg.count("http://127.0.0.1"), (
        "the picture loads nothing"
    )


def test_the_windows_picture_is_up_to_date_with_its_script(pictures):
    assert (DOCS / "windows.svg").read_text(encoding="utf-8") == pictures.windows()


def test_the_windows_picture_marks_bookings_that_only_the_unfiltered_request_shows(pictures):
    elements = ElementTree.fromstring(pictures.windows()).iter()
    drawn = {element.get("class"): element.get("d") for element in elements if element.get("d")}
    assert all(drawn[kind].count("M") > 50 for kind in ("seen", "unfiltered", "unseen"))
    assert len(drawn["seen"]) > len(drawn["unfiltered"])


def test_the_windows_picture_has_the_windows_of_the_connector(pictures):
    from source_ravan_calcom.bookings.windows import WINDOWS

    assert {status for status, *_ in pictures.WINDOWS} == {None, *(window.status for window in WINDOWS)}


def test_the_sync_picture_shows_the_current_output_of_a_sync():
    printed = words((DOCS / "sync.svg").read_text(encoding="utf-8"))
    assert "Since the last sync, its bookings have changed: 1 cancelled, 1 moved, 4 made." in printed
    assert "Bookings by organization and status" in printed
    assert "7 rows are new or changed, in sandbox.duckdb. To query it:" in printed


def test_a_terminal_picture_keeps_the_colours_of_the_output(pictures):
    svg = pictures.terminal("make sync", "one\n\x1b[32mtwo\x1b[0m\n")
    assert "$ make sync" in words(svg)
    assert "one two" in words(svg)
    assert svg.count(".t-r4 {") == 2, "one colour for the light theme and one for the dark theme"
