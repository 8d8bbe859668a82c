"""Tests that no claim is false, that no gap is reported without a cause, and that harmless changes affect no claim."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Account, Booking
from sandbox.accounts import DEAD
from source_ravan_calcom.bookings import coverage, memory
from source_ravan_calcom.bookings.coverage import (
    CLOCK,
    EXCHANGED,
    FEWER,
    OLDER,
    STATUSES,
    UPGRADED,
    Claim,
)
from source_ravan_calcom.bookings.records import moment, old_fingerprint, packed
from source_ravan_calcom.bookings.windows import (
    BY_STATUS,
    EVERYTHING,
    MAX_LIMIT,
    WINDOWS,
    Bookings,
    Covered,
    Evidence,
    Recalled,
    Seen,
    look,
)
from unit_tests.simulation import BUSY, INTERVALS, QUIET, SITUATIONS, START, Habits, World, read, world_of

NOTHING = Recalled(None)

CALM = Habits(lead_days=3)


# The simulated accounts.


@settings(deadline=None, max_examples=60)
@given(
    rng=st.randoms(use_true_random=False),
    steps=st.lists(st.tuples(st.sampled_from([*SITUATIONS]), st.booleans(), st.sampled_from(INTERVALS)), max_size=6),
)
def test_no_claim_is_ever_false(rng, steps):
    world = world_of(rng, cap=50)
    for number, (situation, crashes, minutes) in enumerate([("nothing", False, 60), *steps]):
        SITUATIONS[situation](world)
        crash = crashes and number % 3 == 1
        claim = world.sync(crashes=crash)
        if not crash:
            assert world.false_statements(claim) == []
        world.live(timedelta(minutes=minutes))


@settings(deadline=None, max_examples=30)
@given(
    rng=st.randoms(use_true_random=False),
    steps=st.lists(st.tuples(st.sampled_from([*QUIET]), st.sampled_from([0, 5, 60])), min_size=2, max_size=5),
)
def test_harmless_changes_affect_no_claim(rng, steps):
    world = World(rng.getrandbits(32), rng.choice([3, 30, 50, 90, 300]), per_day=0, cap=50, habits=CALM)
    first = world.sync()
    for situation, minutes in steps:
        world.live(timedelta(minutes=minutes))
        QUIET[situation](world)
        claim = world.sync()
        assert (claim.coverage, claim.covered_from) == (first.coverage, first.covered_from)
        assert (claim.gap, claim.reason, claim.doubts) == (None, "", ())


@settings(deadline=None, max_examples=25)
@given(rng=st.randoms(use_true_random=False), intervals=st.lists(st.sampled_from(INTERVALS), min_size=2, max_size=5))
def test_no_gap_opens_if_every_window_reaches_back_to_the_last_sync(rng, intervals):
    world = World(rng.getrandbits(32), rng.choice([20, 100, 300]), rng.choice([5, 60, 150]), cap=50, habits=BUSY)
    for minutes in intervals:
        before, claim = world.seen, world.sync()
        if claim.gap:
            ends = [start for window, start in world.last.cut.items() if window.looks_back]
            assert any(end > before.covered.read_at for end in ends)
            assert claim.causes
        world.live(timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("version", "history", "expected"),
    [
        ("2024-08-13", 30, "complete"),
        ("2024-08-13", 900, "partial"),
        ("pending-apart", 900, "partial"),
        ("2024-04-15", 900, "unknown"),
        ("2026-05-01", 900, "unknown"),
    ],
)
def test_the_coverage_of_each_api_version(version, history, expected):
    world = World(7, history, per_day=10, version=version)
    for _ in range(3):
        assert world.sync().coverage == expected
        world.live(timedelta(hours=1))
    assert world.gaps == 0


def test_a_busy_account_read_every_hour_keeps_its_coverage():
    world = World(3, 500, per_day=100, habits=Habits(lead_days=2))
    first = world.sync()
    for _ in range(12):
        world.live(timedelta(hours=1))
        claim = world.sync()
        assert (claim.gap, claim.covered_from, claim.is_first, claim.reason) == (None, first.covered_from, False, "")
    assert first.is_first


# Situations that were found: an account that shows more, different or fewer bookings than before.


def host(number: int, seed: int = 1) -> World:
    world = World(seed, 0, 0, habits=CALM)
    world.life.mixed(number, -90, 20)
    return world


def settled(world: World) -> Claim:
    """Sync twice without changes, and return the claim of the second sync."""
    world.sync()
    world.live(timedelta(hours=1))
    return world.sync()


@pytest.mark.parametrize("of_its_own", [150, 600])
@pytest.mark.parametrize(("statuses", "last_day"), [((), 20), (("accepted",), 20), (("accepted",), 0), (DEAD, -1)])
def test_coverage_restarts_if_a_host_becomes_team_admin(of_its_own, statuses, last_day):
    world = host(of_its_own)
    before = settled(world)
    world.live(timedelta(hours=1))
    world.life.mixed(2_000, -90, last_day, statuses)
    claim = world.sync()
    assert (claim.coverage, claim.reason, claim.is_first, claim.gap) == ("partial", OLDER, True, None)
    assert claim.covered_from > (before.covered_from or START - timedelta(days=90))
    assert world.false_statements(claim) == []
    world.live(timedelta(hours=1))
    after = world.sync()
    assert (after.covered_from, after.reason) == (claim.covered_from, ""), "it is reported once"


def test_more_future_bookings_affect_no_claim():
    world = host(600)
    before = settled(world)
    world.life.mixed(500, 1, 20, ("accepted",))
    claim = world.sync()
    assert (claim.covered_from, claim.reason) == (before.covered_from, "")
    assert world.false_statements(claim) == []


def test_an_import_of_past_bookings_restarts_coverage():
    world = host(600)
    settled(world)
    world.life.mixed(400, -90, -1, ("accepted",))
    claim = world.sync()
    assert (claim.reason, claim.is_first) == (OLDER, True)
    assert world.false_statements(claim) == []


@pytest.mark.parametrize("shared", [0, 1, 5])
def test_coverage_restarts_for_another_account_and_again_for_the_first_one(shared):
    world = host(900)
    settled(world)
    first, other = world.account, host(1_800, seed=2).account
    for uid in [*first.bookings][:shared]:
        other.add(first.bookings[uid])
    for account in (other, first):
        world.connect(account)
        world.live(timedelta(hours=1))
        claim = world.sync()
        if claim.coverage == "unknown":  # many bookings are missing, possibly because of a temporary failure
            assert claim.reason == FEWER
            claim = world.sync()
        assert (claim.coverage, claim.is_first, claim.gap) == ("partial", True, None)
        assert claim.reason in (EXCHANGED, FEWER)
        assert world.false_statements(claim) == []


def test_coverage_of_a_smaller_account_is_unknown_once_then_restarts():
    world = host(150)
    settled(world)
    world.connect(host(120, seed=2).account)
    claim = world.sync()
    assert (claim.coverage, claim.reason, claim.is_first) == ("unknown", FEWER, False)
    again = world.sync()
    assert (again.coverage, again.reason, again.is_first) == ("complete", FEWER, True)
    assert world.false_statements(again) == []
    assert world.sync().reason == ""


def test_bookings_that_were_missing_once_affect_no_later_claim():
    world = host(900)
    before = settled(world)
    world.account.short.update({"past": 30, "cancelled": 30})
    claim = world.sync()
    assert (claim.coverage, claim.reason) == ("unknown", FEWER)
    after = world.sync()
    assert (after.coverage, after.covered_from, after.reason) == ("partial", before.covered_from, "")


@pytest.mark.parametrize("rows", [0, 30, 120])
@pytest.mark.parametrize("size", [180, 655])
def test_a_short_unfiltered_response_is_detected_by_remembered_bookings(rows, size):
    world = host(size)
    before = settled(world)
    world.account.short[None] = rows
    world.live(timedelta(hours=1))
    claim = world.sync()
    assert (claim.coverage, claim.covered_from) == (before.coverage, before.covered_from)
    assert world.false_statements(claim) == []


@pytest.mark.parametrize(("cap", "lost"), [(200, 1), (200, 4), (101, 0), (99, 0), (100, 1), (100, 4), (50, 1)])
def test_a_page_with_a_few_rows_fewer_or_one_more_than_the_cap_counts_as_cut(cap, lost):
    world = host(1_000)
    world.cap = cap
    oldest = world.account.shown(None, START, cap)
    world.account.lost = {(None, booking.uid) for booking in oldest[5 : 5 + lost]}
    claim = world.sync()
    assert claim.coverage == "partial"
    assert world.false_statements(claim) == []
    world.account.lost.clear()
    claim = world.sync()
    assert claim.coverage == "partial", "also when the page is complete again"
    assert world.false_statements(claim) == []


@pytest.mark.parametrize("status", ["upcoming", "past", "cancelled"])
def test_a_cut_window_that_lacks_a_row_bounds_the_claim(status):
    world = World(5, 0, 0, habits=CALM)
    for days, statuses in ((30, ("accepted",)), (-30, ("accepted",)), (-30, ("cancelled",))):
        world.life.mixed(300, 0, days, statuses)
    world.account.lost = {(status, world.account.shown(status, START, 200)[7].uid)}
    claim = world.sync()
    assert (claim.covered_from is not None, claim.covered_until is not None) == (True, True)
    assert world.false_statements(claim) == []


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC"])
@pytest.mark.parametrize("timeless", [1, 2, 10])
def test_a_missing_end_time_does_not_prove_that_the_api_filters(end, timeless, monkeypatch):
    world = World(5, 500, 0, version="2024-04-15", habits=CALM)
    world.life.mixed(40, 1, 20, ("accepted",))
    world.account.timeless = {each.uid for each in world.account.shown(None, START, 200)[:timeless]}
    row = world.account.row

    def odd(booking, agent_id):
        made = row(booking, agent_id)
        return {**made, "end_time": end} if booking.uid in world.account.timeless else made

    monkeypatch.setattr(world.account, "row", odd)
    assert world.sync().coverage == "unknown"


def test_a_new_field_sends_all_rows_again_and_affects_no_claim():
    world = host(600)
    before = settled(world)
    world.account.fields["is_new"] = None
    bookings = read(world.account, world.life.now, before=world.seen)
    delivery = memory.compare(bookings, world.seen, (), world.life.now)
    assert len(delivery.rows) == len(bookings.rows)
    claim = delivery.claim
    assert (claim.covered_from, claim.reason, claim.is_first) == (before.covered_from, "", False)


def test_the_order_of_chosen_statuses_does_not_matter():
    world = host(900)
    world.statuses = ("cancelled", "upcoming")
    before = settled(world)
    world.statuses = ("upcoming", "cancelled")
    claim = world.sync()
    assert (claim.covered_from, claim.reason, claim.is_first) == (before.covered_from, "", False)
    world.statuses = ("cancelled",)
    assert (world.sync().reason, world.sync().reason) == (STATUSES, "")


def test_the_latest_gap_and_the_time_of_its_detection_are_remembered():
    world = World(9, 300, 0, cap=50, habits=CALM)
    settled(world)
    assert world.seen.gap is None
    world.live(timedelta(days=1))
    world.life.mixed(80, -0.5, -0.1, ("accepted",))
    opened = world.sync()
    found_at = world.life.now
    assert opened.gap
    assert world.seen.gap == (*opened.gap, found_at)
    world.live(timedelta(hours=1))
    assert world.sync().gap is None
    assert world.seen.gap == (*opened.gap, found_at)
    world.state = {}
    world.sync()
    assert world.seen.gap is None, "it is lost with the state"


# The steps of a claim.


def account(*bookings: Booking) -> Account:
    made = Account("org")
    for booking in bookings:
        made.add(booking)
    return made


def booking(number: int, hours: float, status: str = "accepted") -> Booking:
    start = START + timedelta(hours=hours)
    return Booking(f"{status}-{hours}-{number}", start, start + timedelta(minutes=30), status)


def claim_of(made: Account, statuses: Iterable[str] = ()) -> Claim:
    return coverage.claim(read(made, START, statuses), [*statuses], None)


def test_coverage_of_an_empty_account_is_unknown_without_a_doubt():
    claim = claim_of(account())
    assert (claim.coverage, claim.doubts, claim.kept) == ("unknown", (), None)


def test_an_empty_past_window_and_three_future_bookings_prove_that_the_api_filters():
    ahead = [booking(number, 5 + number) for number in range(3)]
    assert claim_of(account(*ahead)).coverage == "complete"
    assert claim_of(account(*ahead[:2])).coverage == "unknown", "two may have ended since"


def test_a_past_window_with_only_past_bookings_proves_that_the_api_filters():
    assert claim_of(account(booking(1, 5), booking(2, -5))).coverage == "complete"


def rows_of(starts, minutes=30, status="accepted"):
    made = account(
        *(Booking(str(n), start, start + timedelta(minutes=minutes), status) for n, start in enumerate(starts))
    )
    return [made.row(each, "") for each in made.bookings.values()]


def hours(*numbers: float) -> list[datetime]:
    return [START + timedelta(hours=number) for number in numbers]


@pytest.mark.parametrize(("over", "proves"), [(0, False), (2, False), (3, True)])
def test_three_past_bookings_prove_more_than_upcoming(over, proves):
    rows = rows_of(hours(1, 2, 3, 4)) + rows_of(hours(*range(-5, -5 + over)))
    assert look(rows, EVERYTHING, START, NOTHING).proves_more_than_upcoming is proves


@pytest.mark.parametrize(("dead", "proves"), [(2, False), (3, True)])
def test_three_rejected_bookings_prove_more_than_upcoming(dead, proves):
    rows = rows_of(hours(*range(1, dead + 1)), status="rejected")
    assert look(rows, EVERYTHING, START, NOTHING).proves_more_than_upcoming is proves


@pytest.mark.parametrize(
    ("start", "end", "is_over"),
    [
        ("2026-06-01T11:00:00Z", "2026-06-01T11:54:00Z", True),
        ("2026-06-01T11:00:00Z", "2026-06-01T11:56:00Z", False),
        ("2026-06-01T11:00:00Z", "2026-06-01T11:00:00Z", False),
        ("2026-06-01T11:30:00Z", "2026-06-01T11:00:00Z", False),
        ("1999-12-31T11:00:00Z", "1999-12-31T12:00:00Z", False),
        ("2000-01-01T11:00:00Z", "2000-01-01T12:00:00Z", True),
        ("2026-06-01T11:00:00Z", "soon", False),
        ("soon", "2026-06-01T11:00:00Z", False),
    ],
)
def test_a_row_counts_as_past_only_with_plausible_times(start, end, is_over):
    row = {"id": "1", "status": "accepted", "start_time": start, "end_time": end}
    assert look([row], EVERYTHING, START, NOTHING).proves_more_than_upcoming is is_over


def test_upcoming_alone_needs_no_proof_that_the_api_filters():
    ahead = [booking(number, 5 + number) for number in range(2)]
    claim = claim_of(account(*ahead), ("upcoming",))
    assert (claim.coverage, claim.covered_from, claim.covered_until) == ("filtered", None, None)
    assert claim_of(account(*ahead), ("unconfirmed",)).coverage == "unknown"


PAST, AHEAD, CANCELLED = BY_STATUS["past"], BY_STATUS["upcoming"], BY_STATUS["cancelled"]


@pytest.mark.parametrize(
    ("window", "hours_ahead", "status", "contradicts"),
    [
        (PAST, -1, "accepted", False),
        (PAST, -0.55, "accepted", False),
        (PAST, -0.5 + 4 / 60, "accepted", False),
        (PAST, -0.5 + 6 / 60, "accepted", True),
        (PAST, -1, "rejected", True),
        (AHEAD, 1, "pending", False),
        (AHEAD, -0.5 - 4 / 60, "accepted", False),
        (AHEAD, -0.5 - 6 / 60, "accepted", True),
        (AHEAD, 1, "cancelled", True),
        (CANCELLED, -100, "cancelled", False),
        (CANCELLED, 100, "rejected", False),
        (CANCELLED, 1, "accepted", True),
        (EVERYTHING, 1, "cancelled", False),
        (EVERYTHING, -9, "accepted", False),
    ],
)
def test_a_row_contradicts_a_window_by_its_time_or_status(window, hours_ahead, status, contradicts):
    [row] = rows_of(hours(hours_ahead), status=status)
    assert window.contradicts(row, START) is contradicts


def test_a_row_without_a_valid_end_contradicts_the_past_window():
    assert PAST.contradicts({"status": "accepted", "end_time": "soon"}, START)


@pytest.mark.parametrize(
    ("odd", "rows", "doubtful"),
    [(1, 1, True), (1, 2, False), (2, 3, True), (2, 4, False), (2, 60, False), (3, 60, True)],
)
def test_a_window_is_doubted_if_over_two_or_over_half_of_its_rows_contradict_it(odd, rows, doubtful):
    made = rows_of(hours(*range(-rows, 0)))
    for row in made[:odd]:
        row["status"] = "cancelled"
    evidence = look(made, PAST, START, NOTHING)
    assert bool(evidence.doubt) is doubtful
    claim = claimed({"past": evidence, "upcoming": Evidence(0), "cancelled": WHOLE})
    assert (claim.coverage == "unknown", bool(claim.doubts)) == (doubtful, doubtful)


@pytest.mark.parametrize(
    ("starts", "disorder"),
    [
        ([-number for number in range(1, 51)], ""),
        ([number - 100 for number in range(50)], "not in the order"),
        ([-1 - number // 7 for number in range(50)], "start together"),
        ([-1 - number // 5 for number in range(50)], ""),
        ([-2, -1, -4, -3, *range(-5, -51, -1)], ""),
        ([-2, -1, -4, -3, -6, -5, *range(-7, -51, -1)], "not in the order"),
    ],
)
def test_a_cut_window_is_doubted_unless_its_rows_are_in_order(starts, disorder):
    evidence = look(rows_of(hours(*starts)), PAST, START, NOTHING)
    assert disorder in evidence.disorder
    assert bool(evidence.disorder) == bool(disorder)
    assert evidence.last_start == START + timedelta(hours=starts[-1])
    assert look(rows_of(hours(*starts[:40])), PAST, START, NOTHING).disorder == "", "a complete window needs no order"


def test_a_forward_window_must_have_ascending_starts():
    rows = rows_of(hours(*(1 + number // 3 for number in range(50))))
    found = [bool(look(each, AHEAD, START, NOTHING).disorder) for each in (rows, rows[::-1])]
    assert found == [False, True]


@pytest.mark.parametrize(("unreadable", "disorder"), [(2, ""), (3, "can't be read")])
def test_up_to_two_starts_may_be_unreadable_but_not_the_last_one(unreadable, disorder):
    rows = rows_of(hours(*range(-1, -51, -1)))
    for row in rows[:unreadable]:
        row["start_time"] = "yesterday"
    assert (
        look(rows, PAST, START, NOTHING).disorder == disorder or disorder in look(rows, PAST, START, NOTHING).disorder
    )
    rows[-1]["start_time"] = "yesterday"
    assert "can't be read" in look(rows, PAST, START, NOTHING).disorder, "a cut window's last start bounds the claim"


def cut(at: float, **fields) -> Evidence:
    """The evidence of a cut window whose last row starts this many hours from now."""
    return Evidence(200, last_start=START + timedelta(hours=at), proves_more_than_upcoming=True, **fields)


WHOLE = Evidence(5, proves_more_than_upcoming=True)
BEFORE = Covered(START - timedelta(hours=10), START - timedelta(days=30))


def claimed(evidence, before: Covered | None = None, statuses=(), refused=(), began=START, **seen) -> Claim:
    bookings = Bookings(
        [],
        evidence,
        refused,
        began,
        full=tuple(status or "unfiltered" for status, each in evidence.items() if each.last_start),
        missing=seen.pop("missing", 0),
        is_torn=seen.pop("is_torn", False),
    )
    return coverage.claim(bookings, statuses, Seen(b"", START, before, **seen) if before else None)


def test_the_covered_period_is_bounded_by_the_nearest_cut_windows():
    evidence = {
        None: cut(-900),
        "past": cut(-50),
        "cancelled": cut(-20),
        "upcoming": cut(90),
        "recurring": cut(70),
        "unconfirmed": WHOLE,
    }
    claim = claimed(evidence)
    assert claim.covered_from == START - timedelta(hours=20)
    assert claim.covered_until == START + timedelta(hours=70)
    assert claim.coverage == "partial"
    assert claim.kept == Covered(START, claim.covered_from, ())


@pytest.mark.parametrize(
    ("past", "cancelled", "goes_on", "causes"),
    [
        (-11, -12, True, ()),
        (-10, -12, True, ()),
        (-9, -12, False, ("past",)),
        (-11, 5, False, ("cancelled",)),
        (-9, -8, False, ("past", "cancelled")),
    ],
)
def test_a_gap_opens_if_a_cut_window_does_not_reach_the_last_sync(past, cancelled, goes_on, causes):
    claim = claimed({"past": cut(past, known=50), "cancelled": cut(cancelled)}, BEFORE)
    back = START + timedelta(hours=max(past, cancelled))
    assert claim.covered_from == (BEFORE.covered_from if goes_on else back)
    assert claim.gap == (None if goes_on else (BEFORE.read_at, back))
    assert claim.causes == causes
    assert (claim.is_first, claim.reason) == (False, "")


@pytest.mark.parametrize(
    ("known", "unknown", "reason"),
    [(3, 0, ""), (3, 2, ""), (50, 3, OLDER), (3, 90, OLDER), (2, 0, EXCHANGED), (0, 90, EXCHANGED)],
)
def test_coverage_restarts_if_known_bookings_are_missing_or_unknown_ones_appear(known, unknown, reason):
    claim = claimed({"past": cut(-20, known=known, unknown=unknown), "cancelled": WHOLE}, BEFORE)
    assert claim.reason == reason
    assert claim.is_first is bool(reason)
    assert claim.covered_from == (START - timedelta(hours=20) if reason else BEFORE.covered_from)
    assert claim.gap is None


def test_windows_that_reach_further_back_need_no_earlier_claim():
    claim = claimed({"past": cut(-24 * 40), "cancelled": cut(-24 * 31, unknown=90)}, BEFORE)
    assert (claim.covered_from, claim.reason, claim.is_first) == (START - timedelta(days=31), "", False)


@pytest.mark.parametrize(("missing", "is_null"), [(0, True), (1, False), (2, False)])
def test_coverage_becomes_complete_only_if_no_known_booking_is_missing(missing, is_null):
    claim = claimed({"past": WHOLE, "cancelled": WHOLE}, BEFORE, missing=missing)
    assert claim.covered_from == (None if is_null else BEFORE.covered_from)
    assert claim.coverage == ("complete" if is_null else "partial")


def test_coverage_is_unknown_once_after_bookings_are_missing_then_restarts():
    evidence = {"past": WHOLE, "cancelled": WHOLE}
    claim = claimed(evidence, BEFORE, missing=3)
    assert (claim.coverage, claim.reason, claim.kept) == ("unknown", FEWER, BEFORE)
    claim = claimed(evidence, BEFORE, missing=3, is_doubted=True)
    assert (claim.coverage, claim.reason, claim.is_first) == ("complete", FEWER, True)


def test_coverage_is_unknown_if_windows_lack_bookings_of_the_unfiltered_response():
    claim = claimed({None: WHOLE, "past": WHOLE, "cancelled": WHOLE}, is_torn=True)
    assert claim.coverage == "unknown"
    assert claim.doubts == ("unfiltered: it shows bookings that no window shows",)


def test_a_gap_that_was_reported_before_is_not_reported_again():
    ahead = START + timedelta(hours=100)
    before = Covered(BEFORE.read_at, ahead)
    claim = claimed({"past": WHOLE, "cancelled": cut(100)}, before)
    assert (claim.gap, claim.covered_from) == (None, ahead)
    claim = claimed({"past": WHOLE, "cancelled": cut(130)}, before)
    assert claim.gap == (ahead, START + timedelta(hours=130))
    assert claim.causes == ("cancelled",)


def test_coverage_is_complete_again_once_no_window_is_cut():
    claim = claimed({None: WHOLE}, BEFORE)
    assert (claim.coverage, claim.covered_from, claim.gap) == ("complete", None, None)


def test_coverage_restarts_if_the_chosen_statuses_change():
    before = Covered(BEFORE.read_at, BEFORE.covered_from, ("cancelled",))
    evidence = {"cancelled": cut(-20, known=50), "upcoming": WHOLE}
    assert claimed(evidence, before, ("cancelled",)).covered_from == BEFORE.covered_from
    claim = claimed(evidence, before, ("upcoming", "cancelled"))
    assert (claim.coverage, claim.covered_from, claim.gap) == ("filtered", START - timedelta(hours=20), None)
    assert (claim.is_first, claim.reason) == (True, STATUSES)


def test_coverage_restarts_if_the_last_sync_is_in_the_future():
    """One of the clocks was wrong, so it is unknown whether a gap opened."""
    evidence = {"past": cut(-20, known=50), "upcoming": WHOLE}
    claim = claimed(evidence, Covered(START + timedelta(days=60), None))
    assert (claim.coverage, claim.covered_from) == ("partial", START - timedelta(hours=20))
    assert (claim.is_first, claim.reason) == (True, CLOCK)
    assert claimed(evidence, Covered(START + timedelta(minutes=1), None)).coverage == "complete"


def test_a_state_of_an_earlier_version_restarts_coverage():
    claim = claimed({"past": cut(-20, known=50)}, BEFORE, is_old=True)
    assert (claim.is_first, claim.reason, claim.covered_from) == (True, UPGRADED, START - timedelta(hours=20))


@pytest.mark.parametrize("now", [datetime.min, datetime.max])
def test_windows_are_examined_at_the_extreme_times_of_the_calendar(now):
    rows = rows_of(hours(*range(50)))
    for window in (*WINDOWS, EVERYTHING):
        assert look(rows, window, now.replace(tzinfo=timezone.utc), NOTHING).rows == 50


def test_a_last_start_at_the_earliest_time_bounds_the_claim():
    dawn = moment("0002-01-01T00:00:00Z")
    assert dawn and not moment("0002-01-01T00:00:00+00:01")
    claim = claimed({"past": WHOLE, "upcoming": Evidence(200, last_start=dawn)})
    assert claim.covered_until == dawn


@pytest.mark.parametrize(
    ("statuses", "shows_pending", "goes_on"),
    [
        (("past",), True, False),
        (("past", "upcoming"), True, False),
        (("past", "recurring"), True, False),
        (("past", "upcoming", "recurring"), False, False),
        (("past", "upcoming", "recurring"), True, True),
        (("past", "upcoming", "recurring", "unconfirmed"), False, True),
    ],
)
def test_coverage_restarts_if_the_chosen_statuses_hide_ongoing_bookings(statuses, shows_pending, goes_on):
    before = Covered(BEFORE.read_at, BEFORE.covered_from, statuses)
    evidence = {**dict.fromkeys(statuses, WHOLE), "past": cut(-20, known=50)}
    claim = claimed(evidence, before, statuses, shows_pending=shows_pending)
    assert claim.covered_from == (BEFORE.covered_from if goes_on else START - timedelta(hours=20))
    assert (claim.gap, claim.reason) == (None, "")
    assert claim.is_first is not goes_on


@pytest.mark.parametrize("at", [-3, 0])
def test_ongoing_bookings_beyond_a_cut_are_not_counted_as_seen(at):
    claim = claimed({"past": WHOLE, "upcoming": cut(at)})
    assert claim.coverage == "partial"
    assert claim.kept
    assert claim.kept.read_at < START + timedelta(hours=at)


def test_a_refused_window_leaves_coverage_unknown_and_keeps_the_earlier_claim():
    claim = claimed({None: cut(-1), "past": WHOLE}, BEFORE, refused=["recurring"])
    assert claim.coverage == "unknown"
    assert claim.doubts == ("recurring: Ravan refused it",)
    assert (claim.kept, claim.is_first) == (BEFORE, False)


@pytest.mark.parametrize(("unknown", "missing"), [(3, 0), (0, 3)])
def test_an_earlier_claim_is_dropped_if_bookings_contradict_it_while_coverage_is_unknown(unknown, missing):
    evidence = {"past": cut(-20, known=50, unknown=unknown), "cancelled": WHOLE}
    assert claimed(evidence, BEFORE, refused=["recurring"], missing=missing).kept is None


def test_an_old_state_identifies_contents_but_not_bookings():
    rows = rows_of(hours(1))
    recalled = Recalled(Seen(packed([old_fingerprint(rows[0])]), is_old=True))
    assert (len(recalled.fingerprints), recalled.uids, recalled.covered) == (1, frozenset(), None)
    assert look(rows, PAST, START, recalled, MAX_LIMIT).entered == 0
