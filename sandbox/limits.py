"""Limits on the rate of requests, as gateways set them: of a whole token, in real time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from time import monotonic

RETRY_AFTER: Mapping[str, Callable[[int, datetime], str | None]] = {
    "seconds": lambda wait, now: str(wait),
    "date": lambda wait, now: format_datetime(now + timedelta(seconds=wait), usegmt=True),
    "zero": lambda wait, now: "0",
    "none": lambda wait, now: None,
}
"""What a refusal says about when to come again, made of the whole seconds until then and of the server's time."""


@dataclass(kw_only=True)
class Limit(ABC):
    """Admits a request or refuses it, and counts both.

    Attributes:
        retry_after: How a refusal says when to come again, one of ``RETRY_AFTER``.
        skew: How far the clock that makes its dates is from the server's.
        allowed: How many requests were admitted.
        refused: How many were not.
    """

    retry_after: str = "seconds"
    skew: timedelta = timedelta()
    monotonic: Callable[[], float] = monotonic
    allowed: int = 0
    refused: int = 0

    def refusal(self, now: datetime) -> dict[str, str] | None:
        """The headers of the refusal of one request, or ``None`` where it is admitted.

        Args:
            now: The server's time in UTC. Only dates are made of it: the limit counts in real time.
        """
        wait = self.wait()
        if wait <= 0:
            self.allowed += 1
            return None
        self.refused += 1
        said = RETRY_AFTER[self.retry_after](math.ceil(wait), now + self.skew)
        return {} if said is None else {"Retry-After": said}

    @abstractmethod
    def wait(self) -> float:
        """Take one request's allowance and return 0, or the seconds until there is one."""


@dataclass(kw_only=True)
class TokenBucket(Limit):
    """So many requests at once, and so many more each second."""

    capacity: int
    per_second: float

    def __post_init__(self) -> None:
        self._tokens, self._at = float(self.capacity), self.monotonic()

    def wait(self) -> float:
        now = self.monotonic()
        self._tokens = min(self.capacity, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self.per_second
        self._tokens -= 1
        return 0


@dataclass(kw_only=True)
class FixedWindow(Limit):
    """So many requests in each stretch of so many seconds, the first of which begins with the first request."""

    requests: int
    seconds: float

    def __post_init__(self) -> None:
        self._began, self._left = -math.inf, 0

    def wait(self) -> float:
        now = self.monotonic()
        if self._began == -math.inf:
            self._began, self._left = now, self.requests
        elif now >= self._began + self.seconds:
            self._began += (now - self._began) // self.seconds * self.seconds
            self._left = self.requests
        if self._left < 1:
            return self._began + self.seconds - now
        self._left -= 1
        return 0
