"""Sync appointments into PostgreSQL with PyAirbyte.

    pip install 'airbyte>=0.71.3,<0.72' airbyte-source-ravan-calcom
    DATABASE_URL=postgresql://user:password@host:5432/warehouse python pyairbyte_to_postgres.py config.json

``config.json`` holds the connector's settings. The rows end up in ``ravan.appointments``, merged by primary key; a
second run syncs only what changed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
database = urlsplit(os.environ["DATABASE_URL"])

# PyAirbyte writes the settings, token included, into temporary files that every user can read. A directory that
# only we can enter keeps them to ourselves. These variables are read when PyAirbyte is imported.
with tempfile.TemporaryDirectory() as private:
    for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
        os.environ[f"AIRBYTE_{name}"] = private
    os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1")
    import airbyte

    source = airbyte.get_source(
        "source-ravan-calcom",
        config=config,
        local_executable=Path(sys.executable).with_name("source-ravan-calcom"),
        streams=["appointments"],
    )
    source.check()
    cache = airbyte.caches.PostgresCache(
        host=database.hostname,
        port=database.port or 5432,
        username=unquote(database.username or ""),
        password=unquote(database.password or ""),
        database=database.path.lstrip("/"),
        schema_name="ravan",
    )
    result = source.read(cache=cache)
    print(f"{result.processed_records} bookings were new or changed.")
