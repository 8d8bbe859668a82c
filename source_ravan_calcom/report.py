"""What a sync says of itself: how far it is, what it could not read, and how it ended."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.streams.http.error_handlers import ResponseAction

from source_ravan_calcom.errors import Failure, Kind

PROGRESS_SECONDS = 30

SENTENCES_IN_SUMMARY = 10
"""Each failure has its own error trace; the summary stays readable when a thousand organizations fail."""

_SEVERITY = (FailureType.config_error, FailureType.system_error, FailureType.transient_error)
"""The first that any organization failed with is the sync's: transient only if every cause was."""


@dataclass
class SyncReport:
    """Counts one sync over its organizations. Safe to use from many threads.

    Args:
        logger: Where the progress and the totals are said.
        organizations: How many there are to read.
    """

    logger: logging.Logger
    organizations: int
    _read: int = 0
    _rows: int = 0
    _sent: int = 0
    _requests: int = 0
    _incomplete: int = 0
    _failures: list[Failure] = field(default_factory=list)
    _stopped_by: Failure | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _said_at: float = field(default_factory=monotonic)

    def requested(self) -> None:
        """One request was answered or given up."""
        with self._lock:
            self._requests += 1

    def read(self, rows: int, sent: int, incomplete: bool) -> None:
        """One organization was read: so many bookings, so many of them delivered."""
        with self._lock:
            self._read += 1
            self._rows += rows
            self._sent += sent
            self._incomplete += incomplete
            now = monotonic()
            if now - self._said_at >= PROGRESS_SECONDS:
                self._said_at = now
                self.logger.info(f"So far: {self._totals()}.")

    def failed(self, failure: Failure) -> bool:
        """One organization failed.

        Returns:
            Whether to say so. A failure that stops the sync is said once, whomever it met first.
        """
        with self._lock:
            if not failure.kind.stops_sync:
                self._failures.append(failure)
                return True
            first = self._stopped_by is None
            self._stopped_by = failure
            return first

    @property
    def stopped_by(self) -> Failure | None:
        """The failure that stopped the whole sync, if one did."""
        return self._stopped_by

    def say_totals(self) -> None:
        """The closing line."""
        self.logger.info(f"Done: {self._totals()}.")

    def summary(self) -> Failure | None:
        """The closing error, in words: what failed and of how many; ``None`` where everything was read."""
        if self._stopped_by:
            return self._stopped_by
        if not self._failures:
            return None
        types = {failure.failure_type for failure in self._failures}
        kind = Kind("summary", next(each for each in _SEVERITY if each in types), ResponseAction.FAIL, "{detail}")
        sentences = sorted(failure.message or "" for failure in self._failures)
        rest = len(sentences) - SENTENCES_IN_SUMMARY
        told = sentences[:SENTENCES_IN_SUMMARY] + ([f"And {rest} more."] if rest > 0 else [])
        return Failure(
            kind,
            f"{len(sentences)} of {_organizations(self.organizations)} failed: {' '.join(told)}",
            f"failed by kind: {dict(Counter(failure.kind.name for failure in self._failures))}",
            org_id="",
        )

    def _totals(self) -> str:
        stopped = ", the rest not asked for" if self._stopped_by else ""
        return (
            f"{self._read} of {_organizations(self.organizations)} read, {len(self._failures)} failed{stopped}; "
            f"{self._rows} bookings read, {self._sent} delivered, {self._requests} requests; "
            f"{_organizations(self._incomplete)} with more bookings than could be read"
        )


def _organizations(count: int) -> str:
    return f"{count} organization{'' if count == 1 else 's'}"
