"""Cal.com accounts: bookings, what happens to them, and what each of Cal.com's filters shows of them."""

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
    """One booking. A reschedule makes a new one, only seats move under the same UID; nothing is ever deleted."""

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
        filters: What each status shows; ``None`` is no status.
        ignores_status: Whether every request shows ``upcoming``.
        cap: The most rows of an answer; ``None`` where only the endpoint's own limit counts.
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
"""Which of them Ravan calls is not documented. The last one is invented: ``upcoming`` leaves pending bookings out."""


def _start(booking: Booking) -> datetime:
    return booking.start


@dataclass
class Account:
    """One organization's primary Cal.com account.

    Bookings that start together come in no fixed order, as from Cal.com: another one in each answer, also where the
    answer is cut. The order is drawn from ``rng``, so that the same requests see the same.

    Attributes:
        connected: Whether the organization has one at all.
        milliseconds: Whether its times carry milliseconds, as Cal.com's own do.
        refuses: Filters that this account's version of Cal.com does not know.
        version: The version of Cal.com's API that Ravan calls for it, one of ``VERSIONS``.
        largest_limit: A larger ``limit`` is refused, as version 2024-04-15 does with one above 100.
        races: How often, 0 to 1, a booking is cancelled or reinstated while it is being shown. Cal.com reads UIDs and
            rows in two queries, so such a row contradicts its filter.
        lost: Rows that are missing from a page though they take a place on it, by filter and UID: Cal.com reads a page
            of UIDs and then their rows, and skips those that the second query lacks.
        short: Filters that answer with fewer rows than there are, and how many.
        timeless: The UIDs of bookings whose end is Go's zero time.
        fields: Fields that every row has besides the documented ones.
        signs_links: Whether every row carries a link that is another one in each response.
        rng: Draws all that is left to chance.
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
        """Book."""
        self.bookings[booking.uid] = booking
        insort(self._by_start, booking, key=_start)
        self._longest = max(self._longest, booking.end - booking.start)
        return booking

    def remove(self, uid: str) -> Booking:
        """Stop showing a booking, as when its host leaves the team."""
        booking = self.bookings.pop(uid)
        self._by_start = [each for each in self._by_start if each is not booking]
        return booking

    def set_status(self, uid: str, status: str) -> Booking:
        """Confirm, cancel or reject a booking, or let it wait for its host."""
        self.bookings[uid].status = status
        return self.bookings[uid]

    def reschedule(self, uid: str, start: datetime, new_uid: str, status: str = "accepted") -> Booking:
        """Cancel a booking and make a new one, accepted or pending, with a UID of its own at another time."""
        old = self.set_status(uid, "cancelled")
        return self.add(Booking(new_uid, start, start + (old.end - old.start), status, old.recurring, old.attendee))

    def move(self, uid: str, start: datetime) -> Booking:
        """Move a booking under the UID it has, as those with seats do."""
        booking = self.bookings[uid]
        self._by_start = [each for each in self._by_start if each is not booking]
        booking.start, booking.end = start, start + (booking.end - booking.start)
        return self.add(booking)

    def rule(self, status: str | None) -> Filter | None:
        """What a status shows here; ``None`` where it is refused."""
        version = VERSIONS[self.version]
        if status in self.refuses:
            return None
        return version.filters.get("upcoming" if version.ignores_status else status)

    def shown(self, status: str | None, now: datetime, limit: int) -> list[Booking]:
        """The bookings one of Cal.com's filters shows, in its order."""
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
        """A booking as Ravan shows it; a missing text is an empty one there."""
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


_TEAM_DAYS = range(-60, 30)
_TEAM_HOURS = range(8, 18)


def team(org_id: str, count: int, seed: int, now: datetime, *, hosts: int = 20) -> Account:
    """The account of a team's admin, who is shown every host's bookings; the same for the same seed.

    Each begins on the hour, in the same working hours for all hosts, so many share their start.

    Raises:
        ValueError: So many hosts have no time for so many bookings.
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
