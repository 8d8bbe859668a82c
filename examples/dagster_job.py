"""A scheduled sync in Dagster: every hour, into a DuckDB file, through PyAirbyte.

    pip install dagster 'airbyte>=0.71.3,<0.72' airbyte-source-ravan-calcom
    RAVAN_CONFIG=config.json RAVAN_DATABASE=appointments.duckdb dagster dev -f dagster_job.py

``config.json`` holds the connector's settings. A failed sync fails the run with the connector's own sentences.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster

# PyAirbyte reads its settings when it is imported, so it gets a process of its own, which also ends with the run.
SYNC = """
import json, os, sys, tempfile
from pathlib import Path
config, database = sys.argv[1:]
with tempfile.TemporaryDirectory() as private:  # PyAirbyte writes the token into files; nobody else enters here
    for name in ("TEMP_DIR", "CACHE_ROOT", "PROJECT_DIR", "LOGGING_ROOT"):
        os.environ["AIRBYTE_" + name] = private
    os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1")
    import airbyte
    source = airbyte.get_source(
        "source-ravan-calcom",
        config=json.loads(Path(config).read_text()),
        local_executable=Path(sys.executable).with_name("source-ravan-calcom"),
        streams=["appointments"],
    )
    try:
        source.check()
    except airbyte.exceptions.AirbyteConnectorCheckFailedError as error:
        sys.exit(error.context["failure_reason"])
    result = source.read(cache=airbyte.DuckDBCache(db_path=database, schema_name="ravan_calcom"))
    print(json.dumps({"changed": result.processed_records}))
"""


@dagster.asset(description="Cal.com appointments of Ravan's voice agents, merged by primary key")
def appointments() -> dagster.MaterializeResult:
    arguments = [os.environ["RAVAN_CONFIG"], os.environ["RAVAN_DATABASE"]]
    done = subprocess.run([sys.executable, "-c", SYNC, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise dagster.Failure(done.stderr.strip().splitlines()[-1])
    changed = json.loads(done.stdout.splitlines()[-1])["changed"]
    return dagster.MaterializeResult(metadata={"changed": changed, "database": str(Path(arguments[1]).resolve())})


job = dagster.define_asset_job("sync_appointments", selection=[appointments])
definitions = dagster.Definitions(
    assets=[appointments], jobs=[job], schedules=[dagster.ScheduleDefinition(job=job, cron_schedule="0 * * * *")]
)
