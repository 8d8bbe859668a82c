"""Sync to DuckDB or PostgreSQL with PyAirbyte; from the second run on, only changes.

    pip install "$CONNECTOR[pyairbyte]"
    DATABASE=appointments.duckdb python pyairbyte_sync.py config.json
    DATABASE=postgresql://user:password@localhost:5432/warehouse python pyairbyte_sync.py config.json

CONNECTOR is the path of the connector's clone, or of the wheel that ``make package`` builds in its ``dist/``.
config.json contains the connector's settings. The tables are ``ravan_calcom.appointments`` and
``ravan_calcom.organizations``, merged by primary key. Times are in UTC, without a zone. Needs Python 3.10-3.12.

If one failing organization must not stop the others, set ``"failing_organizations": "skip"``. PyAirbyte commits nothing
of a failed read, so with the default, ``fail``, one organization that can't be read leaves the tables unchanged for all
of them. Skipped organizations are printed at the end.

A DuckDB file, or a schema in PostgreSQL, has the state of one ``config.json``. Use a separate one for each, for a
schema with SCHEMA=name.
"""

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy
from rich.console import Console
from rich.table import Table

SCHEMA = "ravan_calcom"
CONNECTOR = "source-ravan-calcom"


def main() -> None:
    """Sync once, and print the number of new bookings, the organizations that could not be read, and new gaps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--json", action="store_true", help="print the rows of organizations as JSON on one line")
    arguments = parser.parse_args()
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        sys.exit(128 + number)

    # By default, SIGTERM would end the process without removing PyAirbyte's files, which contain the token.
    signal.signal(signal.SIGTERM, stop)
    try:
        config = json.loads(arguments.config.read_text(encoding="utf-8"))
        rows = sync(config, os.environ["DATABASE"], os.environ.get("SCHEMA", SCHEMA))
    except Exception as error:
        if stopped:  # PyAirbyte raises another error during the exit
            sys.exit(128 + stopped[0])
        sys.exit(f"The sync failed; the database is unchanged.\n{reason(error)}")
    if arguments.json:
        print(json.dumps(rows, default=lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}"))
        return
    print(f"{sum(row['bookings_sent'] or 0 for row in rows)} bookings were new or changed.")
    not_read = [row for row in rows if row["error"]]
    # A row keeps its latest gap.
    new_gaps = [row for row in rows if row["gap_found_at"] and row["gap_found_at"] == row["synced_at"]]
    show(f"Not read: {len(not_read)} of {len(rows)}", {"last_read_at": "Last read", "error": "Reason"}, not_read)
    gap = {"organization_id": "Organization", "gap_from": "From", "gap_to": "To"}
    show(f"New gaps: {len(new_gaps)} of {len(rows)}", gap, new_gaps)


def sync(config: Mapping[str, Any], database: str, schema: str = SCHEMA) -> list[dict[str, Any]]:
    """Sync every stream. Call it once per process, because PyAirbyte is configured when it is imported.

    Args:
        config: The connector's settings.
        database: A file for DuckDB, or a URL that begins with ``postgresql://``.
        schema: The schema for the tables.

    Returns:
        A row of ``organizations`` for each organization of the settings.

    Raises:
        SyncError: The sync failed; the message is the connector's, if there is one.
    """
    if Path(database).stem == schema:
        raise SyncError(f"DuckDB can't tell the file {database} from its schema {schema}. Choose another name.")
    with private_pyairbyte() as airbyte, exact_types():
        source = airbyte.get_source(
            CONNECTOR, config=dict(config), local_executable=Path(sys.executable).with_name(CONNECTOR)
        )
        sentences = Sentences()
        logging.getLogger(f"airbyte.{CONNECTOR}").addHandler(sentences)
        try:
            source.select_all_streams()
            # PyAirbyte's validation would print the token; the connector validates the settings without printing it.
            result = source.read(cache=cache_for(database, schema, airbyte), skip_validation=True)
        except airbyte.exceptions.PyAirbyteError as error:
            raise SyncError(sentences.last or reason(error)) from error
        engine = result.get_sql_engine()
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text(f"SELECT * FROM {schema}.organizations"))
            rows = [dict(row) for row in found.mappings()]
        engine.dispose()  # closes the DuckDB file
    wanted = {str(org_id).strip().lower() for org_id in config["org_ids"]}
    return [row for row in rows if row["organization_id"].lower() in wanted]


class SyncError(Exception):
    """The sync failed."""


class Sentences(logging.Handler):
    """Keeps the last error message of the connector, which PyAirbyte's exception lacks."""

    last = ""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.last = record.getMessage()


@contextmanager
def exact_types():
    """Make PyAirbyte write values as they are.

    It loads PostgreSQL through ``pandas.read_json``, which takes the phone number ``+4930123456`` for 4930123456 and
    the name ``Nan`` for null.
    """
    import pandas  # noqa: PLC0415  it is PyAirbyte's

    guessing = pandas.read_json
    pandas.read_json = partial(guessing, dtype=False, convert_dates=False)
    try:
        yield
    finally:
        pandas.read_json = guessing


@contextmanager
def private_pyairbyte():
    """Import PyAirbyte without output, with its files in a private directory, because they contain the token."""
    with (
        tempfile.TemporaryDirectory() as private,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        # PyAirbyte reads these when it is imported.
        for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
            os.environ[f"AIRBYTE_{name}"] = private
        os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1", TMPDIR=private)
        import airbyte  # noqa: PLC0415

        yield airbyte


def cache_for(database: str, schema: str, airbyte):
    """Return PyAirbyte's cache for the database."""
    if not database.startswith("postgresql://"):
        return airbyte.DuckDBCache(db_path=database, schema_name=schema)
    # PyAirbyte's columns have no zone; without this, the server would convert times to its own zone.
    os.environ["PGTZ"] = "UTC"
    url = urlsplit(database)
    return airbyte.caches.PostgresCache(
        host=url.hostname,
        port=url.port or 5432,
        username=unquote(url.username or ""),
        password=unquote(url.password or ""),
        database=url.path.lstrip("/"),
        schema_name=schema,
    )


def reason(error: BaseException) -> str:
    """Return the message of the innermost cause."""
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing."
    inner = getattr(error, "orig", None) or getattr(error, "original_exception", None)
    if inner:
        return reason(inner)
    return error.get_message() if hasattr(error, "get_message") else str(error)


def show(title: str, columns: Mapping[str, str], rows: list[Mapping[str, Any]]) -> None:
    """Print the rows as a table, if there are any."""
    if rows:
        table = Table(*columns.values(), title=f"{title} organizations")
        for row in rows:
            table.add_row(*(str(row[column] or "never") for column in columns))
        Console().print(table)


if __name__ == "__main__":
    main()
