"""What a sync says of itself: progress, failures, holes, totals, and how it ended."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from airbyte_cdk.models import AirbyteLogMessage, AirbyteMessage, FailureType, Level, StreamDescriptor, Type

from source_ravan_calcom import coverage, errors
from source_ravan_calcom.config import in_words, title
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.ravan.failures import SEVERITY, Failure, OrganizationFailure
from source_ravan_calcom.outcomes import FAILED, READ, Outcome, Outcomes

PROGRESS_SECONDS = 30

SENTENCES = 20
"""How many organizations a message names one by one; the ``organizations`` stream and the log name them all."""

NAMES = 10
"""How many organizations a sentence lists."""

_GAPS = "In {} more organizations a hole opened; the organizations stream names them."
_DOUBTS = (
    "Of {} more organizations can't be told what is covered; their coverage in the organizations stream is unknown."
)


class Incomplete(Failure):
    """Raised where the engine looks for it, so that the stream ends INCOMPLETE; it prints the closing line, no error.

    The error that closes the sync is raised by ``read``, once, after everything else was printed.
    """

    def as_airbyte_message(self, stream_descriptor: StreamDescriptor | None = None) -> AirbyteMessage:
        """The closing line."""
        return AirbyteMessage(type=Type.LOG, log=AirbyteLogMessage(level=Level.INFO, message=str(self)))


@dataclass(frozen=True)
class Policy:
    """What an organization that can't be read means for the sync.

    Attributes:
        skips: It is left out, and the sync succeeds without it.
        overwrites: The destination replaces its table with what this sync delivers.
    """

    skips: bool = False
    overwrites: bool = False

    @property
    def fails(self) -> bool:
        """Whether one organization that can't be read fails the sync."""
        return not self.skips or self.overwrites


class SyncReport:
    """Tells one sync over its organizations. Safe to use from many threads.

    Args:
        stream: The stream whose errors these are.
        org_ids: All that are to be read.
        policy: What a failure means.
        begins_anew: Whether nothing is remembered of earlier syncs, by design: a full refresh.
        logger: Where it speaks.
        emit: Where error traces are put.
        on_stop: Called when no other organization need be asked.
    """

    def __init__(
        self,
        stream: str,
        org_ids: Sequence[str],
        policy: Policy,
        begins_anew: bool,
        logger: logging.Logger,
        emit: Callable[[AirbyteMessage], None],
        on_stop: Callable[[], None],
    ) -> None:
        self.outcomes = Outcomes(org_ids, self._tell_failure, on_stop)
        self._stream = stream
        self._policy = policy
        self._begins_anew = begins_anew
        self._logger = logger
        self._emit = emit
        self._told: Counter[str] = Counter()
        self._told_at = monotonic()
        self._lock = threading.Lock()

    def read(self, org_id: str, outcome: Outcome) -> None:
        """One organization was read."""
        self.outcomes.read(org_id, outcome)
        with self._lock:
            self._tell_claim(org_id, outcome.claim)
            now = monotonic()
            if now - self._told_at >= PROGRESS_SECONDS:
                self._told_at = now
                self._logger.info(f"So far: {self._totals()}.")

    def close(self) -> None:
        """All organizations are settled, or nobody is asked any more: say how it went.

        Raises:
            Incomplete: The sync is to end as a failure; :meth:`closing_error` says why.
        """
        self.outcomes.settle()
        totals = f"Done: {self._totals()}."
        self._tell_coverage()
        if self.closing_error():
            raise Incomplete(totals)
        self._logger.info(totals)

    def closing_error(self) -> Failure | None:
        """The error that closes the sync, in words: what failed and of how many; ``None`` where it succeeded."""
        stopped_by = self.outcomes.stopped_by
        if stopped_by:
            return Failure(str(stopped_by), stopped_by.internal_message, stopped_by.failure_type, stream=self._stream)
        failures = self.outcomes.failures
        some_were_read = bool(self.outcomes.tally[READ])
        if not failures or (not self._policy.fails and some_were_read):
            return None
        remedy = ""
        if self._policy.skips and self._policy.overwrites and some_were_read:
            remedy = (
                f"{title('failing_organizations')} is set to skip, but this connection overwrites its table, and the "
                "rows of an organization that is left out would vanish from it. Choose a sync mode that appends."
            )
        return Failure(
            summary(failures, len(self.outcomes.org_ids), "The organizations stream and the log name each.", remedy),
            f"failed by kind: {dict(Counter(failure.kind.name for failure in failures))}",
            worst(failures),
            stream=self._stream,
        )

    def _tell_failure(self, failure: OrganizationFailure) -> None:
        if self._policy.fails:
            self._emit(failure.as_airbyte_message(StreamDescriptor(name=self._stream)))
        else:
            log = AirbyteLogMessage(Level.WARN, f"Skipped: {failure}", failure.stack_trace)
            self._emit(AirbyteMessage(type=Type.LOG, log=log))

    def _tell_claim(self, org_id: str, claim: Claim | None) -> None:
        if claim is None:
            return
        if claim.doubts:
            self._warn_of_some(
                _DOUBTS,
                f"Organization {org_id}: what is covered can't be told, because Ravan's answers do not hold what was "
                f"asked for ({'; '.join(claim.doubts)}). What they held is delivered.",
            )
        elif claim.gap:
            self._warn_of_some(_GAPS, _gap_in_words(org_id, claim))
        elif claim.covered_from and not self._begins_anew and claim.is_first:
            end = f"to {in_words(claim.covered_until)}" if claim.covered_until else "on"
            self._logger.info(
                f"Organization {org_id} is covered from {in_words(claim.covered_from)} {end}. What begins before lies "
                "beyond what Ravan's endpoint can be made to give."
            )

    def _warn_of_some(self, rest: str, sentence: str) -> None:
        """Name the first few; ``rest`` counts the others when the sync closes."""
        self._told[rest] += 1
        if self._told[rest] <= SENTENCES:
            self._logger.warning(sentence)

    def _tell_coverage(self) -> None:
        outcomes = ((org_id, self.outcomes.of(org_id)) for org_id in self.outcomes.org_ids)
        claims = {org_id: outcome.claim for org_id, outcome in outcomes if outcome.claim}
        for rest, count in self._told.items():
            if count > SENTENCES:
                self._logger.warning(rest.format(count - SENTENCES))
        bounded = [org_id for org_id, claim in claims.items() if claim.covered_from or claim.covered_until]
        if self._begins_anew and bounded:
            names = ", ".join(bounded[:NAMES]) + (f" and {len(bounded) - NAMES} more" if len(bounded) > NAMES else "")
            self._logger.warning(
                f"More bookings than one sync can read: {_organizations(len(bounded))} ({names}). A full refresh "
                "forgets what earlier ones delivered. Sync incrementally, so that the history builds up."
            )
        if claims:
            counts = Counter(claim.coverage for claim in claims.values())
            self._logger.info(
                f"Coverage: {counts[coverage.COMPLETE]} complete, {counts[coverage.PARTIAL]} partly covered, "
                f"{counts[coverage.UNKNOWN]} unknown"
                + (f", {counts[coverage.FILTERED]} by the chosen statuses alone." if counts[coverage.FILTERED] else ".")
            )

    def _totals(self) -> str:
        outcomes, count = self.outcomes, len(self.outcomes.org_ids)
        read, failed = outcomes.tally[READ], outcomes.tally[FAILED]
        rest = count - read - failed
        not_asked = f", {rest} not asked" if outcomes.stopped_by and rest else ""
        everything = outcomes.all()
        return (
            f"{read} of {_organizations(count)} read, {failed} failed{not_asked}; "
            f"{sum(each.bookings_read for each in everything)} bookings read, "
            f"{sum(each.bookings_sent for each in everything)} delivered, "
            f"{sum(each.requests for each in everything)} requests"
        )


def summary(failures: Iterable[OrganizationFailure], organizations: int, where: str, remedy: str = "") -> str:
    """Failures as a person can read them: counts by kind, then the most actionable sentences.

    Args:
        failures: At least one.
        organizations: Of how many.
        where: Where those are named that are not named here.
        remedy: How to go on meanwhile.
    """
    ordered = sorted(failures, key=lambda failure: errors.KINDS.index(failure.kind))
    kinds = Counter(failure.kind.label for failure in ordered)
    counts = ", ".join(f"{count} {label}" for label, count in kinds.items())
    sentences = list(dict.fromkeys(str(failure) for failure in ordered))
    rest = len(sentences) - SENTENCES
    lines = [f"{len(ordered)} of {_organizations(organizations)} failed ({counts}):", *sentences[:SENTENCES]]
    lines += [f"And {rest} more. {where}"] if rest > 0 else []
    return "\n".join([*lines, remedy] if remedy else lines)


def worst(failures: Iterable[OrganizationFailure]) -> FailureType:
    """Who has to act on the whole: transient only if every cause was."""
    types = {failure.failure_type for failure in failures}
    return next(each for each in SEVERITY if each in types)


def _gap_in_words(org_id: str, claim: Claim) -> str:
    assert claim.gap
    begin, end = map(in_words, claim.gap)
    windows = " and ".join(claim.causes)
    if "past" in claim.causes:
        remedy = "Sync more often."
    else:
        remedy = (
            "Bookings of that time that were cancelled since the last sync may still show as accepted. Syncing more "
            "often does not help: the window is full of cancellations of later bookings."
        )
    return (
        f"Organization {org_id}: a hole opened. What begins between {begin} and {end} was not seen to the end, "
        f"because a full window no longer reaches back to the last sync: {windows}. {remedy}"
    )


def _organizations(count: int) -> str:
    return f"{count} organization{'' if count == 1 else 's'}"
