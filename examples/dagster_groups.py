"""Hourly syncs in Dagster: organizations in groups, one run per group, each with a state of its own.

    pip install dagster dagster-webserver 'airbyte>=0.71.3,<0.72' airbyte-source-ravan-calcom
    RAVAN_CONFIG=config.json RAVAN_DATABASE='databases/{group}.duckdb' dagster dev -f dagster_groups.py

``config.json`` holds the connector's settings, for all organizations; pyairbyte_sync.py lies beside this file. Set
``"failing_organizations": "skip"`` there, so that a broken organization does not keep its group from being committed.

A group is a partition of the asset ``appointments``. Its runs go on when another group's fail, and begin every hour
unless the last one is still under way. Each run shows how many bookings came, which organizations were skipped and
where holes opened. An organization's group depends on its ID alone: adding one moves no other. RAVAN_GROUPS is how many
groups there are, 8 if it is not set; changing it moves organizations, whose bookings then are in two databases.

With PostgreSQL in place of DuckDB (RAVAN_DATABASE=postgresql://...), each group has a schema, ravan_calcom_GROUP. On
Kubernetes, use that, and K8sRunLauncher or k8s_job_executor: groups then run on as many machines as there are.
"""

import hashlib
import json
import os
from pathlib import Path

import dagster
from pyairbyte_sync import SCHEMA, SyncError, sync

GROUPS = [f"group_{number}" for number in range(int(os.environ.get("RAVAN_GROUPS", "8")))]
UNDER_WAY = [dagster.DagsterRunStatus[name] for name in ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")]


def group_of(org_id: str) -> str:
    """An organization's group."""
    digest = hashlib.sha256(org_id.strip().lower().encode()).digest()
    return GROUPS[int.from_bytes(digest, "big") % len(GROUPS)]


def home_of(group: str) -> tuple[str, str]:
    """The database and the schema that hold a group's bookings and its state."""
    database = os.environ["RAVAN_DATABASE"].format(group=group)
    return database, f"{SCHEMA}_{group}" if database.startswith("postgresql://") else SCHEMA


def settings() -> dict:
    """The connector's settings, for all groups."""
    return json.loads(Path(os.environ["RAVAN_CONFIG"]).read_text(encoding="utf-8"))


@dagster.asset(
    partitions_def=dagster.StaticPartitionsDefinition(GROUPS),
    description="Cal.com appointments of Ravan's voice agents, merged by primary key",
)
def appointments(context: dagster.AssetExecutionContext) -> dagster.MaterializeResult:
    """Sync one group. PyAirbyte is set up once per process, so that each run needs its own; the executor sees to it."""
    group, config = context.partition_key, settings()
    config["org_ids"] = [org_id for org_id in config["org_ids"] if group_of(org_id) == group]
    if not config["org_ids"]:
        return dagster.MaterializeResult(metadata={"organizations": 0})
    database, schema = home_of(group)
    try:
        rows = sync(config, database, schema)
    except SyncError as error:
        raise dagster.Failure(str(error)) from None
    return dagster.MaterializeResult(
        metadata={
            "database": database,
            "organizations": len(rows),
            "bookings": sum(row["bookings_sent"] or 0 for row in rows),
            "skipped": table(rows, "error", "organization_id", "last_read_at", "error"),
            "gaps": table(rows, "gap_from", "organization_id", "gap_from", "gap_to"),
        }
    )


def table(rows: list[dict], where: str, *columns: str) -> dagster.MetadataValue:
    """The rows that have something in a column, as Dagster shows a table."""
    records = [
        dagster.TableRecord({column: str(row[column]) for column in columns}) for row in rows if row[where] is not None
    ]
    schema = dagster.TableSchema([dagster.TableColumn(column) for column in columns])
    return dagster.MetadataValue.table(records, schema)


job = dagster.define_asset_job("sync_group", selection=[appointments], executor_def=dagster.multiprocess_executor)


@dagster.schedule(job=job, cron_schedule="0 * * * *", default_status=dagster.DefaultScheduleStatus.RUNNING)
def hourly(context: dagster.ScheduleEvaluationContext):
    """A run for each group that has organizations and none under way."""
    running = context.instance.get_runs(dagster.RunsFilter(job_name=job.name, statuses=UNDER_WAY))
    busy = {run.tags["dagster/partition"] for run in running}
    for group in sorted({group_of(org_id) for org_id in settings()["org_ids"]} - busy):
        yield dagster.RunRequest(partition_key=group, run_key=f"{group} at {context.scheduled_execution_time}")


definitions = dagster.Definitions(assets=[appointments], jobs=[job], schedules=[hourly])
