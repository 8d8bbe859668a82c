from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Account, Booking
from sandbox.accounts import FILTERS
from source_ravan_calcom import errors
from source_ravan_calcom.appointments import WINDOWS, as_utc, may_be_cut, normalise, read_bookings
from source_ravan_calcom.config import connection_specification
from source_ravan_calcom.errors import Failure
from unit_tests.conftest import ORG

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
STATUSES = [window.status for window in WINDOWS]


def asking(account: Account, cap: int = 200, asked: list | None = None):
    """One account's endpoint, as `read_bookings` asks it."""

    def ask(status):
        if asked is not None:
            asked.append(status)
        if status in account.refuses:
            raise Failure(errors.INVALID_REQUEST, "refused", org_id=ORG)
        return [account.row(booking, "") for booking in account.shown(status, NOW, cap)]

    return ask


def account_of(count: int, status: str = "accepted", hours_ahead: float = 5) -> Account:
    account = Account(ORG)
    for number in range(count):
        start = NOW + timedelta(hours=hours_ahead, minutes=number)
        account.add(Booking(f"{status}-{hours_ahead}-{number}", start, start + timedelta(minutes=30), status))
    return account


def merged(*accounts: Account) -> Account:
    for other in accounts[1:]:
        for booking in other.bookings.values():
            accounts[0].add(booking)
    return accounts[0]


def ids(bookings) -> set:
    return {row["id"] for row in bookings.rows}


def test_the_windows_are_the_filters_that_the_spec_offers():
    offered = connection_specification()["properties"]["statuses"]["items"]["enum"]
    assert sorted(offered) == sorted(STATUSES) == sorted(status for status in FILTERS if status)


@pytest.mark.parametrize(
    ("rows", "cut"),
    [(0, False), (49, False), (50, True), (51, False), (100, True), (199, False), (200, True), (250, True)],
)
def test_only_certain_row_counts_may_have_been_cut(rows, cut):
    assert may_be_cut(rows) is cut


@pytest.mark.parametrize("count", [0, 1, 49, 99, 199])
def test_a_small_account_costs_one_request(count):
    asked: list = []
    bookings = read_bookings(asking(account_of(count), asked=asked), ())
    assert asked == [None]
    assert (len(bookings.rows), bookings.full, bookings.refused) == (count, {}, [])


def test_an_account_at_the_cap_is_read_through_every_window_in_order():
    asked: list = []
    bookings = read_bookings(asking(account_of(200), asked=asked), ())
    assert asked == [None, "unconfirmed", "recurring", "upcoming", "past", "cancelled"]
    assert len(bookings.rows) == 200
    assert bookings.full == {"upcoming": 200}


def test_bookings_spread_over_windows_are_all_read_without_a_warning():
    account = merged(account_of(150), account_of(150, hours_ahead=-500), account_of(150, "cancelled", 50))
    bookings = read_bookings(asking(account), ())
    assert (len(bookings.rows), bookings.full) == (450, {})


def test_the_cap_in_force_is_the_one_the_unfiltered_answer_showed():
    account = merged(account_of(80), account_of(60, hours_ahead=-500))
    bookings = read_bookings(asking(account, cap=50), ())
    assert bookings.full == {"upcoming": 50, "past": 50}


def test_a_window_that_we_added_may_be_refused():
    account = account_of(250)
    account.refuses = ("recurring", "unconfirmed")
    bookings = read_bookings(asking(account), ())
    assert bookings.refused == ["unconfirmed", "recurring"]
    assert len(bookings.rows) == 200


def test_a_window_that_the_user_chose_may_not_be_refused():
    account = account_of(3)
    account.refuses = ("recurring",)
    with pytest.raises(Failure):
        read_bookings(asking(account), ("upcoming", "recurring"))


def test_another_failure_in_an_added_window_fails_the_organization():
    def ask(status):
        if status == "past":
            raise Failure(errors.SERVER_FAILED, "down", org_id=ORG)
        return [account.row(booking, "") for booking in account.shown(status, NOW, 200)]

    account = account_of(250)
    with pytest.raises(Failure):
        read_bookings(ask, ())


@pytest.mark.parametrize("count", [50, 100, 200])
def test_chosen_windows_count_as_full_at_any_cap(count):
    asked: list = []
    bookings = read_bookings(asking(account_of(count), asked=asked), ("past", "upcoming"))
    assert asked == ["upcoming", "past"]
    assert bookings.full == {"upcoming": count}


def test_the_newest_version_of_a_booking_is_kept():
    account = merged(account_of(200), account_of(10, hours_ahead=-500))
    inner = asking(account)

    def ask(status):
        if status == "past":
            account.set_status("accepted-5-0", "cancelled")
        return inner(status)

    versions = [row["status"] for row in read_bookings(ask, ()).rows if row["id"] == "accepted-5-0"]
    assert versions == ["cancelled"]


def test_rows_without_an_id_are_all_kept_and_not_doubled_by_overlapping_windows():
    answers = {"upcoming": [{"a": 1}, {"a": 1}, {"id": ""}, {"id": 5}], "recurring": [{"a": 1}, {"b": 2}]}
    rows = read_bookings(lambda status: [dict(row) for row in answers[status]], ("upcoming", "recurring")).rows
    assert sorted(map(str, rows)) == sorted(map(str, [{"a": 1}, {"a": 1}, {"id": ""}, {"id": 5}, {"b": 2}]))


BOOKINGS = st.lists(
    st.tuples(
        st.integers(-5000, 5000),
        st.sampled_from(["accepted", "pending", "cancelled", "rejected"]),
        st.booleans(),
        st.integers(1, 6),
    ),
    max_size=40,
)


@given(
    bookings=BOOKINGS,
    copies=st.integers(1, 25),
    cap=st.sampled_from([50, 100, 200]),
    statuses=st.sets(st.sampled_from(STATUSES)),
)
def test_what_is_delivered_is_exactly_what_the_windows_hold(bookings, copies, cap, statuses):
    account = Account(ORG)
    for number, (minutes, status, recurring, quarters) in enumerate(bookings * copies):
        start = NOW + timedelta(minutes=minutes + number)
        account.add(Booking(str(number), start, start + timedelta(minutes=15 * quarters), status, recurring))
    asked: list = []
    chosen = [status for status in STATUSES if status in statuses]
    read = read_bookings(asking(account, cap, asked), chosen)
    windows = {status: account.shown(status, NOW, cap) for status in (chosen or FILTERS)}
    held = {booking.uid for window in windows.values() for booking in window}
    times = Counter(row["id"] for row in read.rows)
    assert set(times) == held
    assert not times or max(times.values()) == 1
    assert len(asked) <= 6
    assert asked == chosen if chosen else (len(asked) == 1) == (not may_be_cut(min(len(account.bookings), cap)))
    if not chosen and not read.full and cap > len(account.bookings):
        assert held == set(account.bookings), "nothing is missing where no warning was given"


@given(bookings=BOOKINGS)
def test_the_five_windows_together_cover_every_booking(bookings):
    account = Account(ORG)
    for number, (minutes, status, recurring, quarters) in enumerate(bookings):
        start = NOW + timedelta(minutes=minutes)
        account.add(Booking(str(number), start, start + timedelta(minutes=15 * quarters), status, recurring))
    assert ids(read_bookings(asking(account), STATUSES)) == set(account.bookings)


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        ("2026-03-25T14:00:00Z", "2026-03-25T14:00:00Z"),
        ("2026-03-25T14:00:00.000Z", "2026-03-25T14:00:00.000Z"),
        ("2026-03-25T10:00:00+05:00", "2026-03-25T05:00:00Z"),
        ("2026-03-25T01:00:00.123-0530", "2026-03-25T06:30:00.123Z"),
        ("2026-03-25T10:00:00.123456789+05", "2026-03-25T05:00:00.123456789Z"),
        ("2026-03-25T10:00:00z", "2026-03-25T10:00:00Z"),
        ("2026-03-25 10:00:00+00:00", "2026-03-25T10:00:00Z"),
        ("2026-03-25T10:00", "2026-03-25T10:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0950-01-01T00:00:00+01:00", "0949-12-31T23:00:00Z"),
        ("0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00+05:00"),
        ("2026-13-45T10:00:00+01:00", "2026-13-45T10:00:00+01:00"),
        ("2026-03-25", "2026-03-25"),
        ("tomorrow", "tomorrow"),
        ("", None),
        (None, None),
        (1774447200, 1774447200),
        ([], []),
    ],
)
def test_times_leave_in_utc_or_as_they_came(given_time, expected):
    assert as_utc(given_time) == expected


def test_a_row_gets_its_organization_and_null_times_and_nothing_else():
    row = {"id": "1", "organization_id": "", "start_time": "", "attendee_phone": "", "extra": {"deep": [1, "é"]}}
    normalise(row, ORG)
    assert row == {
        "id": "1",
        "organization_id": ORG,
        "start_time": None,
        "attendee_phone": "",
        "extra": {"deep": [1, "é"]},
    }
