"""When requests may leave: one pause for all of them after a 429, then a gradual return.

Ravan documents a rate limit without numbers, so nothing is held back before the first 429. A 429 pauses all requests
for the time it names, but no less than our own pause, which doubles with each refusal in a row. Then one request
leaves. Each success allows more requests at once. They leave at the rate at which requests succeeded between the last
refusals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from time import monotonic

FIRST_PAUSE = 1.0  # seconds, unless the 429 names more
LONGEST_OWN_PAUSE = 8.0  # seconds; Cal.com counts by the minute, and a longer pause could waste much of the next minute
CYCLES = 5  # the rate is measured over this many refusals, because few requests may lie between two of them
SLOWER = 0.8  # a refusal keeps at least this share of the rate, because the measured rate may be too low
FASTER = 0.06  # requests per second that each success adds, because the limit may be gone


@dataclass(frozen=True)
class Pause:
    """All requests wait for ``seconds`` after a 429; ``None`` once a request succeeds."""

    seconds: float | None


@dataclass(eq=False)
class Departure:
    """One request that left."""

    at: float  # monotonic time
    is_over: bool = False  # it has ended, or was given up


class RatePolicy:
    """The policy, without threads: at most ``most`` requests at once. Times are in seconds."""

    def __init__(self, most: int) -> None:
        self.most = self.allowed = most
        self.resumes_at = 0.0
        self.rate: float | None = None  # requests per second
        self.pause = 0.0  # our own, after the last refusal
        self.limited_since: float | None = None  # the first refusal since the last success
        self._under_way = 0
        self._free_at = 0.0  # when the rate lets the next request leave
        self._paused_at = -1.0
        self._cycles: deque[tuple[float, int]] = deque(maxlen=CYCLES)  # time of a refusal, successes before it
        self._successes = 0  # since the last refusal

    def wait(self, now: float) -> float | None:
        """Return the seconds until a request may leave; ``None`` if another one must end first."""
        if now < self.resumes_at:
            return self.resumes_at - now
        if self._under_way >= self.allowed:
            return None
        return max(0.0, self._free_at - now)

    def leave(self, now: float) -> None:
        """Record that a request leaves."""
        self._under_way += 1
        if self.rate:
            self._free_at = max(now, self._free_at) + 1 / self.rate

    def ended(self, left_at: float) -> None:
        """Record that a request that left at ``left_at`` has ended, in any way."""
        # A request that left before the pause no longer counts, because it may hang.
        self._under_way -= left_at > self._paused_at

    def succeeded(self, left_at: float) -> None:
        """Record a response other than 429 to a request that left at ``left_at``."""
        self.limited_since = None
        if left_at <= self._paused_at:
            return  # it shows nothing about the present limit
        self._successes += 1
        self.pause = 0.0
        self.allowed = min(self.most, self.allowed * 2)
        if self.rate:
            self.rate += FASTER

    def refused(self, now: float, left_at: float, retry_after: float) -> None:
        """Record a 429 to a request that left at ``left_at``; ``retry_after`` is in seconds, 0 for none."""
        if self.limited_since is None:
            self.limited_since = now
        if left_at > self._paused_at:
            # Only the first 429 counts: requests that left before the pause repeat it.
            self._paused_at = now
            self._learn(now)
            self.pause = min(LONGEST_OWN_PAUSE, self.pause * 2 or FIRST_PAUSE)
            self.allowed = 1
            self._under_way = 0
        self.resumes_at = max(self.resumes_at, now + max(self.pause, retry_after))
        self._free_at = max(self._free_at, self.resumes_at)

    def _learn(self, now: float) -> None:
        """Measure the rate that the limit allows: successes per second over the last refusals, pauses included."""
        if not self._successes and self._cycles:
            return
        self._cycles.append((now, self._successes))
        self._successes = 0
        through = sum(successes for _, successes in list(self._cycles)[1:])
        if through:
            self.rate = max(through / (now - self._cycles[0][0]), (self.rate or 0.0) * SLOWER)


class Throttle:
    """Makes threads wait until their request may leave."""

    def __init__(self, most: int, notify: Callable[[Pause], None]) -> None:
        self._policy = RatePolicy(most)
        self._notify = notify
        self._is_closed = False
        self._changed = Condition()

    def depart(self, until: float | None = None) -> Departure | None:
        """Block until a request may leave; ``None`` after :meth:`close` or the monotonic time ``until``."""
        with self._changed:
            while not self._is_closed:
                wait = self._policy.wait(now := monotonic())
                if wait == 0:
                    self._policy.leave(now)
                    return Departure(now)
                if until is not None and now + (wait or 0) >= until:
                    return None
                self._changed.wait(wait if until is None else min(until - now, wait or until - now))
            return None

    def close(self) -> None:
        """Let no further request leave."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def ended(self, departure: Departure) -> None:
        """Record that a request has ended or is given up."""
        with self._changed:
            if not departure.is_over:
                departure.is_over = True
                self._policy.ended(departure.at)
                self._changed.notify_all()

    def succeeded(self, departure: Departure) -> None:
        """Record a response other than 429."""
        with self._changed:
            if self._policy.limited_since is not None:
                self._notify(Pause(None))
            self._policy.succeeded(departure.at)

    def refused(self, departure: Departure, retry_after: float) -> float:
        """Pause all requests after a 429, and return the seconds since the first one after the last success."""
        with self._changed:
            now, limited_since = monotonic(), self._policy.limited_since
            self._policy.refused(now, departure.at, retry_after)
            if limited_since is None:
                self._notify(Pause(self._policy.resumes_at - now))
            return now - (limited_since or now)
