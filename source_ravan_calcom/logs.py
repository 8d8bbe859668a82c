"""The one boundary where the CDK's words for a failure we foresaw are kept from the log.

We say each of these things ourselves, with its cause and what to do: a repetition in ``api``, a failed organization
in its error trace, the end in the summary. The CDK's lines would say it again, as a stack trace, as a Python repr,
or as a rate limit that was none.
"""

from __future__ import annotations

import logging

from source_ravan_calcom.errors import Failure

LOGGER_NAMES = ("airbyte", "airbyte.source-ravan-calcom")
"""The CDK's retry handlers log through the first, everything else through the second."""

_SAID_BY_US = (
    "UserDefinedBackoffException:",  # calls every repetition a rate limit
    "Max retry limit reached",  # shows the repr of the request
    "Retries exhausted with backoff exception",  # with a stack trace
    "During the sync, the following streams did not sync successfully",  # reprs of all failures
)


class ForeseenFailures(logging.Filter):
    """Drops the CDK's lines about failures that we have put into words."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let a line through; stack traces of failures nobody foresaw pass."""
        if record.exc_info and isinstance(record.exc_info[1], Failure):
            return False
        return not str(record.msg).startswith(_SAID_BY_US)


_FILTER = ForeseenFailures()


def install() -> None:
    """Put the boundary in place; calling it again changes nothing."""
    for name in LOGGER_NAMES:
        logging.getLogger(name).addFilter(_FILTER)
