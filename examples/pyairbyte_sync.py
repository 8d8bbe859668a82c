"""Sync into DuckDB or PostgreSQL with PyAirbyte; from the second run on, only what changed.

    pip install "$CONNECTOR[pyairbyte]"
    DATABASE=appointments.duckdb python pyairbyte_sync.py config.json
    DATABASE=postgresql://user:password@localhost:5432/warehouse python pyairbyte_sync.py config.json

CONNECTOR is the path of the connector's clone, or of the wheel that ``make package`` leaves in its ``dist/``;
config.json holds the connector's settings. The rows end up in ``ravan_calcom.appointments`` and
``ravan_calcom.organizations``, merged by primary key; times there are without a zone, in UTC. Needs Python 3.10-3.12.

Where one organization may be broken and the others should not wait, put ``"failing_organizations": "skip"`` into the
settings: PyAirbyte commits nothing of a read that fails, so with ``fail``, the default, one organization that can't be
read leaves the tables as they were for all of them. What was skipped is printed at the end.

One DuckDB file, or one schema in PostgreSQL, holds the state of one ``config.json``: give each its own, the schema with
SCHEMA=name.
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
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy
from rich.console import Console
from rich.table import Table

from source_ravan_calcom.pyairbyte import exact_types

SCHEMA = "ravan_calcom"
CONNECTOR = "source-ravan-calcom"


def main() -> None:
    """Sync once, and print what was new and what could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--json", action="store_true", help="print the rows of organizations as one line of JSON")
    arguments = parser.parse_args()
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        sys.exit(128 + number)

    # The default end of a process on SIGTERM would leave PyAirbyte's files behind, and the token is in them.
    signal.signal(signal.SIGTERM, stop)
    try:
        config = json.loads(arguments.config.read_text(encoding="utf-8"))
        rows = sync(config, os.environ["DATABASE"], os.environ.get("SCHEMA", SCHEMA))
    except Exception as error:
        if stopped:  # PyAirbyte raises an error of its own on the way out
            sys.exit(128 + stopped[0])
        sys.exit(f"The sync failed; what was in the database is as it was.\n{reason(error)}")
    if arguments.json:
        print(json.dumps(rows, default=lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}"))
        return
    print(f"{sum(row['bookings_sent'] or 0 for row in rows)} bookings were new or changed.")
    not_read = [row for row in rows if row["error"]]
    # A row keeps its latest gap.
    new_gaps = [row for row in rows if row["gap_found_at"] and row["gap_found_at"] == row["synced_at"]]
    show(f"Not read: {len(not_read)} of {len(rows)}", {"last_read_at": "Last read", "error": "Why"}, not_read)
    gap = {"organization_id": "Organization", "gap_from": "From", "gap_to": "To"}
    show(f"New gaps: {len(new_gaps)} of {len(rows)}", gap, new_gaps)


def sync(config: Mapping[str, Any], database: str, schema: str = SCHEMA) -> list[dict[str, Any]]:
    """Sync every stream; once in a process, because PyAirbyte is set up when it is imported.

    Args:
        config: The connector's settings.
        database: A file for DuckDB, or a URL that begins with ``postgresql://``.
        schema: Where the tables go in it.

    Returns:
        A row of ``organizations`` for each organization of the settings.

    Raises:
        SyncError: With the connector's own sentences.
    """
    if Path(database).stem == schema:
        raise SyncError(f"DuckDB can't tell the file {database} from its schema {schema}: choose another name.")
    with private_pyairbyte() as airbyte, exact_types():
        source = airbyte.get_source(
            CONNECTOR, config=dict(config), local_executable=Path(sys.executable).with_name(CONNECTOR)
        )
        sentences = Sentences()
        logging.getLogger(f"airbyte.{CONNECTOR}").addHandler(sentences)
        try:
            source.select_all_streams()
            # PyAirbyte's own validation prints the token; the connector's does not.
            result = source.read(cache=cache_for(database, schema, airbyte), skip_validation=True)
        except airbyte.exceptions.PyAirbyteError as error:
            raise SyncError(sentences.last or reason(error)) from error
        engine = result.get_sql_engine()
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text(f"SELECT * FROM {schema}.organizations"))
            rows = [dict(row) for row in found.mappings()]
        engine.dispose()  # it holds DuckDB's file
    wanted = {str(org_id).strip().lower() for org_id in config["org_ids"]}
    return [row for row in rows if row["organization_id"].lower() in wanted]


class SyncError(Exception):
    """A sync that failed, in the connector's words."""


class Sentences(logging.Handler):
    """Keeps the last error that the connector reported; PyAirbyte's own exception names none."""

    last = ""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.last = record.getMessage()


@contextmanager
def private_pyairbyte():
    """PyAirbyte, quiet, with its files where nobody else can read them: the token is among them."""
    with (
        tempfile.TemporaryDirectory() as private,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        # These are read when PyAirbyte is imported.
        for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
            os.environ[f"AIRBYTE_{name}"] = private
        os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1", TMPDIR=private)
        import airbyte  # noqa: PLC0415

        yield airbyte


def cache_for(database: str, schema: str, airbyte):
    """Where PyAirbyte puts the rows."""
    if not database.startswith("postgresql://"):
        return airbyte.DuckDBCache(db_path=database, schema_name=schema)
    # PyAirbyte's columns have no zone: without this, the server would turn each time into its own.
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
    """The innermost cause, in its own words."""
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing."
    inner = getattr(error, "orig", None) or getattr(error, "original_exception", None)
    if inner:
        return reason(inner)
    return error.get_message() if hasattr(error, "get_message") else str(error)


def show(title: str, columns: Mapping[str, str], rows: list[Mapping[str, Any]]) -> None:
    """Print the rows, if there are any."""
    if rows:
        table = Table(*columns.values(), title=f"{title} organizations")
        for row in rows:
            table.add_row(*(str(row[column] or "never") for column in columns))
        Console().print(table)


if __name__ == "__main__":
    main()
