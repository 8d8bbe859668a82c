"""Simulated accounts that change over time and are synced repeatedly, to check that claims of coverage are true.

In a :class:`Life`, bookings are made, confirmed, cancelled and rescheduled over time; the coverage benchmark reads it
over HTTP. A :class:`World` adds a destination, and sudden changes of the account: the ``SITUATIONS``.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import count, pairwise

from sandbox import Account, Booking
from sandbox.accounts import DEAD, FILTERS, uid
from source_ravan_calcom.bookings import coverage, memory
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.bookings.memory import Seen, State
from source_ravan_calcom.bookings.windows import CANCELLED, CLOCK_DIFFERENCE, ODD_ROWS, PAST, Bookings, Reading

START = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)

ORG = "org"


def read(
    account: Account,
    now: datetime,
    statuses: Iterable[str] = (),
    cap: int = 200,
    meanwhile: Callable[[], None] = lambda: None,
    before: Seen | None = None,
) -> Bookings:
    """Read an account as the connector does; call ``meanwhile`` after each request."""
    reading = Reading(tuple(statuses), before)
    while not reading.is_done:
        if reading.limit > (account.largest_limit or reading.limit) and reading.lower_limit():
            pass
        elif account.rule(reading.next) is None:
            assert reading.may_refuse
            reading.refuse()
        else:
            shown = account.shown(reading.next, now, min(reading.limit, cap))
            reading.take([account.row(booking, "") for booking in shown], now, now)
        meanwhile()
    return reading.bookings()


@dataclass(frozen=True)
class Habits:
    """The behaviour of an account; fields without a description are shares of its bookings, 0 to 1.

    Attributes:
        lead_days: The mean time between making a booking and its start, in days.
        slot: Starts are multiples of this number of minutes, so that some are equal.
        minutes: The possible durations of bookings.
    """

    cancelled: float = 0.15
    rescheduled: float = 0.10
    rejected: float = 0.0
    moved: float = 0.0
    pending: float = 0.10
    recurring: float = 0.05
    lead_days: float = 7
    slot: int = 15
    minutes: tuple[int, ...] = (30,)


BUSY = Habits(0.25, 0.15, rejected=0.05, moved=0.03, pending=0.15, recurring=0.2, minutes=(15, 30, 60, 60 * 26))
"""Habits with every kind of change."""


class Life:
    """An account with ``per_day`` new bookings a day, the same for the same seed.

    Attributes:
        account: The account.
        made: The UIDs of the bookings made since its beginning.
    """

    def __init__(self, seed: int, per_day: float, habits: Habits, now: datetime, version: str = "2024-08-13") -> None:
        self.rng = random.Random(seed)
        self.now = now
        self.habits = habits
        self.account = Account(ORG, version=version)
        self.made: set[str] = set()
        self._per_day = per_day
        self._due: list[tuple[datetime, int, Callable[[datetime], object]]] = []
        self._number = count()

    def advance(self, now: datetime) -> None:
        """Apply every change that is due by ``now``."""
        days = (now - self.now) / timedelta(days=1)
        for _ in range(int(self._per_day * days + self.rng.random())):
            self._at(self.now + (now - self.now) * self.rng.random(), self.make)
        while self._due and self._due[0][0] <= now:
            at, _, happen = heapq.heappop(self._due)
            happen(at)
        self.now = now

    def make(self, now: datetime) -> None:
        """Make a booking, and schedule its later change, if any."""
        rng, habits = self.rng, self.habits
        booking = self._book(now)
        start = booking.start
        fates = (self.cancel, self.reschedule, self._reject, self._move, None)
        shares = (habits.cancelled, habits.rescheduled, habits.rejected, habits.moved)
        fate = rng.choices(fates, (*shares, 1 - sum(shares)))[0]
        if fate:
            self._at(now + (start - now) * rng.random(), lambda at: fate(booking, at))

    def add(self, start: datetime, status: str) -> Booking:
        """Add a booking without a later change."""
        slot = timedelta(minutes=self.habits.slot)
        start += (START - start) % slot
        end = start + timedelta(minutes=self.rng.choice(self.habits.minutes))
        number = next(self._number)
        is_recurring = self.rng.random() < self.habits.recurring
        return self.account.add(Booking(uid(self.rng), start, end, status, is_recurring, number))

    def mixed(self, number: int, first_day: float, last_day: float, statuses: Iterable[str] = ()) -> list[Booking]:
        """Add bookings of these statuses, by default of all, that start between two numbers of days from now."""
        names, weights = ("accepted", "cancelled", "rejected", "pending", "awaiting_host"), (70, 15, 3, 8, 4)
        made = []
        for _ in range(number):
            start = self.now + timedelta(days=self.rng.uniform(first_day, last_day))
            made.append(self.add(start, self.rng.choice([*statuses] or self.rng.choices(names, weights))))
        return made

    def ahead(self) -> list[Booking]:
        """Return the future bookings that are not cancelled or rejected."""
        return [each for each in self.account.bookings.values() if each.start > self.now and each.status not in DEAD]

    def cancel(self, booking: Booking, now: datetime) -> None:
        """Cancel a booking."""
        booking.status = "cancelled"

    def reschedule(self, booking: Booking, now: datetime) -> None:
        """Cancel a booking and make another one."""
        booking.status = "cancelled"
        if booking.uid in self.account.bookings:
            self._book(now)

    def confirm(self, booking: Booking, now: datetime) -> None:
        """Confirm a booking."""
        if booking.status == "pending":
            booking.status = "accepted"

    def _reject(self, booking: Booking, now: datetime) -> None:
        booking.status = "rejected"

    def _move(self, booking: Booking, now: datetime) -> None:
        if booking.uid in self.account.bookings and booking.status not in DEAD:
            later = self._later(now)
            self.account.move(booking.uid, later + (START - later) % timedelta(minutes=self.habits.slot))

    def _book(self, now: datetime) -> Booking:
        start = self._later(now)
        booking = self.add(start, "pending" if self.rng.random() < self.habits.pending else "accepted")
        self.made.add(booking.uid)
        if booking.status == "pending":
            self._at(now + (start - now) * self.rng.random() * 0.5, lambda at: self.confirm(booking, at))
        return booking

    def _later(self, now: datetime) -> datetime:
        return now + timedelta(days=self.rng.expovariate(1 / self.habits.lead_days), minutes=30)

    def _at(self, when: datetime, happen: Callable[[datetime], object]) -> None:
        heapq.heappush(self._due, (when, next(self._number), happen))


class World:
    """One account over time, and a destination that merges its delivered rows.

    Args:
        seed: Seed of all random choices.
        history: The number of bookings at the beginning.
        per_day: The number of new bookings a day.
        version: The version of Cal.com's API.
        cap: The most rows of a response.
        habits: The behaviour of the account.
        races: The probability that a booking changes while a response is made.
        restless: The probability of a change between two requests.
        statuses: The chosen Booking Statuses.
    """

    def __init__(
        self,
        seed: int,
        history: int,
        per_day: float,
        *,
        version: str = "2024-08-13",
        cap: int = 200,
        habits: Habits = BUSY,
        races: float = 0.0,
        restless: float = 0.0,
        statuses: Iterable[str] = (),
    ) -> None:
        self.life = Life(seed, per_day, habits, START, version)
        self.cap, self.restless, self.statuses = cap, restless, tuple(statuses)
        self.table: dict[str, str] = {}
        self.state: Mapping[str, object] = {}
        self.gaps = 0
        self.requests = 0
        self.shown_again: Account | None = None
        self._log: dict[str, list[tuple[int, str]]] = {}
        self._notes = self._first = 0
        self._proven: list[tuple[datetime, int]] = []
        self._unseen: set[str] = set()
        self._uncertain: set[str] = set()
        self._before: tuple[datetime, set[str]] | None = None
        self._starts: dict[str, datetime] = {}
        self._chosen: set[str] = set()
        self.life.mixed(history, -90, 2 * habits.lead_days)
        self.account.races = races

    @property
    def account(self) -> Account:
        """The account that the organization is connected to."""
        return self.life.account

    @property
    def rng(self) -> random.Random:
        """The source of all random choices."""
        return self.life.rng

    @property
    def seen(self) -> Seen | None:
        """The organization's state."""
        return memory.parsed(self.state).get(ORG)

    def live(self, duration: timedelta) -> None:
        """Advance the time, and apply the changes that are due."""
        self.life.advance(self.life.now + duration)

    def connect(self, account: Account) -> None:
        """Connect another account instead, and remember the current one."""
        self.shown_again = self.account
        account.version, account.races = self.account.version, self.account.races
        self.life.account = account

    def sync(self, *, crashes: bool = False) -> Claim:
        """Sync once. If it crashes, the rows are delivered and the state is lost."""
        self._first = self._note()
        now = self.life.now
        self._starts = {booking.uid: booking.start for booking in self.account.bookings.values()}
        self._chosen = {uid_ for uid_ in self._starts if self._shows(uid_)} if self.statuses else set()
        before = self.seen
        bookings = read(self.account, now, self.statuses, self.cap, self._meanwhile, before)
        self.last = bookings
        self.account.short.clear()
        self._note()
        delivery = memory.compare(bookings, before, self.statuses, now)
        self.requests = len(bookings.evidence)
        delivered = {row["id"]: row["status"] for row in delivery.rows}
        self.table.update(delivered)
        # A booking that changes back after a crash equals the state, so it is not delivered again.
        self._uncertain = self._uncertain | delivered.keys() if crashes else self._uncertain - delivered.keys()
        self._excuse(before, bookings)
        claim = delivery.claim
        if not crashes:
            if claim.coverage != coverage.UNKNOWN:
                if claim.is_first or claim.gap:
                    self._proven.clear()
                self._proven.append((now, self._first))
            self.gaps += claim.gap is not None
            state = State([ORG], {})
            state.keep(ORG, delivery.seen, delivered=bool(delivery.rows))
            self.state = json.loads(json.dumps(state.due(at_end=True)))
            self._before = now, set(self._starts)
        return claim

    def false_statements(self, claim: Claim) -> list[str]:
        """Return the false statements of a claim at the start of the reading; only for a sync without a crash."""
        if claim.coverage == coverage.UNKNOWN:
            return []
        found, excused = [], self._unseen | self._uncertain
        for uid_, start in self._starts.items():
            booking = self.account.bookings[uid_]
            if claim.covered_from and start <= claim.covered_from:
                continue
            if claim.covered_until and start >= claim.covered_until:
                continue
            if self.statuses and not (uid_ in self._chosen and self._shows(uid_)):
                continue  # it left the chosen windows while they were read
            if uid_ not in excused and self.table.get(uid_) not in self._allowed(uid_, start):
                found.append(f"{booking}: {self.table.get(uid_, 'never delivered')}")
        return found

    def _allowed(self, uid_: str, start: datetime) -> set[str]:
        """The statuses since the first proven sync after its start; without such a sync, those in this reading."""
        since = next((note for at, note in self._proven if at >= start), self._first)
        log = self._log[uid_]
        return (
            {status for note, status in log if note >= since}
            | {status for note, status in log[-1:] if note < since}
            | {status for (note, status), (later, _) in pairwise(log) if note < since < later}
        )

    def _excuse(self, before: Seen | None, bookings: Bookings) -> None:
        """Excuse bookings that no client can see: rows that a page lost, until they are shown; and old bookings that
        appeared if the windows show hardly any of them, although they show enough of the earlier ones."""
        shown = {row["id"] for row in bookings.rows}
        self._unseen -= shown
        self._unseen |= {uid_ for _, uid_ in self.account.lost} & self._starts.keys()
        if not self._before or not before or not before.covered:
            return
        then, known = self._before
        then = min(then, before.covered.read_at) - CLOCK_DIFFERENCE
        since = before.covered.covered_from
        begun = [each for each in self.account.bookings.values() if each.start <= then + 2 * CLOCK_DIFFERENCE]
        begun = [each for each in begun if not since or each.start > since]
        appeared = [each for each in begun if each.uid not in known]
        looking_back = [each for each in appeared if each.uid in bookings.settled and each.start <= then]
        stayed = [each for each in begun if each.uid in known and each.uid in bookings.settled]
        if len(looking_back) <= ODD_ROWS + 2 and len(stayed) > ODD_ROWS:
            self._unseen |= {each.uid for each in appeared} - shown

    def _meanwhile(self) -> None:
        if self.rng.random() < self.restless:
            self._note()
            ahead = self.life.ahead()
            if ahead:
                # No moves under the same UID: a move to a window that was already read is only seen by the next sync.
                happen = self.rng.choice((self.life.cancel, self.life.reschedule, self.life.confirm))
                happen(self.rng.choice(ahead), self.life.now)
            self.life.make(self.life.now)

    def _shows(self, uid_: str) -> bool:
        booking = self.account.bookings[uid_]
        return any(
            rule.shows(booking, self.life.now) for status in self.statuses if (rule := self.account.rule(status))
        )

    def _note(self) -> int:
        """Log the current statuses, and return the number of this note."""
        self._notes += 1
        for booking in self.account.bookings.values():
            log = self._log.get(booking.uid)
            if log is None:
                self._log[booking.uid] = [(self._notes, booking.status)]
            elif log[-1][1] != booking.status:
                log.append((self._notes, booking.status))
        return self._notes


def _nothing(world: World) -> None:
    """Make no change besides those that are due."""


def _grows(first: float, last: float, statuses: Iterable[str] = (), many: int = 4) -> Callable[[World], None]:
    def grow(world: World) -> None:
        number = world.rng.choice((3, 20, world.cap, many * world.cap))
        world.life.mixed(number, first * world.rng.random(), last * world.rng.random(), statuses)

    return grow


def _shrinks(world: World) -> None:
    uids = [*world.account.bookings]
    share = world.rng.choice((0.02, 0.3, 0.9, 1))
    for uid_ in world.rng.sample(uids, int(len(uids) * share)):
        world.account.remove(uid_)


def _is_exchanged(world: World) -> None:
    old, shared = world.account, world.rng.choice((0, 0, 1, 1, 5, 60))
    world.connect(Account(ORG))
    size = world.rng.choice((3, 20, 150, 2 * world.cap, 5 * world.cap))
    world.life.mixed(size, -world.rng.choice((0.5, 5, 90)), 2 * world.life.habits.lead_days)
    for uid_ in world.rng.sample([*old.bookings], min(shared, len(old.bookings))):
        world.account.add(
            replace(old.bookings[uid_])
        )  # a copy, so that a move in one account does not affect the order of the other


def _is_exchanged_back(world: World) -> None:
    if world.shown_again:
        world.connect(world.shown_again)


LOST_ROWS = 4
"""The most rows that a page lacks. A page of 99 that lacks 4 is the smallest that counts as cut at 100."""


def _loses_rows(*statuses: str | None) -> Callable[[World], None]:
    def lose(world: World) -> None:
        """Remove rows from pages of these windows or of all windows, until ``_finds_rows``."""
        account, races = world.account, world.account.races
        account.races = 0
        rows = [
            row
            for status in statuses
            if account.rule(status)
            for row in account.shown(status, world.life.now, world.cap)
        ]
        lost = world.rng.sample(rows, min(world.rng.choice((1, 1, 2, LOST_ROWS)), len(rows) // 20))
        account.races = races
        windows = FILTERS if world.rng.random() < 0.5 else statuses
        account.lost = {(window, each.uid) for each in lost for window in windows}

    return lose


def _finds_rows(world: World) -> None:
    world.account.lost.clear()


def _is_short(world: World) -> None:
    rows, before = world.rng.choice((0, 3, 30, 120)), world.seen
    if before and len(before.fingerprints + before.settled) // 6 > 2 * rows + 10:
        world.account.short[None] = rows


def _loses_times(world: World) -> None:
    uids = [*world.account.bookings]
    world.account.timeless.update(world.rng.sample(uids, min(world.rng.choice((1, 2, 3, 10)), len(uids))))


def _gets_a_field(world: World) -> None:
    world.account.fields[f"field_{len(world.account.fields)}"] = None


def _signs_links(world: World) -> None:
    world.account.signs_links = not world.account.signs_links


def _reorders(world: World) -> None:
    world.statuses = tuple(world.rng.sample(world.statuses, len(world.statuses)))


def _changes_version(world: World) -> None:
    world.account.version = world.rng.choice(("2024-08-13", "2024-04-15", "2026-05-01", "pending-apart"))


QUIET: Mapping[str, Callable[[World], None]] = {
    "nothing": _nothing,
    "a new field": _gets_a_field,
    "links that are signed anew": _signs_links,
    "reordered statuses": _reorders,
}
"""Changes that affect no claim."""

SITUATIONS: Mapping[str, Callable[[World], None]] = {
    **QUIET,
    "team admin": _grows(-90, 20),
    "growth in the past": _grows(-90, 0),
    "growth in the future": _grows(0, 20),
    "growth of dead bookings": _grows(-90, 20, DEAD),
    "import of the past": _grows(-400, 0, ("accepted",)),
    "import of recent days": _grows(-4, 0, ("accepted",)),
    "hosts leave": _shrinks,
    "another account": _is_exchanged,
    "the account before": _is_exchanged_back,
    "lost rows": _loses_rows(None, *(status for status in FILTERS if status)),
    "lost rows of unfiltered": _loses_rows(None),
    "lost rows of upcoming": _loses_rows("upcoming"),
    "lost rows of past": _loses_rows(PAST),
    "lost rows of cancelled": _loses_rows(CANCELLED),
    "rows are back": _finds_rows,
    "a short unfiltered response": _is_short,
    "zero times": _loses_times,
    "another version": _changes_version,
}
"""Changes of an account between two syncs."""

VERSIONS = ("2024-08-13", "2024-08-13", "2024-08-13", "2024-04-15", "2026-05-01", "pending-apart")
INTERVALS = (5, 60, 60, 360, 1440, 4320)
CHOSEN: tuple[tuple[str, ...], ...] = (
    (),
    (),
    (),
    (),
    ("past",),
    ("upcoming",),
    ("past", "cancelled"),
    ("upcoming", "recurring", "unconfirmed"),
    ("past", "upcoming", "recurring"),
)


def world_of(rng: random.Random, cap: int = 0) -> World:
    """Make a random world, mostly with a small cap, because it meets the same situations with fewer bookings."""
    cap = cap or rng.choice((*[50] * 12, 99, 100, 101, 199, 200))
    return World(
        rng.getrandbits(32),
        int(cap * rng.choice((0, 0.02, 0.3, 0.9, 0.98, 1, 1.02, 1.5, 3, 6))),
        rng.choice((0, 1, 5, 20, 60, 150)) * cap / 100,
        version=rng.choice(VERSIONS),
        cap=cap,
        habits=Habits(
            0.25, 0.15, 0.05, 0.03, 0.15, 0.2, rng.choice((0.2, 1, 3, 7)), rng.choice((1, 5, 15, 60)), BUSY.minutes
        ),
        races=rng.choice((0, 0, 0, 0.2)),
        restless=rng.choice((0, 0, 0.3, 0.8)),
        statuses=rng.choice(CHOSEN),
    )
