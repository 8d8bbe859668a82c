"""Compares ``docs/custom-connector.md`` with the connector's version, settings, streams and columns."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

from integration_tests.examples import ROOT

PACKAGE = ROOT / "source_ravan_calcom"
PAGE = (ROOT / "docs" / "custom-connector.md").read_text()


def first_cells(section: str) -> list[str]:
    """The first column of the table in a section, without its header."""
    rows = next(part for part in re.split(r"(?m)^## ", PAGE) if part.startswith(section)).splitlines()
    return [row.split("|")[1].strip() for row in rows if row.startswith("|")][2:]


def test_the_page_names_the_image_of_this_version():
    assert set(re.findall(r"source-ravan-calcom:(\S+?)[`\s]", PAGE)) == {version("airbyte-source-ravan-calcom")}
    assert f"| Docker image tag | `{version('airbyte-source-ravan-calcom')}` |" in PAGE


def test_the_page_lists_every_setting_of_the_form():
    properties = json.loads((PACKAGE / "spec.json").read_text())["connectionSpecification"]["properties"]
    shown = {each["title"] for each in properties.values() if not each.get("airbyte_hidden")}
    assert {title for cell in first_cells("3.") for title in cell.split(", ")} == shown


def test_the_page_lists_every_stream_and_every_personal_column():
    assert {cell.strip("`") for cell in first_cells("4.")} == {file.stem for file in (PACKAGE / "schemas").iterdir()}
    columns = json.loads((PACKAGE / "schemas" / "appointments.json").read_text())["properties"]
    personal = {column for column in columns if column.startswith("attendee")}
    assert set(re.findall(r"`(attendee_\w+)`", PAGE)) == personal
