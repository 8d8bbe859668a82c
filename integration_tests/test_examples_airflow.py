"""``examples/airflow_dag.py`` in a real Airflow, run by the commands in its header."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from integration_tests.environments import require_environment
from integration_tests.examples import Example, commands
from sandbox import TOKEN, generated

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
import duckdb

VENV, INSTALL, *SET_UP, RUN = commands("airflow_dag.py")
ALONE, GOOD, LOST = "org-0", "org-1", "org-4"


@pytest.fixture
def example(tmp_path, sandbox, connector):
    """The example, Airflow on the PATH, and settings for three organizations in two groups."""
    example = Example(tmp_path / "example", "airflow_dag.py", "ravan_groups.py", "pyairbyte_sync.py")
    airflow = require_environment("airflow")
    example.tool("airflow", f'#!/bin/sh\nexec {airflow}/airflow "$@"\n')
    sandbox.clock.set(sandbox.clock.now())
    for number, org_id in enumerate((ALONE, GOOD, LOST)):
        sandbox.put(generated(org_id, 10, number, sandbox.clock.now()))
    settings = {"org_ids": [ALONE, GOOD, LOST], "failing_organizations": "skip", "api_url": connector.url}
    connection = {"conn_type": "generic", "password": TOKEN, "extra": settings}
    (example.directory / "connections.json").write_text(json.dumps({"ravan_calcom": connection}))
    # The connector is installed in the environment of the tests.
    assert VENV == "python3 -m venv connector"
    tools = example.directory / "connector" / "bin"
    tools.mkdir(parents=True)
    shutil.copy(example.tools / "pip", tools)
    python = tools / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert example.run(INSTALL).returncode == 0
    (tmp_path / "tmp").mkdir()
    return example


class Airflow:
    """Queries Airflow's database."""

    def __init__(self, home: Path) -> None:
        self.file = home / "airflow.db"

    def query(self, query: str) -> list[tuple]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(query).fetchall()

    def last_run(self) -> dict[str, tuple[str, dict | None]]:
        """The state and the return value of each group's task in the last run."""
        rows = self.query(
            "SELECT rendered_map_index, state, value FROM task_instance "
            "LEFT JOIN xcom USING (run_id, task_id, map_index) "
            "WHERE task_id = 'sync_group' AND coalesce(key, 'return_value') = 'return_value' "
            "AND run_id = (SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1)"
        )
        return {group: (state, value and json.loads(value)) for group, state, value in rows}

    def dag(self) -> dict:
        [(data,)] = self.query("SELECT data FROM serialized_dag")
        return json.loads(data)["dag"]


def test_each_group_is_a_task_with_its_own_state_and_failure(example, sandbox, tmp_path):
    home, temporary = tmp_path / "airflow", tmp_path / "tmp"
    variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "RAVAN_GROUPS": "2",
        "TMPDIR": str(temporary),
    }
    first = example.run("\n".join(["set -e", *SET_UP, RUN]), **variables)
    assert first.returncode == 0, first.stderr
    airflow = Airflow(home)
    nothing = {"skipped": [], "gaps": []}
    assert airflow.last_run() == {
        "group_0": ("success", {"organizations": 2, "bookings": 20, **nothing}),
        "group_1": ("success", {"organizations": 1, "bookings": 10, **nothing}),
    }

    for org_id in (ALONE, GOOD, LOST):
        sandbox.book(org_id, sandbox.clock.now())
    for org_id in (ALONE, LOST):
        sandbox.accounts[org_id].connected = False
    [export] = [command for command in SET_UP if command.startswith("export")]
    second = example.run(f"{export}\n{RUN}", **variables)
    printed = " ".join((second.stdout + second.stderr).split())
    assert second.returncode == 1
    sentence = rf"RuntimeError: The sync failed; .*Organization {ALONE} has no primary Cal.com account connected"
    assert re.search(sentence, printed)
    state, result = airflow.last_run()["group_0"]
    assert state == "success"
    assert (result["organizations"], result["bookings"]) == (2, 1)
    [skipped] = result["skipped"]
    assert skipped["organization_id"] == LOST
    assert skipped["last_read_at"]
    assert skipped["error"].startswith(f"Organization {LOST} has no primary Cal.com account connected")
    assert airflow.last_run()["group_1"] == ("failed", None)

    assert TOKEN not in first.stdout + first.stderr + second.stdout + second.stderr
    assert TOKEN.encode() not in airflow.file.read_bytes()
    assert [path.name for path in temporary.rglob("*") if path.is_file() and TOKEN in path.read_text("latin-1")] == []
    for group, org_ids in {"group_0": [GOOD, LOST], "group_1": [ALONE]}.items():
        with closing(duckdb.connect(str(example.directory / f"{group}.duckdb"))) as connection:
            found = connection.sql("SELECT DISTINCT organization_id FROM ravan_calcom.appointments ORDER BY 1")
            assert [org_id for (org_id,) in found.fetchall()] == org_ids

    dag = airflow.dag()
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
    assert dag["timetable"]["__var"]["expression"] == "0 * * * *"
    [sync_group] = [task["__var"] for task in dag["tasks"] if task["__var"]["task_id"] == "sync_group"]
    assert sync_group["partial_kwargs"]["max_active_tis_per_dagrun"] == 4
