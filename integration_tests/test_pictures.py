"""The pictures of README and the documentation: made by their script, light and dark."""

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
    """The script that makes them, as a module."""
    specification = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def words(svg: str) -> str:
    return unescape(" ".join("".join(ElementTree.fromstring(svg).itertext()).split()))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_stands_alone_and_follows_light_and_dark(path):
    svg = path.read_text(encoding="utf-8")
    ElementTree.fromstring(svg)
    assert "prefers-color-scheme: dark" in svg
    assert svg.count("http") == svg.count("http://www.w3.org/") + svg.count("http://127.0.0.1"), "it fetches nothing"


def test_the_windows_are_as_their_script_draws_them(pictures):
    assert (DOCS / "windows.svg").read_text(encoding="utf-8") == pictures.windows()


def test_the_windows_tell_what_a_filter_shows_from_what_only_the_unfiltered_request_does(pictures):
    elements = ElementTree.fromstring(pictures.windows()).iter()
    drawn = {element.get("class"): element.get("d") for element in elements if element.get("d")}
    assert all(drawn[kind].count("M") > 50 for kind in ("seen", "unfiltered", "unseen"))
    assert len(drawn["seen"]) > len(drawn["unfiltered"])


def test_the_windows_are_those_that_are_read(pictures):
    from source_ravan_calcom.bookings.windows import WINDOWS

    assert {status for status, *_ in pictures.WINDOWS} == {None, *(window.status for window in WINDOWS)}


def test_the_sync_shows_what_a_sync_prints_today():
    printed = words((DOCS / "sync.svg").read_text(encoding="utf-8"))
    assert "Since the last sync, its bookings have changed: 1 cancelled, 1 moved, 4 made." in printed
    assert "Bookings by organization and status" in printed
    assert "7 rows are new or changed, in sandbox.duckdb. To query it:" in printed


def test_a_terminal_shows_what_was_printed_in_its_colours(pictures):
    svg = pictures.terminal("make sync", "one\n\x1b[32mtwo\x1b[0m\n")
    assert "$ make sync" in words(svg)
    assert "one two" in words(svg)
    assert svg.count(".t-r4 {") == 2, "a colour for light, and one for dark"
