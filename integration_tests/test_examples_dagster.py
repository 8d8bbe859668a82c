"""``examples/dagster_groups.py``, served by the command in its header and run in groups."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
import requests

from integration_tests.examples import Example, commands
from sandbox import TOKEN, generated

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
import duckdb
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, TableMetadataValue, build_schedule_context

INSTALL, SERVE = commands("dagster_groups.py")
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "dagster_groups.py"}

TICK = """mutation($schedule: ScheduleSelector!, $now: Float!) {
  scheduleDryRun(selectorData: $schedule, timestamp: $now) { ... on PythonError { message }
  ... on DryRunInstigationTick { evaluationResult {
    error { message cause { message } } runRequests { tags { key value } } } } } }"""
LAUNCH = """mutation($runs: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $runs) {
  ... on LaunchMultipleRunsResult { launchMultipleRunsResult { __typename } } } }"""
STATUS = """query($schedule: ScheduleSelector!) { scheduleOrError(scheduleSelector: $schedule) {
  ... on Schedule { cronSchedule scheduleState { status } } } }"""


class Server:
    """A client of Dagster's web server."""

    def __init__(self, url: str, home: Path) -> None:
        self._url = url
        self.home = home

    def ask(self, query: str, **variables) -> dict:
        response = requests.post(f"{self._url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        content = response.json()
        assert "errors" not in content, content
        [result] = content["data"].values()
        return result

    def is_up(self) -> bool:
        try:
            return requests.get(f"{self._url}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False

    def sync(self, instance: DagsterInstance) -> dict[str, str]:
        """Run one tick of the schedule and every run that it requests; return the final status of each group."""
        tick = self.ask(TICK, schedule={**LOCATION, "scheduleName": "hourly"}, now=time.time())
        tick = tick["evaluationResult"]
        assert tick["error"] is None
        runs = [
            {
                "selector": {**LOCATION, "jobName": "sync_group"},
                "mode": "default",
                "executionMetadata": {"tags": request["tags"]},
            }
            for request in tick["runRequests"]
        ]
        before = {run.run_id for run in instance.get_runs()}
        launched = self.ask(LAUNCH, runs=runs)["launchMultipleRunsResult"]
        assert {result["__typename"] for result in launched} == {"LaunchRunSuccess"}
        while True:
            new = [run for run in instance.get_runs() if run.run_id not in before]
            if len(new) == len(runs) and all(run.is_finished for run in new):
                return {run.tags["dagster/partition"]: run.status.value for run in new}
            time.sleep(0.3)


@pytest.fixture
def example(tmp_path, sandbox, connector):
    example = Example(tmp_path / "example", "dagster_groups.py", "ravan_groups.py", "pyairbyte_sync.py")
    sandbox.clock.set(sandbox.clock.now())
    return example


@pytest.fixture
def server(example, tmp_path):
    """Dagster, started by the command in the header with three groups."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_coordinator: {module: dagster, class: QueuedRunCoordinator, config: {dequeue_interval_seconds: 1}}\n"
    )
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        process = example.start(f"exec env {SERVE} --port {port}", log, DAGSTER_HOME=str(home), RAVAN_GROUPS="3")
        with process:
            served = Server(f"http://127.0.0.1:{port}", home)
            while not served.is_up():
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
            yield served
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            finally:
                process.kill()


def test_groups_run_in_parallel_with_their_own_state_and_failure(example, sandbox, connector, server, monkeypatch):
    assert example.run(INSTALL).returncode == 0
    monkeypatch.syspath_prepend(str(example.directory))
    from ravan_groups import grouped, home_of

    groups = grouped([f"org-{number}" for number in range(9)], 3)
    for number in range(9):
        sandbox.put(generated(f"org-{number}", 10, 100 + number, sandbox.clock.now()))
    assert sorted(groups) == ["group_0", "group_1", "group_2"]
    org_ids = [org_id for group in groups.values() for org_id in group]
    settings = {"access_token": TOKEN, "org_ids": org_ids, "api_url": connector.url}
    (example.directory / "config.json").write_text(json.dumps({**settings, "failing_organizations": "skip"}))

    state = server.ask(STATUS, schedule={**LOCATION, "scheduleName": "hourly"})
    assert state == {"cronSchedule": "0 * * * *", "scheduleState": {"status": "RUNNING"}}

    with DagsterInstance.from_config(str(server.home)) as instance:
        assert server.sync(instance) == dict.fromkeys(groups, "SUCCESS")
        runs = instance.get_run_records()
        starts, ends = [record.start_time for record in runs], [record.end_time for record in runs]
        assert max(starts) < min(ends), "the runs overlap"
        assert metadata(instance) == {
            group: {"organizations": len(own), "bookings": 10 * len(own), "skipped": 0, "gaps": 0}
            for group, own in groups.items()
        }

        # In one group all organizations fail, in another group one of them. Each organization has a new booking.
        for org_id in org_ids:
            sandbox.book(org_id, sandbox.clock.now())
        broken, skipping, well = sorted(groups, key=lambda group: len(groups[group]))
        for org_id in [*groups[broken], groups[skipping][0]]:
            sandbox.accounts[org_id].connected = False
        assert server.sync(instance) == {broken: "FAILURE", skipping: "SUCCESS", well: "SUCCESS"}
        shown = metadata(instance)
        new = len(groups[well])
        assert shown[well] == {"organizations": new, "bookings": new, "skipped": 0, "gaps": 0}
        assert shown[skipping] | {"gaps": 0} == {
            "organizations": len(groups[skipping]),
            "bookings": len(groups[skipping]) - 1,
            "skipped": 1,
            "gaps": 0,
        }
        [failed] = [run for run in instance.get_runs() if run.status.value == "FAILURE"]
        events = "".join(str(entry.dagster_event) for entry in instance.all_logs(failed.run_id))
        assert "has no primary Cal.com account connected" in events

    url = "postgresql://user@host/warehouse"
    assert home_of("group_1", url) == (url, "ravan_calcom_group_1")
    for group, own in groups.items():
        with closing(duckdb.connect(str(example.directory / "databases" / f"{group}.duckdb"))) as connection:
            found = connection.sql("SELECT DISTINCT organization_id FROM ravan_calcom.appointments ORDER BY 1")
            assert [org_id for (org_id,) in found.fetchall()] == sorted(own)


def test_a_group_with_a_run_in_progress_is_not_started_and_organizations_keep_their_group(example, monkeypatch):
    org_ids = [f"org-{number}" for number in range(40)]
    (example.directory / "config.json").write_text(json.dumps({"access_token": TOKEN, "org_ids": org_ids}))
    monkeypatch.setenv("RAVAN_CONFIG", str(example.directory / "config.json"))
    monkeypatch.syspath_prepend(str(example.directory))
    monkeypatch.delitem(sys.modules, "dagster_groups", raising=False)
    from dagster_groups import GROUPS, hourly
    from ravan_groups import group_of

    with DagsterInstance.local_temp(str(example.directory)) as instance:
        for status, group in (("STARTED", "group_3"), ("STARTING", "group_5"), ("FAILURE", "group_0")):
            tags = {"dagster/partition": group}
            instance.add_run(DagsterRun(job_name="sync_group", status=DagsterRunStatus[status], tags=tags))
        run_requests = list(hourly(build_schedule_context(instance=instance, scheduled_execution_time=datetime.now())))
    assert [request.partition_key for request in run_requests] == sorted(set(GROUPS) - {"group_3", "group_5"})
    # Fixed values, because an organization whose group changes is read again into another database.
    assert [group_of(org_id, 8) for org_id in ("org-0", "org-1", " ORG-1 ")] == ["group_3", "group_0", "group_0"]


def metadata(instance: DagsterInstance) -> dict[str, dict]:
    """The metadata of the latest run of each group, with the number of rows in place of each table."""
    shown = {}
    for record in reversed(instance.fetch_materializations(AssetKey("appointments"), limit=100).records):
        event = record.asset_materialization
        values = {
            name: len(value.records) if isinstance(value, TableMetadataValue) else value.value
            for name, value in event.metadata.items()
            if name != "database"
        }
        shown[event.partition] = {name: value for name, value in values.items() if not name.startswith("dagster")}
    return shown
