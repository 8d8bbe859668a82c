"""The one boundary where the words of the CDK and of urllib3 for what we foresaw are kept from the log.

We say each of these things ourselves, with its cause and what to do: a failed organization in its error trace, the end
in the summary. Theirs would say it again, as a stack trace or as a Python repr.
"""

from __future__ import annotations

import logging

from source_ravan_calcom.ravan.failures import Failure

LOGGER_NAMES = ("airbyte", "airbyte.source-ravan-calcom", "urllib3.connectionpool", "backoff")
"""The CDK's loggers, and those through which urllib3 and the CDK's client say that they repeat a request or do not."""

_SAID_BY_US = (
    "Retrying (",  # shows the repr of the exception
    "Giving up %s(",  # likewise
    "During the sync, the following streams did not sync successfully",  # reprs of all failures
)


class ForeseenFailures(logging.Filter):
    """Drops the lines about failures that we have put into words."""

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
