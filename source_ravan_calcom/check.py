"""The ``check`` verb: one request to every organization, and what the responses mean for the connection."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timezone
from time import monotonic

from airbyte_cdk.models import AirbyteConnectionStatus, Status
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets

from source_ravan_calcom import workers
from source_ravan_calcom.bookings.windows import Reading
from source_ravan_calcom.config import Config
from source_ravan_calcom.ravan import client, failures
from source_ravan_calcom.ravan.client import Client
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.ravan.throttle import Paused, Resumed
from source_ravan_calcom.report import READ, SKIP_REMEDY, Outcome, Outcomes, log_pause, summary
from source_ravan_calcom.sync import lowers_limit
from source_ravan_calcom.workers import Finished, Task, WorkerPool

SECONDS = 45
"""In which requests may start. With the last response, a check takes less than a minute."""


@dataclass(eq=False)
class Probe(Task):
    """One organization that is to be checked."""

    statuses: list[str | None] = field(default_factory=list)  # those still to be requested
    reading: Reading = field(default_factory=lambda: Reading(()))


class Check:
    """One check of a connection. ``logger`` gets every organization that can't be read, even if the check passes."""

    def __init__(self, config: Config, logger: logging.Logger) -> None:
        self._config = config
        self._logger = logger
        until = monotonic() + SECONDS
        self._pool: WorkerPool[Probe] = WorkerPool(config.num_workers, workers.CHECK, until)
        self._client = Client(config, client.CHECK, self._pool.notify, until)
        self._outcomes = Outcomes(
            config.org_ids, lambda: self._client.has_succeeded, lambda failure: logger.warning(str(failure))
        )

    def status(self) -> AirbyteConnectionStatus:
        """Request, within the time that a person waits, and judge."""
        # Each chosen status is requested, so that one that the API refuses is found here and not in the first read.
        probes = (Probe(org_id, statuses=list(self._config.statuses or (None,))) for org_id in self._config.org_ids)
        for event in self._pool.events(probes, self._probe, self._client):
            if isinstance(event, Finished):
                self._record(event)
            elif isinstance(event, (Paused, Resumed)):
                log_pause(self._logger, event)
        self._outcomes.settle()
        return self._judged()

    def _probe(self, probe: Probe) -> bool:
        """Send the requests of one organization. Runs in a worker."""
        while probe.statuses:
            try:
                # The limit of read, so that what passes here passes there.
                self._client.get(probe.call, probe.statuses[0], probe.reading.limit)
            except OrganizationFailure as failure:
                if not lowers_limit(probe.reading, failure):
                    raise
            else:
                probe.statuses.pop(0)
        return True

    def _record(self, event: Finished[Probe]) -> None:
        org_id, requests = event.task.org_id, event.task.call.requests
        if event.result:
            self._outcomes.record(org_id, Outcome(READ, datetime.now(timezone.utc), requests=requests))
        else:
            self._outcomes.fail(org_id, event.failure, requests)
        if self._outcomes.stopped_by:
            self._pool.close()
            self._client.close()

    def _judged(self) -> AirbyteConnectionStatus:
        outcomes, count = self._outcomes, len(self._config.org_ids)
        stopped_by, failed, read = outcomes.stopped_by, outcomes.failed, outcomes.tally[READ]
        if stopped_by:
            self._logger.warning(str(stopped_by))
        if not_attempted := count - read - len(failed):
            self._logger.warning(
                f"{not_attempted} of {count} organizations were not checked, because the check was stopped or had used "
                f"up its {SECONDS} seconds. A sync reads them all."
            )
        if read and not self._fails(failed):
            return AirbyteConnectionStatus(status=Status.SUCCEEDED)
        if stopped_by:
            message = str(stopped_by)
        elif failed:
            message = summary(outcomes, SKIP_REMEDY if read else "", "The log names each.")
        else:
            message = (
                f"No organization could be read within {SECONDS} seconds, because Ravan limits the rate of requests or "
                "does not respond. Try again later."
            )
        return AirbyteConnectionStatus(status=Status.FAILED, message=filter_secrets(message))

    def _fails(self, failed: list[OrganizationFailure]) -> bool:
        """Whether a check fails although some organizations can be read.

        It passes over a failure that may have passed by the next sync, since a failed check stops that sync. One that
        stops every sync, as a refused token does, fails the check whatever the setting.
        """
        stopped_by = self._outcomes.stopped_by
        if stopped_by and stopped_by.kind.failure_type != failures.TRANSIENT:
            return True
        lasting = any(failure.kind.failure_type != failures.TRANSIENT for failure in failed)
        return lasting and not self._config.skips
