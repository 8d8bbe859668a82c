"""Prints a summary of the database after a sync, 80 columns wide."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from quickstart.sync import APPOINTMENTS, ORGANIZATIONS, SCHEMA, Progress

STATUSES = ("accepted", "pending", "cancelled", "rejected")
"""Columns of the table of counts; all other statuses are counted under "other"."""

ROWS_SHOWN = 20
"""The most rows of a table; the file has all."""

NEXT_SHOWN = 5


@dataclass(frozen=True)
class Organization:
    """A row of the ``organizations`` stream."""

    organization_id: str
    outcome: str
    error_kind: str | None
    error: str | None
    bookings_read: int | None
    coverage: str | None
    covered_from: datetime | None
    covered_until: datetime | None
    gap_from: datetime | None
    gap_to: datetime | None
    full_windows: Sequence[str]

    @property
    def description(self) -> str:
        """The coverage, or the reason why it was not read, on one line."""
        if self.outcome != "read":
            kind = f": {self.error_kind.replace('_', ' ')}" if self.error_kind else ""
            return {"failed": "skipped", "not_asked": "not attempted"}.get(self.outcome, self.outcome) + kind
        if not self.bookings_read:
            return "no bookings"
        words = _COVERAGE.get(self.coverage or "", self.coverage or "unknown")
        bounds = (("from", self.covered_from), ("to", self.covered_until))
        words += "".join(f" {word} {_minute(at)}" for word, at in bounds if at)
        if self.gap_from or self.gap_to:
            words += f", with a gap from {_minute(self.gap_from)} to {_minute(self.gap_to)}"
        return words


_COVERAGE = {"partial": "complete", "filtered": "complete for the chosen Booking Statuses"}
"""Shorter words for the values of ``coverage``; the times printed after them give the bounds."""


def show(console: Console, connection: duckdb.DuckDBPyConnection, database: Path, progress: Progress) -> None:
    """Print the summary.

    Args:
        console: The console to print to.
        connection: A connection to the DuckDB file.
        database: The DuckDB file.
        progress: The result of the connector.
    """
    organizations = _organizations(connection, progress.organizations)
    _print_bookings(console, connection, organizations)
    _print_next(console, connection)
    _print_coverage(console, organizations)
    _print_cautions(console, organizations, progress.cautions)
    rows = "1 row is" if progress.changed == 1 else f"{progress.changed} rows are"
    for line in ("", f"{rows} new or changed, in {database}. To query it:", f"  {query(database)}"):
        # Without line breaks, so that the command can be copied; the terminal wraps it.
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def query(database: Path) -> str:
    """Return the command that queries the file, quoted for a shell."""
    return shlex.join([_as_typed(Path(sys.executable)), "-m", "quickstart.sql", str(database)])


def _as_typed(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _organizations(connection: duckdb.DuckDBPyConnection, org_ids: Sequence[str]) -> list[Organization]:
    names = list(Organization.__dataclass_fields__)
    rows = connection.execute(
        f"SELECT {', '.join(names)} FROM {SCHEMA}.{ORGANIZATIONS} WHERE list_contains(?, organization_id) "
        "ORDER BY outcome = 'read', coverage = 'complete', organization_id",
        [org_ids],
    ).fetchall()
    return [Organization(**_typed(dict(zip(names, row, strict=True)))) for row in rows]


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"full_windows": json.loads(row["full_windows"] or "[]")}


def _print_bookings(
    console: Console, connection: duckdb.DuckDBPyConnection, organizations: Sequence[Organization]
) -> None:
    counts: dict[str, dict[str, int]] = {each.organization_id: {} for each in organizations}
    for org_id, status, count in connection.execute(
        f"SELECT organization_id, status, count(*) FROM {SCHEMA}.{APPOINTMENTS} GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        of_one = counts.setdefault(org_id, {})
        column = status if status in STATUSES else "other"
        of_one[column] = of_one.get(column, 0) + count
    columns = [*STATUSES, *(["other"] if any("other" in each for each in counts.values()) else [])]
    # An ID and five columns of numbers fit only with the smaller gap.
    table = _table("Bookings by organization and status", "organization", gap=1 if "other" in columns else 2)
    for column in columns:
        table.add_column(column, justify="right")
    not_read = {each.organization_id for each in organizations if each.outcome != "read"}
    for org_id in sorted(counts)[:ROWS_SHOWN]:
        none = "-" if org_id in not_read else 0
        table.add_row(_text(org_id), *(str(counts[org_id].get(column, none)) for column in columns))
    _print(console, table, len(counts))


def _print_next(console: Console, connection: duckdb.DuckDBPyConnection) -> None:
    table = _table("Next appointments", "start (UTC)")
    table.add_column("min", justify="right")
    table.add_column("attendee", overflow="fold")
    table.add_column("organization", overflow="fold")
    for start, minutes, attendee, org_id in connection.execute(
        f"SELECT start_time, duration_minutes, attendee_name, organization_id FROM {SCHEMA}.{APPOINTMENTS} "
        "WHERE start_time >= now() AT TIME ZONE 'UTC' AND status = 'accepted' "
        f"ORDER BY start_time, id LIMIT {NEXT_SHOWN}"
    ).fetchall():
        table.add_row(_minute(start), str(minutes or ""), _text(attendee), _text(org_id))
    _print(console, table, table.row_count)


def _print_coverage(console: Console, organizations: Sequence[Organization]) -> None:
    table = _table("How each organization was read", "organization")
    table.add_column("coverage (UTC)")
    for each in organizations[:ROWS_SHOWN]:
        style = (
            {"complete": "green", "partial": "yellow"}.get(each.coverage or "", "") if each.outcome == "read" else "red"
        )
        table.add_row(_text(each.organization_id), Text(each.description, style))
    _print(console, table, len(organizations))


def _print_cautions(console: Console, organizations: Sequence[Organization], cautions: Iterable[str]) -> None:
    errors = [each.error for each in organizations if each.error]
    other = [caution for caution in cautions if not any(error in caution for error in errors)]
    for sentences in (errors, other):
        for sentence in sentences[:ROWS_SHOWN]:
            console.print("", _text(sentence), sep="\n")
        if len(sentences) > ROWS_SHOWN:
            console.print(f"… and {len(sentences) - ROWS_SHOWN} more.")


def _table(title: str, first_column: str, gap: int = 2) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, gap - 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(first_column, overflow="fold")
    return table


def _print(console: Console, table: Table, of: int) -> None:
    console.print()
    console.print(table)
    if of > table.row_count:
        console.print(f"… and {of - table.row_count} more.", highlight=False)


def _text(foreign: str | None) -> Text:
    """Return foreign text without control characters and markup."""
    return Text("".join(letter if letter.isprintable() else " " for letter in foreign or ""))


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else "?"
