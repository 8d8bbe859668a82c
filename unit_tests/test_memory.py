from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from hashlib import blake2b

import orjson
import pytest

from source_ravan_calcom.bookings import memory
from source_ravan_calcom.bookings.coverage import UPGRADED
from source_ravan_calcom.bookings.memory import STATES_PER_SYNC, Seen, State, parsed
from source_ravan_calcom.bookings.records import (
    FINGERPRINT_BYTES,
    fingerprint,
    identity,
    packed,
    uid_mark,
    unpacked,
    utc_text,
)
from source_ravan_calcom.bookings.windows import WINDOWS, Covered, Reading

AT = datetime(2026, 6, 1, 12, 0, 0, 5000, tzinfo=timezone.utc)
ROW = {"id": "1", "status": "accepted", "extra": {"a": 1, "b": [1, 2]}}
OTHER = {"id": "2", "status": "cancelled"}


def fingerprint_of(row):
    """A row's fingerprint as in the state: booking, then content."""
    return fingerprint(row, uid_mark(identity(row)))


def compared(rows, before: Seen | None = None, past=()) -> memory.Delivery:
    """The delivery of these rows in ``upcoming`` and in ``past``."""
    reading = Reading(("upcoming", "past"), before)
    for each in (rows, past):
        reading.take([dict(row) for row in each], AT, AT)
    return memory.compare(reading.bookings(), before, ("upcoming", "past"), AT)


def saved(state: State) -> dict:
    """The state as the platform passes it to the next sync."""
    return json.loads(json.dumps(state.due(at_end=True)))


def state_of(seen: Seen) -> dict:
    state = State(["a"], {})
    state.keep("a", seen, delivered=True)
    return saved(state)


def kept(state: State, org_id: str) -> None:
    state.keep(org_id, Seen(packed([fingerprint_of(ROW)]), AT), delivered=True)


def test_sent_rows_are_known_in_the_next_sync():
    first = compared([ROW], past=[OTHER])
    assert first.rows == [ROW, OTHER]
    before = parsed(state_of(first.seen))["a"]
    assert before == first.seen
    changed = {**ROW, "status": "cancelled"}
    assert compared([OTHER, changed], before).rows == [changed]
    assert compared([], before, past=[OTHER, ROW]).rows == [], "in any window"


def test_a_row_that_left_the_windows_is_forgotten():
    second = compared([ROW], compared([ROW, OTHER]).seen)
    assert compared([ROW, OTHER], second.seen).rows == [OTHER]


def test_the_state_contains_no_attendee():
    state = state_of(compared([{"id": "1", "attendee_email": "x@example.com"}]).seen)
    assert set(state) == {"version", "organizations"}
    assert set(state["organizations"]["a"]) == {"sent", "synced_at"}
    assert len(base64.b64decode(state["organizations"]["a"]["sent"])) == FINGERPRINT_BYTES


def test_the_fingerprint_of_a_booking_takes_eight_characters():
    rows = [{"id": str(number)} for number in range(300)]
    [entry] = state_of(compared(rows[:200], past=rows[200:]).seen)["organizations"].values()
    assert (len(entry["sent"]), len(entry["settled"])) == (8 * 200, 8 * 100)


def test_the_same_rows_give_the_same_state():
    assert compared([ROW, OTHER]).seen == compared([OTHER, ROW]).seen


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"covered": Covered(AT, None)},
        {"covered": Covered(AT, AT - timedelta(days=1))},
        {"covered": Covered(AT, None, ("past", "cancelled"))},
        {"gap": (AT, AT + timedelta(hours=1), AT + timedelta(hours=2))},
        {"settled": packed([fingerprint_of(OTHER)])},
        {"limit": 100},
        {"cap": 50},
        {"shows_pending": True},
        {"is_doubted": True},
        {"is_old": True},
    ],
)
def test_the_state_of_an_organization_is_restored(fields):
    seen = Seen(packed([fingerprint_of(ROW)]), AT, **fields)
    assert parsed(state_of(seen)) == {"a": seen}


def test_the_limit_and_the_cap_of_the_api_are_remembered():
    reading = Reading(())
    reading.lower_limit()
    reading.take([{"id": str(number)} for number in range(50)], AT, AT)
    while not reading.is_done:
        rows = [{"id": f"{reading.next}{number}"} for number in range(50)]
        reading.take(rows, AT, AT)
    seen = memory.compare(reading.bookings(), None, (), AT).seen
    assert (seen.limit, seen.cap) == (100, 50)
    assert compared([ROW]).seen.limit is None


def test_an_organization_that_was_not_read_keeps_its_old_state():
    before = state_of(compared([ROW]).seen)
    state = State(["a"], parsed(before))
    assert saved(state) == before


def test_a_removed_organization_is_dropped():
    state = State(["a", "b"], {})
    kept(state, "a")
    kept(state, "b")
    assert set(saved(State(["b"], parsed(saved(state))))["organizations"]) == {"b"}


def test_a_printed_state_does_not_change_later():
    state = State([str(number) for number in range(STATES_PER_SYNC)], {})
    kept(state, "0")
    printed = state.due()
    kept(state, "1")
    assert [*printed["organizations"]] == ["0"]


@pytest.mark.parametrize("count", [1, 3, 10, 25, 1000])
def test_at_most_ten_states_are_printed_and_the_last_one_is_complete(count):
    org_ids = [str(number) for number in range(count)]
    state, printed = State(org_ids, {}), []
    for org_id in org_ids:
        kept(state, org_id)
        printed += [each for each in [state.due()] if each]
    printed += [each for each in [state.due(at_end=True)] if each]
    assert 1 <= len(printed) <= STATES_PER_SYNC + 1
    assert sorted(printed[-1]["organizations"]) == sorted(org_ids)
    assert len(printed) == len({len(each["organizations"]) for each in printed}), "no state is printed twice"


def test_an_unchanged_sync_prints_one_state():
    state = State([str(number) for number in range(100)], {})
    for number in range(100):
        state.keep(str(number), Seen(b"", AT), delivered=False)
        assert state.due() is None
    assert state.due(at_end=True)
    assert state.due(at_end=True) is None


def old_hash(row, size=9) -> bytes:
    """A fingerprint of version 1; with fewer bytes, one of version 2."""
    return blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=9).digest()[:size]


def version_1(*rows) -> dict:
    content = b"".join(sorted(old_hash(row) for row in rows))
    return {"version": 1, "organizations": {"a": base64.b64encode(content).decode()}}


def version_2(*rows, **fields) -> dict:
    content = b"".join(sorted(old_hash(row, 6) for row in rows))
    entry = {"sent": base64.b64encode(content).decode(), "synced_at": utc_text(AT), **fields}
    return {"version": 2, "organizations": {"a": entry}}


@pytest.mark.parametrize("state", [version_1(ROW, OTHER), version_2(ROW, OTHER)])
def test_an_upgrade_sends_nothing_again(state):
    before = parsed(state)["a"]
    new = {"id": "3"}
    delivery = compared([OTHER, new, ROW], before)
    assert delivery.rows == [new]
    after = parsed(state_of(delivery.seen))["a"]
    assert not after.is_old
    assert compared([OTHER, new, ROW], after).rows == []


def test_an_upgrade_restarts_coverage_once_and_logs_it():
    over = [
        {
            **ROW,
            "id": str(number),
            "start_time": f"2026-05-0{number}T10:00:00Z",
            "end_time": f"2026-05-0{number}T11:00:00Z",
        }
        for number in range(1, 9)
    ]
    fields = {"read_at": "2026-05-31T12:00:00.000Z", "covered_from": None, "statuses": []}

    def read(before):
        reading = Reading((), before)
        reading.take([dict(row) for row in over], AT, AT)
        assert reading.is_done
        return memory.compare(reading.bookings(), before, (), AT)

    first = read(parsed(version_2(*over, **fields))["a"])
    assert (first.claim.reason, first.claim.is_first, first.rows) == (UPGRADED, True, [])
    assert read(first.seen).claim.reason == ""
    assert read(parsed(version_1(*over))["a"]).claim.reason == "", "version 1 had no claims"


@pytest.mark.parametrize("state", [version_1(ROW), version_2(ROW)])
def test_an_organization_that_fails_after_an_upgrade_keeps_its_old_state(state):
    again = saved(State(["a"], parsed(state)))
    assert again["version"] == 3
    assert again["organizations"]["a"]["version"] == 2
    assert parsed(again) == parsed(state)
    assert compared([ROW], parsed(again)["a"]).rows == []


def test_a_large_account_in_an_old_state_is_read_by_its_windows_at_once():
    rows = [{"id": str(number)} for number in range(200)]
    reading = Reading((), parsed(version_2(*rows))["a"])
    requested = []
    while not reading.is_done:
        requested.append(reading.next)
        reading.take([], AT, AT)
    assert requested == [window.status for window in WINDOWS]


GOOD = {"sent": ""}


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"version": 99, "organizations": {}}, "it has version 99, this connector writes version 3"),
        ({"version": True, "organizations": {}}, "it has version True"),
        ({"organizations": {}}, "it has no version"),
        ({"version": [2], "organizations": {}}, "it has no version"),
        ({"synced_at": "2026-01-01"}, "it has no version"),
        ({"version": 3, "organizations": []}, "it holds no organizations"),
        (
            {"version": 1, "organizations": {"a": "!!!!"}},
            "its entry for organization a is damaged",
        ),
        ({"version": 1, "organizations": {"a": "A" * 20}}, "organization a is damaged"),
        ({"version": 1, "organizations": {"a": 7}}, "organization a is damaged"),
        *(
            ({"version": version, "organizations": {"a": entry}}, "organization a is damaged")
            for version in (2, 3)
            for entry in (
                None,
                {},
                {"sent": "!!!!"},
                {"sent": "QUJD"},
                {**GOOD, "settled": "QUJD"},
                {**GOOD, "synced_at": "soon"},
                {**GOOD, "read_at": 5, "covered_from": None},
                {**GOOD, "read_at": utc_text(AT)},
                {**GOOD, "read_at": utc_text(AT), "covered_from": None, "statuses": [1]},
                {**GOOD, "gap": [utc_text(AT)]},
                {**GOOD, "gap": [utc_text(AT), utc_text(AT), 3]},
                {**GOOD, "read_at": utc_text(AT), "covered_from": None, "statuses": "past"},
                {**GOOD, "read_at": utc_text(AT), "covered_from": None, "statuses": [None]},
                {**GOOD, "limit": 0},
                {**GOOD, "limit": 5},
                {**GOOD, "limit": 201},
                {**GOOD, "limit": True},
                {**GOOD, "cap": "100"},
            )
        ),
    ],
)
def test_an_invalid_state_is_refused_with_the_reason(state, problem):
    with pytest.raises(ValueError, match=problem):
        parsed(state)


def test_no_state_is_a_first_sync():
    assert parsed({}) == {}


def test_the_state_of_organizations_is_restored_without_invalid_parts():
    state = memory.organizations_state({"a": AT})
    assert memory.last_reads(state) == {"a": AT}
    assert memory.last_reads({**state, "version": 2}) == {}
    assert memory.last_reads({**state, "organizations": [1]}) == {}
    assert memory.last_reads({**state, "organizations": {"a": utc_text(AT), "b": "soon"}}) == {"a": AT}


def test_synced_at_does_not_exceed_the_maximum_time():
    end = datetime.max.replace(tzinfo=timezone.utc)
    assert AT < memory.later_than(end.replace(microsecond=999000), AT) <= end
    assert AT < memory.later_than(end, AT) <= end


def test_synced_at_increases_even_if_the_clock_was_set_back():
    assert memory.later_than(None, AT) == AT
    assert memory.later_than(AT - timedelta(hours=1), AT) == AT
    assert memory.later_than(AT, AT) > AT
    assert memory.later_than(AT + timedelta(hours=1), AT) > AT + timedelta(hours=1)


def test_the_state_keeps_missing_bookings_for_one_more_sync():
    over = [
        {
            **ROW,
            "id": str(number),
            "start_time": f"2026-05-0{number}T10:00:00Z",
            "end_time": f"2026-05-0{number}T11:00:00Z",
        }
        for number in range(1, 9)
    ]

    def read(rows, before):
        reading = Reading((), before)
        while not reading.is_done:
            reading.take([dict(row) for row in rows if reading.next in (None, "past")], AT, AT)
        return memory.compare(reading.bookings(), before, (), AT)

    before = read(over, None).seen
    once = read(over[:4], before)
    assert once.claim.coverage == "unknown"
    assert once.seen.is_doubted
    assert unpacked(once.seen.fingerprints) | unpacked(once.seen.settled) == unpacked(before.fingerprints)
    assert read(over, once.seen).claim.reason == "", "the bookings came back"
    changed = [{**over[0], "attendee_name": "Ann"}, *over[1:4]]
    assert read(over[:4], read(changed, before).seen).rows == over[:1], (
        "the version in the state counts, not the one sent last"
    )
    twice = read(over[:4], once.seen)
    assert (twice.claim.coverage, twice.seen.is_doubted) == ("complete", False)


def test_a_fingerprint_identifies_a_booking_and_its_content():
    rows = [{"id": uid, "status": status} for uid, status in (("1", "a"), ("1", "b"), ("2", "a"))]
    prints = [compared([row]).seen.fingerprints for row in rows]
    assert prints == [fingerprint_of(row) for row in rows]
    assert {len(each) for each in prints} == {6}
    assert prints[0][:2] == prints[1][:2] != prints[2][:2]
    assert len({each[2:] for each in prints}) == 3
