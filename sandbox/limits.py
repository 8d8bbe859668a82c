"""Rate limits as gateways enforce them: for all requests of a token, in real time."""

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
"""Forms of the Retry-After header, made from the seconds to wait and the time of the clock that dates it."""


@dataclass(kw_only=True)
class Limit(ABC):
    """Admits or refuses requests, and counts both.

    Attributes:
        retry_after: The form of the Retry-After header, one of ``RETRY_AFTER``.
        skew: How far the clock for dates in Retry-After is ahead of the server's clock.
        monotonic: The clock of the limit, in seconds.
        allowed: The number of admitted requests.
        refused: The number of refused requests.
    """

    retry_after: str = "seconds"
    skew: timedelta = timedelta()
    monotonic: Callable[[], float] = monotonic
    allowed: int = 0
    refused: int = 0

    def refusal(self, now: datetime) -> dict[str, str] | None:
        """Return ``None`` to admit one request, or the headers of its refusal.

        Args:
            now: The server's time in UTC, used only for dates; the limit itself uses real time.
        """
        wait = self.wait()
        if wait <= 0:
            self.allowed += 1
            return None
        self.refused += 1
        value = RETRY_AFTER[self.retry_after](math.ceil(wait), now + self.skew)
        return {} if value is None else {"Retry-After": value}

    @abstractmethod
    def wait(self) -> float:
        """Take one request from the limit and return 0, or return the seconds until one is free."""


@dataclass(kw_only=True)
class TokenBucket(Limit):
    """Admits ``capacity`` requests at once, and ``per_second`` more each second."""

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
    """Admits ``requests`` in each period of ``seconds``; the first period begins with the first request."""

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
