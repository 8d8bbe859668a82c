"""The outcome of each organization, and its log lines, its row and the closing error."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from airbyte_cdk.models import FailureType, StreamDescriptor
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.bookings.memory import later_than
from source_ravan_calcom.bookings.records import CURSOR_FIELD, utc_text
from source_ravan_calcom.config import FAIL, SKIP, Config, in_words, label
from source_ravan_calcom.ravan import failures
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.ravan.throttle import Paused, Resumed

Gap = tuple[datetime, datetime, datetime]
"""From when to when bookings may be missing, and when that was found."""

READ, FAILED, NOT_ATTEMPTED = "read", "failed", "not_asked"
"""The values of ``organizations.outcome``."""

SAME_FAILURE = 3
"""How many organizations must report a failure that concerns all, while no request has succeeded, to stop the sync."""

PROGRESS_SECONDS = 30

ITEMS = 20  # organizations that a message lists one by one; the organizations stream and the log name them all
NAMES = 10  # organizations that a sentence names


@dataclass(frozen=True)
class Outcome:
    """The outcome of one organization in this sync."""

    outcome: str  # read, failed or not_asked
    at: datetime  # for one that was read, the synced_at of its bookings
    failure: OrganizationFailure | None = None  # if not attempted, the failure that stopped the sync
    requests: int = 0
    bookings_read: int | None = None  # None if it was not read
    bookings_sent: int | None = None
    claim: Claim | None = None  # None if nothing was delivered
    full_windows: tuple[str, ...] = ()  # the requests whose responses may have been cut


class Outcomes:
    """The outcome of each organization, recorded once.

    A failure that concerns all organizations, as a refused token does, stops the sync only after several
    organizations report it and before any request succeeded. Otherwise it is the organization's own, and
    ``on_failure`` is called with it.
    """

    def __init__(
        self,
        org_ids: Sequence[str],
        has_succeeded: Callable[[], bool],
        on_failure: Callable[[OrganizationFailure], None],
    ) -> None:
        self.org_ids = org_ids
        self.stopped_by: OrganizationFailure | None = None
        self._has_succeeded = has_succeeded
        self._on_failure = on_failure
        self._by_org: dict[str, Outcome] = {}
        self._suspended: list[str] = []  # organizations whose failure may concern all

    def __getitem__(self, org_id: str) -> Outcome:
        """The outcome of an organization; ``not_asked`` if none was recorded."""
        return self._by_org.get(org_id) or Outcome(NOT_ATTEMPTED, datetime.now(timezone.utc), self.stopped_by)

    def all(self) -> list[Outcome]:
        """Those that are recorded, in the order of recording."""
        return [*self._by_org.values()]

    @property
    def tally(self) -> Counter[str]:
        """How many organizations have each outcome."""
        return Counter(each.outcome for each in self._by_org.values())

    @property
    def failed(self) -> list[OrganizationFailure]:
        """The failures of the organizations that failed."""
        return [each.failure for each in self.all() if each.failure and each.outcome == FAILED]

    def record(self, org_id: str, outcome: Outcome) -> None:
        """Record an organization that was read."""
        self._by_org[org_id] = outcome
        self.settle()

    def fail(self, org_id: str, failure: OrganizationFailure | None, requests: int) -> None:
        """Record an organization that failed for good, or without a failure one that was not attempted to its end."""
        now = datetime.now(timezone.utc)
        if failure is None:
            self._by_org[org_id] = Outcome(NOT_ATTEMPTED, now, self.stopped_by, requests)
            return
        # The traceback's frames would keep the rows alive.
        failure.__context__ = failure.__cause__ = None
        failure.with_traceback(None)
        self._by_org[org_id] = Outcome(FAILED, now, failure, requests)
        if not failure.kind.stops_sync:
            self._on_failure(failure)
        elif not self.stopped_by:
            self._weigh(org_id, failure)

    def settle(self) -> None:
        """Attribute the failures that might have concerned all organizations to the organizations themselves."""
        for org_id in self._suspended:
            outcome = self._by_org[org_id]
            assert outcome.failure and outcome.failure.kind.alone
            failure = OrganizationFailure(outcome.failure.kind.alone, outcome.failure.facts)
            self._by_org[org_id] = replace(outcome, failure=failure)
            self._on_failure(failure)
        self._suspended = []

    def _weigh(self, org_id: str, failure: OrganizationFailure) -> None:
        """Stop the sync for a failure that concerns all: at once, or if it is repeated and no request has succeeded."""
        self._suspended.append(org_id)
        alike = sum(each.kind is failure.kind for each in self.failed)
        if failure.kind.alone and self._has_succeeded():
            self.settle()
        elif not failure.kind.alone or alike >= min(SAME_FAILURE, len(self.org_ids)):
            self.stopped_by, self._suspended = failure, []


class Report:
    """Logs one sync, and words the error that closes it.

    Args:
        config: The user's settings.
        stream: The stream whose error it is.
        overwrites: The destination replaces its table with this sync's records, so nothing can be skipped.
        forgets: Nothing of earlier syncs is remembered: a full refresh.
        has_succeeded: As of :class:`Outcomes`.
    """

    def __init__(
        self,
        config: Config,
        stream: str,
        overwrites: bool,
        forgets: bool,
        has_succeeded: Callable[[], bool],
        logger: logging.Logger,
    ) -> None:
        self.outcomes = Outcomes(config.org_ids, has_succeeded, self._log_failure)
        self._stream = stream
        self._skips = config.skips
        self._fails = overwrites or not config.skips
        self._forgets = forgets
        self._logger = logger
        self._logged: Counter[tuple[str, int]] = Counter()
        self._progress_at = monotonic()

    def read(self, org_id: str, outcome: Outcome) -> None:
        """Record and log an organization that was read."""
        self.outcomes.record(org_id, outcome)
        if outcome.claim:
            self._log_claim(org_id, outcome.claim)
        now = monotonic()
        if now - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = now
            self._logger.info(f"So far: {self._totals()}.")

    def close(self) -> None:
        """Log how the sync went, after its last organization."""
        self.outcomes.settle()
        self._log_coverage()
        self._logger.info(f"Done: {self._totals()}.")

    def closing_error(self) -> AirbyteTracedException | None:
        """The only error trace of a sync, as the platform shows only the first; ``None`` if the sync succeeded."""
        outcomes = self.outcomes
        if stopped_by := outcomes.stopped_by:
            message, internal = str(stopped_by), stopped_by.internal_message
            failure_type = stopped_by.kind.failure_type
        elif not outcomes.failed or (not self._fails and outcomes.tally[READ]):
            return None
        else:
            remedy = OVERWRITES_REMEDY if self._skips else SKIP_REMEDY
            message = summary(outcomes, remedy, "The organizations stream and the log name each.")
            internal = f"failed by kind: {dict(Counter(failure.kind.name for failure in outcomes.failed))}"
            failure_type = worst(outcomes.failed)
        return AirbyteTracedException(
            message=filter_secrets(message),
            internal_message=filter_secrets(internal),
            failure_type=FailureType(failure_type),
            stream_descriptor=StreamDescriptor(name=self._stream),
        )

    def _log_failure(self, failure: OrganizationFailure) -> None:
        if self._fails:
            self._logger.error(str(failure))
        else:
            self._logger.warning(f"Skipped: {failure}")
        if failure.stack_trace:
            self._logger.info(f"Stack trace of the unexpected error: {failure.stack_trace}")

    def _log_claim(self, org_id: str, claim: Claim) -> None:
        if claim.doubts:
            self._log_some(
                _DOUBTS,
                f"Organization {org_id}: coverage is unknown, because Ravan's responses don't match the requested "
                f"filters ({'; '.join(claim.doubts)}). The rows were synced.",
            )
        elif claim.gap:
            self._log_some(_GAPS, _gap_in_words(org_id, claim))
        elif claim.reason:
            level = logging.INFO if claim.reason in coverage.HARMLESS else logging.WARNING
            what = "coverage begins anew" if claim.is_first else "coverage is unknown"
            self._log_some(_REASONS, f"Organization {org_id}: {what}, because {claim.reason}.", level)
        elif claim.covered_from and not self._forgets and claim.is_first:
            end = f"to {in_words(claim.covered_until)}" if claim.covered_until else "on"
            self._logger.info(
                f"Organization {org_id} is covered from {in_words(claim.covered_from)} {end}. Earlier bookings are no "
                "longer available from Ravan's API."
            )

    def _log_some(self, rest: str, sentence: str, level: int = logging.WARNING) -> None:
        """Log the first few lines of a kind; ``rest`` counts the others when the sync closes."""
        self._logged[rest, level] += 1
        if self._logged[rest, level] <= ITEMS:
            self._logger.log(level, sentence)

    def _log_coverage(self) -> None:
        for (rest, level), count in self._logged.items():
            if count > ITEMS:
                self._logger.log(level, rest.format(count - ITEMS))
        claims = {org_id: claim for org_id in self.outcomes.org_ids if (claim := self.outcomes[org_id].claim)}
        bounded = [org_id for org_id, claim in claims.items() if claim.covered_from or claim.covered_until]
        if self._forgets and bounded:
            more = f" and {len(bounded) - NAMES} more" if len(bounded) > NAMES else ""
            self._logger.warning(
                f"More bookings than one sync can read: {_organizations(len(bounded))} ({', '.join(bounded[:NAMES])}"
                f"{more}). A full refresh forgets the bookings that earlier syncs delivered. Sync incrementally, so "
                "that the history builds up."
            )
        counts = Counter(claim.coverage for claim in claims.values())
        if claims:
            filtered = counts[coverage.FILTERED]
            self._logger.info(
                f"Coverage: {counts[coverage.COMPLETE]} complete, {counts[coverage.PARTIAL]} partial, "
                f"{counts[coverage.UNKNOWN]} unknown{f', {filtered} by the chosen statuses alone' if filtered else ''}."
            )

    def _totals(self) -> str:
        outcomes, tally, count = self.outcomes.all(), self.outcomes.tally, len(self.outcomes.org_ids)
        rest = count - tally[READ] - tally[FAILED]
        not_attempted = f", {rest} not attempted" if self.outcomes.stopped_by and rest else ""
        return (
            f"{tally[READ]} of {_organizations(count)} read, {tally[FAILED]} failed{not_attempted}; "
            f"{sum(each.bookings_read or 0 for each in outcomes)} bookings read, "
            f"{sum(each.bookings_sent or 0 for each in outcomes)} delivered, "
            f"{sum(each.requests for each in outcomes)} requests"
        )


OVERWRITES_REMEDY = (
    f"{label('failing_organizations')} is set to {SKIP}, but this sync overwrites the table (a full refresh), so that "
    "the rows of a skipped organization would vanish from it. Choose a sync mode that appends; with PyAirbyte, leave "
    "out force_full_refresh."
)
SKIP_REMEDY = f"To sync the others meanwhile, set {label('failing_organizations')} to {SKIP} instead of {FAIL}."

_GAPS = "In {} more organizations a gap opened; the organizations stream names them."
_REASONS = "Coverage of {} more organizations begins anew or is unknown, see the organizations stream."
_DOUBTS = "Coverage of {} more organizations is unknown, see coverage in the organizations stream."


def summary(outcomes: Outcomes, remedy: str, where: str) -> str:
    """Word the failures of a verb so that they read well in one paragraph.

    Args:
        outcomes: With at least one failed organization.
        remedy: How to go on meanwhile if some organizations can be read, as a sentence.
        where: Names the place that lists those that are not listed here, as a sentence.
    """
    ordered = sorted(outcomes.failed, key=lambda failure: failures.KINDS.index(failure.kind))
    kinds = Counter(failure.kind.label for failure in ordered)
    counts = ", ".join(f"{count} {name}" for name, count in kinds.items())
    sentences = [f"{len(ordered)} of {_organizations(len(outcomes.org_ids))} failed: {counts}."]
    sentences += [remedy] if outcomes.tally[READ] else []
    if len(ordered) == 1:
        sentences.append(str(ordered[0]))
    else:
        sentences += [f"({number}) {failure}" for number, failure in enumerate(ordered[:ITEMS], start=1)]
    rest = len(ordered) - ITEMS
    sentences += [f"And {rest} more. {where}"] if rest > 0 else []
    return " ".join(sentences)


def worst(failed: Sequence[OrganizationFailure]) -> str:
    """The failure type of the whole: transient only if every cause was."""
    types = {failure.kind.failure_type for failure in failed}
    return next(each for each in (failures.CONFIG, failures.SYSTEM, failures.TRANSIENT) if each in types)


def log_pause(logger: logging.Logger, event: Paused | Resumed) -> None:
    """Log a pause for a rate limit, or its end."""
    if isinstance(event, Paused):
        logger.info(f"Ravan limits the rate of requests (HTTP 429). All requests wait for {event.seconds:.0f} s.")
    else:
        logger.info("Requests succeed again.")


def organization_row(
    org_id: str, outcome: Outcome, last_read_at: datetime | None, last_gap: Gap | None
) -> dict[str, Any]:
    """The row of ``organizations``; ``last_read_at`` and ``last_gap`` are those of earlier syncs' states."""
    was_read, claim, failure = outcome.outcome == READ, outcome.claim, outcome.failure
    gap_from, gap_to, gap_found_at = last_gap or (None, None, None)
    times: Mapping[str, datetime | None] = {
        "last_read_at": outcome.at if was_read else last_read_at,
        "covered_from": claim.covered_from if claim else None,
        "covered_until": claim.covered_until if claim else None,
        "gap_from": gap_from,
        "gap_to": gap_to,
        "gap_found_at": gap_found_at,
    }
    return {
        "organization_id": org_id,
        CURSOR_FIELD: utc_text(outcome.at if was_read else later_than(last_read_at, outcome.at)),
        "outcome": outcome.outcome,
        "error_kind": failure.kind.name if failure else None,
        "error": filter_secrets(str(failure)) if failure else None,
        "bookings_read": outcome.bookings_read,
        "bookings_sent": outcome.bookings_sent,
        "requests": outcome.requests,
        "coverage": claim.coverage if claim else None,
        **{name: utc_text(at) if at else None for name, at in times.items()},
        "full_windows": list(outcome.full_windows),
    }


def _gap_in_words(org_id: str, claim: Claim) -> str:
    assert claim.gap
    begin, end = map(in_words, claim.gap)
    if "past" in claim.causes:
        remedy = "Sync more often."
    else:
        remedy = (
            "Bookings of that time that were cancelled since the last sync may still show as accepted. Syncing more "
            "often does not help: the window is full of cancellations of later bookings."
        )
    return (
        f"Organization {org_id} has a gap: bookings that start between {begin} and {end} may be missing or out of "
        f"date, because a full window no longer reaches back to the last sync: {' and '.join(claim.causes)}. {remedy}"
    )


def _organizations(count: int) -> str:
    return f"{count} organization{'' if count == 1 else 's'}"
