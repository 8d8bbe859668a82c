"""Cal.com accounts: bookings, their changes, and the bookings that each of Cal.com's filters shows."""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import groupby, islice

DEAD = ("cancelled", "rejected")
"""The other statuses are ``accepted``, ``pending`` and ``awaiting_host``."""


class Clock:
    """The clock of the accounts. It follows real time until it is set."""

    def __init__(self) -> None:
        self._fixed: datetime | None = None

    def now(self) -> datetime:
        """Return the accounts' time in UTC."""
        return self._fixed or datetime.now(timezone.utc)

    def set(self, now: datetime | None) -> None:
        """Stop the clock at a time; ``None`` lets it follow real time again."""
        self._fixed = now


@dataclass
class Booking:
    """One booking. A reschedule makes a new booking, except for seated bookings, which keep their UID."""

    uid: str
    start: datetime
    end: datetime
    status: str = "accepted"
    recurring: bool = False
    attendee: int = 0


@dataclass(frozen=True)
class Filter:
    """One of Cal.com's filters: the bookings that it shows, and their order.

    Attributes:
        shows: Whether it shows a booking at a time.
        future: True if it shows only bookings that may not have ended, False if only bookings that have started,
            ``None`` if neither.
        latest_first: Whether the latest start comes first.
    """

    shows: Callable[[Booking, datetime], bool]
    future: bool | None
    latest_first: bool


def _open(booking: Booking, now: datetime) -> bool:
    return booking.end >= now and booking.status not in DEAD


def _upcoming(booking: Booking, now: datetime) -> bool:
    return _open(booking, now) and (booking.status == "accepted" or not booking.recurring)


FILTERS: dict[str | None, Filter] = {
    None: Filter(lambda b, now: True, future=None, latest_first=False),
    "upcoming": Filter(_upcoming, future=True, latest_first=False),
    "recurring": Filter(lambda b, now: _open(b, now) and b.recurring, future=True, latest_first=False),
    "unconfirmed": Filter(lambda b, now: b.end >= now and b.status == "pending", future=True, latest_first=False),
    "past": Filter(lambda b, now: b.end <= now and b.status not in DEAD, future=False, latest_first=True),
    "cancelled": Filter(lambda b, now: b.status in DEAD, future=None, latest_first=True),
}


@dataclass(frozen=True)
class Version:
    """One of Cal.com's API versions.

    Attributes:
        filters: The filter of each status; ``None`` stands for a request without a status.
        ignores_status: Whether every request is treated as ``upcoming``.
        cap: The most rows of a response; ``None`` if only the endpoint's own limit applies.
        by_uid: Whether rows are ordered by UID instead of by start.
    """

    filters: Mapping[str | None, Filter]
    ignores_status: bool = False
    cap: int | None = None
    by_uid: bool = False


_HOUR = timedelta(hours=1)
_NOT_PENDING = Filter(lambda b, now: _upcoming(b, now) and b.status != "pending", future=True, latest_first=False)
_SINCE_AN_HOUR_AGO = Filter(lambda b, now: _upcoming(b, now - _HOUR), future=None, latest_first=False)

VERSIONS: Mapping[str, Version] = {
    "2024-08-13": Version(FILTERS),
    "2024-04-15": Version(FILTERS, ignores_status=True, cap=100),
    "2026-05-01": Version({**FILTERS, "upcoming": _SINCE_AN_HOUR_AGO}, cap=100, by_uid=True),
    "pending-apart": Version({**FILTERS, "upcoming": _NOT_PENDING}),
}
"""Ravan does not document the version that it calls. The last one is invented: ``upcoming`` omits pending bookings."""


def _start(booking: Booking) -> datetime:
    return booking.start


@dataclass
class Account:
    """One organization's primary Cal.com account.

    As from Cal.com, bookings with the same start have a different order in each response, even if the response is cut
    between them. The order comes from ``rng``, so the same sequence of requests has the same responses.

    Attributes:
        connected: Whether the organization has an account.
        milliseconds: Whether times have milliseconds, as Cal.com's own times do.
        refuses: Statuses that the API refuses as unknown.
        version: The version of Cal.com's API that Ravan calls, one of ``VERSIONS``.
        largest_limit: The largest ``limit`` that is not refused. Version 2024-04-15 refuses limits above 100.
        races: The probability, 0 to 1, that one booking of a response is cancelled or reinstated after it was
            selected. Cal.com reads UIDs and rows in two queries, so the row then contradicts its filter.
        lost: Status and UID of rows that count as part of a page but are missing from it. Cal.com reads a page of
            UIDs and then their rows, and omits UIDs that the second query does not find.
        short: The most rows of a response, by status, if fewer than requested.
        timeless: The UIDs of bookings whose end is Go's zero time.
        fields: Additional, undocumented fields of every row.
        signs_links: Whether every row has a link that differs in each response.
        rng: The source of all random choices.
    """

    org_id: str
    connected: bool = True
    milliseconds: bool = False
    refuses: tuple[str, ...] = ()
    version: str = "2024-08-13"
    largest_limit: int | None = None
    races: float = 0.0
    lost: set[tuple[str | None, str]] = field(default_factory=set)
    short: dict[str | None, int] = field(default_factory=dict)
    timeless: set[str] = field(default_factory=set)
    fields: dict[str, object] = field(default_factory=dict)
    signs_links: bool = False
    bookings: dict[str, Booking] = field(default_factory=dict)
    rng: random.Random = field(init=False, repr=False, compare=False)
    _by_start: list[Booking] = field(default_factory=list)
    _longest: timedelta = timedelta()

    def __post_init__(self) -> None:
        self.rng = random.Random(self.org_id)

    def add(self, booking: Booking) -> Booking:
        """Add a booking."""
        self.bookings[booking.uid] = booking
        insort(self._by_start, booking, key=_start)
        self._longest = max(self._longest, booking.end - booking.start)
        return booking

    def remove(self, uid: str) -> Booking:
        """Remove a booking, as if its host left the team."""
        booking = self.bookings.pop(uid)
        self._by_start = [each for each in self._by_start if each is not booking]
        return booking

    def set_status(self, uid: str, status: str) -> Booking:
        """Change the status of a booking."""
        self.bookings[uid].status = status
        return self.bookings[uid]

    def reschedule(self, uid: str, start: datetime, new_uid: str, status: str = "accepted") -> Booking:
        """Cancel a booking and add a new one, accepted or pending, with a new UID and start."""
        old = self.set_status(uid, "cancelled")
        return self.add(Booking(new_uid, start, start + (old.end - old.start), status, old.recurring, old.attendee))

    def move(self, uid: str, start: datetime) -> Booking:
        """Move a booking without changing its UID, as Cal.com does for bookings with seats."""
        booking = self.bookings[uid]
        self._by_start = [each for each in self._by_start if each is not booking]
        booking.start, booking.end = start, start + (booking.end - booking.start)
        return self.add(booking)

    def rule(self, status: str | None) -> Filter | None:
        """Return the filter of a status, ``None`` if the status is refused."""
        version = VERSIONS[self.version]
        if status in self.refuses:
            return None
        return version.filters.get("upcoming" if version.ignores_status else status)

    def shown(self, status: str | None, now: datetime, limit: int) -> list[Booking]:
        """Return the bookings that a status shows, in order.

        Raises:
            ValueError: The status is refused.
        """
        rule, version = self.rule(status), VERSIONS[self.version]
        if rule is None:
            raise ValueError(f"{status} is no filter of version {self.version}")
        limit = min(limit, version.cap or limit, self.short.get(status, limit))
        if version.by_uid:
            matching = (booking for booking in self._by_start if rule.shows(booking, now))
            rows = heapq.nsmallest(limit, matching, key=lambda booking: booking.uid)
        else:
            rows = list(islice(self._ordered(rule, now), limit))
        if rows and self.rng.random() < self.races:
            raced = self.rng.choice(rows)
            raced.status = "accepted" if raced.status in DEAD else "cancelled"
        return [each for each in rows if (status, each.uid) not in self.lost] if self.lost else rows

    def _ordered(self, rule: Filter, now: datetime) -> Iterator[Booking]:
        for _, together in groupby(self._candidates(rule, now), key=_start):
            tied = [booking for booking in together if rule.shows(booking, now)]
            if len(tied) > 1:
                self.rng.shuffle(tied)
            yield from tied

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
        """Return a booking as a row of Ravan's response, with an empty string for a missing text."""
        number = booking.attendee
        extra = {**self.fields, "link": f"https://example.com/{self.rng.random()}"} if self.signs_links else self.fields
        return {
            "id": booking.uid,
            "organization_id": self.org_id,
            "agent_id": agent_id,
            "attendee_name": f"Attendee {number:05d}",
            "attendee_email": f"attendee{number:05d}@example.com",
            "attendee_phone": "" if number % 5 == 0 else f"+1555{number:07d}",
            "attendee_timezone": _ZONES[number % len(_ZONES)],
            "start_time": self._time(booking.start),
            "end_time": "0001-01-01T00:00:00Z" if booking.uid in self.timeless else self._time(booking.end),
            "duration_minutes": int((booking.end - booking.start).total_seconds() // 60),
            "status": booking.status,
            **extra,
        }

    def _time(self, at: datetime) -> str:
        return f"{_seconds(at)}{'.000' if self.milliseconds else ''}Z"


@lru_cache(100_000)
def _seconds(at: datetime) -> str:
    return at.isoformat()[: len("2026-03-25T14:00:00")]


_ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kolkata", "UTC", "America/Sao_Paulo")


def uid(rng: random.Random) -> str:
    """Make a booking UID in the format of Cal.com."""
    return f"{rng.getrandbits(112):022x}"[:22]


def generated(org_id: str, count: int, seed: int, now: datetime, *, milliseconds: bool = False) -> Account:
    """Make an account with a realistic mix of ``count`` bookings around ``now``, the same for the same seed."""
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


_TEAM_DAYS = range(-60, 30)
_TEAM_HOURS = range(8, 18)


def team(org_id: str, count: int, seed: int, now: datetime, *, hosts: int = 20) -> Account:
    """Make the account of a team admin, which shows the bookings of all hosts; the same for the same seed.

    Bookings start on the hour, in the same working hours for all hosts, so many have the same start.

    Raises:
        ValueError: There are more bookings than working hours of the hosts.
    """
    rng = random.Random(seed)
    account = Account(org_id)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = [midnight + timedelta(days=day, hours=hour) for day in _TEAM_DAYS for hour in _TEAM_HOURS]
    for number, place in enumerate(rng.sample(range(len(hours) * hosts), count)):
        start = hours[place // hosts]
        status = rng.choices(("accepted", "cancelled", "rejected", "pending", "awaiting_host"), (70, 15, 3, 8, 4))[0]
        end = start + timedelta(minutes=rng.choice((30, 60)))
        account.add(Booking(uid(rng), start, end, status, recurring=rng.random() < 0.1, attendee=number))
    return account
