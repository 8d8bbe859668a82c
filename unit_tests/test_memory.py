from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from types import SimpleNamespace

import orjson
import pytest
from airbyte_cdk.models import (
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateType,
    AirbyteStreamState,
    StreamDescriptor,
)
from airbyte_cdk.sources.message import InMemoryMessageRepository

from source_ravan_calcom import changes
from source_ravan_calcom.bookings.records import Row
from source_ravan_calcom.bookings.memory import STATES_PER_SYNC, ChangeCursor, Known, SendAll, SendNone, remembered
from source_ravan_calcom.bookings.coverage import Covered
from source_ravan_calcom.bookings.records import FINGERPRINT_BYTES, fingerprint, utc_text

AT = datetime(2026, 6, 1, 12, 0, 0, 5000, tzinfo=timezone.utc)
ROW = {"id": "1", "status": "accepted", "extra": {"a": 1, "b": [1, 2]}}


def cursor(org_ids, state=None):
    messages = InMemoryMessageRepository()
    return ChangeCursor("appointments", org_ids, remembered(state or {}), messages), messages


def partition(org_id, *, has_delivered=True):
    return SimpleNamespace(to_slice=lambda: {"org_id": org_id, "has_delivered": has_delivered})


def deliver(made, org_id, *rows, covered=None):
    sent = made.unsent(org_id, list(rows))
    made.remember(org_id, AT, covered)
    made.close_partition(partition(org_id))
    return sent


def states(messages):
    return [vars(message.state.stream.stream_state) for message in messages.consume_queue()]


def test_what_was_sent_is_known_in_the_next_sync():
    first, messages = cursor(["a"])
    assert deliver(first, "a", ROW, {"id": "2"}) == [ROW, {"id": "2"}]
    second, _ = cursor(["a"], states(messages)[-1])
    assert second.unsent("a", [{"id": "2"}, {**ROW, "status": "cancelled"}, ROW]) == [{**ROW, "status": "cancelled"}]


def test_a_row_that_left_the_windows_is_forgotten():
    first, messages = cursor(["a"])
    deliver(first, "a", ROW, {"id": "2"})
    second, messages = cursor(["a"], states(messages)[-1])
    deliver(second, "a", ROW)
    second.ensure_at_least_one_state_emitted()
    third, _ = cursor(["a"], states(messages)[-1])
    assert third.unsent("a", [ROW, {"id": "2"}]) == [{"id": "2"}]


def test_the_state_holds_no_attendee():
    first, messages = cursor(["a"])
    deliver(first, "a", {"id": "1", "attendee_email": "x@example.com"})
    [state] = states(messages)
    assert set(state) == {"version", "organizations"}
    assert set(state["organizations"]["a"]) == {"sent", "synced_at"}
    assert len(base64.b64decode(state["organizations"]["a"]["sent"])) == FINGERPRINT_BYTES


def test_a_booking_weighs_eight_characters():
    first, messages = cursor(["a"])
    deliver(first, "a", *({"id": str(number)} for number in range(300)))
    [state] = states(messages)
    assert len(state["organizations"]["a"]["sent"]) == 8 * 300


def test_the_same_rows_give_the_same_state():
    one, first = cursor(["a"])
    deliver(one, "a", ROW, {"id": "2"})
    other, second = cursor(["a"])
    deliver(other, "a", {"id": "2"}, ROW)
    assert states(first) == states(second)


@pytest.mark.parametrize(
    "covered", [None, Covered(AT, None), Covered(AT, AT - timedelta(days=1)), Covered(AT, None, ("past", "cancelled"))]
)
def test_what_is_covered_is_kept(covered):
    first, messages = cursor(["a"])
    deliver(first, "a", ROW, covered=covered)
    second, _ = cursor(["a"], orjson.loads(orjson.dumps(states(messages)[-1])))
    assert second.known("a") == Known(base64.b64encode(fingerprint(ROW)).decode(), AT, covered)


def test_nothing_is_remembered_before_the_rows_are_on_their_way():
    made, _ = cursor(["a"])
    made.unsent("a", [ROW])
    made.remember("a", AT, None)
    made.close_partition(partition("a", has_delivered=False))  # an attempt before, which failed
    assert made.known("a") is None
    assert made.state["organizations"] == {}


def test_an_organization_that_was_not_read_keeps_its_old_state():
    first, messages = cursor(["a"])
    deliver(first, "a", ROW)
    state = states(messages)[-1]
    second, messages = cursor(["a"], state)
    second.close_partition(partition("a", has_delivered=False))
    second.ensure_at_least_one_state_emitted()
    assert states(messages) == [state]


def test_a_removed_organization_is_dropped():
    first, messages = cursor(["a", "b"])
    deliver(first, "a", ROW)
    deliver(first, "b", ROW)
    second, messages = cursor(["b"], states(messages)[-1])
    second.ensure_at_least_one_state_emitted()
    assert set(states(messages)[-1]["organizations"]) == {"b"}


def test_a_printed_state_does_not_change_any_more():
    first, messages = cursor([str(number) for number in range(STATES_PER_SYNC)])
    deliver(first, "0", ROW)
    queued = list(messages.consume_queue())
    deliver(first, "1", ROW)
    assert list(vars(queued[0].state.stream.stream_state)["organizations"]) == ["0"]


@pytest.mark.parametrize("count", [1, 3, 10, 25, 1000])
def test_states_are_few_and_the_last_one_is_whole(count):
    org_ids = [str(number) for number in range(count)]
    first, messages = cursor(org_ids)
    for org_id in org_ids:
        deliver(first, org_id, ROW)
    first.ensure_at_least_one_state_emitted()
    printed = states(messages)
    assert 1 <= len(printed) <= STATES_PER_SYNC + 1
    assert sorted(printed[-1]["organizations"]) == sorted(org_ids)
    assert len(printed) == len({len(state["organizations"]) for state in printed}), "none is printed twice"


def test_an_unchanged_sync_prints_one_state():
    org_ids = [str(number) for number in range(100)]
    first, messages = cursor(org_ids)
    for org_id in org_ids:
        deliver(first, org_id, ROW)
    first.ensure_at_least_one_state_emitted()
    second, messages = cursor(org_ids, states(messages)[-1])
    for org_id in org_ids:
        deliver(second, org_id, ROW)
    assert states(messages) == []
    second.ensure_at_least_one_state_emitted()
    assert len(states(messages)) == 1


def test_full_refresh_sends_everything_and_an_unselected_stream_nothing():
    rows: list[Row] = [ROW, {"id": "2"}]
    assert SendAll().unsent("a", rows) == rows
    assert SendNone().unsent("a", rows) == []
    assert SendAll().known("a") is None


def version_1(*rows):
    marks = sorted(blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=9).digest() for row in rows)
    return {"version": 1, "organizations": {"a": base64.b64encode(b"".join(marks)).decode()}}


def test_a_state_of_version_1_goes_on_working():
    made, _ = cursor(["a"], version_1(ROW, {"id": "2"}))
    assert made.unsent("a", [{"id": "2"}, {"id": "3"}, ROW]) == [{"id": "3"}]
    assert made.known("a").covered is None


GOOD = {"sent": ""}


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"version": 99, "organizations": {}}, "it has version 99, this connector writes version 2"),
        ({"version": True, "organizations": {}}, "it has version True"),
        ({"organizations": {}}, "it has no version"),
        ({"version": [2], "organizations": {}}, "it has no version"),
        ({"synced_at": "2026-01-01"}, "it has no version"),
        ({"version": 2, "organizations": []}, "it holds no organizations"),
        ({"version": 1, "organizations": {"a": "!!!!"}}, "its entry for organization a is damaged"),
        ({"version": 1, "organizations": {"a": "A" * 20}}, "organization a is damaged"),
        ({"version": 1, "organizations": {"a": 7}}, "organization a is damaged"),
        ({"version": 2, "organizations": {"a": None}}, "organization a is damaged"),
        ({"version": 2, "organizations": {"a": {}}}, "organization a is damaged"),
        ({"version": 2, "organizations": {"a": {"sent": "!!!!"}}}, "organization a is damaged"),
        ({"version": 2, "organizations": {"a": {"sent": "QUJD"}}}, "organization a is damaged"),
        ({"version": 2, "organizations": {"a": {**GOOD, "synced_at": "soon"}}}, "organization a is damaged"),
        ({"version": 2, "organizations": {"a": {**GOOD, "read_at": 5, "covered_from": None}}}, "a is damaged"),
        ({"version": 2, "organizations": {"a": {**GOOD, "read_at": utc_text(AT)}}}, "a is damaged"),
        (
            {
                "version": 2,
                "organizations": {"a": {**GOOD, "read_at": utc_text(AT), "covered_from": None, "statuses": [1]}},
            },
            "organization a is damaged",
        ),
    ],
)
def test_a_state_that_is_not_ours_is_refused_with_what_is_wrong(state, problem):
    with pytest.raises(ValueError, match=problem):
        remembered(state)


@pytest.mark.parametrize("state", [{}, {"__ab_no_cursor_state_message": True}])
def test_no_state_is_a_first_sync(state):
    assert remembered(state) == {}


def message(kind=AirbyteStateType.STREAM, name="appointments", blob=None, data=None):
    stream = AirbyteStreamState(StreamDescriptor(name), AirbyteStateBlob(blob) if blob is not None else None)
    return AirbyteStateMessage(type=kind, stream=stream, data=data)


def test_each_stream_gets_its_own_state():
    found = changes.stream_states([message(blob={"version": 2}), message(name="organizations", blob={"version": 1})])
    assert found == {"appointments": {"version": 2}, "organizations": {"version": 1}}
    assert changes.stream_states(None) == changes.stream_states([]) == changes.stream_states([message()]) == {}


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (message(kind=None, blob={}), "it is without a type, not STREAM"),
        (AirbyteStateMessage(type=AirbyteStateType.STREAM), "it names no stream"),
        (message(kind=AirbyteStateType.GLOBAL), "it is GLOBAL, not STREAM"),
        (message(kind=AirbyteStateType.LEGACY), "it is LEGACY, not STREAM"),
        (message(kind=changes.UNREADABLE, data={"problem": "JSONDecodeError"}), "JSONDecodeError"),
    ],
)
def test_a_message_that_is_no_stream_state_is_refused(odd, problem):
    with pytest.raises(ValueError, match=problem):
        changes.stream_states([odd])


def test_after_the_end_of_the_calendar_comes_its_end():
    end = datetime.max.replace(tzinfo=timezone.utc)
    assert AT < changes.later_than(end.replace(microsecond=999000), AT) <= end
    assert AT < changes.later_than(end, AT) <= end


def test_a_clock_that_was_set_back_does_not_make_a_newer_version_the_older():
    assert changes.later_than(None, AT) == AT
    assert changes.later_than(AT - timedelta(hours=1), AT) == AT
    assert changes.later_than(AT, AT) > AT
    assert changes.later_than(AT + timedelta(hours=1), AT) > AT + timedelta(hours=1)
