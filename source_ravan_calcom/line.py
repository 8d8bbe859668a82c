"""The line of organizations: who is asked next, and who comes back later.

An organization whose request may succeed a little later goes back into the line and leaves its place to the next. So
waiting holds no thread, and Concurrent Requests bounds what is under way and nothing else.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from threading import Condition
from time import monotonic
from typing import Generic, TypeVar

from source_ravan_calcom import errors
from source_ravan_calcom.ravan.failures import OrganizationFailure


@dataclass(frozen=True)
class Repetition:
    """How often a request is sent again, and when. Times are in seconds.

    Attributes:
        retries: How often.
        first_wait: Before the first time; each further one waits twice as long, with jitter.
        longest_wait: Beyond which no wait grows.
        total: After which none is sent again.
    """

    retries: int
    first_wait: float
    longest_wait: float
    total: float


@dataclass(eq=False)
class Waiting:
    """One organization in the line.

    Attributes:
        org_id: Its ID, as configured.
        requests: How many were sent for it.
        tries: How often the request it is at has failed. A 429 is no failed try.
        refusals: How many 429s in a row that request met.
        failing_since: The monotonic time of its first failure.
        failure: Why it waits to be asked again. A 429 says nothing of the organization, and replaces no other reason.
    """

    org_id: str
    requests: int = 0
    tries: int = 0
    refusals: int = 0
    failing_since: float | None = None
    failure: OrganizationFailure | None = None

    def answered(self) -> None:
        """The request it was at has succeeded."""
        self.tries = self.refusals = 0
        self.failing_since = self.failure = None


Item = TypeVar("Item", bound=Waiting)


class Line(Generic[Item]):
    """Hands out organizations until each is settled. Safe to use from many threads.

    Args:
        organizations: In the order in which they are asked; made one by one.
        repetition: How patient to be with each request.
    """

    def __init__(self, organizations: Iterable[Item], repetition: Repetition) -> None:
        self._fresh = iter(organizations)
        self._repetition = repetition
        self._later: list[tuple[float, int, Item]] = []
        self._number = count()
        self._outside = 0
        self._closes_at: float | None = None
        self._changed = Condition()

    def __iter__(self) -> Iterator[Item]:
        """Hand out the next organization, blocking until one is due.

        It ends when all are settled, or it is closed and those are settled that were handed out.
        """
        while (item := self._next()) is not None:
            yield item

    def settle(self, item: Item) -> None:
        """An organization that was handed out is done with, or was given back by :meth:`again`."""
        with self._changed:
            self._outside -= 1
            self._changed.notify_all()

    def close(self, at: float = 0.0) -> None:
        """Hand out nobody any more from the monotonic time ``at`` on."""
        with self._changed:
            self._closes_at = at if self._closes_at is None else min(at, self._closes_at)
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether nobody is handed out any more."""
        return self._closes_at is not None and monotonic() >= self._closes_at

    def again(self, item: Item, failure: OrganizationFailure) -> float | None:
        """Take an organization back whose request failed, if it may still succeed.

        Returns:
            The seconds until it is asked again, or ``None`` where it is given up.
        """
        now, patience = monotonic(), self._repetition
        if item.failure is None or not failure.came_too_early:
            item.failure = failure
        if not failure.ask_again:
            return None
        if failure.kind is errors.RATE_LIMITED:
            doublings = item.refusals
            item.refusals += 1
        else:
            doublings = item.tries
            item.failing_since = item.failing_since or now
            item.tries += 1
            if item.tries > patience.retries or now - item.failing_since > patience.total:
                return None
        jitter = random.uniform(0.75, 1.25)  # noqa: S311
        wait: float = min(patience.longest_wait, patience.first_wait * 2**doublings * jitter)
        with self._changed:
            if self._closes_at is not None and now + wait >= self._closes_at:
                return None
            heapq.heappush(self._later, (now + wait, next(self._number), item))
        return wait

    @property
    def left(self) -> list[tuple[Item, OrganizationFailure]]:
        """Who was still to be asked again when the line closed, and why."""
        with self._changed:
            return [(item, item.failure) for _, _, item in self._later if item.failure]

    def _next(self) -> Item | None:
        with self._changed:
            while self._outside or not self.is_closed:
                now = monotonic()
                item = None if self.is_closed else self._due(now)
                if item is not None:
                    self._outside += 1
                    return item
                if not self._later and not self._outside:
                    break
                self._changed.wait(self._seconds_to_next(now))
            return None

    def _due(self, now: float) -> Item | None:
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        return next(self._fresh, None)

    def _seconds_to_next(self, now: float) -> float | None:
        """Until somebody is due or it closes; ``None`` where only those who are handed out can change anything."""
        if self.is_closed:
            return None
        moments = [moment for moment, *_ in self._later[:1]]
        moments += [self._closes_at] if self._closes_at is not None else []
        return max(0.0, min(moments) - now) if moments else None
