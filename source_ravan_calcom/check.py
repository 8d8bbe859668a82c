"""The ``check`` verb: one row from every organization, impatiently, and what the answers mean for the connection."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from time import monotonic

from airbyte_cdk.models import AirbyteConnectionStatus, FailureType, Status

from source_ravan_calcom import errors
from source_ravan_calcom.api import IMPATIENT, AppointmentsApi
from source_ravan_calcom.config import SKIP, Config, title
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.line import Line, Waiting
from source_ravan_calcom.outcomes import READ, Outcome, Outcomes
from source_ravan_calcom.report import summary


@dataclass(eq=False)
class Probe(Waiting):
    """One organization, and the statuses that are still to be tried."""

    statuses: list[str | None] = field(default_factory=list)


class Check:
    """One check of a connection.

    Args:
        config: The user's settings.
        logger: Told about every organization that can't be read, the check failing or not.
    """

    def __init__(self, config: Config, logger: logging.Logger) -> None:
        self._config = config
        self._logger = logger
        self._api = AppointmentsApi(config, IMPATIENT, logger)
        # A status that the API refuses should be found here, and not in the first read.
        probes = (Probe(org_id, statuses=list(config.statuses or (None,))) for org_id in config.org_ids)
        self._line = Line(probes, IMPATIENT.repetition)
        self._outcomes = Outcomes(config.org_ids, lambda failure: logger.warning(str(failure)), self._line.close)

    def status(self) -> AirbyteConnectionStatus:
        """Ask, within the time that a person waits, and judge."""
        self._line.close(monotonic() + (IMPATIENT.whole or 0))
        with ThreadPoolExecutor(max_workers=self._config.num_workers, thread_name_prefix="check") as pool:
            for worker in [pool.submit(self._work) for _ in range(self._config.num_workers)]:
                worker.result()
        for probe, failure in self._line.left:
            self._outcomes.given_up(probe.org_id, failure)
        return self._judged()

    def _work(self) -> None:
        for probe in self._line:
            try:
                self._probe(probe)
            finally:
                self._line.settle(probe)

    def _probe(self, probe: Probe) -> None:
        try:
            while probe.statuses:
                self._api.ask(probe, probe.statuses[0], limit=1)
                self._outcomes.answered()
                probe.statuses.pop(0)
            self._outcomes.read(probe.org_id, Outcome(READ, datetime.now(timezone.utc)))
        except OrganizationFailure as failure:
            if self._line.again(probe, failure) is None:
                self._outcomes.given_up(probe.org_id, probe.failure or failure)
        except Exception as error:  # nobody foresaw it, and it is this organization's alone
            self._outcomes.failed(probe.org_id, OrganizationFailure.unforeseen(error, probe.org_id))

    def _judged(self) -> AirbyteConnectionStatus:
        outcomes, count = self._outcomes, len(self._config.org_ids)
        outcomes.settle()
        failures, some_were_read = outcomes.failures, bool(outcomes.tally[READ])
        not_asked = count - outcomes.tally[READ] - len(failures)
        if outcomes.stopped_by:
            self._logger.warning(str(outcomes.stopped_by))
        if not_asked:
            self._logger.warning(
                f"{not_asked} of {count} organizations were not asked, because something stopped the check, or within "
                f"the {IMPATIENT.whole:.0f} seconds that it takes at most. A sync asks them all."
            )
        actionable = any(failure.failure_type is not FailureType.transient_error for failure in failures)
        if some_were_read and not (actionable and self._fails):
            return AirbyteConnectionStatus(status=Status.SUCCEEDED)
        if outcomes.stopped_by:
            message = str(outcomes.stopped_by)
        elif failures:
            remedy = f"To go on with the others meanwhile, set {title('failing_organizations')} to {SKIP}."
            where = "The log of this check names each."
            message = summary(failures, count, where, remedy if some_were_read else "")
        else:
            message = self._nobody()
        return AirbyteConnectionStatus(status=Status.FAILED, message=message)

    @property
    def _fails(self) -> bool:
        """Whether what only a person can mend fails the check; a refused token does, whatever the setting."""
        return not self._config.skips or (
            self._outcomes.stopped_by is not None and self._outcomes.stopped_by.kind is not errors.RATE_LIMITED
        )

    def _nobody(self) -> str:
        return (
            f"No organization answered within {IMPATIENT.whole:.0f} seconds, because Ravan limits the rate of "
            "requests or does not answer. Try again later."
        )
