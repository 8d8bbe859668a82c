"""Tests of the properties that Airbyte's checks look at: spec, metadata, icon and version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from source_ravan_calcom.config import connection_specification

ROOT = Path(__file__).parents[1]
SPEC = connection_specification()
FIELDS = SPEC["properties"]
DATA = yaml.safe_load((ROOT / "metadata.yaml").read_text())["data"]
PYPROJECT = (ROOT / "pyproject.toml").read_text()

UNDERSTOOD_BY_THE_UI = {
    "type",
    "title",
    "description",
    "order",
    "examples",
    "default",
    "enum",
    "items",
    "minItems",
    "minLength",
    "minimum",
    "maximum",
    "pattern",
    "pattern_descriptor",
    "airbyte_secret",
    "airbyte_hidden",
    "always_show",
    "group",
}

FORBIDDEN = ("anyOf", "allOf", "not", "if", "then", "$ref")


def keys(value: Any):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def rule_titles_are_in_title_case(field):
    return all(word[0].isupper() for word in field["title"].split())


def rule_every_setting_is_described(field):
    return len(field["description"]) > 20 and field["description"].endswith(".")


def rule_the_description_reads_the_same_as_html(field):
    return not re.search(r"[`<>&*\n]|]\(", field["description"])


def rule_only_keywords_that_the_ui_supports(field):
    return set(field) | set(field.get("items", {})) <= UNDERSTOOD_BY_THE_UI


def rule_a_pattern_has_a_readable_description(field):
    return all(("pattern" in part) == ("pattern_descriptor" in part) for part in (field, field.get("items", {})))


def rule_lists_contain_texts(field):
    return field["type"] != "array" or field["items"]["type"] == "string"


def rule_the_default_is_valid(field):
    return "default" not in field or jsonschema.Draft7Validator(field).is_valid(field["default"])


def rule_every_example_is_valid(field):
    return all(jsonschema.Draft7Validator(field).is_valid(example) for example in field.get("examples", []))


def rule_the_group_exists(field):
    return field["group"] in {group["id"] for group in SPEC["groups"]}


RULES = [rule for name, rule in sorted(globals().items()) if name.startswith("rule_")]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_setting_follows_the_uis_rules(rule, name):
    assert rule(FIELDS[name])


@pytest.mark.parametrize("keyword", FORBIDDEN)
def test_the_spec_has_no_keyword_that_the_ui_can_not_show(keyword):
    assert keyword not in set(keys(SPEC))


def test_unknown_settings_are_not_refused():
    assert SPEC["additionalProperties"] is True


def test_the_order_of_settings_has_no_gaps():
    assert [field["order"] for field in FIELDS.values()] == list(range(len(FIELDS)))


def test_only_the_token_is_secret_and_only_the_address_is_hidden():
    assert [name for name, field in FIELDS.items() if field.get("airbyte_secret")] == ["access_token"]
    assert [name for name, field in FIELDS.items() if field.get("airbyte_hidden")] == ["api_url"]


def test_settings_that_every_user_chooses_are_outside_the_collapsed_section():
    always_shown = [name for name, field in FIELDS.items() if field.get("always_show")]
    assert always_shown == ["access_token", "org_ids", "failing_organizations"]
    assert [*SPEC["required"], "failing_organizations"] == always_shown


def test_the_choice_between_fail_and_skip_describes_airbytes_reaction_to_failures():
    description = FIELDS["failing_organizations"]["description"]
    assert 'Choose "skip" for two or more organizations' in description
    assert "30 failed jobs in a row or 7 days" in description
    assert FIELDS["failing_organizations"]["default"] == "fail"  # existing connections keep their behaviour


def test_the_spec_is_json_schema():
    jsonschema.Draft7Validator.check_schema(SPEC)


def test_the_metadata_matches_the_image_and_the_package():
    setup = (ROOT / "setup.py").read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert DATA["remoteRegistries"]["pypi"] == {"enabled": True, "packageName": "airbyte-source-ravan-calcom"}
    assert '\nname = "airbyte-source-ravan-calcom"\n' in PYPROJECT
    assert f'\nDocumentation = "{DATA["documentationUrl"]}"\n' in PYPROJECT
    assert f'DOCUMENTATION = "{DATA["documentationUrl"]}"' in setup
    assert f"ARG BASE_IMAGE={DATA['connectorBuildOptions']['baseImage']}\n" in dockerfile
    assert f"io.airbyte.name={DATA['dockerRepository']} " in dockerfile
    assert f"org.opencontainers.image.documentation={DATA['documentationUrl']} " in dockerfile
    assert DATA["allowedHosts"]["hosts"] == [FIELDS["api_url"]["default"].removeprefix("https://")]
    assert DATA["suggestedStreams"]["streams"] == ["appointments", "organizations"]
    assert {"language:python", "cdk:python"} <= set(DATA["tags"])


def test_the_version_is_the_same_everywhere():
    """The version of pyproject.toml is in every file that has the connector's version; scripts/release writes it."""
    [version, for_airbyte] = re.findall(r'^version = "(.*)"$', PYPROJECT, re.MULTILINE)
    assert for_airbyte == DATA["dockerImageTag"] == version
    labels = re.findall(r"(?:io.airbyte|org.opencontainers.image).version=(\S+)", (ROOT / "Dockerfile").read_text())
    assert labels == [version, version]
    files = [path for pattern in ("*.md", "*/*.md", "examples/*.*", "*_tests/*.*") for path in ROOT.glob(pattern)]
    images = {
        path: re.findall(r"(?:source-ravan-calcom:|Docker image tag \| `)(\d[\w.]*)", path.read_text())
        for path in files
    }
    assert {str(path): found for path, found in images.items() if set(found) - {version}} == {}
    assert len(images[ROOT / "README.md"]) > 1


def test_the_changelog_of_the_documentation_matches_the_repositorys():
    sections = re.findall(r"^## (\d\S*) - (\S+)\n\n(.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    page = (ROOT / "docs" / "ravan-calcom.md").read_text()
    rows = re.findall(r"^\| (\d+\.\d+\.\d+) \| (\S+) \| \| (.+) \|$", page, re.MULTILINE)
    assert rows == sections
    assert rows[0][0] == DATA["dockerImageTag"]


def test_the_cdk_version_in_the_metadata_is_the_installed_one():
    [installed] = re.findall(r'^  "airbyte-cdk(.*)",', PYPROJECT, re.MULTILINE)
    assert f'\nairbyte-cdk = "{installed}"\n' in PYPROJECT


def test_the_python_versions_are_the_same_everywhere():
    minors = re.findall(r"Python :: 3\.(\d+)", PYPROJECT)
    assert f'requires-python = ">=3.{minors[0]},<3.{int(minors[-1]) + 1}"' in PYPROJECT
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["ci"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in minors]


def test_a_tag_publishes_only_if_publishing_is_enabled():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    publishing = [job for name, job in jobs.items() if name.startswith("publish-")]
    assert len(publishing) == 2
    assert {(job["if"], job["needs"]) for job in publishing} == {("vars.PUBLISH == 'true'", "build")}
    assert jobs["build"]["needs"] == "test"


def test_the_licence_is_the_same_everywhere():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert DATA["license"] == "MIT"
    assert PYPROJECT.count('\nlicense = "MIT"\n') == 2


def test_the_icon_is_square_and_self_contained():
    icon = ElementTree.parse(ROOT / DATA["icon"]).getroot()
    _, _, width, height = icon.attrib["viewBox"].split()
    assert width == height == icon.attrib["width"] == icon.attrib["height"]
    assert "href" not in (ROOT / DATA["icon"]).read_text()


def test_the_standard_tests_cover_a_valid_an_invalid_and_an_unconnected_configuration():
    tests = yaml.safe_load((ROOT / "acceptance-test-config.yml").read_text())["acceptance_tests"]
    assert {Path(test["config_path"]).stem: test["status"] for test in tests["connection"]["tests"]} == {
        "valid_config": "succeed",
        "broken_token": "failed",
        "not_connected": "failed",
    }
