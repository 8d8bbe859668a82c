"""The ``check`` verb: requests for every organization, and the connection's status."""

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
from source_ravan_calcom.ravan.throttle import Pause
from source_ravan_calcom.report import READ, SKIP_REMEDY, Outcome, Outcomes, log_pause, summary
from source_ravan_calcom.sync import lowers_limit
from source_ravan_calcom.workers import Finished, Task, WorkerPool

SECONDS = 45  # requests may start in this time; a check takes less than a minute, the last response included


@dataclass(eq=False)
class Probe(Task):
    """One organization to check."""

    statuses: list[str | None] = field(default_factory=list)  # those still to be requested
    reading: Reading = field(default_factory=lambda: Reading(()))


def check(config: Config, logger: logging.Logger) -> AirbyteConnectionStatus:
    """Check a connection, and log every organization that can't be read, even if the check passes."""
    until = monotonic() + SECONDS
    pool: WorkerPool[Probe] = WorkerPool(config.num_workers, workers.CHECK, until)
    ravan = Client(config, client.CHECK, pool.notify, until)
    outcomes = Outcomes(config.org_ids, lambda: ravan.has_succeeded, logger.warning)
    # Request each chosen status, so that a refused one is found here and not in the first read.
    probes = (Probe(org_id, statuses=list(config.statuses or (None,))) for org_id in config.org_ids)
    for event in pool.events(probes, lambda probe: _probe(ravan, probe), ravan):
        if isinstance(event, Pause):
            log_pause(logger, event)
        elif isinstance(event, Finished) and event.result:
            outcome = Outcome(READ, datetime.now(timezone.utc), requests=event.task.call.requests)
            outcomes.record(event.task.org_id, outcome)
        elif isinstance(event, Finished):
            outcomes.fail(event.task.org_id, event.failure, event.task.call.requests)
        if outcomes.stopped_by:
            pool.close()
            ravan.close()
    outcomes.settle()
    return _judged(outcomes, config, logger)


def _probe(ravan: Client, probe: Probe) -> bool:
    """Send the requests of one organization. Runs in a worker."""
    while probe.statuses:
        try:
            # The same limit as in read, so that a request that succeeds here succeeds there.
            ravan.get(probe.call, probe.statuses[0], probe.reading.limit)
        except OrganizationFailure as failure:
            if not lowers_limit(probe.reading, failure):
                raise
        else:
            probe.statuses.pop(0)
    return True


def _judged(outcomes: Outcomes, config: Config, logger: logging.Logger) -> AirbyteConnectionStatus:
    stopped_by, failed, read = outcomes.stopped_by, outcomes.failed, outcomes.tally[READ]
    if stopped_by:
        logger.warning(stopped_by)
    if not_attempted := len(config.org_ids) - read - len(failed):
        logger.warning(
            f"{not_attempted} of {len(config.org_ids)} organizations were not checked, because the check was stopped "
            f"or had used up its {SECONDS} seconds. A sync reads them all."
        )
    # A failed check prevents the next sync. So a check passes despite temporary or skipped failures.
    lasting = [failure for failure in failed if failure.kind.failure_type != failures.TRANSIENT]
    if read and stopped_by not in lasting and (config.skips or not lasting):
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
