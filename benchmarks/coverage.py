"""What hourly syncs of a busy month bring home: our windows, beside the plain unfiltered request.

A model of Cal.com's filters alone says what is reachable. The connector reads the same account over HTTP, in
process, once an hour, and its rows are merged by primary key, as a destination would.

    python -m benchmarks.coverage            # the table in the documentation, about two minutes
    python -m benchmarks.coverage 200 250    # other sizes, in bookings a day
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import requests
from airbyte_cdk.models import (
    AirbyteStateMessage,
    SyncMode,
    Type,
)
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from rich.console import Console
from rich.table import Table

from sandbox import TOKEN, Account, Booking, Sandbox, serving
from source_ravan_calcom.appointments import WINDOWS
from source_ravan_calcom.source import SourceRavanCalcom

ORG = "org"
SIZES = (20, 60, 150, 400)
MODEL_SIZES = (180, 200, 220, 240, 260, 300)
"""Sizes between which the first loss is looked for, by the model alone."""

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAYS = 30
HISTORY = 300
MEAN_LEAD_DAYS = 7
CANCELLED, RESCHEDULED, UNCONFIRMED, RECURRING = 0.15, 0.10, 0.10, 0.05

Merged = dict[str, str]
"""A destination's table, as far as it matters here: status by booking."""


@dataclass
class Month:
    """An account with history that books ``per_day`` appointments a day; the same for the same size."""

    per_day: int
    account: Account = field(default_factory=lambda: Account(ORG))
    made: set[str] = field(default_factory=set)
    _due: list[tuple[datetime, int, Callable[[datetime], None]]] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.per_day)
        for _ in range(HISTORY):
            self._book(START - timedelta(days=self._rng.uniform(1, 365)))
        for _ in range(self.per_day * DAYS):
            self._at(START + timedelta(days=self._rng.uniform(0, DAYS)), self._make)

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due by ``now``."""
        while self._due and self._due[0][0] <= now:
            at, _, happen = heapq.heappop(self._due)
            happen(at)

    def settled(self, now: datetime) -> list[Booking]:
        """The month's bookings that have come due or were cancelled."""
        bookings = (self.account.bookings[uid] for uid in self.made)
        return [each for each in bookings if each.start <= now or each.status == "cancelled"]

    def ahead(self, now: datetime) -> list[Booking]:
        """The month's bookings that are still to come."""
        bookings = (self.account.bookings[uid] for uid in self.made)
        return [each for each in bookings if each.start > now and each.status != "cancelled"]

    def _at(self, when: datetime, happen: Callable[[datetime], None]) -> None:
        heapq.heappush(self._due, (when, next(self._number), happen))

    def _book(self, start: datetime, status: str = "accepted", recurring: bool = False) -> Booking:
        number = next(self._number)
        return self.account.add(
            Booking(f"booking-{number:08}", start, start + timedelta(minutes=30), status, recurring, number)
        )

    def _make(self, now: datetime) -> None:
        rng = self._rng
        start = now + timedelta(days=rng.expovariate(1 / MEAN_LEAD_DAYS), minutes=30)
        pending = rng.random() < UNCONFIRMED
        booking = self._book(start, "pending" if pending else "accepted", rng.random() < RECURRING)
        self.made.add(booking.uid)
        if pending:
            self._at(now + (start - now) * rng.random() * 0.5, lambda at: self._confirm(booking))
        fate = rng.random()
        when = now + (start - now) * rng.random()
        if fate < CANCELLED:
            self._at(when, lambda at: self._cancel(booking))
        elif fate < CANCELLED + RESCHEDULED:
            self._at(when, lambda at: self._reschedule(booking, at))

    def _confirm(self, booking: Booking) -> None:
        if booking.status == "pending":
            booking.status = "accepted"

    def _cancel(self, booking: Booking) -> None:
        booking.status = "cancelled"

    def _reschedule(self, booking: Booking, now: datetime) -> None:
        start = now + timedelta(days=self._rng.expovariate(1 / MEAN_LEAD_DAYS), minutes=30)
        self.made.add(self.account.reschedule(booking.uid, start, f"booking-{next(self._number):08}").uid)


@dataclass(frozen=True)
class Coverage:
    """Shares, 0 to 1: of the settled bookings landed and true, and of those ahead visible."""

    landed: float
    true: float
    visible: float

    @classmethod
    def of(cls, month: Month, table: Merged, now: datetime) -> Coverage:
        settled, ahead = month.settled(now), month.ahead(now)
        return cls(
            landed=sum(each.uid in table for each in settled) / len(settled),
            true=sum(table.get(each.uid) == each.status for each in settled) / len(settled),
            visible=sum(each.uid in table for each in ahead) / len(ahead),
        )

    def cells(self) -> list[str]:
        return [
            f"{share:.0%}" if share in (0, 1) else f"{share:.1%}" for share in (self.landed, self.true, self.visible)
        ]


def hours() -> Iterable[datetime]:
    """When the syncs run."""
    return (START + timedelta(hours=hour) for hour in range(1, DAYS * 24 + 1))


def reachable(per_day: int) -> Coverage:
    """By the model of the filters alone."""
    month, table, now = Month(per_day), Merged(), START
    for now in hours():
        month.advance(now)
        for status in (None, *(window.status for window in WINDOWS)):
            table.update((booking.uid, booking.status) for booking in month.account.shown(status, now, 200))
    return Coverage.of(month, table, now)


def measured(per_day: int) -> tuple[Coverage, Coverage]:
    """By the connector, and by one unfiltered request in its place."""
    month, sandbox, ours, plain, now = Month(per_day), Sandbox(), Merged(), Merged(), START
    sandbox.put(month.account)
    with serving(sandbox) as url, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        sync = _syncs({"access_token": TOKEN, "org_ids": [ORG], "api_url": url})
        for now in hours():
            sandbox.clock.set(now)
            month.advance(now)
            ours.update(sync())
            answer = session.get(f"{url}/api/v1/calcom/appointments", params={"org_id": ORG, "limit": "200"}).json()
            plain.update((row["id"], row["status"]) for row in answer["data"]["appointments"])
    return Coverage.of(month, ours, now), Coverage.of(month, plain, now)


def _syncs(config: dict[str, object]) -> Callable[[], Merged]:
    """An incremental connection: each call syncs once and returns what was sent."""
    logger = logging.getLogger("airbyte.source-ravan-calcom")
    logger.setLevel(logging.ERROR)
    catalog = CatalogBuilder().with_stream("appointments", SyncMode.incremental).build()
    state: list[AirbyteStateMessage] = []

    def sync() -> Merged:
        sent = Merged()
        for message in SourceRavanCalcom().read(logger, config, catalog, state):
            if message.type is Type.RECORD:
                sent[message.record.data["id"]] = message.record.data["status"]
            elif message.type is Type.STATE:
                state[:] = [AirbyteStateMessage(type=message.state.type, stream=message.state.stream)]
        return sent

    return sync


def main(sizes: Iterable[int] = SIZES, model_sizes: Iterable[int] = MODEL_SIZES) -> None:
    """Print the table."""
    table = Table(title="Hourly syncs for a month: which bookings landed, settled ones and those still ahead")
    for name in ("bookings a day", "read by", "landed", "true status", "ahead, visible"):
        table.add_column(name, justify="right")
    for size in sizes:
        model = reachable(size)
        ours, plain = measured(size)
        table.add_row(str(size), "filters' model", *model.cells())
        table.add_row("", "this connector", *ours.cells())
        table.add_row("", "unfiltered request", *plain.cells(), end_section=True)
    for size in model_sizes:
        table.add_row(str(size), "filters' model", *reachable(size).cells())
    Console(width=110).print(table)


if __name__ == "__main__":
    chosen = [int(size) for size in sys.argv[1:]]
    main(*((chosen, ()) if chosen else ()))
