"""Measure the bookings that hourly syncs deliver in a simulated month, and check the claims about them.

The connector reads a simulated account over HTTP once an hour, and its rows are merged by primary key, as in a
destination. After each sync, its claim of coverage is compared with the account. The table also shows the most that
Cal.com's filters can show, by a model of the filters, and the result of one unfiltered request an hour.

    python -m benchmarks.coverage                             # the tables in the documentation, about two minutes
    python -m benchmarks.coverage 200 250                     # other sizes, in bookings a day
    python -m benchmarks.coverage --chart docs/coverage.svg   # the tables and the documentation's chart
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import requests
from airbyte_cdk.models import AirbyteStateMessage, SyncMode, Type
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from rich.console import Console
from rich.table import Table

from benchmarks.chart import coverage_chart
from sandbox import TOKEN, Booking, Sandbox, serving
from source_ravan_calcom import SourceRavanCalcom
from source_ravan_calcom.bookings.windows import WINDOWS
from unit_tests.simulation import ORG, Habits, Life

SIZES = (20, 60, 150, 400)
CHART_SIZES = (20, 60, 150, 220, 300, 400)
MODEL_SIZES = (180, 200, 220, 240, 260, 300)
"""Sizes for the model of the filters only, to find the one from which bookings are lost."""

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAYS = 30
HISTORY = 300

Merged = dict[str, str]
"""A destination's table: status by booking."""


class Month(Life):
    """An account with earlier bookings and ``per_day`` new ones a day, the same for the same size."""

    def __init__(self, per_day: int) -> None:
        super().__init__(per_day, per_day, Habits(), START)
        for _ in range(HISTORY):
            self.add(START - timedelta(days=self.rng.uniform(1, 365)), "accepted")

    def settled(self, now: datetime) -> list[Booking]:
        """Return the month's bookings that have started or were cancelled."""
        bookings = (self.account.bookings[uid] for uid in self.made)
        return [each for each in bookings if each.start <= now or each.status == "cancelled"]

    def between(self, after: datetime | None, before: datetime | None) -> Iterable[Booking]:
        """Return every booking that starts between two times; ``None`` for no bound."""
        bookings = self.account.bookings.values()
        return (each for each in bookings if (not after or each.start > after) and (not before or each.start < before))

    def visible(self, table: Merged) -> float:
        """Return the share of the month's future bookings that are in a table."""
        ahead = [each.uid in table for each in self.ahead() if each.uid in self.made]
        return sum(ahead) / len(ahead)


@dataclass(frozen=True)
class Coverage:
    """Shares, 0 to 1.

    Attributes:
        delivered: Settled bookings that are in the destination.
        true: Settled bookings that are there with their latest status.
        visible: Future bookings that are in the destination.
    """

    delivered: float
    true: float
    visible: float

    @classmethod
    def of(cls, month: Month, table: Merged, now: datetime) -> Coverage:
        settled = month.settled(now)
        return cls(
            delivered=sum(each.uid in table for each in settled) / len(settled),
            true=sum(table.get(each.uid) == each.status for each in settled) / len(settled),
            visible=month.visible(table),
        )

    def cells(self) -> list[str]:
        return [_percent(share) for share in (self.delivered, self.true, self.visible)]


@dataclass
class Proof:
    """The claims of a month's syncs, compared with the account.

    Attributes:
        syncs: The number of syncs.
        requests: The number of requests.
        warned: The number of syncs with a WARN.
        gaps: Start and end of each reported gap.
        claims: The number of bookings claimed as delivered with their status, over all syncs.
        false: The number of false ones among these.
        outside: The number of settled bookings that are lost or stale at the end and start outside the claim: before
            coverage began, in a gap, or beyond a full forward window.
        inside: The number of the other lost or stale bookings; 0 if every claim is true.
    """

    syncs: int = 0
    requests: int = 0
    warned: int = 0
    gaps: list[tuple[datetime, datetime]] = field(default_factory=list)
    claims: int = 0
    false: int = 0
    outside: int = 0
    inside: int = 0
    _begins: datetime | None = None
    _ends: datetime | None = None

    def take(self, sync: Sync, month: Month, table: Merged) -> None:
        """Compare one sync's claim with the account."""
        self.syncs += 1
        self.warned += bool(sync.warnings)
        claim = sync.organization
        self.requests += claim["requests"]
        covered_from, covered_until, gap_from, gap_to = (
            _moment(claim[name]) for name in ("covered_from", "covered_until", "gap_from", "gap_to")
        )
        # The row keeps the latest gap, so it may be a known one.
        if gap_from and gap_to and (gap_from, gap_to) not in self.gaps:
            self.gaps.append((gap_from, gap_to))
        if claim["coverage"] in ("complete", "partial"):
            if not self.claims:
                self._begins = covered_from
            self._ends = covered_until
            # Bookings of the model don't change after their start.
            for booking in month.between(covered_from, covered_until):
                self.claims += 1
                self.false += table.get(booking.uid) != booking.status

    def end(self, month: Month, table: Merged, now: datetime) -> None:
        """Count the bookings that are lost or stale at the end, inside and outside the claim."""
        for booking in month.settled(now):
            if table.get(booking.uid) == booking.status:
                continue
            before = self._begins is not None and booking.start <= self._begins
            after = self._ends is not None and booking.start >= self._ends
            in_gap = any(begin <= booking.start <= end for begin, end in self.gaps)
            self.outside += before or after or in_gap
            self.inside += not (before or after or in_gap)

    @property
    def warned_share(self) -> float:
        return self.warned / self.syncs

    def cells(self) -> list[str]:
        return [
            _percent(self.warned_share),
            str(len(self.gaps)),
            f"{self.claims:,}",
            str(self.false),
            str(self.inside),
            str(self.outside),
            f"{self.requests / self.syncs:.1f}",
        ]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def hours() -> Iterable[datetime]:
    """Return the times of the syncs."""
    return (START + timedelta(hours=hour) for hour in range(1, DAYS * 24 + 1))


def reachable(per_day: int) -> Coverage:
    """Return the coverage of a perfect reader, by the model of the filters."""
    month, table, now = Month(per_day), Merged(), START
    for now in hours():
        month.advance(now)
        for status in (None, *(window.status for window in WINDOWS)):
            table.update((booking.uid, booking.status) for booking in month.account.shown(status, now, 200))
    return Coverage.of(month, table, now)


@dataclass(frozen=True)
class Measured:
    """The results of one month: coverage and claims of the connector, and coverage by one unfiltered request."""

    ours: Coverage
    proof: Proof
    plain: Coverage


def measured(per_day: int) -> Measured:
    """Sync a month by the connector, and by one unfiltered request an hour."""
    month, sandbox, ours, plain, proof, now = Month(per_day), Sandbox(), Merged(), Merged(), Proof(), START
    sandbox.put(month.account)
    with serving(sandbox) as url, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        connection = Connection({"access_token": TOKEN, "org_ids": [ORG], "api_url": url, "num_workers": 1})
        for now in hours():
            sandbox.clock.set(now)
            month.advance(now)
            sync = connection.sync()
            ours.update(sync.sent)
            proof.take(sync, month, ours)
            response = session.get(f"{url}/api/v1/calcom/appointments", params={"org_id": ORG, "limit": "200"}).json()
            plain.update((row["id"], row["status"]) for row in response["data"]["appointments"])
    proof.end(month, ours, now)
    return Measured(Coverage.of(month, ours, now), proof, Coverage.of(month, plain, now))


@dataclass
class Sync:
    """The output of one sync: the status of each sent booking, the organization's row, and the WARN lines."""

    sent: Merged = field(default_factory=Merged)
    organization: Mapping[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Connection(logging.Handler):
    """An incremental connection of both streams, which passes its states on to the next sync."""

    def __init__(self, config: dict[str, object]) -> None:
        super().__init__(logging.WARNING)
        self._config = config
        names = ("appointments", "organizations")
        builder = CatalogBuilder()
        for name in names:
            builder = builder.with_stream(name, SyncMode.incremental)
        self._catalog = builder.build()
        self._states: dict[str, AirbyteStateMessage] = {}
        self._sync = Sync()
        # A separate logger, so that warnings are counted and not printed.
        self._logger = logging.Logger("coverage", logging.WARNING)
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._sync.warnings.append(record.getMessage())

    def sync(self) -> Sync:
        """Sync once."""
        self._sync = Sync()
        for message in SourceRavanCalcom().read(self._logger, self._config, self._catalog, list(self._states.values())):
            if message.type is Type.RECORD:
                row = message.record.data
                if message.record.stream == "organizations":
                    self._sync.organization = row
                else:
                    self._sync.sent[row["id"]] = row["status"]
            elif message.type is Type.STATE:
                state = message.state
                self._states[state.stream.stream_descriptor.name] = AirbyteStateMessage(state.type, state.stream)
        return self._sync


def draw(months: Mapping[int, Measured], path: Path) -> None:
    """Draw the chart for the documentation."""
    chart = coverage_chart(
        delivered={size: month.ours.delivered for size, month in months.items()},
        true={size: month.ours.true for size, month in months.items()},
        plain={size: month.plain.delivered for size, month in months.items()},
        warned={size: month.proof.warned_share for size, month in months.items()},
    )
    path.write_text(chart, encoding="utf-8")


def main(sizes: Sequence[int] = SIZES, model_sizes: Iterable[int] = MODEL_SIZES, chart: Path | None = None) -> None:
    """Print the tables, and draw the chart if a path is given."""
    months = {size: measured(size) for size in sorted({*sizes, *(CHART_SIZES if chart else ())})}
    delivered = Table(title="Delivered bookings after a month of hourly syncs: settled and future ones")
    for name in ("bookings a day", "read by", "delivered", "true status", "future, delivered"):
        delivered.add_column(name, justify="right")
    claimed = Table(title="Claims of coverage: bookings claimed as delivered, and bookings lost or stale at the end")
    for name in (
        "bookings a day",
        "syncs with a WARN",
        "gaps",
        "claims",
        "false",
        "lost inside claim",
        "outside",
        "requests a sync",
    ):
        claimed.add_column(name, justify="right")
    for size, month in months.items():
        delivered.add_row(str(size), "model of the filters", *reachable(size).cells())
        delivered.add_row("", "this connector", *month.ours.cells())
        delivered.add_row("", "unfiltered request", *month.plain.cells(), end_section=True)
        claimed.add_row(str(size), *month.proof.cells())
    for size in model_sizes:
        delivered.add_row(str(size), "model of the filters", *reachable(size).cells())
    console = Console(width=110)
    console.print(delivered, claimed)
    if chart:
        draw(months, chart)
        console.print(f"The chart is in {chart}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.coverage")
    parser.add_argument("sizes", nargs="*", type=int, help="bookings a day")
    parser.add_argument("--chart", type=Path, help="draw the chart into this SVG file")
    arguments = parser.parse_args()
    main(arguments.sizes or SIZES, () if arguments.sizes else MODEL_SIZES, arguments.chart)
