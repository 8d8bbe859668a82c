from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Account, Booking
from sandbox.accounts import FILTERS
from source_ravan_calcom.config import connection_specification
from source_ravan_calcom.bookings.windows import MAX_LIMIT, WINDOWS, Reading, may_be_cut
from unit_tests.living import START, read

STATUSES = [window.status for window in WINDOWS]


def account_of(count: int, status: str = "accepted", hours_ahead: float = 5) -> Account:
    account = Account("org")
    for number in range(count):
        start = START + timedelta(hours=hours_ahead, minutes=number)
        account.add(Booking(f"{status}-{hours_ahead}-{number}", start, start + timedelta(minutes=30), status))
    return account


def merged(*accounts: Account) -> Account:
    for other in accounts[1:]:
        for booking in other.bookings.values():
            accounts[0].add(booking)
    return accounts[0]


def asked(bookings) -> list:
    return [*bookings.evidence]


def full(bookings) -> dict:
    return {status: seen.rows for status, seen in bookings.evidence.items() if seen.full and status}


def test_the_windows_are_the_filters_that_the_spec_offers():
    offered = connection_specification()["properties"]["statuses"]["items"]["enum"]
    assert sorted(offered) == sorted(STATUSES) == sorted(status for status in FILTERS if status)


@pytest.mark.parametrize(
    ("rows", "cut"),
    [(0, False), (49, False), (50, True), (51, False), (100, True), (199, False), (200, True), (250, True)],
)
def test_only_certain_row_counts_may_have_been_cut(rows, cut):
    assert may_be_cut(rows) is cut


@pytest.mark.parametrize("count", [1, 49, 99, 199])
def test_a_small_account_costs_one_request(count):
    bookings = read(account_of(count, hours_ahead=-100), START)
    assert asked(bookings) == [None]
    assert (len(bookings.rows), bookings.refused) == (count, [])


@pytest.mark.parametrize("count", [0, 1, 49, 99, 199])
def test_one_that_shows_nothing_over_and_nothing_cancelled_costs_a_look_at_the_past(count):
    bookings = read(account_of(count), START)
    assert asked(bookings) == [None, "past"]
    assert len(bookings.rows) == count


def test_an_answer_that_was_not_cut_and_yet_not_everything_is_found_out(monkeypatch):
    account = merged(account_of(20), account_of(30, hours_ahead=-100))
    shown = account.shown
    monkeypatch.setattr(account, "shown", lambda status, now, cap: shown(status or "upcoming", now, cap))
    bookings = read(account, START)
    assert asked(bookings) == [None, "past", "unconfirmed", "recurring", "upcoming", "cancelled"]
    assert len(bookings.rows) == 50


def test_an_account_at_the_cap_is_read_through_every_window_in_order():
    bookings = read(account_of(200), START)
    assert asked(bookings) == [None, "unconfirmed", "recurring", "upcoming", "past", "cancelled"]
    assert len(bookings.rows) == 200
    assert full(bookings) == {"upcoming": 200}


def test_bookings_spread_over_windows_are_all_read():
    account = merged(account_of(150), account_of(150, hours_ahead=-500), account_of(150, "cancelled", 50))
    bookings = read(account, START)
    assert (len(bookings.rows), full(bookings)) == (450, {})


def test_the_cap_in_force_is_the_one_the_unfiltered_answer_showed():
    account = merged(account_of(80), account_of(60, hours_ahead=-500))
    assert full(read(account, START, cap=50)) == {"upcoming": 50, "past": 50}
    account = merged(account_of(50), account_of(300, hours_ahead=-500))
    assert full(read(account, START, cap=100)) == {"past": 100}, "50 rows are not cut where 100 can come"


def test_more_rows_than_the_cap_in_force_are_no_proof_of_being_whole():
    reading = Reading(())
    rows = [{"id": str(number), "status": "cancelled"} for number in range(100)]
    reading.take(rows[:50], START, START)
    while reading.next != "cancelled":
        reading.take([], START, START)
    reading.take(rows, START, START)
    assert full(reading.bookings()) == {"cancelled": 100}


def test_a_window_that_we_added_may_be_refused():
    account = account_of(250)
    account.refuses = ("recurring", "unconfirmed")
    bookings = read(account, START)
    assert bookings.refused == ["unconfirmed", "recurring"]
    assert len(bookings.rows) == 200


def test_only_a_window_that_we_added_may_be_refused():
    assert not Reading(()).may_refuse
    assert not Reading(("upcoming",)).may_refuse
    reading = Reading(())
    reading.take([], START, START)
    assert reading.next == "past"
    assert reading.may_refuse


@pytest.mark.parametrize("count", [50, 100, 200])
def test_chosen_windows_count_as_full_at_any_cap(count):
    bookings = read(account_of(count), START, ("past", "upcoming"))
    assert asked(bookings) == ["upcoming", "past"]
    assert full(bookings) == {"upcoming": count}


def test_the_newest_version_of_a_booking_is_kept():
    account = merged(account_of(200), account_of(10, hours_ahead=-500))
    requests = iter(range(10))

    def meanwhile():
        if next(requests) == 3:
            account.set_status("accepted-5-0", "cancelled")

    versions = [row["status"] for row in read(account, START, meanwhile=meanwhile).rows if row["id"] == "accepted-5-0"]
    assert versions == ["cancelled"]


def test_rows_without_an_id_are_all_kept_and_not_doubled_by_overlapping_windows():
    answers: dict[str, list[dict]] = {
        "upcoming": [{"a": 1}, {"a": 1}, {"id": ""}, {"id": 5}],
        "recurring": [{"a": 1}, {"b": 2}],
    }
    reading = Reading(("upcoming", "recurring"))
    while not reading.is_done:
        reading.take([dict(row) for row in answers[str(reading.next)]], START, START)
    bookings = reading.bookings()
    assert sorted(map(str, bookings.rows)) == sorted(map(str, [{"a": 1}, {"a": 1}, {"id": ""}, {"id": 5}, {"b": 2}]))
    assert bookings.anonymous == 5


def test_the_reading_began_before_its_first_answer():
    reading = Reading(("upcoming", "past"))
    for minutes in (1, 2):
        now = START + timedelta(minutes=minutes)
        reading.take([], now, now - timedelta(seconds=5))
    assert reading.bookings().began == START + timedelta(seconds=55)


BOOKINGS = st.lists(
    st.tuples(
        st.integers(-5000, 5000),
        st.sampled_from(["accepted", "pending", "cancelled", "rejected", "awaiting_host"]),
        st.booleans(),
        st.integers(1, 6),
    ),
    max_size=40,
)


def account_with(bookings) -> Account:
    account = Account("org")
    for number, (minutes, status, recurring, quarters) in enumerate(bookings):
        start = START + timedelta(minutes=minutes)
        account.add(Booking(str(number), start, start + timedelta(minutes=15 * quarters), status, recurring))
    return account


@given(
    bookings=BOOKINGS,
    copies=st.integers(1, 25),
    cap=st.sampled_from([50, 100, MAX_LIMIT]),
    statuses=st.sets(st.sampled_from(STATUSES)),
)
def test_what_is_delivered_is_exactly_what_the_windows_hold(bookings, copies, cap, statuses):
    account = account_with([(minutes + n, *rest) for n, (minutes, *rest) in enumerate(bookings * copies)])
    answers: dict = {}

    class Recorded(Account):
        def shown(self, status, now, limit):
            answers[status] = super().shown(status, now, limit)
            return answers[status]

    account.__class__ = Recorded
    chosen = [status for status in STATUSES if status in statuses]
    result = read(account, START, tuple(chosen), cap)
    held = {booking.uid for window in answers.values() for booking in window}
    times = Counter(row["id"] for row in result.rows)
    assert set(times) == held
    assert not times or max(times.values()) == 1
    if chosen:
        assert [*answers] == chosen
    else:
        assert (len(answers) == 6) == may_be_cut(min(len(account.bookings), cap))
        if cap > len(account.bookings):
            assert held == set(account.bookings), "nothing is missing where no window was cut"
            assert may_be_cut(len(account.bookings)) or not full(result), "50 or 100 rows look as if they were"


@given(bookings=BOOKINGS)
def test_the_five_windows_together_cover_every_booking(bookings):
    account = account_with(bookings)
    assert {row["id"] for row in read(account, START, tuple(STATUSES)).rows} == set(account.bookings)
