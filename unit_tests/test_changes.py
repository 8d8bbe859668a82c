from __future__ import annotations

import base64
import json
import logging
from types import SimpleNamespace

import pytest
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import InMemoryMessageRepository
from hypothesis import given
from hypothesis import strategies as st

from source_ravan_calcom.changes import FINGERPRINT_BYTES, STATES_PER_SYNC, ChangeCursor, fingerprint
from unit_tests.conftest import LOGGER

ROW = {"id": "1", "status": "accepted", "extra": {"a": 1, "b": [1, 2]}}


def cursor(org_ids, state=None):
    messages = InMemoryMessageRepository()
    return ChangeCursor(org_ids, state or {}, ConnectorStateManager(), messages, LOGGER), messages


def delivered(org_id, *rows):
    return SimpleNamespace(org_id=org_id, fingerprints={fingerprint(row) for row in rows})


def states(messages):
    return [vars(message.state.stream.stream_state) for message in messages.consume_queue()]


def test_a_fingerprint_does_not_depend_on_the_order_of_fields():
    assert fingerprint(ROW) == fingerprint({"extra": {"b": [1, 2], "a": 1}, "status": "accepted", "id": "1"})


@pytest.mark.parametrize(
    "change", [{"status": "cancelled"}, {"extra": {"a": 1, "b": [2, 1]}}, {"new": None}, {"id": 1}, {"status": None}]
)
def test_a_fingerprint_changes_with_any_field(change):
    assert fingerprint(ROW) != fingerprint({**ROW, **change})


TEXTS = st.text("ab\xe9\u4e2d", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
ROWS = st.dictionaries(TEXTS, VALUES, max_size=3)


@given(one=ROWS, other=ROWS)
def test_equal_fingerprints_mean_equal_rows(one, other):
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(one) == fingerprint(other)) is equal


def test_what_was_sent_is_known_in_the_next_sync():
    first, messages = cursor(["a"])
    assert first.sent("a") == frozenset()
    first.close_partition(delivered("a", ROW, {"id": "2"}))
    second, _ = cursor(["a"], states(messages)[-1])
    assert second.sent("a") == {fingerprint(ROW), fingerprint({"id": "2"})}


def test_the_state_holds_no_attendee():
    first, messages = cursor(["a"])
    first.close_partition(delivered("a", {"id": "1", "attendee_email": "x@example.com"}))
    [state] = states(messages)
    assert set(state) == {"version", "organizations"}
    assert len(base64.b64decode(state["organizations"]["a"])) == FINGERPRINT_BYTES


def test_the_same_rows_give_the_same_state():
    one, first = cursor(["a"])
    one.close_partition(delivered("a", ROW, {"id": "2"}))
    other, second = cursor(["a"])
    other.close_partition(delivered("a", {"id": "2"}, ROW))
    assert states(first) == states(second)


def test_an_organization_that_was_given_up_keeps_its_old_state():
    first, messages = cursor(["a"])
    first.close_partition(delivered("a", ROW))
    state = states(messages)[-1]
    second, messages = cursor(["a"], state)
    second.close_partition(SimpleNamespace(org_id="a", fingerprints=None))
    second.ensure_at_least_one_state_emitted()
    assert states(messages) == [state]


def test_a_removed_organization_is_dropped():
    first, messages = cursor(["a", "b"])
    first.close_partition(delivered("a", ROW))
    first.close_partition(delivered("b", ROW))
    second, messages = cursor(["b"], states(messages)[-1])
    second.ensure_at_least_one_state_emitted()
    assert set(states(messages)[-1]["organizations"]) == {"b"}


def test_a_printed_state_does_not_change_any_more():
    first, messages = cursor([str(number) for number in range(STATES_PER_SYNC)])
    first.close_partition(delivered("0", ROW))
    queued = list(messages.consume_queue())
    first.close_partition(delivered("1", ROW))
    assert list(vars(queued[0].state.stream.stream_state)["organizations"]) == ["0"]


@pytest.mark.parametrize("count", [1, 3, 10, 25, 1000])
def test_states_are_few_and_the_last_one_is_whole(count):
    org_ids = [str(number) for number in range(count)]
    first, messages = cursor(org_ids)
    for org_id in org_ids:
        first.close_partition(delivered(org_id, ROW))
    first.ensure_at_least_one_state_emitted()
    printed = states(messages)
    assert 1 <= len(printed) <= STATES_PER_SYNC + 1
    assert sorted(printed[-1]["organizations"]) == sorted(org_ids)
    assert len(printed) == len({len(state["organizations"]) for state in printed}), "none is printed twice"


@pytest.mark.parametrize(
    "state",
    [
        {"version": 2, "organizations": {}},
        {"organizations": {}},
        {"synced_at": "2026-01-01"},
        {"version": 1, "organizations": []},
        {"version": 1, "organizations": {"a": "not base64!"}},
        {"version": 1, "organizations": {"a": "QUJD"}},
        {"version": 1, "organizations": {"a": 7}},
        {"version": 1, "organizations": {"a": None}},
    ],
)
def test_a_state_that_is_not_understood_means_a_full_read_with_one_warning(state, caplog):
    fresh, _ = cursor(["a"], state)
    assert fresh.sent("a") == frozenset()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("state", [{}, {"__ab_no_cursor_state_message": True}])
def test_no_state_is_nothing_to_warn_about(state, caplog):
    assert cursor(["a"], state)[0].sent("a") == frozenset()
    assert not caplog.records
