"""Hourly syncs in Airflow 3: organizations in groups, with a mapped task and a state for each group.

    python3 -m venv connector
    connector/bin/pip install "$CONNECTOR[pyairbyte]"
    mkdir -p "$AIRFLOW_HOME/dags"
    cp airflow_dag.py ravan_groups.py pyairbyte_sync.py "$AIRFLOW_HOME/dags"
    airflow db migrate
    airflow connections import connections.json
    export RAVAN_PYTHON="$PWD/connector/bin/python" RAVAN_DATABASE="$PWD/{group}.duckdb"
    airflow dags test ravan_calcom

CONNECTOR is the path of the connector's clone, or of the wheel that ``make package`` builds in its ``dist/``. The
connector is installed with PyAirbyte in a separate environment, because PyAirbyte and Airflow can't share one.
connections.json contains the connector's settings for all organizations:

{"ravan_calcom": {"conn_type": "generic", "password": "the Access Token",
  "extra": {"org_ids": ["…"], "failing_organizations": "skip"}}}

With ``skip``, the other organizations of a group are committed if one can't be read. The last command runs the DAG
once. For the hourly schedule, set the two variables for Airflow's workers and enable the DAG.

Airflow stores the token in the Connection only. It is passed to the sync through a pipe, and PyAirbyte's file with the
token is in a private directory that is removed when the sync ends. Each task returns the number of delivered bookings,
the skipped organizations and the gaps. A group that fails only fails its own task, with the connector's message. At
most one run is active, with at most PARALLEL groups at a time, because all groups share Ravan's rate limit.

RAVAN_GROUPS is the number of groups, 8 by default. If you change it, some organizations change their group, and their
bookings are then in two databases. With PostgreSQL instead of DuckDB (RAVAN_DATABASE=postgresql://...), each group has
a schema ravan_calcom_GROUP. Use PostgreSQL if tasks run on more than one machine.
"""

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

from airflow.sdk import Connection, dag, task
from ravan_groups import grouped, home_of, summary

CONNECTION = "ravan_calcom"
PARALLEL = 4
SYNC = Path(__file__).with_name("pyairbyte_sync.py")


@task
def groups() -> list[dict]:
    """Return the organizations of each group."""
    org_ids = Connection.get(CONNECTION).extra_dejson["org_ids"]
    count = int(os.environ.get("RAVAN_GROUPS", "8"))
    return [{"group": group, "org_ids": org_ids} for group, org_ids in grouped(org_ids, count).items()]


@task(map_index_template="{{ task.op_kwargs['group'] }}", max_active_tis_per_dagrun=PARALLEL)
def sync_group(group: str, org_ids: list[str]) -> dict:
    """Sync one group and return its summary.

    Raises:
        RuntimeError: The sync failed; the message is the connector's.
    """
    connection = Connection.get(CONNECTION)
    settings = {**connection.extra_dejson, "access_token": connection.password, "org_ids": org_ids}
    database, schema = home_of(group, os.environ["RAVAN_DATABASE"])
    done = subprocess.run(
        [os.environ["RAVAN_PYTHON"], SYNC, "--json", "/dev/stdin"],
        input=json.dumps(settings),
        env={**os.environ, "DATABASE": database, "SCHEMA": schema},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return summary(json.loads(done.stdout))


@dag(schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def ravan_calcom():
    """Sync the Cal.com appointments of Ravan's voice agents, merged by primary key."""
    sync_group.expand_kwargs(groups())


ravan_calcom()
