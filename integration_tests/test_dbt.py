"""Tests of ``dbt/`` on the quick start's database; ``test_databases.py`` runs it on PostgreSQL."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import closing

import pytest
import yaml

from integration_tests.conftest import ENVIRONMENT
from integration_tests.dbt import Dbt
from integration_tests.tree import ROOT

pytest.importorskip("airbyte", reason="PyAirbyte supports no Python above 3.12", exc_type=ImportError)
import duckdb

PERSONAL = ["attendee_name", "attendee_email", "attendee_phone", "attendee_timezone"]


@pytest.fixture
def database(tmp_path):
    return tmp_path / "sandbox.duckdb"


def sync(database) -> None:
    command = [sys.executable, "-m", "quickstart", "--database", str(database)]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)


def query(database, sql: str) -> list[tuple]:
    with closing(duckdb.connect(str(database))) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("USE analytics")
        return connection.execute(sql).fetchall()


def columns(database, table: str) -> set[str]:
    return {name for (name,) in query(database, f"SELECT column_name FROM (DESCRIBE {table})")}


def change(database, *statements: str) -> None:
    with closing(duckdb.connect(str(database))) as connection:
        connection.execute("USE ravan_calcom")
        for statement in statements:
            connection.execute(statement)


def test_the_package_builds_after_each_sync_in_another_project_and_over_several_versions(tmp_path, database):
    sync(database)
    dbt = Dbt(tmp_path / "dbt", DATABASE=str(database))
    assert "WARN=0 ERROR=0 SKIP=0" in dbt.run("build")
    [(bookings, cancelled, by_share, leads)] = query(
        database,
        "SELECT sum(bookings), sum(cancelled), sum(share_cancelled * bookings), count(median_lead_hours) "
        "FROM bookings_per_day",
    )
    statuses = "SELECT count(*), count(*) FILTER (WHERE status = 'cancelled') FROM "
    assert query(database, f"{statuses} ravan_calcom.appointments") == [(bookings, cancelled)]
    assert round(by_share) == cancelled > 0
    assert leads == 0, "a first sync doesn't show when bookings were made"
    assert set(PERSONAL) <= columns(database, "stg_appointments")

    # A second sync, with the package installed in another project that sets other variables.
    sync(database)
    packages, variables = page_blocks("yaml")
    project = {"name": "mine", "profile": "ravan_calcom", "vars": yaml.safe_load(variables)["vars"]}
    assert project["vars"]["ravan_calcom_personal_columns"] == PERSONAL
    project["vars"] |= {"ravan_calcom_personal_columns": ["attendee_name"], "ravan_calcom_timezone": "Asia/Tokyo"}
    mine = Dbt(tmp_path / "mine", DATABASE=str(database))
    shutil.rmtree(mine.directory / "models")
    (mine.directory / "dbt_project.yml").write_text(yaml.safe_dump(project))
    (mine.directory / "packages.yml").write_text(packages.replace("/path/to/the/repository", str(tmp_path)))
    mine.run("deps")
    assert "WARN=0 ERROR=0 SKIP=0" in mine.run("build")
    assert "PASS freshness of ravan_calcom.organizations" in mine.run("source", "freshness")
    assert set(PERSONAL) & columns(database, "stg_appointments") == {"attendee_name"}
    [(day, late)] = query(
        database,
        "SELECT day, count(*) FROM (SELECT (start_time AT TIME ZONE 'Asia/Tokyo')::date AS day FROM stg_appointments) "
        "GROUP BY day ORDER BY day LIMIT 1",
    )
    assert query(database, "SELECT day, sum(bookings) FROM bookings_per_day GROUP BY day ORDER BY day LIMIT 1") == [
        (day, late)
    ]
    [(leads, shortest)] = query(
        database, "SELECT count(median_lead_hours), min(median_lead_hours) FROM bookings_per_day"
    )
    assert leads > 0
    assert shortest > 0

    # Older versions of all rows, as in Append mode, with an unknown status; times with a zone, as in Airbyte's own
    # destinations; and empty texts.
    latest = "SELECT booking_key, status, epoch_us(start_time) FROM stg_appointments ORDER BY ALL"
    before = query(database, latest)
    change(
        database,
        "INSERT INTO appointments SELECT * REPLACE ('new' AS status, synced_at - INTERVAL 1 DAY AS synced_at) "
        "FROM appointments",
        "INSERT INTO organizations SELECT * REPLACE ('failed' AS outcome, synced_at - INTERVAL 1 DAY AS synced_at) "
        "FROM organizations",
        "CREATE OR REPLACE TABLE appointments AS "
        "SELECT * REPLACE ('' AS agent_id, start_time AT TIME ZONE 'UTC' AS start_time) FROM appointments",
    )
    assert "WARN=1 ERROR=0 SKIP=0" in dbt.run("build")
    assert query(database, latest) == before
    assert query(database, "SELECT count(agent_id) FROM stg_appointments") == [(0,)]
    assert query(database, "SELECT count(*) = count(DISTINCT organization_id) FROM stg_organizations") == [(True,)]


def page_blocks(language: str) -> list[str]:
    """The code blocks of dbt/README.md in a language."""
    return re.findall(rf"(?s)```{language}\n(.*?)```", (ROOT / "dbt" / "README.md").read_text())
