"""Hourly syncs in Dagster: organizations in groups, one run per group, each with a state of its own.

    pip install dagster dagster-webserver "$CONNECTOR[pyairbyte]"
    RAVAN_CONFIG=config.json RAVAN_DATABASE='databases/{group}.duckdb' dagster dev -f dagster_groups.py

CONNECTOR is the path of the connector's clone, or of the wheel that ``make package`` leaves in its ``dist/``.
config.json holds the connector's settings, for all organizations; pyairbyte_sync.py and ravan_groups.py are beside this
file. Set ``"failing_organizations": "skip"`` there, so that an organization that can't be read doesn't keep its group
from being committed.

A group is a partition of the asset ``appointments``. Its runs continue when another group's fail, and start every hour
unless the last one is still under way. Each run shows how many bookings came, which organizations were skipped, and the
gaps. An organization's group depends on its ID alone: adding one moves no other. RAVAN_GROUPS is the number of groups,
8 if it isn't set; changing it moves organizations, whose bookings then are in two databases.

With PostgreSQL in place of DuckDB (RAVAN_DATABASE=postgresql://...), each group has a schema, ravan_calcom_GROUP. On
Kubernetes, use that, and K8sRunLauncher or k8s_job_executor: groups then run on as many machines as there are.
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
    """The connector's settings, for all groups."""
    return json.loads(Path(os.environ["RAVAN_CONFIG"]).read_text(encoding="utf-8"))


@dagster.asset(
    partitions_def=dagster.StaticPartitionsDefinition(GROUPS),
    description="Cal.com appointments of Ravan's voice agents, merged by primary key",
)
def appointments(context: dagster.AssetExecutionContext) -> dagster.MaterializeResult:
    """Sync one group. PyAirbyte is set up once per process, so that each run needs its own; the executor sees to it."""
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
    """Show rows as Dagster shows a table."""
    records = [dagster.TableRecord({column: str(value) for column, value in row.items()}) for row in rows]
    schema = dagster.TableSchema([dagster.TableColumn(column) for column in (rows[0] if rows else ())])
    return dagster.MetadataValue.table(records, schema)


job = dagster.define_asset_job("sync_group", selection=[appointments], executor_def=dagster.multiprocess_executor)


@dagster.schedule(job=job, cron_schedule="0 * * * *", default_status=dagster.DefaultScheduleStatus.RUNNING)
def hourly(context: dagster.ScheduleEvaluationContext):
    """A run for each group that has organizations and none under way."""
    running = context.instance.get_runs(dagster.RunsFilter(job_name=job.name, statuses=UNDER_WAY))
    busy = {run.tags["dagster/partition"] for run in running}
    for group in sorted(grouped(settings()["org_ids"], COUNT).keys() - busy):
        yield dagster.RunRequest(partition_key=group, run_key=f"{group} at {context.scheduled_execution_time}")


definitions = dagster.Definitions(assets=[appointments], jobs=[job], schedules=[hourly])
