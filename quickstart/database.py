"""Opens the DuckDB file for the whole run, so that no other program can write to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import duckdb
from sqlalchemy import create_engine

from quickstart.failures import Refused
from quickstart.sync import SCHEMA


@contextmanager
def opened(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file, and keep it until the run ends.

    Yields:
        A connection to the file.

    Raises:
        Refused: It can't be opened, or another program has it open.
    """
    if database.name.split(".")[0] == SCHEMA:
        raise Refused(f"DuckDB can't tell the file {database} from its schema {SCHEMA}. Give the file another name.")
    # The same way as PyAirbyte, because a process can't open a file with two configurations.
    engine = create_engine("duckdb://", connect_args={"database": str(database)})
    try:
        held = engine.raw_connection()
    except duckdb.Error as error:
        raise Refused(_sentence(database, str(error))) from None
    try:
        # A wrapper with the interface of duckdb's connection.
        yield cast(duckdb.DuckDBPyConnection, held.driver_connection)
    finally:
        held.close()
        engine.dispose()


_LOCKED = re.compile(r"Could not set lock on file .*: Conflicting lock is held in (?:.*/)?(.+) \(PID (\d+)\)")
_CANNOT_OPEN = re.compile(r'\A\w+ Error: (?:Cannot open file ".*": )?|[.!]?\Z')


def _sentence(database: Path, reason: str) -> str:
    locked = _LOCKED.search(reason)
    if locked:
        return (
            f"{database} is open in another program ({locked[1]}, process {locked[2]}). Close it there, and try again."
        )
    return f"{database} can't be opened: {_CANNOT_OPEN.sub('', reason)}. For another file: make sync DATABASE=path"
