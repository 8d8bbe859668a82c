"""A living account, synced again and again, and whether what is claimed of it is true."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from sandbox import Account, Booking
from sandbox.accounts import DEAD, FILTERS, uid
from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.bookings.coverage import Claim, Covered
from source_ravan_calcom.bookings.windows import Bookings, Reading

WHAT_HAPPENS = ("cancel", "reject", "confirm", "reschedule", "move")

START = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def read(
    account: Account,
    now: datetime,
    statuses: tuple[str, ...] = (),
    cap: int = 200,
    meanwhile: Callable[[], None] = lambda: None,
) -> Bookings:
    """Read an account as the connector would, with what happens between two requests."""
    reading = Reading(statuses)
    while not reading.is_done:
        if account.rule(reading.next) is None:
            reading.refuse()
        else:
            shown = account.shown(reading.next, now, cap)
            reading.take([account.row(booking, "") for booking in shown], now, now)
        meanwhile()
    return reading.bookings()


@dataclass
class World:
    """One account over time, and a destination that merges what was read of it.

    Attributes:
        per_day: Bookings made a day.
        cap: Rows of an answer at most.
        restless: How often, 0 to 1, something happens between two requests.
        step: Starts fall on multiples of so many minutes, so that some are the same.
    """

    seed: int
    history: int
    per_day: float
    version: str = "2024-08-13"
    cap: int = 200
    step: int = 15
    lead_days: float = 3
    races: float = 0.0
    restless: float = 0.0
    statuses: tuple[str, ...] = ()
    now: datetime = START
    table: dict[str, str] = field(default_factory=dict)
    kept: Covered | None = None
    gaps: int = 0
    _proven: list[datetime] = field(default_factory=list)
    _past: dict[str, list[tuple[datetime, str]]] = field(default_factory=dict)
    _starts: dict[str, datetime] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.account = Account("org", version=self.version)
        for _ in range(self.history):
            self._book(self.now + timedelta(days=self.rng.uniform(-90, 2 * self.lead_days)), old=True)
        self.account.races = self.races

    def live(self, duration: timedelta) -> None:
        """Let time pass, and what happens in it."""
        end = self.now + duration
        for _ in range(int(self.per_day * duration / timedelta(days=1) + self.rng.random())):
            self._book(self.now + timedelta(minutes=1) + timedelta(days=self.rng.expovariate(1 / self.lead_days)))
        ahead = [each for each in self.account.bookings.values() if each.start > end and each.status not in DEAD]
        for booking in self.rng.sample(ahead, min(len(ahead), self.rng.randrange(1 + len(ahead) // 4))):
            self._change(booking, end)
        self.now = end

    def _book(self, start: datetime, *, old: bool = False) -> None:
        start = start.replace(minute=start.minute // self.step * self.step, second=0, microsecond=0)
        if not old and start <= self.now:
            start = self.now.replace(second=0, microsecond=0) + timedelta(minutes=self.step)
        weights = (70, 15, 3, 8, 4) if old else (75, 5, 0, 15, 5)
        status = self.rng.choices(("accepted", "cancelled", "rejected", "pending", "awaiting_host"), weights)[0]
        minutes = self.rng.choice((15, 30, 60, 60 * 26))
        self.account.add(
            Booking(uid(self.rng), start, start + timedelta(minutes=minutes), status, self.rng.random() < 0.2)
        )

    def _change(self, booking: Booking, end: datetime, choices: tuple[str, ...] = WHAT_HAPPENS) -> None:
        what = self.rng.choice(choices)
        later = end + timedelta(minutes=1) + timedelta(days=self.rng.expovariate(1 / self.lead_days))
        if what == "reschedule":
            self.account.reschedule(booking.uid, later, uid(self.rng), self.rng.choice(("accepted", "pending")))
        elif what == "move":
            self.account.move(booking.uid, later)
        else:
            booking.status = {"cancel": "cancelled", "reject": "rejected", "confirm": "accepted"}[what]

    def sync(self, *, crashes: bool = False) -> Claim:
        """Sync once; a crash delivers the rows and loses the state."""
        self._note()
        everything = self.account.bookings.values()
        self._starts = {booking.uid: booking.start for booking in everything}
        self._shown = {booking.uid for booking in everything if self._shows(booking)}
        bookings = read(self.account, self.now, self.statuses, self.cap, self._meanwhile)
        self._note()
        claim = coverage.claim(bookings.evidence, bookings.refused, bookings.began, self.statuses, self.kept)
        self.table.update((row["id"], row["status"]) for row in bookings.rows)
        if not crashes:
            if claim.kept is not self.kept:
                if claim.is_first or claim.gap:
                    self._proven.clear()
                self._proven.append(self.now)
            self.gaps += claim.gap is not None
            self.kept = claim.kept
        return claim

    def _meanwhile(self) -> None:
        if self.rng.random() < self.restless:
            self._note()
            ahead = [
                each for each in self.account.bookings.values() if each.start > self.now and each.status not in DEAD
            ]
            if ahead:
                # The next sync sees a move under the same UID: it may lead from a window not yet read to one that was.
                self._change(self.rng.choice(ahead), self.now, WHAT_HAPPENS[:-1])
            self._book(self.now + timedelta(days=self.rng.expovariate(1 / self.lead_days)))

    def _shows(self, booking: Booking) -> bool:
        return any(FILTERS[status].shows(booking, self.now) for status in self.statuses)

    def _note(self) -> None:
        """Remember the truth of this moment."""
        for booking in self.account.bookings.values():
            self._past.setdefault(booking.uid, []).append((self.now, booking.status))

    def lies(self, claim: Claim) -> list[str]:
        """What the claim says and is not so, as of the moment the reading began; for a sync that did not crash."""
        if claim.coverage == coverage.UNKNOWN:
            return []
        lies = []
        for uid_, start in self._starts.items():
            booking = self.account.bookings[uid_]
            if claim.covered_from and start <= claim.covered_from:
                continue
            if claim.covered_until and start >= claim.covered_until:
                continue
            if self.statuses and not (uid_ in self._shown and self._shows(booking)):
                continue  # it left the chosen windows while they were read
            # It was true of it last when the first sync saw it begun; until then it must be true now.
            settled = next((at for at in self._proven if at >= start), self.now)
            allowed = {status for at, status in self._past[uid_] if at >= settled}
            if self.table.get(uid_) not in allowed:
                lies.append(f"{booking}: {self.table.get(uid_, 'never delivered')}")
        return lies
