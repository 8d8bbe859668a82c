"""Tests of the form in Airbyte's web app: the settings that it sends, and those that it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, validators

from source_ravan_calcom.config import Config, InvalidConfig, connection_specification

SPEC = connection_specification()

# The keywords that the web app enforces; it ignores all others, even type, minItems and minLength.
ENFORCED = ("properties", "items", "required", "pattern", "minimum", "maximum", "enum")

Form = validators.create({}, {keyword: Draft7Validator.VALIDATORS[keyword] for keyword in ENFORCED})

IDS = (
    "3f2b8c1e-5a4d-4e6f-9b7a-1c2d3e4f5a6b",
    "0d9c7b6a-1111-4222-8333-444455556666",
    "ffffffff-0000-4000-8000-abcdefabcdef",
)


def pastes(a: str, b: str, c: str) -> dict[str, str]:
    """The same list of three IDs in the formats that users paste."""
    return {
        "a column of a sheet": f"{a}\n{b}\n{c}\n",
        "a column of a sheet on Windows": f"{a}\r\n{b}\r\n{c}",
        "a row of a sheet": f"{a}\t{b}\t{c}",
        "spaces": f"  {a} {b}  {c} ",
        "commas": f"{a}, {b},{c},",
        "semicolons": f"{a};{b}; {c}",
        "commas and semicolons": f"{a};{b},{c}",
        "JSON": f'["{a}", "{b}", "{c}"]',
        "JSON on several lines": f'[\n  "{a}",\n  "{b}",\n  "{c}"\n]\n',
        "Python": f"('{a}', '{b}', '{c}')",
        "a mail": f"“{a}”, ‘{b}’\u00a0<{c}>\u200b",  # noqa: RUF001
        "duplicates": f"{a}\n{b}\n{a}\n{c}\n{b}",
    }


def form_refuses(spec: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """The settings that the web app refuses to save, each with the violated keyword."""
    given = {
        name: value for name, value in values.items() if value not in (None, "", [])
    }  # an emptied field is sent as missing
    return [f"{error.json_path}: {error.validator}" for error in Form(spec).iter_errors(given)]


def chips(pasted: str) -> list[str]:
    """The entries of a list after a paste into a field of one line, which is split at one kind of delimiter."""
    line = re.sub(r"\r\n|[\r\n\t]", " ", pasted)
    delimiter = next((each for each in ",;" if each in line), None)
    return [chip for chip in line.split(delimiter) if chip] if delimiter else [line]


def connector_refuses(values: dict[str, Any]) -> str:
    try:
        Config.parse(values)
    except InvalidConfig as error:
        return str(error)
    return ""


@pytest.mark.parametrize("pasted", pastes(*IDS).values(), ids=pastes(*IDS))
def test_a_list_of_ids_is_the_same_in_every_pasted_format(pasted):
    values = {"access_token": "t", "org_ids": chips(pasted)}
    assert form_refuses(SPEC, values) == []
    assert Config.parse(values).org_ids == IDS


def test_pasting_splits_as_in_the_web_app():
    """The expected values come from a browser; the test above relies on them."""
    assert chips("a\tb\nc") == ["a b c"]
    assert chips("a;b,c") == ["a;b", "c"]
    assert chips("a;b") == ["a", "b"]
    assert chips('["a","b"]') == ['["a"', '"b"]']
    assert chips("a,a") == ["a", "a"]


@pytest.mark.parametrize("blank", [" ", "-", "[]", '""', ";", "…", "\u200b"])
def test_an_entry_without_an_id_is_refused_by_the_form_and_by_the_connector(blank):
    values = {"access_token": "t", "org_ids": ["a", blank]}
    assert form_refuses(SPEC, values) == ["$.org_ids[1]: pattern"]
    assert connector_refuses(values).startswith("Organization IDs (org_ids) entry 2 holds ")


def test_the_forms_error_message_ends_with_a_valid_example():
    items = SPEC["properties"]["org_ids"]["items"]
    sentence = f"The value must match the pattern {items['pattern_descriptor']}"
    assert sentence == f"The value must match the pattern of an organization ID, such as {IDS[0]}"


def test_an_emptied_required_setting_is_refused_by_the_form():
    assert form_refuses(SPEC, {"access_token": "", "org_ids": []}) == ["$: required", "$: required"]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"num_workers": 0}, ["$.num_workers: minimum"]),
        ({"num_workers": 51}, ["$.num_workers: maximum"]),
        ({"statuses": ["accepted"]}, ["$.statuses[0]: enum"]),
        ({"failing_organizations": "ignore"}, ["$.failing_organizations: enum"]),
        ({"num_workers": 50, "statuses": ["past"], "failing_organizations": "skip", "agent_id": ""}, []),
    ],
)
def test_the_form_refuses_numbers_and_choices_out_of_range(values, refused):
    assert form_refuses(SPEC, {"access_token": "t", "org_ids": ["a"], **values}) == refused


def test_a_fraction_is_accepted_by_the_form_and_refused_by_the_connector():
    values = {"access_token": "t", "org_ids": ["a"], "num_workers": 2.5}
    assert form_refuses(SPEC, values) == []
    assert "must be a whole number" in connector_refuses(values)


def test_a_source_of_an_earlier_version_without_the_newer_settings_is_accepted():
    """The form shows “Select a value” for these settings and does not send them."""
    values = {"access_token": "t", "org_ids": ["a"]}
    assert form_refuses(SPEC, values) == []
    assert not Config.parse(values).skips


WORDS = st.sampled_from(
    [*IDS, "", " ", "-", "[", '"', ",", ";", "\n", "\t", "past", "fail", "a", "é", "\u200b", "\x00"]
)
TEXTS = st.lists(WORDS, max_size=6).map("".join) | st.text(max_size=5)
ANYTHING = TEXTS | st.none() | st.booleans() | st.integers(-2, 60) | st.floats() | st.lists(TEXTS | st.integers())


@given(st.lists(TEXTS, min_size=1))
def test_the_form_accepts_every_list_of_ids_that_the_connector_accepts(entries):
    values = {"access_token": "t", "org_ids": entries}
    if not connector_refuses(values):
        assert form_refuses(SPEC, values) == []


@given(st.sampled_from([*SPEC["properties"]]), ANYTHING)
def test_the_connector_refuses_every_setting_that_the_platform_refuses(name, value):
    values = {"access_token": "t", "org_ids": ["a"], name: value}
    is_emptied = value in (None, []) or (isinstance(value, str) and not value.strip())
    if not is_emptied and not connector_refuses(values):
        assert Draft7Validator(SPEC).is_valid(values)
