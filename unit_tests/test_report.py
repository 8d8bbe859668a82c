from __future__ import annotations

import logging

import pytest
from airbyte_cdk.models import FailureType

from source_ravan_calcom import errors, report
from source_ravan_calcom.errors import Failure
from source_ravan_calcom.report import SyncReport
from unit_tests.conftest import LOGGER


def failure(kind, org_id="a"):
    return Failure(kind, f"{org_id} failed.", f"{kind.name} inside", org_id)


@pytest.mark.parametrize(
    ("kinds", "failure_type"),
    [
        ([errors.SERVER_FAILED], FailureType.transient_error),
        ([errors.SERVER_FAILED, errors.CALCOM_FAILED], FailureType.transient_error),
        ([errors.SERVER_FAILED, errors.NOT_CONNECTED], FailureType.config_error),
        ([errors.SERVER_FAILED, errors.WRONG_SHAPE], FailureType.system_error),
        ([errors.WRONG_SHAPE, errors.FORBIDDEN], FailureType.config_error),
    ],
)
def test_the_summary_is_transient_only_if_every_cause_was(kinds, failure_type):
    sync = SyncReport(LOGGER, 8)
    for number, kind in enumerate(kinds):
        assert sync.failed(failure(kind, str(number)))
    summary = sync.summary()
    assert summary.failure_type is failure_type
    assert summary.message.startswith(f"{len(kinds)} of 8 organizations failed: 0 failed.")


def test_a_long_summary_stays_readable():
    sync = SyncReport(LOGGER, 1000)
    for number in range(1000):
        sync.failed(failure(errors.SERVER_FAILED, f"{number:04}"))
    assert sync.summary().message.endswith("0009 failed. And 990 more.")


def test_what_stops_the_sync_is_said_once():
    sync = SyncReport(LOGGER, 3)
    refused = failure(errors.TOKEN_REFUSED)
    assert [sync.failed(refused), sync.failed(refused)] == [True, False]
    assert sync.summary() is sync.stopped_by is refused


def test_nothing_failed_is_no_summary():
    assert SyncReport(LOGGER, 1).summary() is None


def test_the_closing_line_counts_everything(caplog):
    sync = SyncReport(LOGGER, 3)
    for _ in range(7):
        sync.requested()
    sync.read(rows=300, sent=20, incomplete=True)
    sync.read(rows=5, sent=5, incomplete=False)
    sync.failed(failure(errors.NOT_CONNECTED))
    with caplog.at_level(logging.INFO):
        sync.say_totals()
    assert caplog.messages == [
        "Done: 2 of 3 organizations read, 1 failed; 305 bookings read, 25 delivered, 7 requests; "
        "1 organization with more bookings than could be read."
    ]


def test_a_long_sync_says_how_far_it_is(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(report, "monotonic", lambda: now[0])
    sync = SyncReport(LOGGER, 100, _said_at=0.0)
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            now[0] += 1
            sync.read(1, 1, incomplete=False)
    assert [line.split()[2] for line in caplog.messages] == ["30", "60", "90"]
