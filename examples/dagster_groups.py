"""Hourly syncs in Dagster: organizations in groups, with a run and a state for each group.

    pip install dagster dagster-webserver "$CONNECTOR[pyairbyte]"
    RAVAN_CONFIG=config.json RAVAN_DATABASE='databases/{group}.duckdb' dagster dev -f dagster_groups.py

CONNECTOR is the path of the connector's clone, or of the wheel that ``make package`` builds in its ``dist/``.
config.json contains the connector's settings for all organizations; pyairbyte_sync.py and ravan_groups.py must be in
the directory of this file. Set ``"failing_organizations": "skip"`` in config.json, so that the other organizations of a
group are committed if one can't be read.

A group is a partition of the asset ``appointments``. A group's run starts every hour unless its last run is still
active, and does not depend on other groups. Each run shows the number of delivered bookings, the skipped organizations
and the gaps. An organization's group depends only on its ID, so a new organization moves no other. RAVAN_GROUPS is the
number of groups, 8 by default. If you change it, some organizations change their group, and their bookings are then in
two databases.

With PostgreSQL instead of DuckDB (RAVAN_DATABASE=postgresql://...), each group has a schema ravan_calcom_GROUP. On
Kubernetes, use PostgreSQL, with K8sRunLauncher or k8s_job_executor to run groups on several machines.
"""

import json
import os
from pathlib import Path

import dagster
from pyairbyte_sync import SyncError, sync
from ravan_groups import grouped, home_of, summary

COUNT = int(os.environ.get("RAVAN_GROUPS", "8"))
GROUPS = [f"group_{number}" for number in range(COUNT)]
UNDER_WAY = [dagster.DagsterRunStatus[name] for name in ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")]


def settings() -> dict:
    """Return the connector's settings for all groups."""
    return json.loads(Path(os.environ["RAVAN_CONFIG"]).read_text(encoding="utf-8"))


@dagster.asset(
    partitions_def=dagster.StaticPartitionsDefinition(GROUPS),
    description="Cal.com appointments of Ravan's voice agents, merged by primary key",
)
def appointments(context: dagster.AssetExecutionContext) -> dagster.MaterializeResult:
    """Sync one group. Each run needs its own process, because PyAirbyte is configured once per process."""
    group, config = context.partition_key, settings()
    config["org_ids"] = grouped(config["org_ids"], COUNT).get(group, [])
    if not config["org_ids"]:
        return dagster.MaterializeResult(metadata={"organizations": 0})
    database, schema = home_of(group, os.environ["RAVAN_DATABASE"])
    try:
        result = summary(sync(config, database, schema))
    except SyncError as error:
        raise dagster.Failure(str(error)) from None
    tables = {name: table(result[name]) for name in ("skipped", "gaps")}
    return dagster.MaterializeResult(metadata={"database": database, **result, **tables})


def table(rows: list[dict]) -> dagster.MetadataValue:
    """Convert rows to a table in Dagster's metadata."""
    records = [dagster.TableRecord({column: str(value) for column, value in row.items()}) for row in rows]
    schema = dagster.TableSchema([dagster.TableColumn(column) for column in (rows[0] if rows else ())])
    return dagster.MetadataValue.table(records, schema)


job = dagster.define_asset_job("sync_group", selection=[appointments], executor_def=dagster.multiprocess_executor)


@dagster.schedule(job=job, cron_schedule="0 * * * *", default_status=dagster.DefaultScheduleStatus.RUNNING)
def hourly(context: dagster.ScheduleEvaluationContext):
    """Request a run for each group that has organizations and no active run."""
    running = context.instance.get_runs(dagster.RunsFilter(job_name=job.name, statuses=UNDER_WAY))
    busy = {run.tags["dagster/partition"] for run in running}
    for group in sorted(grouped(settings()["org_ids"], COUNT).keys() - busy):
        yield dagster.RunRequest(partition_key=group, run_key=f"{group} at {context.scheduled_execution_time}")


definitions = dagster.Definitions(assets=[appointments], jobs=[job], schedules=[hourly])
