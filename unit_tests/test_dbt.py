"""Tests that ``dbt/`` matches the connector's schemas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = "scripts/dbt-models"


def test_the_dbt_source_and_staging_models_match_the_schemas(tmp_path):
    subprocess.run([sys.executable, ROOT / SCRIPT, tmp_path], check=True)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    kept = {file.name: file.read_text() for file in (ROOT / "dbt" / "models" / "staging").iterdir()}
    assert kept == written, f"a schema changed: run {SCRIPT}"
