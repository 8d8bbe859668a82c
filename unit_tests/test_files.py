from __future__ import annotations

import json

import pytest

from source_ravan_calcom.ravan.failures import Failure
from source_ravan_calcom.source import SourceRavanCalcom

READ = {"configuration": SourceRavanCalcom.read_config, "catalog": SourceRavanCalcom.read_catalog}


def refusal(what, path) -> str:
    with pytest.raises(Failure) as caught:
        READ[what](str(path))
    return caught.value.message


@pytest.mark.parametrize("what", READ)
def test_a_file_that_is_not_there_is_named(what, tmp_path):
    path = tmp_path / "file.json"
    assert refusal(what, path) == f"The {what} file {path} can't be read: No such file or directory."


@pytest.mark.parametrize("what", READ)
def test_broken_json_is_told_by_line_and_column(what, tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{\n  "a": 1,\n}')
    assert "line 3, column 1 is not JSON" in refusal(what, path)
    assert str(path) in refusal(what, path)


@pytest.mark.parametrize("what", READ)
def test_json_of_another_kind_is_refused(what, tmp_path):
    path = tmp_path / "file.json"
    path.write_text("[]")
    assert f"does not hold a valid {what}" in refusal(what, path)


@pytest.mark.parametrize("form", ["{}", '{{"type": "CATALOG", "catalog": {}}}', '{{"type": "LOG"}}\n{{"catalog": {}}}'])
def test_what_discover_printed_is_no_catalog_and_it_says_so(form, tmp_path):
    path = tmp_path / "catalog.json"
    catalog = {"streams": [{"name": "appointments", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}]}
    path.write_text(form.format(json.dumps(catalog)))
    assert "it is what discover printed" in refusal("catalog", path)
