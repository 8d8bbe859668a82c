"""Splits organizations into stable groups; airflow_dag.py and dagster_groups.py import it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SCHEMA = "ravan_calcom"
SKIPPED = ("organization_id", "last_read_at", "error")
GAP = ("organization_id", "gap_from", "gap_to")


def group_of(org_id: str, count: int) -> str:
    """Return an organization's group, one of ``count``. It depends only on the ID, so adding one moves no other."""
    digest = hashlib.sha256(org_id.strip().lower().encode()).digest()
    return f"group_{int.from_bytes(digest, 'big') % count}"


def grouped(org_ids: Iterable[str], count: int) -> dict[str, list[str]]:
    """Return the organizations of each group, without empty groups."""
    groups: dict[str, list[str]] = {}
    for org_id in org_ids:
        groups.setdefault(group_of(org_id, count), []).append(org_id)
    return dict(sorted(groups.items()))


def home_of(group: str, database: str) -> tuple[str, str]:
    """Return the database and the schema of a group's bookings and state.

    Args:
        group: The group's name.
        database: A DuckDB file with ``{group}`` in its name, or a URL that begins with ``postgresql://``.
    """
    schema = f"{SCHEMA}_{group}" if database.startswith("postgresql://") else SCHEMA
    return database.format(group=group), schema


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarize the rows of ``organizations`` after a sync: delivered bookings, skipped organizations, new gaps."""
    skipped = [row for row in rows if row["error"]]
    # A row keeps its latest gap.
    new_gaps = [row for row in rows if row["gap_found_at"] and row["gap_found_at"] == row["synced_at"]]
    return {
        "organizations": len(rows),
        "bookings": sum(row["bookings_sent"] or 0 for row in rows),
        "skipped": [{column: row[column] for column in SKIPPED} for row in skipped],
        "gaps": [{column: row[column] for column in GAP} for row in new_gaps],
    }
