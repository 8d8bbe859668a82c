from __future__ import annotations

import logging
import weakref
from datetime import datetime, timedelta, timezone

import pytest
from airbyte_cdk.models import AirbyteMessage, FailureType, Level, Type

from source_ravan_calcom import errors, report
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.ravan.failures import Facts, OrganizationFailure
from source_ravan_calcom.outcomes import FAILED, NOT_ASKED, READ, Outcome
from source_ravan_calcom.report import Incomplete, Policy, SyncReport
from unit_tests.conftest import LOGGER

AT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def failure(kind, org_id="a", **facts):
    return OrganizationFailure(kind, Facts(org_id, code="HTTP 400", **facts))


class Sync:
    """A report over organizations a, b, c, …, and what it put out."""

    def __init__(self, count=3, policy=None, begins_anew=False):
        self.org_ids = [chr(ord("a") + number) if number < 26 else str(number) for number in range(count)]
        self.emitted: list[AirbyteMessage] = []
        self.stops: list[int] = []
        self.report = SyncReport(
            "appointments",
            self.org_ids,
            policy or Policy(),
            begins_anew,
            LOGGER,
            self.emitted.append,
            lambda: self.stops.append(1),
        )

    def read(self, *org_ids, rows=1, sent=1, requests=1, claim=None):
        for org_id in org_ids:
            outcome = Outcome(READ, AT, bookings_read=rows, bookings_sent=sent, requests=requests, claim=claim)
            self.report.read(org_id, outcome)

    def failed(self, kind, *org_ids, **facts):
        for org_id in org_ids:
            self.report.outcomes.failed(org_id, failure(kind, org_id, **facts), 1)

    def outcomes(self):
        return [self.report.outcomes.of(org_id).outcome for org_id in self.org_ids]

    def kinds(self):
        outcomes = (self.report.outcomes.of(org_id) for org_id in self.org_ids)
        return [each.failure.kind.name if each.failure else None for each in outcomes]


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(logging.INFO)


def close(sync) -> bool:
    """Whether the stream ends INCOMPLETE."""
    try:
        sync.report.close()
    except Incomplete:
        return True
    return False


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
def test_the_closing_error_is_transient_only_if_every_cause_was(kinds, failure_type):
    sync = Sync(8)
    for org_id, kind in zip("abcdefgh", kinds, strict=False):
        sync.failed(kind, org_id)
    assert close(sync)
    assert sync.report.closing_error().failure_type is failure_type
    assert len(sync.emitted) == len(kinds)


def test_the_closing_error_counts_by_kind_and_begins_with_what_a_person_can_mend():
    sync = Sync(8)
    sync.failed(errors.CALCOM_FAILED, "a", "b")
    sync.failed(errors.NOT_CONNECTED, "c")
    lines = sync.report.closing_error().message.split("\n")
    assert lines[0] == "3 of 8 organizations failed (1 not connected, 2 Cal.com failed):"
    assert lines[1].startswith("Organization c has no primary Cal.com account connected")
    assert len(lines) == 4


def test_a_long_closing_error_stays_readable():
    sync = Sync(1000)
    sync.failed(errors.SERVER_FAILED, *sync.org_ids)
    lines = sync.report.closing_error().message.split("\n")
    assert len(lines) == 1 + report.SENTENCES + 1
    assert lines[-1] == "And 980 more. The organizations stream and the log name each."


def test_each_failure_is_an_error_trace_of_the_stream_as_it_happens():
    sync = Sync()
    sync.failed(errors.FORBIDDEN, "b")
    [message] = sync.emitted
    assert message.type is Type.TRACE
    assert message.trace.error.stream_descriptor.name == "appointments"
    assert message.trace.error.message.startswith("The Access Token may not read organization b")


def test_a_failure_keeps_no_frames_and_so_no_rows():
    class Row(dict):
        pass

    def read_and_fail():
        row = Row(name="somebody")
        try:
            raise ValueError(weakref.ref(row))
        except ValueError as error:
            raise failure(errors.FORBIDDEN) from error

    sync = Sync()
    caught = None
    try:
        read_and_fail()
    except OrganizationFailure as error:
        caught = error
        held = error.__cause__.args[0]
    assert held() is not None
    sync.report.outcomes.failed("a", caught, 1)
    del caught
    assert held() is None
    assert sync.report.outcomes.of("a").failure.__traceback__ is None


def test_nothing_failed_is_no_error(caplog):
    sync = Sync(1)
    sync.read("a")
    assert not close(sync)
    assert sync.report.closing_error() is None
    assert caplog.messages == ["Done: 1 of 1 organization read, 0 failed; 1 bookings read, 1 delivered, 1 requests."]


def test_the_closing_line_counts_everything(caplog):
    sync = Sync(3)
    sync.read("a", rows=300, sent=20, requests=6)
    sync.read("b", rows=5, sent=5)
    sync.report.outcomes.failed("c", failure(errors.NOT_CONNECTED, "c"), 4)
    with pytest.raises(Incomplete) as ended:
        sync.report.close()
    assert str(ended.value) == (
        "Done: 2 of 3 organizations read, 1 failed; 305 bookings read, 25 delivered, 11 requests."
    )
    assert ended.value.as_airbyte_message().type is Type.LOG, "the engine prints a line, and no error beside ours"


def test_a_long_sync_says_how_far_it_is(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(report, "monotonic", lambda: now[0])
    sync = Sync(100)
    for org_id in sync.org_ids:
        now[0] += 1
        sync.read(org_id)
    assert [line.split()[2] for line in caplog.messages] == ["30", "60", "90"]


# One organization's 401, and everybody's.


def test_a_token_that_three_refuse_while_it_worked_for_none_is_refused():
    sync = Sync(5)
    sync.failed(errors.TOKEN_REFUSED, "a", "b")
    assert (sync.stops, sync.report.outcomes.stopped_by) == ([], None)
    sync.failed(errors.TOKEN_REFUSED, "c")
    assert sync.stops == [1]
    assert close(sync)
    assert sync.report.closing_error().message.startswith("Ravan refused the Access Token")
    assert sync.emitted == [], "it is told once, as the closing error"
    assert sync.outcomes() == [FAILED] * 3 + [NOT_ASKED] * 2
    assert sync.kinds() == ["token_refused"] * 5


@pytest.mark.parametrize("count", [1, 2])
def test_where_there_are_fewer_than_three_all_of_them_must_say_so(count):
    sync = Sync(count)
    sync.failed(errors.TOKEN_REFUSED, *sync.org_ids[:-1])
    assert sync.stops == []
    sync.failed(errors.TOKEN_REFUSED, sync.org_ids[-1])
    assert sync.stops == [1]


def test_one_organizations_refusal_after_the_token_has_worked_is_its_own():
    sync = Sync(6)
    sync.read("a")
    sync.failed(errors.TOKEN_REFUSED, "b", "c", "d", "e")
    assert sync.stops == []
    assert sync.kinds()[:5] == [None] + ["token_refused_here"] * 4
    assert len(sync.emitted) == 4


def test_a_token_that_was_answered_works_though_nobody_is_read_to_the_end():
    sync = Sync(6)
    sync.failed(errors.TOKEN_REFUSED, "a")
    sync.report.outcomes.answered()
    sync.failed(errors.TOKEN_REFUSED, "b", "c", "d")
    assert sync.stops == []
    assert sync.kinds()[:4] == ["token_refused_here"] * 4


def test_a_refusal_before_the_token_has_worked_is_told_when_it_has():
    sync = Sync(6)
    sync.failed(errors.TOKEN_REFUSED, "a", "b")
    assert sync.emitted == []
    sync.read("c")
    assert [message.trace.error.message.split(" organization ")[1][0] for message in sync.emitted] == ["a", "b"]
    sync.failed(errors.TOKEN_REFUSED, "d")
    assert sync.stops == []


def test_a_refusal_that_nobody_shares_is_its_own_in_the_end():
    sync = Sync(4)
    sync.failed(errors.TOKEN_REFUSED, "a")
    sync.failed(errors.NOT_CONNECTED, "b", "c", "d")
    assert close(sync)
    assert sync.kinds() == ["token_refused_here"] + ["not_connected"] * 3


def test_a_token_that_says_itself_that_it_has_expired_is_refused_at_once():
    sync = Sync(9)
    sync.read("a")
    sync.failed(errors.TOKEN_EXPIRED, "b")
    assert sync.stops == [1]


def test_what_stops_the_sync_is_told_once_whoever_else_says_it():
    sync = Sync(9)
    sync.failed(errors.RATE_LIMITED, "a", "b")
    assert sync.stops == [1]
    assert close(sync)
    assert sync.emitted == []
    assert sync.outcomes()[:3] == [FAILED, FAILED, NOT_ASKED]


def test_what_was_broken_off_was_not_asked_to_its_end(caplog):
    sync = Sync(4)
    sync.read("a")
    sync.failed(errors.RATE_LIMITED, "b")
    sync.report.outcomes.abandoned("c", 3)
    with pytest.raises(Incomplete, match=r"1 of 4 organizations read, 1 failed, 2 not asked; .* 5 requests"):
        sync.report.close()
    assert sync.outcomes() == [READ, FAILED, NOT_ASKED, NOT_ASKED]
    assert sync.report.outcomes.of("c").requests == 3


# Skipping.


def test_a_skipped_organization_is_a_warning_and_the_sync_succeeds():
    sync = Sync(policy=Policy(skips=True))
    sync.read("a")
    sync.failed(errors.NOT_CONNECTED, "b")
    sync.failed(errors.SERVER_FAILED, "c")
    assert not close(sync)
    assert sync.report.closing_error() is None
    warnings = [message.log for message in sync.emitted]
    assert {log.level for log in warnings} == {Level.WARN}
    assert [log.message.split("rganization ")[1][0] for log in warnings] == ["b", "c"]


def test_skipping_everybody_is_a_failure():
    sync = Sync(policy=Policy(skips=True))
    sync.failed(errors.NOT_CONNECTED, "a", "b", "c")
    assert close(sync)
    assert sync.report.closing_error().message.startswith("3 of 3 organizations failed (3 not connected):")


def test_a_refused_token_is_never_skipped():
    sync = Sync(policy=Policy(skips=True))
    sync.failed(errors.TOKEN_REFUSED, "a", "b", "c")
    assert close(sync)
    assert sync.report.closing_error().failure_type is FailureType.config_error


def test_where_the_destination_overwrites_nothing_is_skipped_and_it_says_why():
    sync = Sync(policy=Policy(skips=True, overwrites=True))
    sync.read("a")
    sync.failed(errors.NOT_CONNECTED, "b")
    assert close(sync)
    assert len(sync.emitted) == 1
    assert "would vanish from it. Choose a sync mode that appends." in sync.report.closing_error().message


# Coverage.


def test_a_gap_is_one_warning_that_names_the_times_the_window_and_what_helps(caplog):
    sync = Sync()
    sync.read("a", claim=Claim("partial", AT, None, gap=(AT - DAY, AT), causes=("past",)))
    sync.read("b", claim=Claim("partial", AT, None, gap=(AT - DAY, AT), causes=("cancelled",)))
    past, cancelled = caplog.messages
    assert past == (
        "Organization a: a hole opened. What begins between 2026-05-31 at 12:00:00 UTC and 2026-06-01 at 12:00:00 UTC "
        "was not seen to the end, because a full window no longer reaches back to the last sync: past. "
        "Sync more often."
    )
    assert "may still show as accepted. Syncing more often does not help" in cancelled
    assert not cancelled.endswith("Sync more often.")


def test_many_gaps_are_counted(caplog):
    sync = Sync(50)
    sync.read(*sync.org_ids, claim=Claim("partial", AT, None, gap=(AT - DAY, AT), causes=("past",)))
    close(sync)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == report.SENTENCES + 1
    assert warnings[-1] == "In 30 more organizations a hole opened; the organizations stream names them."


def test_many_doubts_are_counted(caplog):
    sync = Sync(50)
    sync.read(*sync.org_ids, claim=Claim("unknown", doubts=("past: it is odd",)))
    close(sync)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == report.SENTENCES + 1
    assert warnings[-1].startswith("Of 30 more organizations can't be told what is covered")


def test_no_gap_is_no_warning_whatever_is_full(caplog):
    sync = Sync()
    sync.read("a", claim=Claim("partial", AT, AT + DAY))
    close(sync)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    assert "Coverage: 0 complete, 1 partly covered, 0 unknown." in caplog.messages


def test_the_first_incremental_sync_of_a_large_account_says_from_when_on_it_is_covered(caplog):
    sync = Sync()
    sync.read("a", claim=Claim("partial", AT, None, is_first=True))
    sync.read("b", claim=Claim("complete", is_first=True))
    sync.read("c", claim=Claim("partial", AT, AT + DAY, is_first=True))
    line, bounded = caplog.messages
    assert line.startswith("Organization a is covered from 2026-06-01 at 12:00:00 UTC on.")
    assert bounded.startswith(
        "Organization c is covered from 2026-06-01 at 12:00:00 UTC to 2026-06-02 at 12:00:00 UTC."
    )


def test_a_full_refresh_of_large_accounts_is_one_warning_for_all(caplog):
    sync = Sync(20, begins_anew=True)
    sync.read(*sync.org_ids[:15], claim=Claim("partial", AT, None, is_first=True))
    sync.read(*sync.org_ids[15:], claim=Claim("complete", is_first=True))
    close(sync)
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("More bookings than one sync can read: 15 organizations (a, b, c")
    assert "j and 5 more)" in warning
    assert "Sync incrementally" in warning


def test_answers_that_contradict_what_was_asked_for_are_a_warning(caplog):
    sync = Sync()
    sync.read("a", claim=Claim("unknown", doubts=("past: 9 of its 9 rows do not belong in it",)))
    [line] = caplog.messages
    assert "what is covered can't be told" in line
    assert "past: 9 of its 9 rows do not belong in it" in line


def test_answers_that_merely_show_too_little_are_none(caplog):
    sync = Sync()
    sync.read("a", claim=Claim("unknown"))
    assert caplog.messages == []


def test_chosen_statuses_are_counted_apart(caplog):
    sync = Sync()
    sync.read("a", claim=Claim("filtered"))
    close(sync)
    assert "0 unknown, 1 by the chosen statuses alone." in caplog.text
