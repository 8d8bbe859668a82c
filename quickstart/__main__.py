"""``python -m quickstart``: sync appointments into a DuckDB file and show what is there.

PyAirbyte does the sync. Two of its ways are worked around here: it writes the configuration, token included, into a
file that every user can read, so it is given a stand-in and the connector is pointed at the user's own file; and it
names only a log file when a read fails, so the connector's own sentences are listened for.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

SCHEMA = "ravan_calcom"
STREAM = "appointments"
COMMAND = "source-ravan-calcom"

_STAND_IN = {"access_token": "in-your-own-file", "org_ids": ["in-your-own-file"]}


def main() -> None:
    """Parse the command line and sync; a sentence and exit code 1 where that fails."""
    parser = argparse.ArgumentParser(prog="quickstart", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, help="the connector's settings; without it, the sandbox is read")
    parser.add_argument("--database", type=Path, help="the DuckDB file (appointments.duckdb, or sandbox.duckdb)")
    asked = parser.parse_args()
    # The default end of a process on SIGTERM would leave our temporary directory behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    database = asked.database or Path("appointments.duckdb" if asked.config else "sandbox.duckdb")
    if database.stem == SCHEMA:
        sys.exit(f"DuckDB can't tell the file {database} from its schema {SCHEMA}: give the file another name.")
    if asked.config and not asked.config.is_file():
        sys.exit(f"There is no configuration file {asked.config}.")
    with ExitStack() as stack:
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ravan-calcom-")))
        config = asked.config or _sandbox_config(stack, private, is_second_sync=database.exists())
        _sync(config.resolve(), database, private)


def _sandbox_config(stack: ExitStack, private: Path, *, is_second_sync: bool) -> Path:
    from sandbox import ORGANIZATIONS, TOKEN, Sandbox, serving  # noqa: PLC0415  only where it is read

    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    served = Sandbox.with_sample_accounts(now=today)
    if is_second_sync:
        # Something has happened since the first one.
        small = ORGANIZATIONS["small"]
        ahead = served.accounts[small].shown("upcoming", served.clock.now(), 2)
        served.accounts[small].set_status(ahead[0].uid, "cancelled")
        served.reschedule(small, ahead[1].uid, today + timedelta(days=40))
    url = stack.enter_context(serving(served))
    config = private / "sandbox.json"
    org_ids = [ORGANIZATIONS[name] for name in ("small", "medium", "busy", "empty")]
    config.write_text(json.dumps({"access_token": TOKEN, "org_ids": org_ids, "api_url": url}), encoding="utf-8")
    print(f"No CONFIG given: reading the sandbox, served at {url}.")
    return config


def _sync(config: Path, database: Path, private: Path) -> None:
    # PyAirbyte reads these when it is imported.
    os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1")
    for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
        os.environ[f"AIRBYTE_{name}"] = str(private)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries that PyAirbyte imports and we do not use
    import airbyte  # noqa: PLC0415
    from airbyte._executors.local import PathExecutor  # noqa: PLC0415
    from airbyte.exceptions import PyAirbyteError  # noqa: PLC0415
    from airbyte.sources import Source  # noqa: PLC0415

    class Connector(PathExecutor):
        """The installed command, reading the user's own configuration file, overheard."""

        def __init__(self) -> None:
            super().__init__(COMMAND, path=Path(sys.executable).with_name(COMMAND))
            self.cautions: list[str] = []
            self.failure: str | None = None

        def map_cli_args(self, args: list[str]) -> list[str]:
            own = list(args)
            if "--config" in own:
                own[own.index("--config") + 1] = str(config)
            return own

        def execute(self, args: list[str], **options: Any) -> Iterator[str]:
            for line in super().execute(args, **options):
                self._overhear(line)
                yield line

        def _overhear(self, line: str) -> None:
            if '"type":"ERROR"' in line:
                self.failure = json.loads(line)["trace"]["error"]["message"]
            elif '"status":"FAILED"' in line:
                self.failure = json.loads(line)["connectionStatus"]["message"]
            elif '"level":"WARN"' in line:
                self.cautions.append(json.loads(line)["log"]["message"])

    connector = Connector()
    source = Source(executor=connector, name=COMMAND, config=dict(_STAND_IN))
    try:
        source.check()
        source.select_streams([STREAM])
        cache = airbyte.DuckDBCache(db_path=database, schema_name=SCHEMA)
        result = source.read(cache=cache)
    except PyAirbyteError as error:
        sys.exit(f"\nThe sync failed; {database} is as it was.\n{connector.failure or error.get_message()}")
    result.get_sql_engine().dispose()  # it holds the file
    _show(database, result.processed_records, connector.cautions)


def _show(database: Path, changed: int, cautions: list[str]) -> None:
    import duckdb  # noqa: PLC0415

    table = f"{SCHEMA}.{STREAM}"
    with duckdb.connect(str(database)) as connection:
        print("\nAppointments by organization and status:")
        connection.sql(
            f"SELECT organization_id, status, count(*) AS appointments FROM {table} GROUP BY ALL ORDER BY ALL"
        ).show()
        print("Next appointments:")
        connection.sql(
            f"SELECT start_time, duration_minutes, attendee_name, status, organization_id FROM {table} "
            "WHERE start_time >= now() AT TIME ZONE 'UTC' AND status = 'accepted' ORDER BY start_time LIMIT 5"
        ).show()
    for caution in cautions:
        print(f"Warning: {caution}")
    print(f"{changed} bookings were new or changed in this sync. They are in {database}; to query it:")
    print(
        f"  {Path(sys.executable)} -c \"import duckdb; db = duckdb.connect('{database}'); "
        f"db.sql('SELECT start_time, status, attendee_name FROM {table} ORDER BY 1').show()\""
    )


if __name__ == "__main__":
    main()
