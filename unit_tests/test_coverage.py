"""No claim is ever false, and no gap is claimed where nothing was lost."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Account, Booking
from source_ravan_calcom.bookings import coverage
from source_ravan_calcom.bookings.coverage import Covered, Evidence
from source_ravan_calcom.bookings.windows import CAPS, WINDOWS
from unit_tests.living import START, World, read

VERSIONS = ["2024-08-13", "2024-08-13", "2024-04-15", "2026-05-01"]
INTERVALS = [5, 60, 60, 360, 1440, 4320]
CHOSEN = [(), (), (), ("past",), ("upcoming",), ("past", "cancelled"), ("upcoming", "recurring", "unconfirmed")]

WORLDS = st.builds(
    World,
    seed=st.integers(0, 2**32),
    history=st.sampled_from([0, 1, 3, 20, 49, 50, 99, 150, 250, 500]),
    per_day=st.sampled_from([0, 1, 5, 20, 60, 150, 300]),
    version=st.sampled_from(VERSIONS),
    cap=st.sampled_from(sorted(CAPS)),
    step=st.sampled_from([1, 5, 15, 30, 60]),
    lead_days=st.sampled_from([0.2, 1, 3, 7]),
    races=st.sampled_from([0, 0, 0.2]),
    restless=st.sampled_from([0, 0, 0.3, 0.8]),
    statuses=st.sampled_from(CHOSEN),
)


@settings(deadline=None, max_examples=120)
@given(world=WORLDS, syncs=st.lists(st.tuples(st.booleans(), st.sampled_from(INTERVALS)), min_size=2, max_size=7))
def test_no_claim_is_ever_false(world, syncs):
    for number, (crashes, minutes) in enumerate(syncs):
        crash = crashes and number % 3 == 1
        claim = world.sync(crashes=crash)
        if not crash:
            assert world.lies(claim) == []
        world.live(timedelta(minutes=minutes))


@settings(deadline=None, max_examples=60)
@given(world=WORLDS, intervals=st.lists(st.sampled_from(INTERVALS), min_size=2, max_size=6))
def test_no_gap_is_claimed_where_every_window_reaches_back(world, intervals):
    for minutes in intervals:
        before, claim = world.kept, world.sync()
        if claim.gap:
            bookings = read(world.account, world.now, world.statuses, world.cap)
            ends = [bookings.evidence[status].last_start for status in coverage.LOOKING_BACK if status in bookings.evidence]
            assert before
            assert any(end and end > before.read_at for end in ends)
            assert claim.causes
        world.live(timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("version", "history", "expected"),
    [
        ("2024-08-13", 30, {"complete"}),
        ("2024-08-13", 900, {"partial"}),
        ("2024-04-15", 900, {"unknown"}),
        ("2026-05-01", 900, {"unknown"}),
    ],
)
def test_what_a_healthy_and_an_odd_api_lead_to(version, history, expected):
    world = World(7, history, per_day=10, version=version)
    claims = []
    for _ in range(4):
        claims.append(world.sync())
        world.live(timedelta(hours=1))
    assert {claim.coverage for claim in claims} == expected
    assert world.gaps == 0


def test_a_busy_account_read_every_hour_keeps_what_it_covered():
    world = World(3, 500, per_day=100, lead_days=2)
    first = world.sync()
    for _ in range(24):
        world.live(timedelta(hours=1))
        claim = world.sync()
        assert claim.gap is None
        assert claim.covered_from == first.covered_from
    assert first.is_first
    assert not claim.is_first


def account(*bookings: Booking) -> Account:
    made = Account("org")
    for booking in bookings:
        made.add(booking)
    return made


def booking(number: int, hours: float, status: str = "accepted") -> Booking:
    start = START + timedelta(hours=hours)
    return Booking(f"{status}-{hours}-{number}", start, start + timedelta(minutes=30), status)


def claim_of(made: Account, before: Covered | None = None, statuses=(), cap=200) -> coverage.Claim:
    bookings = read(made, START, statuses, cap)
    return coverage.claim(bookings.evidence, bookings.refused, bookings.began, statuses, before)


def test_an_empty_account_proves_nothing_and_contradicts_nothing():
    claim = claim_of(account())
    assert (claim.coverage, claim.doubts, claim.kept) == ("unknown", (), None)


def test_an_empty_past_beside_bookings_ahead_proves_that_the_filter_works():
    ahead = [booking(number, 5 + number) for number in range(3)]
    assert claim_of(account(*ahead)).coverage == "complete"
    assert claim_of(account(*ahead[:2])).coverage == "unknown", "two may have been over a moment later"


@pytest.mark.parametrize(("odd", "expected"), [(0, "complete"), (2, "complete"), (3, "unknown")])
def test_a_row_or_two_may_contradict_a_window(odd, expected):
    made = account(*(booking(number, -5 - number) for number in range(60)))

    def seen(status, rows):
        meaning = next(window.shows for window in WINDOWS if window.status == status)
        return coverage.look(rows, meaning, START, full=False)

    rows = [made.row(each, "") for each in made.bookings.values()]
    for row in rows[:odd]:
        row["status"] = "cancelled"
    claim = coverage.claim({"past": seen("past", rows), "upcoming": seen("upcoming", [])}, [], START, (), None)
    assert claim.coverage == expected
    assert bool(claim.doubts) == (expected == "unknown")


def rows_of(starts, minutes=30, status="accepted"):
    made = account(
        *(Booking(str(n), start, start + timedelta(minutes=minutes), status) for n, start in enumerate(starts))
    )
    return [made.row(each, "") for each in made.bookings.values()]


@pytest.mark.parametrize(("minutes", "proves"), [(-36, True), (-34, False), (60, False)])
def test_only_a_row_that_is_surely_over_proves_more_than_upcoming(minutes, proves):
    rows = rows_of([START + timedelta(hours=1), START + timedelta(minutes=minutes)])
    assert coverage.look(rows, None, START, full=False).proves_more_than_upcoming is proves


@pytest.mark.parametrize(("dead", "proves"), [(2, False), (3, True)])
def test_more_than_a_few_dead_rows_prove_more_than_upcoming(dead, proves):
    rows = rows_of([START + timedelta(hours=number) for number in range(1, dead + 1)], status="rejected")
    assert coverage.look(rows, None, START, full=False).proves_more_than_upcoming is proves


def test_upcoming_alone_needs_no_proof_that_filters_work():
    ahead = [booking(number, 5 + number) for number in range(2)]
    claim = claim_of(account(*ahead), statuses=("upcoming",))
    assert (claim.coverage, claim.covered_from, claim.covered_until) == ("filtered", None, None)
    assert claim_of(account(*ahead), statuses=("unconfirmed",)).coverage == "unknown"


def test_two_full_windows_of_one_side_do_not_hide_each_other():
    claim = coverage.claim({"past": full(-20), "cancelled": full(-20)}, [], START, (), None)
    assert claim.covered_from == START - timedelta(hours=20)


PAST = coverage.Meaning(over=True, dead=False)
AHEAD = coverage.Meaning(over=False, dead=False)
CANCELLED = coverage.Meaning(over=None, dead=True)


@pytest.mark.parametrize(
    ("meaning", "hours", "status", "contradicts"),
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
    ],
)
def test_what_belongs_in_a_window(meaning, hours, status, contradicts):
    [row] = rows_of([START + timedelta(hours=hours)], status=status)
    assert meaning.contradicts(row, START) is contradicts


def test_a_row_without_an_end_is_no_evidence():
    row = {"status": "accepted", "end_time": "soon"}
    assert PAST.contradicts(row, START)
    assert not coverage.look([row], None, START, full=False).proves_more_than_upcoming


@pytest.mark.parametrize(
    ("starts", "doubt"),
    [
        ([-number for number in range(1, 60)], ""),
        ([number - 100 for number in range(60)], "not in the order"),
        ([-1 - number // 7 for number in range(60)], "start together"),
        ([-1 - number // 6 for number in range(60)], ""),
        ([-2, -1, -4, -3, *range(-5, -60, -1)], ""),
        ([-2, -1, -4, -3, -6, -5, *range(-7, -60, -1)], "not in the order"),
    ],
)
def test_a_full_window_must_show_its_order(starts, doubt):
    rows = rows_of([START + timedelta(hours=hours) for hours in starts])
    assert doubt in coverage.look(rows, PAST, START, full=True).doubt
    assert bool(coverage.look(rows, PAST, START, full=True).doubt) == bool(doubt)
    assert coverage.look(rows, PAST, START, full=False).doubt == "", "what is whole needs no order"
    assert coverage.look(rows, PAST, START, full=True).last_start == START + timedelta(hours=starts[-1])


@pytest.mark.parametrize(
    ("meaning", "status", "doubts"), [(AHEAD, "accepted", (False, True)), (CANCELLED, "cancelled", (True, False))]
)
def test_what_is_ahead_ends_with_the_latest_and_what_is_cancelled_with_the_earliest(meaning, status, doubts):
    rows = rows_of([START + timedelta(hours=1 + number // 3) for number in range(60)], status=status)
    assert tuple(bool(coverage.look(each, meaning, START, full=True).doubt) for each in (rows, rows[::-1])) == doubts


@pytest.mark.parametrize(("unreadable", "doubt"), [(2, ""), (3, "can't be read")])
def test_a_start_or_two_may_be_unreadable(unreadable, doubt):
    rows = rows_of([START - timedelta(hours=number) for number in range(1, 60)])
    for row in rows[:unreadable]:
        row["start_time"] = "yesterday"
    found = coverage.look(rows, PAST, START, full=True).doubt
    assert doubt in found
    assert bool(found) == bool(doubt)


@pytest.mark.parametrize(("odd", "rows", "doubtful"), [(1, 1, True), (1, 2, False), (2, 3, True), (2, 4, False)])
def test_half_of_a_few_rows_may_contradict_a_window(odd, rows, doubtful):
    made = rows_of([START - timedelta(hours=number) for number in range(1, rows + 1)])
    for row in made[:odd]:
        row["status"] = "cancelled"
    assert bool(coverage.look(made, PAST, START, full=False).doubt) is doubtful


def test_a_full_window_whose_last_start_can_not_be_read_bounds_nothing():
    rows = rows_of([START - timedelta(hours=number) for number in range(1, 60)])
    rows[-1]["start_time"] = "yesterday"
    assert "can't be read" in coverage.look(rows, PAST, START, full=True).doubt


def full(hours, rows=200) -> Seen:
    return Evidence(rows, full=True, last_start=START + timedelta(hours=hours), proves_more_than_upcoming=True)


WHOLE = Evidence(5, proves_more_than_upcoming=True)


def test_the_stretch_is_bounded_by_the_nearest_full_windows():
    seen = {
        "past": full(-50),
        "cancelled": full(-20),
        "upcoming": full(90),
        "recurring": full(70),
        "unconfirmed": WHOLE,
    }
    claim = coverage.claim(seen, [], START, (), None)
    assert claim.covered_from == START - timedelta(hours=20)
    assert claim.covered_until == START + timedelta(hours=70)
    assert claim.coverage == "partial"
    assert claim.kept == Covered(START, claim.covered_from, ())


BEFORE = Covered(START - timedelta(hours=10), START - timedelta(days=30))


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
def test_coverage_goes_on_or_a_gap_opens(past, cancelled, goes_on, causes):
    claim = coverage.claim({"past": full(past), "cancelled": full(cancelled)}, [], START, (), BEFORE)
    back = START + timedelta(hours=max(past, cancelled))
    assert claim.covered_from == (BEFORE.covered_from if goes_on else back)
    assert claim.gap == (None if goes_on else (BEFORE.read_at, back))
    assert claim.causes == causes
    assert not claim.is_first


def test_a_hole_that_was_told_before_is_no_new_one():
    ahead = START + timedelta(hours=100)
    before = Covered(BEFORE.read_at, ahead)
    claim = coverage.claim({"past": WHOLE, "cancelled": full(100)}, [], START, (), before)
    assert (claim.gap, claim.covered_from) == (None, ahead)
    claim = coverage.claim({"past": WHOLE, "cancelled": full(130)}, [], START, (), before)
    assert claim.gap == (ahead, START + timedelta(hours=130))
    assert claim.causes == ("cancelled",)


def test_an_account_that_is_whole_again_is_complete_from_the_beginning():
    claim = coverage.claim({None: WHOLE}, [], START, (), BEFORE)
    assert (claim.coverage, claim.covered_from, claim.gap) == ("complete", None, None)


def test_other_statuses_than_last_time_begin_anew():
    before = Covered(BEFORE.read_at, BEFORE.covered_from, ("cancelled",))
    seen = {"cancelled": full(-20), "upcoming": WHOLE}
    assert coverage.claim(seen, [], START, ("cancelled",), before).covered_from == BEFORE.covered_from
    claim = coverage.claim(seen, [], START, ("upcoming", "cancelled"), before)
    assert (claim.coverage, claim.covered_from, claim.gap) == ("filtered", START - timedelta(hours=20), None)
    assert claim.is_first


def test_a_last_sync_that_was_in_the_future_begins_anew():
    """By a clock that was wrong then or is wrong now: a hole could not be told from none."""
    before = Covered(START + timedelta(days=60), None)
    claim = coverage.claim({"past": full(-20), "upcoming": WHOLE}, [], START, (), before)
    assert (claim.coverage, claim.covered_from) == ("partial", START - timedelta(hours=20))
    soon = Covered(START + timedelta(minutes=1), None)
    assert coverage.claim({"past": full(-20), "upcoming": WHOLE}, [], START, (), soon).coverage == "complete"


def test_where_nothing_is_as_it_was_another_account_may_have_taken_its_place():
    seen = {"past": full(-20), "upcoming": WHOLE}
    claim = coverage.claim(seen, [], START, (), BEFORE, is_familiar=False)
    assert (claim.covered_from, claim.gap, claim.is_first) == (START - timedelta(hours=20), None, True)
    claim = coverage.claim({"past": full(-2)}, [], START, (), BEFORE, is_familiar=False)
    assert claim.gap, "after a long pause nothing is as it was, either"


@pytest.mark.parametrize("now", [datetime.min, datetime.max])
def test_no_clock_is_too_odd_to_look_by(now):
    rows = rows_of([START, START], status=["accepted"])
    for window in WINDOWS:
        coverage.look(rows, window.shows, now.replace(tzinfo=timezone.utc), full=True)
    assert coverage.look(rows, None, now.replace(tzinfo=timezone.utc), full=False).rows == 2


def test_go_writes_no_time_as_the_first_of_all():
    dawn = datetime.min.replace(tzinfo=timezone.utc)
    claim = coverage.claim({"past": WHOLE, "upcoming": Evidence(200, True, last_start=dawn)}, [], START, (), None)
    assert claim.covered_until == dawn


@pytest.mark.parametrize(
    ("statuses", "goes_on"),
    [
        (("past",), False),
        (("past", "upcoming"), False),
        (("past", "recurring"), False),
        (("past", "upcoming", "recurring"), True),
        (("past", "upcoming", "recurring", "unconfirmed"), True),
    ],
)
def test_the_past_does_not_go_on_where_what_is_under_way_was_not_seen(statuses, goes_on):
    before = Covered(BEFORE.read_at, BEFORE.covered_from, statuses)
    claim = coverage.claim({**dict.fromkeys(statuses, WHOLE), "past": full(-20)}, [], START, statuses, before)
    assert claim.covered_from == (BEFORE.covered_from if goes_on else START - timedelta(hours=20))
    assert claim.gap is None
    assert claim.is_first is not goes_on


@pytest.mark.parametrize("hours", [-3, 0])
def test_what_has_begun_and_was_not_seen_is_not_counted_as_seen(hours):
    claim = coverage.claim({"past": WHOLE, "upcoming": full(hours)}, [], START, (), None)
    assert claim.coverage == "partial"
    assert claim.kept
    assert claim.kept.read_at < START + timedelta(hours=hours)


def test_a_refused_window_leaves_its_side_unknown_and_keeps_what_was_known():
    claim = coverage.claim({None: full(-1), "past": WHOLE}, ["recurring"], START, (), BEFORE)
    assert claim.coverage == "unknown"
    assert claim.doubts == ("recurring: Ravan refused it",)
    assert claim.kept == BEFORE
    assert not claim.is_first
