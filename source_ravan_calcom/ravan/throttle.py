"""When requests may leave: one pause for all of them after a 429, and a gentle return.

Ravan documents that it limits the rate of requests, but no numbers. So nothing is held back until a 429 comes. It
concerns the whole connection: no request leaves until the time it names, or until our own wait is over, which grows
with every refusal in a row. Then one request tries, and the pace comes back: more requests under way with every
success, and no more a second than went through between the last refusals.

:class:`Tempo` is the policy, pure but for its own memory; :class:`Pace` is where threads wait for it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic

FIRST_PAUSE = 1.0
"""Seconds of the first pause, where the 429 names no longer one; each further one in a row is twice as long."""

LONGEST_OWN_PAUSE = 8.0
"""Seconds beyond which our own pauses do not grow. Cal.com counts requests by the minute: longer ones would oversleep
the moment when the minute is over."""

CYCLES = 5
"""Over how many refusals the rate is measured: one alone may hold two requests."""

SLOWER = 0.8
"""How much slower at most a refusal makes the tempo: a rate measured while it was still growing says too little."""

FASTER = 0.06
"""By how many requests a second the rate grows with each success, which is 6 % a second at any rate: the limit may be
gone."""


@dataclass
class Tempo:
    """How many requests may be under way, and how soon the next one may leave. Times are in seconds.

    Args:
        most: Requests under way that the user allows.
    """

    most: int
    resumes_at: float = 0.0
    under_way: int = 0
    allowed: float = field(init=False)
    rate: float | None = None
    pause: float = 0.0
    limited_since: float | None = None
    _on_trial: int = 0
    _free_at: float = 0.0
    _paused_at: float = -1.0
    _cycles: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=CYCLES))
    _successes: int = 0

    def __post_init__(self) -> None:
        self.allowed = self.most

    def wait(self, now: float) -> float | None:
        """Seconds until a request may leave; 0 for at once, ``None`` for when another one has ended."""
        if now < self.resumes_at:
            return self.resumes_at - now
        if self.under_way >= self.most or self._on_trial >= int(self.allowed):
            return None
        return max(0.0, self._free_at - now)

    def leave(self, now: float) -> float:
        """A request leaves; returns when it did, to be handed back."""
        self.under_way += 1
        self._on_trial += 1
        if self.rate:
            self._free_at = max(now, self._free_at) + 1 / self.rate
        return now

    def ended(self, left_at: float) -> None:
        """A request that had left then has ended, however it did."""
        self.under_way -= 1
        # One that had left before the pause is not what the pace comes back by: it may hang for half a minute.
        self._on_trial -= left_at > self._paused_at

    def succeeded(self, left_at: float) -> None:
        """An answer came, to a request that had left then, that was not a 429."""
        self.limited_since = None
        if left_at <= self._paused_at:
            return  # it says nothing about what is allowed now
        self._successes += 1
        self.pause = 0.0
        self.allowed = min(self.most, self.allowed * 2)
        if self.rate:
            self.rate += FASTER

    def refused(self, now: float, left_at: float, retry_after: float | None) -> None:
        """A 429 came.

        Args:
            now: When it came.
            left_at: When its request had left.
            retry_after: The seconds that it names, if it names any.
        """
        if self.limited_since is None:
            self.limited_since = now
        if left_at > self._paused_at:
            # Not one of those that had left before the pause began, and say the same.
            self._paused_at = now
            self._learn(now)
            self.pause = min(LONGEST_OWN_PAUSE, self.pause * 2 or FIRST_PAUSE)
            self.allowed = 1
            self._on_trial = 0
        self.resumes_at = max(self.resumes_at, now + max(self.pause, retry_after or 0.0))
        self._free_at = max(self._free_at, self.resumes_at)

    def _learn(self, now: float) -> None:
        """What went through since the last time it was refused, pause included, is what the limit allows."""
        if not self._successes and self._cycles:
            return
        self._cycles.append((now, self._successes))
        self._successes = 0
        through = sum(successes for _, successes in list(self._cycles)[1:])
        if through:
            self.rate = max(through / (now - self._cycles[0][0]), (self.rate or 0.0) * SLOWER)


class Pace:
    """Where threads wait for their turn. Safe to use from many threads.

    Args:
        most: Requests under way that the user allows.
        logger: Told when a pause begins and when it ends.
        on_pause: Called when a pause begins, for Airbyte's own stream status.
    """

    def __init__(self, most: int, logger: logging.Logger, on_pause: Callable[[], None] = lambda: None) -> None:
        self._tempo = Tempo(most)
        self._logger = logger
        self._on_pause = on_pause
        self._is_paused = False
        self._is_closed = False
        self._changed = Condition()

    def turn(self, until: float | None = None) -> float | None:
        """Block until a request may leave, and count it as under way until :meth:`ended`.

        Args:
            until: The monotonic time after which no turn is wanted any more.

        Returns:
            When it left, or ``None`` where it may not any more.
        """
        with self._changed:
            while not self._is_closed:
                wait = self._tempo.wait(now := monotonic())
                if wait == 0:
                    return self._tempo.leave(now)
                if until is not None and now + (wait or 0) >= until:
                    return None
                self._changed.wait(wait if until is None else min(until - now, wait or until - now))
            return None

    def close(self) -> None:
        """Let no request leave any more; a pause may be a day long."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def ended(self, left_at: float) -> None:
        """A request that had left then has ended, however it did."""
        with self._changed:
            self._tempo.ended(left_at)
            self._changed.notify_all()

    def succeeded(self, left_at: float) -> None:
        """An answer came, to a request that had left then, that was not a 429."""
        with self._changed:
            self._tempo.succeeded(left_at)
            if self._is_paused:
                self._is_paused = False
                self._logger.info("Requests get through again.")

    def refused(self, left_at: float, retry_after: float | None) -> float:
        """A 429 came: pause everybody.

        Returns:
            For how many seconds no request has got through.
        """
        with self._changed:
            now = monotonic()
            self._tempo.refused(now, left_at, retry_after)
            seconds = self._tempo.resumes_at - now
            since = now - (self._tempo.limited_since or now)
            if not self._is_paused:
                self._is_paused = True
                self._logger.info(f"Ravan limits the rate of requests (HTTP 429): all wait for {seconds:.0f} s.")
                self._on_pause()
            return since
