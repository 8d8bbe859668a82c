"""For programs that run PyAirbyte. The connector itself does not import this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any


@contextmanager
def exact_types() -> Iterator[None]:
    """Make PyAirbyte write values as they are: ``with exact_types(): source.read(cache=cache)``.

    PyAirbyte loads several databases through ``pandas.read_json``, which takes the phone number ``+4930123456`` for
    4930123456 and the name ``Nan`` for null.
    """
    pandas: Any = import_module("pandas")
    guessing = pandas.read_json
    pandas.read_json = partial(guessing, dtype=False, convert_dates=False)
    try:
        yield
    finally:
        pandas.read_json = guessing
