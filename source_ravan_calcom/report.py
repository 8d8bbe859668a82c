"""The outcome of each organization, and the log lines, table rows and error made from it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from time import monotonic

from airbyte_cdk.models import FailureType, StreamDescriptor
from airbyte_cdk.utils import AirbyteTracedException
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

from source_ravan_calcom.bookings import coverage, memory
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.bookings.records import CURSOR_FIELD, Row, utc_text
from source_ravan_calcom.config import FAIL, SKIP, Config, in_words, label
from source_ravan_calcom.ravan import failures
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.ravan.throttle import Pause

READ, FAILED, NOT_ATTEMPTED = "read", "failed", "not_asked"  # values of the column outcome
SAME_FAILURE = 3  # this many organizations with the same failure, before any request succeeds, stop the sync
PROGRESS_SECONDS = 30  # between two log lines about a sync's progress
ITEMS = 20  # organizations that a message lists one by one
NAMES = 10  # organizations that a sentence names

SKIP_REMEDY = f"To sync the others meanwhile, set {label('failing_organizations')} to {SKIP} instead of {FAIL}."
_APPEND_REMEDY = (
    f"{label('failing_organizations')} is set to {SKIP}, but this sync overwrites the table (a full refresh), so "
    "the rows of a skipped organization would vanish from it. Choose a sync mode that appends; with PyAirbyte, leave "
    "out force_full_refresh."
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one organization in this sync."""

    outcome: str
    at: datetime  # when it ended; if it was read, the synced_at of its bookings
    failure: OrganizationFailure | None = None  # its own or, if not attempted, the one that stopped the sync
    requests: int = 0
    bookings_read: int | None = None  # None if it was not read
    bookings_sent: int | None = None
    claim: Claim | None = None
    full_windows: tuple[str, ...] = ()  # the requests whose responses may have been cut


class Outcomes:
    """The outcome of each organization, recorded once.

    A failure that may concern all organizations, such as a refused token, is suspended. It stops the sync if several
    organizations have it before any request succeeds; else it counts as each organization's own.
    """

    def __init__(
        self, org_ids: Sequence[str], has_succeeded: Callable[[], bool], log: Callable[[OrganizationFailure], None]
    ) -> None:
        self.org_ids = org_ids
        self.by_org: dict[str, Outcome] = {}
        self.stopped_by: OrganizationFailure | None = None
        self._has_succeeded = has_succeeded
        self._log = log
        self._suspended: dict[str, OrganizationFailure] = {}

    def __getitem__(self, org_id: str) -> Outcome:
        """The outcome of an organization; not attempted if none was recorded."""
        return self.by_org.get(org_id) or Outcome(NOT_ATTEMPTED, datetime.now(timezone.utc), self.stopped_by)

    @property
    def tally(self) -> Counter[str]:
        """The number of organizations by outcome."""
        return Counter(each.outcome for each in self.by_org.values())

    @property
    def failed(self) -> list[OrganizationFailure]:
        return [each.failure for each in self.by_org.values() if each.failure and each.outcome == FAILED]

    def record(self, org_id: str, outcome: Outcome) -> None:
        """Record an organization that was read."""
        self.by_org[org_id] = outcome
        self.settle()

    def fail(self, org_id: str, failure: OrganizationFailure | None, requests: int) -> None:
        """Record an organization that failed for good or, without a ``failure``, was not attempted."""
        if failure is None:
            self.by_org[org_id] = Outcome(NOT_ATTEMPTED, datetime.now(timezone.utc), self.stopped_by, requests)
            return
        # A traceback would keep the rows in memory.
        failure.__context__ = failure.__cause__ = None
        failure.with_traceback(None)
        self.by_org[org_id] = Outcome(FAILED, datetime.now(timezone.utc), failure, requests)
        if not failure.kind.stops_sync:
            self._log(failure)
        elif failure.kind.alone and not self.stopped_by:
            self._suspended[org_id] = failure
            same = sum(each.kind is failure.kind for each in self._suspended.values())
            if self._has_succeeded():
                self.settle()
            elif same >= min(SAME_FAILURE, len(self.org_ids)):
                self.stopped_by = failure
                self._suspended.clear()
        else:
            self.stopped_by = self.stopped_by or failure

    def settle(self) -> None:
        """Count each suspended failure as its organization's own."""
        for org_id, failure in self._suspended.items():
            assert failure.kind.alone
            own = OrganizationFailure(failure.kind.alone, failure.facts)
            self.by_org[org_id] = replace(self.by_org[org_id], failure=own)
            self._log(own)
        self._suspended.clear()


class Report:
    """Logs one sync, and makes the error that ends it; the error names ``stream``.

    ``overwrites``: the destination replaces its table, so no organization can be skipped. ``forgets``: a full refresh,
    which uses no state.
    """

    def __init__(
        self,
        stream: str,
        config: Config,
        overwrites: bool,
        forgets: bool,
        logger: logging.Logger,
        has_succeeded: Callable[[], bool],
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
        """Return the error that ends a failed sync. Only one, because Airbyte shows only the first."""
        outcomes = self.outcomes
        if stopped_by := outcomes.stopped_by:
            message, internal = str(stopped_by), stopped_by.internal_message
            failure_type = stopped_by.kind.failure_type
        elif not outcomes.failed or (not self._fails and outcomes.tally[READ]):
            return None
        else:
            remedy = _APPEND_REMEDY if self._skips else SKIP_REMEDY
            where = "The organizations stream and the log name each."
            message = summary(outcomes, remedy if outcomes.tally[READ] else "", where)
            internal = f"failed by kind: {dict(Counter(failure.kind.name for failure in outcomes.failed))}"
            # Transient only if every failure is.
            types = (failures.CONFIG, failures.SYSTEM, failures.TRANSIENT)
            failure_type = min((failure.kind.failure_type for failure in outcomes.failed), key=types.index)
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
        """Log a claim that a person should know of. Most kinds are logged only a few times."""
        level = logging.WARNING
        if claim.doubts:
            rest = "Coverage of {} more organizations is unknown, see coverage in the organizations stream."
            sentence = (
                ": coverage is unknown, because Ravan's responses don't match the requested filters "
                f"({'; '.join(claim.doubts)}). The rows were synced."
            )
        elif claim.gap:
            rest = "In {} more organizations a gap opened; the organizations stream names them."
            sentence = _gap_in_words(claim.gap, claim.causes)
        elif claim.reason:
            rest = "Coverage of {} more organizations restarts or is unknown; see the organizations stream."
            sentence = f": coverage {'restarts' if claim.is_first else 'is unknown'}, because {claim.reason}."
            level = logging.INFO if claim.reason in coverage.HARMLESS else level
        elif claim.covered_from and claim.is_first and not self._forgets:
            rest, level = "", logging.INFO
            end = f"to {in_words(claim.covered_until)}" if claim.covered_until else "on"
            sentence = (
                f" is covered from {in_words(claim.covered_from)} {end}. Earlier bookings are no longer available from "
                "Ravan's API."
            )
        else:
            return
        self._logged[rest, level] += 1
        if not rest or self._logged[rest, level] <= ITEMS:
            self._logger.log(level, f"Organization {org_id}{sentence}")

    def _log_coverage(self) -> None:
        for (rest, level), count in self._logged.items():
            if rest and count > ITEMS:
                self._logger.log(level, rest.format(count - ITEMS))
        claims = {org_id: claim for org_id in self.outcomes.org_ids if (claim := self.outcomes[org_id].claim)}
        bounded = [org_id for org_id, claim in claims.items() if claim.covered_from or claim.covered_until]
        if self._forgets and bounded:
            names = ", ".join(bounded[:NAMES]) + (f" and {len(bounded) - NAMES} more" if len(bounded) > NAMES else "")
            self._logger.warning(
                f"One sync can't read all bookings of {_organizations(len(bounded))} ({names}). A full refresh "
                "forgets the bookings that earlier syncs delivered. Sync incrementally, so that the history builds up."
            )
        if claims:
            counts = Counter(claim.coverage for claim in claims.values())
            filtered = counts[coverage.FILTERED]
            self._logger.info(
                f"Coverage: {counts[coverage.COMPLETE]} complete, {counts[coverage.PARTIAL]} partial, "
                f"{counts[coverage.UNKNOWN]} unknown{f', {filtered} only for the chosen statuses' if filtered else ''}."
            )

    def _totals(self) -> str:
        outcomes, count, tally = self.outcomes, len(self.outcomes.org_ids), self.outcomes.tally
        read, failed = tally[READ], tally[FAILED]
        rest = count - read - failed
        not_attempted = f", {rest} not attempted" if outcomes.stopped_by and rest else ""
        everything = outcomes.by_org.values()
        return (
            f"{read} of {_organizations(count)} read, {failed} failed{not_attempted}; "
            f"{sum(each.bookings_read or 0 for each in everything)} bookings read, "
            f"{sum(each.bookings_sent or 0 for each in everything)} delivered, "
            f"{sum(each.requests for each in everything)} requests"
        )


def summary(outcomes: Outcomes, remedy: str, where: str) -> str:
    """Describe the failures (at least one) in a paragraph; ``where`` is a sentence that says where all are listed."""
    ordered = sorted(outcomes.failed, key=lambda failure: failures.KINDS.index(failure.kind))
    kinds = Counter(failure.kind.label for failure in ordered)
    counts = ", ".join(f"{count} {name}" for name, count in kinds.items())
    items = [f"({number}) {failure}" for number, failure in enumerate(ordered[:ITEMS], start=1)]
    if len(ordered) == 1:
        items = [str(ordered[0])]
    elif len(ordered) > ITEMS:
        items.append(f"And {len(ordered) - ITEMS} more. {where}")
    sentences = [f"{len(ordered)} of {_organizations(len(outcomes.org_ids))} failed: {counts}.", remedy, *items]
    return " ".join(filter(None, sentences))


def log_pause(logger: logging.Logger, event: Pause) -> None:
    """Log a pause for a rate limit, or its end."""
    if event.seconds is not None:
        logger.info(f"Ravan limits the rate of requests (HTTP 429). All requests wait for {event.seconds:.0f} s.")
    else:
        logger.info("Requests succeed again.")


def organization_row(org_id: str, outcome: Outcome, last_read_at: datetime | None, seen: memory.Seen | None) -> Row:
    """The row of ``organizations``; ``last_read_at`` is from before this sync, ``seen`` from after it."""
    was_read, claim, failure = outcome.outcome == READ, outcome.claim or Claim(""), outcome.failure
    names = ("last_read_at", "covered_from", "covered_until", "gap_from", "gap_to", "gap_found_at")
    gap = (seen and seen.gap) or (None, None, None)
    times = (outcome.at if was_read else last_read_at, claim.covered_from, claim.covered_until, *gap)
    return {
        "organization_id": org_id,
        CURSOR_FIELD: utc_text(outcome.at if was_read else memory.later_than(last_read_at, outcome.at)),
        "outcome": outcome.outcome,
        "error_kind": failure.kind.name if failure else None,
        "error": filter_secrets(str(failure)) if failure else None,
        "bookings_read": outcome.bookings_read,
        "bookings_sent": outcome.bookings_sent,
        "requests": outcome.requests,
        "coverage": claim.coverage or None,
        **{name: utc_text(at) if at else None for name, at in zip(names, times, strict=True)},
        "full_windows": list(outcome.full_windows),
    }


def _gap_in_words(gap: tuple[datetime, datetime], causes: Sequence[str]) -> str:
    remedy = "Sync more often."
    if "past" not in causes:
        remedy = (
            "Bookings in the gap that were cancelled since the last sync may still show as accepted. Syncing more "
            "often does not help: cancelled bookings that start after the gap fill the window."
        )
    return (
        f" has a gap: bookings that start between {in_words(gap[0])} and {in_words(gap[1])} may be missing or out of "
        f"date, because a full window ({' and '.join(causes)}) no longer reaches back to the last sync. {remedy}"
    )


def _organizations(count: int) -> str:
    return f"{count} organization{'' if count == 1 else 's'}"
