from __future__ import annotations

import logging
import sys

import pytest

from source_ravan_calcom import errors, logs


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("Retrying (%r) after connection broken by '%r': %s", False),
        ("Giving up %s(...) after %d tries (%s)", False),
        ("During the sync, the following streams did not sync successfully: x", False),
        ("Organization a: HTTP 502. Asking again in 2 s (try 2 of 5).", True),
    ],
)
def test_the_words_of_others_for_a_foreseen_failure_are_dropped(line, passes):
    record = logging.LogRecord("airbyte", logging.INFO, "", 0, line, None, None)
    assert logs.ForeseenFailures().filter(record) is passes


@pytest.mark.parametrize(("error", "passes"), [(errors.Failure("said"), False), (ZeroDivisionError(), True)])
def test_only_the_stack_traces_of_failures_nobody_foresaw_pass(error, passes):
    try:
        raise error
    except Exception:
        record = logging.LogRecord("airbyte", logging.ERROR, "", 0, "Exception while syncing", None, sys.exc_info())
    assert logs.ForeseenFailures().filter(record) is passes


def test_installing_twice_filters_once_and_every_logger():
    logs.install()
    logs.install()
    for name in logs.LOGGER_NAMES:
        assert len([each for each in logging.getLogger(name).filters if each is logs._FILTER]) == 1
