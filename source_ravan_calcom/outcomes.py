"""What became of each organization, recorded once: read, failed or not asked, and what stopped the rest."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from source_ravan_calcom import errors
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.ravan.failures import OrganizationFailure

SAME_REFUSAL = 3
"""How many organizations must say that the token is refused, while it has worked for none, until it is the token."""

READ, FAILED, NOT_ASKED = "read", "failed", "not_asked"
"""The values of ``organizations.outcome``."""


@dataclass(frozen=True)
class Outcome:
    """What became of one organization in this sync.

    Attributes:
        outcome: ``read``, ``failed`` or ``not_asked``.
        at: When; for one that was read, the ``synced_at`` of its bookings.
        failure: Why it was not read; for one that was not asked, what stopped the sync.
        bookings_read, bookings_sent, requests: How many.
        claim: What is claimed of it, where it was read.
        full_windows: The windows that held as many rows as they can.
    """

    outcome: str
    at: datetime
    failure: OrganizationFailure | None = None
    bookings_read: int = 0
    bookings_sent: int = 0
    requests: int = 0
    claim: Claim | None = None
    full_windows: tuple[str, ...] = ()


class Outcomes:
    """The outcomes of one verb over its organizations. Safe to use from many threads.

    Args:
        org_ids: All that are to be asked.
        on_failure: Called with each organization's failure, once it is certain whose it is; not for what stops all.
        on_stop: Called when no other organization need be asked.
    """

    def __init__(
        self,
        org_ids: Sequence[str],
        on_failure: Callable[[OrganizationFailure], None],
        on_stop: Callable[[], None],
    ) -> None:
        self.org_ids = org_ids
        self.stopped_by: OrganizationFailure | None = None
        self.tally: Counter[str] = Counter()
        self._on_failure = on_failure
        self._on_stop = on_stop
        self._by_org: dict[str, Outcome] = {}
        self._refusals: dict[str, Outcome] = {}
        self._token_works = False
        self._lock = threading.RLock()

    def of(self, org_id: str) -> Outcome:
        """What became of an organization; ``not_asked`` where it ended without it."""
        not_asked = Outcome(NOT_ASKED, datetime.now(timezone.utc), self.stopped_by)
        return self._by_org.get(org_id) or self._refusals.get(org_id) or not_asked

    def all(self) -> list[Outcome]:
        """Those that are recorded, in the order in which they were."""
        with self._lock:
            return list(self._by_org.values())

    @property
    def failures(self) -> list[OrganizationFailure]:
        """Of the organizations that failed."""
        return [each.failure for each in self.all() if each.failure and each.outcome == FAILED]

    def answered(self) -> None:
        """A request was answered with rows, so the token works; its organization may take five more."""
        if not self._token_works:
            with self._lock:
                self._token_works = True
                self.settle()

    def read(self, org_id: str, outcome: Outcome) -> None:
        """One organization was read."""
        with self._lock:
            self._record(org_id, outcome)
            self.answered()

    def failed(self, org_id: str, failure: OrganizationFailure, requests: int = 0) -> None:
        """One organization was given up."""
        # The rows that were read before it failed hang on its frames.
        failure.__context__ = failure.__cause__ = None
        failure.with_traceback(None)
        with self._lock:
            outcome = Outcome(FAILED, datetime.now(timezone.utc), failure, requests=requests)
            if self.stopped_by and failure.kind.stops_sync:
                self._record(org_id, outcome)  # it says the same, and was under way
            elif failure.kind is errors.TOKEN_REFUSED:
                self._refusals[org_id] = outcome
                self._weigh(failure)
            elif failure.kind.stops_sync:
                self._record(org_id, outcome)
                self._stop(failure)
            else:
                self._record(org_id, outcome)
                self._on_failure(failure)

    def given_up(self, org_id: str, failure: OrganizationFailure, requests: int = 0) -> None:
        """One organization is not asked again: it failed, or a rate limit alone kept it from being asked."""
        if failure.came_too_early:
            self.abandoned(org_id, requests)
        else:
            self.failed(org_id, failure, requests)

    def abandoned(self, org_id: str, requests: int) -> None:
        """One organization was not read to its end, because something stopped all."""
        with self._lock:
            now = datetime.now(timezone.utc)
            self._record(org_id, Outcome(NOT_ASKED, now, self.stopped_by, requests=requests))

    def settle(self) -> None:
        """Refusals of the token that turned out to be the organizations' own are their failures."""
        with self._lock:
            for org_id, outcome in self._refusals.items():
                assert outcome.failure
                failure = OrganizationFailure(errors.TOKEN_REFUSED_HERE, outcome.failure.facts)
                self._record(org_id, Outcome(FAILED, outcome.at, failure, requests=outcome.requests))
                self._on_failure(failure)
            self._refusals.clear()

    def _weigh(self, failure: OrganizationFailure) -> None:
        """One organization's refusal is its own, unless the token has worked for none and others say the same."""
        if self._token_works:
            self.settle()
        elif len(self._refusals) >= min(SAME_REFUSAL, len(self.org_ids)):
            for org_id, outcome in self._refusals.items():
                self._record(org_id, outcome)
            self._refusals.clear()
            self._stop(failure)

    def _record(self, org_id: str, outcome: Outcome) -> None:
        self._by_org[org_id] = outcome
        self.tally[outcome.outcome] += 1

    def _stop(self, failure: OrganizationFailure) -> None:
        if self.stopped_by is None:
            self.stopped_by = failure
            self._on_stop()
