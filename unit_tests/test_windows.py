from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Account, Booking
from sandbox.accounts import FILTERS
from source_ravan_calcom.bookings import memory
from source_ravan_calcom.bookings.records import uid_mark
from source_ravan_calcom.bookings.windows import (
    CAPS,
    OVER,
    SHORT,
    WINDOWS,
    Bookings,
    Reading,
    Seen,
    in_order,
    near_cap,
)
from source_ravan_calcom.config import connection_specification
from unit_tests.simulation import START, read

STATUSES = [window.status for window in WINDOWS]
ALL_SIX = [None, *STATUSES]


def account_of(count: int, status: str = "accepted", hours_ahead: float = 5, *, recurring: bool = False) -> Account:
    account = Account("org")
    for number in range(count):
        start = START + timedelta(hours=hours_ahead, minutes=number)
        uid = f"{status}-{hours_ahead}-{number}"
        account.add(Booking(uid, start, start + timedelta(minutes=30), status, recurring))
    return account


def merged(*accounts: Account) -> Account:
    for other in accounts[1:]:
        for booking in other.bookings.values():
            accounts[0].add(booking)
    return accounts[0]


def requested_windows(bookings: Bookings) -> list:
    return [*bookings.evidence]


def requests(account: Account, before: Seen | None = None, statuses: Iterable[str] = (), cap: int = 200) -> list:
    """The statuses that were requested, in order, repetitions included."""
    noted: list = []
    shown = account.shown
    account.shown = lambda status, now, limit: [noted.append(status), *shown(status, now, limit)][1:]
    read(account, START, statuses, cap, before=before)
    account.shown = shown
    return noted


def seen_of(account: Account, cap: int = 200, before: Seen | None = None) -> Seen:
    """The organization's state after a sync."""
    return memory.compare(read(account, START, cap=cap, before=before), before, (), START).seen


# The windows.


def test_the_windows_are_the_filters_that_the_spec_offers():
    offered = connection_specification()["properties"]["statuses"]["items"]["enum"]
    assert sorted(offered) == sorted(STATUSES) == sorted(status for status in FILTERS if status)


def test_the_order_of_windows_does_not_depend_on_the_order_of_chosen_statuses():
    assert in_order(["cancelled", "past", "recurring"]) == in_order(["recurring", "cancelled", "past"])
    assert in_order(["cancelled", "past", "recurring"]) == ("recurring", "past", "cancelled")


@pytest.mark.parametrize("cap", CAPS)
def test_a_response_with_a_count_near_a_cap_may_be_cut(cap):
    assert [near_cap(rows) for rows in (cap - SHORT - 1, cap - SHORT, cap, cap + OVER)] == [None, cap, cap, cap]
    assert near_cap(cap + OVER + 1) == (cap + OVER + 1 if cap == 200 else None)


def test_a_response_with_a_count_above_the_limit_may_be_cut():
    assert [near_cap(rows, 100) for rows in (90, 103, 104, 150)] == [None, 100, 104, 150]
    assert [near_cap(rows, 200) for rows in (104, 150)] == [None, None]


# The requests of a first reading.


@pytest.mark.parametrize("count", [1, 44, 54, 94, 104, 194])
def test_a_small_account_takes_one_request(count):
    bookings = read(account_of(count, hours_ahead=-100), START)
    assert requested_windows(bookings) == [None]
    assert (len(bookings.rows), bookings.refused, bookings.full) == (count, [], ())


@pytest.mark.parametrize("count", [0, 1, 44, 194])
def test_a_small_account_without_past_and_cancelled_bookings_takes_a_second_request_for_past(count):
    bookings = read(account_of(count), START)
    assert requested_windows(bookings) == [None, "past"]
    assert len(bookings.rows) == count


def test_an_incomplete_response_below_the_cap_is_detected(monkeypatch):
    account = merged(account_of(20), account_of(30, hours_ahead=-100))
    shown = account.shown
    monkeypatch.setattr(account, "shown", lambda status, now, cap: shown(status or "upcoming", now, cap))
    assert len(read(account, START).rows) == 50
    assert requests(account) == [None, "past", *STATUSES]


@pytest.mark.parametrize("count", [47, 50, 53, 97, 100, 103, 197, 200, 500])
def test_an_account_near_a_cap_is_read_by_every_window_in_order(count):
    assert requests(account_of(count, hours_ahead=-3)) == [
        None,
        "unconfirmed",
        "recurring",
        "upcoming",
        "past",
        "cancelled",
    ]


def test_bookings_spread_over_windows_are_all_read():
    account = merged(account_of(150), account_of(150, hours_ahead=-500), account_of(150, "cancelled", 50))
    bookings = read(account, START)
    assert (len(bookings.rows), bookings.full) == (450, ("unfiltered",))


# Cut responses.


@pytest.mark.parametrize("count", [50, 100, 197])
def test_an_account_near_a_cap_is_complete_if_no_window_shows_more(count):
    bookings = read(account_of(count, hours_ahead=-500), START)
    assert (len(bookings.rows), bookings.full) == (count, ())


@pytest.mark.parametrize("order", ["latest first", "shuffled"])
def test_an_unfiltered_response_in_another_order_does_not_count_as_complete(monkeypatch, order):
    account = account_of(300, hours_ahead=-500)
    shown = account.shown

    def other(status, now, cap):
        rows = shown(status or "past", now, cap)
        return rows if status or order == "latest first" else sorted(rows, key=lambda each: each.uid[::-1])

    monkeypatch.setattr(account, "shown", other)
    bookings = read(account, START)
    assert len(bookings.rows) == 200
    assert bookings.full == ("unfiltered", "past")


def test_a_larger_response_proves_that_a_smaller_one_was_not_cut():
    account = merged(account_of(80), account_of(60, hours_ahead=-500))
    assert read(account, START, cap=50).full == ("unfiltered", "upcoming", "past")
    account = merged(account_of(50), account_of(300, hours_ahead=-500))
    assert read(account, START, cap=100).full == ("unfiltered", "past"), "50 rows are not cut if the API can send 100"


@pytest.mark.parametrize(("cap", "known"), [(50, 50), (99, 100), (101, 100), (200, None)])
def test_a_cap_below_the_limit_is_known_if_the_account_has_more_bookings(cap, known):
    account = account_of(300, hours_ahead=-500)
    assert read(account, START, cap=cap).cap == known
    assert read(account_of(50, hours_ahead=-500), START, cap=50).cap is None


@pytest.mark.parametrize("count", [50, 100, 200])
def test_chosen_windows_count_as_full_at_any_cap(count):
    bookings = read(account_of(count), START, ("past", "upcoming"))
    assert requested_windows(bookings) == ["upcoming", "past"]
    assert bookings.full == ("upcoming",)


# Remembered bookings save requests.


def large(*, pending: int = 3) -> Account:
    """An account whose past and cancelled windows are cut, but not its forward windows."""
    return merged(
        account_of(300, hours_ahead=-500),
        account_of(250, "cancelled", -900),
        account_of(20),
        account_of(pending, "pending", 30),
        account_of(2, "pending", 31, recurring=True),
    )


def test_a_large_account_takes_four_requests_after_upcoming_has_shown_pending_bookings():
    account = large()
    assert requests(account) == ALL_SIX
    before = seen_of(account)
    assert before.shows_pending
    assert requests(account, before) == ["recurring", "upcoming", "past", "cancelled"]
    again = seen_of(account, before=before)
    assert requests(account, again) == ["recurring", "upcoming", "past", "cancelled"]


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (large(pending=0), "no pending booking is in upcoming"),
        (merged(large(), account_of(200, hours_ahead=40)), "upcoming is cut"),
        (merged(large(), account_of(195, hours_ahead=40, recurring=True)), "recurring is cut"),
        (merged(large(), account_of(250, "pending", 50)), "there are more pending bookings than upcoming shows"),
    ],
)
def test_unconfirmed_is_read_first_if_upcoming_may_lack_pending_bookings(account, reason):
    before = seen_of(account)
    assert not before.shows_pending, reason
    assert requests(account, before) == STATUSES


def test_unconfirmed_is_read_if_upcoming_omits_pending_bookings():
    account = large()
    account.version = "pending-apart"
    before = seen_of(account)
    assert requests(account, before) == STATUSES
    assert {row["id"] for row in read(account, START, before=before).rows if row["status"] == "pending"} == {
        uid for uid in account.bookings if uid.startswith("pending")
    }


def test_all_windows_are_read_in_order_if_upcoming_shows_no_pending_bookings_any_more():
    account = large()
    before = seen_of(account)
    account.version = "pending-apart"
    assert requests(account, before) == ["recurring", "upcoming", *STATUSES]
    assert not seen_of(account, before=before).shows_pending


def test_a_booking_confirmed_between_two_requests_is_not_missed():
    for version in ("2024-08-13", "pending-apart"):
        for moment in range(8):
            account = large(pending=1)
            before = seen_of(account)
            account.version = version
            account.add(Booking("new", START + timedelta(hours=40), START + timedelta(hours=41), "pending"))
            count = iter(range(20))

            def meanwhile(account=account, moment=moment, count=count):
                if next(count) == moment:
                    account.set_status("new", "accepted")

            assert "new" in {row["id"] for row in read(account, START, meanwhile=meanwhile, before=before).rows}


def test_an_account_that_shrank_takes_one_request_again():
    before = seen_of(large())
    small = account_of(30, hours_ahead=-500)
    assert requests(small, before) == ["recurring", "upcoming", *STATUSES, None], "many bookings are missing"
    doubted = seen_of(small, before=before)
    assert doubted.is_doubted
    accepted = seen_of(small, before=doubted)
    assert not accepted.is_doubted
    assert requests(small, accepted) == [None]


def test_an_unfiltered_request_follows_only_if_the_windows_leave_the_cut_uncertain():
    account = merged(account_of(100, hours_ahead=-500), account_of(60), account_of(60, "cancelled"))
    before = seen_of(account)
    assert requests(account, before) == [*STATUSES, None], "100 rows may be complete or cut"
    bookings = read(account, START, before=before)
    assert bookings.full == ("unfiltered",)
    before = seen_of(account_of(300, hours_ahead=-500), cap=100)
    assert before.cap == 100
    assert requests(account_of(300, hours_ahead=-500), before, cap=100) == STATUSES, "the cap is remembered"


def test_a_small_account_that_lacks_known_bookings_is_read_by_every_window():
    before = seen_of(account_of(40, hours_ahead=-500))
    assert requests(account_of(38, hours_ahead=-500), before) == [None]
    assert requests(account_of(37, hours_ahead=-500), before) == ALL_SIX


def test_remembered_bookings_do_not_affect_the_requests_of_chosen_statuses():
    before = seen_of(large())
    assert requests(large(), before, ("past", "unconfirmed")) == ["unconfirmed", "past"]
    assert read(large(), START, ("past",), before=before).missing == 0


@pytest.mark.parametrize(
    ("past", "missing"),
    [
        (300, 0),
        (30, 170),
    ],
)
def test_a_settled_booking_that_left_its_window_counts_as_missing_unless_the_window_is_full(past, missing):
    account = large()
    before = seen_of(account)
    account.add(Booking("late", START - timedelta(hours=2), START - timedelta(hours=1)))
    account.short["past"] = past
    assert read(account, START, before=before).missing == (0 if not missing else missing + 1)


def test_windows_that_lack_bookings_of_the_unfiltered_response_are_detected_in_a_first_reading():
    account = account_of(250, hours_ahead=-500)
    account.short["past"] = 30
    bookings = read(account, START)
    assert bookings.is_torn
    assert not read(account_of(250, hours_ahead=-500), START).is_torn
    assert not read(account_of(97, hours_ahead=-500), START).is_torn


def test_rows_beyond_a_cut_do_not_count_as_missing():
    account = large()
    assert read(account, START, before=seen_of(account)).missing == 0, (
        "bookings that only the unfiltered response showed"
    )


# Refused windows and limits.


@pytest.mark.parametrize("is_known", [False, True])
def test_if_a_window_of_the_connector_is_refused_the_other_windows_are_read(is_known):
    account = account_of(250)
    before = seen_of(account) if is_known else None
    account.refuses = ("recurring", "unconfirmed")
    bookings = read(account, START, before=before)
    assert bookings.refused == ["unconfirmed", "recurring"]
    assert {*bookings.evidence} == {None, "upcoming", "past", "cancelled"}
    assert len(bookings.rows) == 200


def test_only_windows_of_the_connector_may_be_refused():
    assert not Reading(()).may_refuse
    assert not Reading(("upcoming",)).may_refuse
    reading = Reading(())
    reading.take([], START, START)
    assert reading.next == "past"
    assert reading.may_refuse


def test_if_every_window_is_refused_the_unfiltered_request_decides():
    reading = Reading((), seen_of(account_of(250)))
    for _ in STATUSES:
        reading.refuse()
    assert (reading.next, reading.may_refuse, reading.is_done) == (None, False, False)


def test_a_refused_limit_is_lowered_before_any_response():
    account = account_of(250, hours_ahead=-500)
    account.largest_limit = 100
    bookings = read(account, START)
    assert (bookings.limit, bookings.full, len(bookings.rows)) == (100, ("unfiltered", "past"), 200)
    before = seen_of(account)
    assert before.limit == 100
    reading = Reading((), before)
    assert (reading.limit, reading.lower_limit()) == (100, False)
    assert not Reading((), limit=100).lower_limit()


def test_a_limit_is_not_lowered_after_a_response_with_it():
    reading = Reading(())
    reading.take([], START, START)
    assert (reading.lower_limit(), reading.limit) == (False, 200)
    assert Reading(()).lower_limit()


def test_a_limit_that_did_not_cause_a_refusal_is_used_again():
    reading = Reading((), seen_of(account_of(250)))
    assert reading.next == "unconfirmed"
    reading.lower_limit()
    reading.refuse()
    assert (reading.next, reading.limit) == ("recurring", 200)
    assert reading.lower_limit()


# The rows.


def test_the_newest_version_of_a_booking_is_kept():
    account = merged(account_of(200), account_of(10, hours_ahead=-500))
    count = iter(range(10))

    def meanwhile():
        if next(count) == 3:
            account.set_status("accepted-5-0", "cancelled")

    versions = [row["status"] for row in read(account, START, meanwhile=meanwhile).rows if row["id"] == "accepted-5-0"]
    assert versions == ["cancelled"]


def test_rows_without_an_id_are_all_kept_and_not_doubled_by_overlapping_windows():
    responses: dict[str, list[dict]] = {
        "upcoming": [{"a": 1}, {"a": 1}, {"id": ""}, {"id": []}],
        "recurring": [{"a": 1}, {"b": 2}],
    }
    reading = Reading(("upcoming", "recurring"))
    while not reading.is_done:
        reading.take([dict(row) for row in responses[str(reading.next)]], START, START)
    bookings = reading.bookings()
    assert sorted(map(str, bookings.rows)) == sorted(map(str, [{"a": 1}, {"a": 1}, {"id": ""}, {"id": []}, {"b": 2}]))
    assert sum(not isinstance(key, str) for key in bookings.keys) == 5


def test_the_start_of_a_reading_is_before_its_first_response():
    reading = Reading(("upcoming", "past"))
    for minutes in (1, 2):
        now = START + timedelta(minutes=minutes)
        reading.take([], now, now - timedelta(seconds=5))
    assert reading.bookings().began == START + timedelta(seconds=55)


def test_rows_without_a_uid_share_one_mark_and_bookings_have_their_own():
    assert uid_mark(None) == uid_mark("") != uid_mark("1") != uid_mark("2")
    assert len(uid_mark("1")) == len(uid_mark(None)) == 2


def test_about_two_percent_of_unknown_bookings_count_as_known():
    known = {uid_mark(f"booking-{number:08}") for number in range(1_200)}
    met = sum(uid_mark(f"other-{number:08}") in known for number in range(5_000))
    assert len(known) > 1_150
    assert 0.005 < met / 5_000 < 0.04


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


@settings(deadline=None, max_examples=25)
@given(
    bookings=BOOKINGS,
    copies=st.integers(1, 12),
    cap=st.sampled_from(CAPS),
    statuses=st.sets(st.sampled_from(STATUSES)),
    is_known=st.booleans(),
)
def test_exactly_the_bookings_of_the_windows_are_delivered(bookings, copies, cap, statuses, is_known):
    account = account_with([(minutes + n, *rest) for n, (minutes, *rest) in enumerate(bookings * copies)])
    before = seen_of(account, cap) if is_known and not statuses else None
    responses: dict = {}

    class Recorded(Account):
        def shown(self, status, now, limit):
            responses[status] = super().shown(status, now, limit)
            return responses[status]

    account.__class__ = Recorded
    result = read(account, START, statuses, cap, before=before)
    held = {booking.uid for window in responses.values() for booking in window}
    times = Counter(row["id"] for row in result.rows)
    assert set(times) == held
    assert not times or max(times.values()) == 1
    if statuses:
        assert (*responses,) == in_order(statuses)
    elif not result.full:
        assert held == set(account.bookings), "no booking is missing if no response was cut"
    if not statuses and not is_known:
        assert (len(responses) == 6) == (near_cap(min(len(account.bookings), cap)) is not None)


@settings(deadline=None, max_examples=25)
@given(bookings=BOOKINGS)
def test_the_five_windows_together_cover_every_booking(bookings):
    account = account_with(bookings)
    assert {row["id"] for row in read(account, START, STATUSES).rows} == set(account.bookings)


@pytest.mark.parametrize("status", [["cancelled"], {"value": "cancelled"}, 5, None, "accepted"])
def test_a_status_that_is_not_text_does_not_count_as_cancelled(status):
    [cancelled] = [window for window in WINDOWS if window.status == "cancelled"]
    assert cancelled.contradicts({"status": status}, START)
    assert not cancelled.contradicts({"status": "cancelled"}, START)
