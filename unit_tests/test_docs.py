"""Tests that the documentation matches the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.config import connection_specification
from source_ravan_calcom.ravan.failures import KINDS, SENTENCES
from source_ravan_calcom.source import SourceRavanCalcom
from unit_tests.syncs import LOGGER

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ravan-calcom.md").read_text(encoding="utf-8")
PAGES = sorted(page for page in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md")) if not page.parent.name.startswith("."))

HEADERS = [
    "# Ravan Cal.com",
    "## Prerequisites",
    "## Setup guide",
    "### Set up Ravan Cal.com",
    "### Set up the Ravan Cal.com connector in Airbyte",
    "#### For Airbyte Cloud:",
    "#### For Airbyte Open Source:",
    "## Supported sync modes",
    "## Supported Streams",
    "## IP allow list",
    "## Performance considerations",
    "## Data type map",
    "## Limitations & Troubleshooting",
    "## Changelog",
]


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ .*$", prose(page), re.MULTILINE)


def table_after(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a line with this beginning, without the header."""
    lines = page[page.index(heading) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def anchor(heading: str) -> str:
    """The anchor of a heading: its words in lower case, joined by hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_the_headers_are_in_airbytes_order():
    found = [heading for heading in headings(PAGE) if heading in HEADERS]
    assert found == HEADERS


@pytest.mark.parametrize("tag", ["<HideInUI>", "</HideInUI>", '<FieldAnchor field="', "</FieldAnchor>"])
def test_the_page_has_the_tags_that_the_ui_needs(tag):
    assert PAGE.count(tag) == 1


def test_every_field_anchor_is_a_setting():
    [fields] = re.findall(r'<FieldAnchor field="(.*)">', PAGE)
    assert set(fields.split(",")) <= set(connection_specification()["properties"])


def test_the_settings_table_matches_the_spec():
    specification = connection_specification()
    rows = {cells[1].strip("`"): cells for cells in table_after(PAGE, "| Setting | Name |")}
    assert list(rows) == list(specification["properties"])
    for name, field in specification["properties"].items():
        title, _, required, default, _ = rows[name]
        assert title == field["title"]
        assert (required == "yes") == (name in specification["required"])
        assert default.strip("`") == {"statuses": "all bookings"}.get(name, str(field.get("default", "")))


def test_the_readme_names_every_setting():
    rows = table_after((ROOT / "README.md").read_text(encoding="utf-8"), "| Setting |")
    assert [cells[0].strip("`") for cells in rows] == list(connection_specification()["properties"])


def schema_of(name: str) -> dict[str, Any]:
    streams = SourceRavanCalcom().discover(LOGGER, {"access_token": "ey.J.w", "org_ids": ["a"]}).streams
    [schema] = [stream.json_schema for stream in streams if stream.name == name]
    return schema


@pytest.mark.parametrize("name", ["appointments", "organizations"])
def test_the_views_of_sql_md_have_every_column(name):
    page = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    [columns] = re.findall(rf"read_json\('{name}/\*\.jsonl', columns = \{{(.*?)\}}", page, re.DOTALL)
    assert set(re.findall(r"(\w+): '", columns)) == set(schema_of(name)["properties"])


@pytest.mark.parametrize("name", ["appointments", "organizations"])
def test_the_tables_of_columns_match_the_schemas(name):
    schema = schema_of(name)
    rows = table_after(PAGE, f"### `{name}`")
    assert [cells[0].strip("`") for cells in rows] == list(schema["properties"])
    for column, kind, _ in rows:
        field = schema["properties"][column.strip("`")]
        expected = "timestamp with time zone" if field.get("format") == "date-time" else field["type"][1]
        assert kind == expected


def test_the_page_names_both_streams():
    streams = SourceRavanCalcom().discover(LOGGER, {"access_token": "ey.J.w", "org_ids": ["a"]}).streams
    assert [cells[0].strip("`") for cells in table_after(PAGE, "## Supported Streams")] == [
        each.name for each in streams
    ]


def test_the_page_explains_every_coverage():
    assert [cells[0].strip("`") for cells in table_after(PAGE, "### What is complete")] == [
        coverage.COMPLETE,
        coverage.PARTIAL,
        coverage.FILTERED,
        coverage.UNKNOWN,
    ]


TROUBLESHOOTING = {cells[0].strip("`"): cells[1:] for cells in table_after(PAGE, "### Troubleshooting")}


def test_the_troubleshooting_table_lists_every_kind_in_the_order_of_kinds():
    kinds = [kind.name for kind in KINDS]
    without = [name for name in kinds if name not in TROUBLESHOOTING]
    assert without == [], "add a row for each to the troubleshooting table of docs/ravan-calcom.md"
    assert [*TROUBLESHOOTING] == kinds, (
        "docs/ravan-calcom.md: the rows must be those of KINDS in ravan/failures.py, in order"
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_troubleshooting_table_has_the_sentence_of_the_kind(kind):
    fields = {"org_id": "ORG", "code": "CODE", "detail": "…", "host": "HOST", "tries": "N times", "said": ""}
    sentence, why, remedy = TROUBLESHOOTING.get(kind.name, ("", "", ""))
    assert sentence == SENTENCES[kind].format(**fields), (
        f"docs/ravan-calcom.md, troubleshooting, row {kind.name}: the second cell is the sentence of the code"
    )
    assert why.endswith(".") and remedy.endswith("."), (
        f"docs/ravan-calcom.md, row {kind.name}: the third cell gives the cause and the remedy"
    )


def test_the_table_of_internals_names_each_file_that_uses_them_and_has_at_most_five_rows():
    rows = table_after((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "| theirs |")
    assert 1 <= len(rows) <= 5
    for cells in rows:
        files = re.findall(r"`([\w/]+\.py)`", cells[1])
        assert files, f"CONTRIBUTING.md, {cells[0]}: no file"
        for file in files:
            assert (ROOT / "source_ravan_calcom" / file).exists() or (ROOT / file).exists(), file


def test_the_map_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    package = ROOT / "source_ravan_calcom"
    modules = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    rows = table_after(text, "| in `source_ravan_calcom/`")
    named = {name for cells in rows for name in re.findall(r"`([^`]+\.py)`", cells[0])}
    assert sorted(modules - named - {"bookings/__init__.py", "ravan/__init__.py", "__init__.py"}) == []
    assert sorted(named - modules) == []


def test_behaviours_are_numbered_and_give_a_reason():
    behaviours = re.findall(
        r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", (ROOT / "BEHAVIOR.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert [int(number) for number, _ in behaviours] == list(range(1, len(behaviours) + 1))
    assert all("*Why it" in " ".join(text.split()) for _, text in behaviours)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_resolves(path):
    page = prose(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", page):
        if re.match(r"https?://", target):
            continue
        file, _, fragment = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if fragment:
            assert fragment in map(anchor, headings(linked.read_text(encoding="utf-8"))), target
