from __future__ import annotations

from io import StringIO

import pytest

from examples.pyairbyte_sync import exact_types

pandas = pytest.importorskip("pandas", reason="pandas comes with PyAirbyte, which supports no Python above 3.12")

VALUES = ["+4930123456", "0301234567", "15551234567", "Nan", "null", "1e5", "12e45", "2026-03-25T14:00:00Z", ""]


def load(values):
    lines = "".join(f'{{"updated_at": "{value}"}}\n' for value in values)
    return pandas.read_json(StringIO(lines), lines=True)["updated_at"].tolist()


@pytest.mark.parametrize("values", [VALUES, *([value] for value in VALUES)])
def test_a_text_that_looks_like_another_type_is_unchanged(values):
    with exact_types():
        assert load(values) == values


def test_pandas_is_restored_afterwards_even_if_the_sync_fails():
    guessing = pandas.read_json
    with pytest.raises(RuntimeError), exact_types():
        raise RuntimeError
    assert pandas.read_json is guessing
    assert load(["+4930123456"]) != ["+4930123456"], "without this, pandas guesses"
