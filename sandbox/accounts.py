"""Cal.com accounts: bookings, what happens to them, and what each of Cal.com's filters shows of them."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice

LIVE = ("accepted", "pending")
DEAD = ("cancelled", "rejected")


class Clock:
    """The time of the accounts: real until it is set."""

    def __init__(self) -> None:
        self._fixed: datetime | None = None

    def now(self) -> datetime:
        """The accounts' time, in UTC."""
        return self._fixed or datetime.now(timezone.utc)

    def set(self, now: datetime | None) -> None:
        """Stop the clock at a time, or let it follow the real one again."""
        self._fixed = now


@dataclass
class Booking:
    """One booking. A reschedule makes a new one; nothing is ever deleted."""

    uid: str
    start: datetime
    end: datetime
    status: str = "accepted"
    recurring: bool = False
    attendee: int = 0


@dataclass(frozen=True)
class Filter:
    """One of Cal.com's filters: which bookings it shows, and in which direction of time."""

    shows: Callable[[Booking, datetime], bool]
    future: bool | None  # only bookings that may not be over, only those that began, or all
    latest_first: bool


FILTERS: dict[str | None, Filter] = {
    None: Filter(lambda b, now: True, future=None, latest_first=False),
    "upcoming": Filter(
        lambda b, now: b.end >= now and (b.status == "accepted" or (b.status == "pending" and not b.recurring)),
        future=True,
        latest_first=False,
    ),
    "recurring": Filter(
        lambda b, now: b.end >= now and b.recurring and b.status in LIVE, future=True, latest_first=False
    ),
    "unconfirmed": Filter(lambda b, now: b.end >= now and b.status == "pending", future=True, latest_first=False),
    "past": Filter(lambda b, now: b.end <= now and b.status in LIVE, future=False, latest_first=True),
    "cancelled": Filter(lambda b, now: b.status in DEAD, future=None, latest_first=True),
}


def _start(booking: Booking) -> datetime:
    return booking.start


@dataclass
class Account:
    """One organization's primary Cal.com account.

    Attributes:
        connected: Whether the organization has one at all.
        milliseconds: Whether its times carry milliseconds, as Cal.com's own do.
        refuses: Filters that this account's version of Cal.com does not know.
    """

    org_id: str
    connected: bool = True
    milliseconds: bool = False
    refuses: tuple[str, ...] = ()
    bookings: dict[str, Booking] = field(default_factory=dict)
    _by_start: list[Booking] = field(default_factory=list)
    _longest: timedelta = timedelta()

    def add(self, booking: Booking) -> Booking:
        """Book."""
        self.bookings[booking.uid] = booking
        insort(self._by_start, booking, key=_start)
        self._longest = max(self._longest, booking.end - booking.start)
        return booking

    def set_status(self, uid: str, status: str) -> Booking:
        """Confirm, cancel or reject a booking."""
        self.bookings[uid].status = status
        return self.bookings[uid]

    def reschedule(self, uid: str, start: datetime, new_uid: str) -> Booking:
        """Move a booking: the old one is cancelled, and a new one with a new UID is made."""
        old = self.set_status(uid, "cancelled")
        return self.add(Booking(new_uid, start, start + (old.end - old.start), "accepted", old.recurring, old.attendee))

    def shown(self, status: str | None, now: datetime, limit: int) -> list[Booking]:
        """The bookings one of Cal.com's filters shows, in its order."""
        rule = FILTERS[status]
        candidates = self._candidates(rule, now)
        return list(islice((booking for booking in candidates if rule.shows(booking, now)), limit))

    def _candidates(self, rule: Filter, now: datetime) -> Iterable[Booking]:
        first, last = 0, len(self._by_start)
        if rule.future is True:
            first = bisect_left(self._by_start, now - self._longest, key=_start)
        elif rule.future is False:
            last = bisect_right(self._by_start, now, key=_start)
        order: Iterator[int] = iter(range(first, last))
        if rule.latest_first:
            order = iter(range(last - 1, first - 1, -1))
        return (self._by_start[index] for index in order)

    def row(self, booking: Booking, agent_id: str) -> dict[str, object]:
        """A booking as Ravan shows it; a missing text is an empty one there."""
        number = booking.attendee
        return {
            "id": booking.uid,
            "organization_id": self.org_id,
            "agent_id": agent_id,
            "attendee_name": f"Attendee {number:05d}",
            "attendee_email": f"attendee{number:05d}@example.com",
            "attendee_phone": "" if number % 5 == 0 else f"+1555{number:07d}",
            "attendee_timezone": _ZONES[number % len(_ZONES)],
            "start_time": self._time(booking.start),
            "end_time": self._time(booking.end),
            "duration_minutes": int((booking.end - booking.start).total_seconds() // 60),
            "status": booking.status,
        }

    def _time(self, at: datetime) -> str:
        return f"{at:%Y-%m-%dT%H:%M:%S}{'.000' if self.milliseconds else ''}Z"


_ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kolkata", "UTC", "America/Sao_Paulo")


def uid(rng: random.Random) -> str:
    """A booking UID in the shape of Cal.com's."""
    return f"{rng.getrandbits(112):022x}"[:22]


def generated(org_id: str, count: int, seed: int, now: datetime, *, milliseconds: bool = False) -> Account:
    """An account with a realistic mix of ``count`` bookings around ``now``, the same for the same seed."""
    rng = random.Random(seed)
    account = Account(org_id, milliseconds=milliseconds)
    hour = now.replace(minute=0, second=0, microsecond=0)
    for number in range(count):
        ahead = rng.random() < 0.35
        days = rng.uniform(0, 30) if ahead else -rng.uniform(0, 180)
        start = hour + timedelta(minutes=15 * round(days * 96))
        status = rng.choices(("accepted", "cancelled", "rejected", "pending"), (75, 15, 3, 7 if ahead else 1))[0]
        account.add(
            Booking(
                uid(rng),
                start,
                start + timedelta(minutes=rng.choice((15, 30, 30, 45, 60))),
                status,
                recurring=rng.random() < 0.1,
                attendee=number,
            )
        )
    return account
