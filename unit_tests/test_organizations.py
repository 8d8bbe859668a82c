from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from airbyte_cdk.models import (
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateType,
    AirbyteStreamState,
    StreamDescriptor,
    SyncMode,
)
from airbyte_cdk.sources.message import InMemoryMessageRepository

from source_ravan_calcom import errors, organizations
from source_ravan_calcom.appointments import SCHEMAS
from source_ravan_calcom.bookings.coverage import Claim
from source_ravan_calcom.ravan.failures import Facts, OrganizationFailure
from source_ravan_calcom.organizations import LastRead, Results
from source_ravan_calcom.outcomes import READ, Outcome, Outcomes
from source_ravan_calcom.bookings.records import moment
from unit_tests.conftest import ORG, URL
from unit_tests.test_source import OVER, answer, catalog, read, rows, states, statuses

AT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def outcomes(*org_ids) -> Outcomes:
    return Outcomes(org_ids, lambda failure: None, lambda: None)


def row_of(made, org_id, last_read=()):
    return next(each.data for each in Results([org_id], made, dict(last_read)).read())


def test_the_columns_are_the_schema():
    import json

    schema = json.loads((SCHEMAS / "organizations.json").read_text())
    assert list(row_of(outcomes("a"), "a")) == list(schema["properties"])


def test_an_organization_that_was_read():
    made = outcomes("a")
    claim = Claim("partial", AT - HOUR, AT + HOUR, gap=(AT - 2 * HOUR, AT - HOUR))
    made.read("a", Outcome(READ, AT, None, 300, 20, 6, claim, ("unfiltered", "past")))
    assert row_of(made, "a") == {
        "organization_id": "a",
        "synced_at": "2026-06-01T12:00:00.000Z",
        "outcome": "read",
        "error_kind": None,
        "error": None,
        "last_read_at": "2026-06-01T12:00:00.000Z",
        "bookings_read": 300,
        "bookings_sent": 20,
        "requests": 6,
        "coverage": "partial",
        "covered_from": "2026-06-01T11:00:00.000Z",
        "covered_until": "2026-06-01T13:00:00.000Z",
        "gap_from": "2026-06-01T10:00:00.000Z",
        "gap_to": "2026-06-01T11:00:00.000Z",
        "full_windows": ["unfiltered", "past"],
    }


def test_an_organization_that_failed_says_why_and_when_it_was_read_last():
    made = outcomes("a")
    made.failed("a", OrganizationFailure(errors.NOT_CONNECTED, Facts("a", code="HTTP 400")), 1)
    row = row_of(made, "a", {"a": AT}.items())
    assert (row["outcome"], row["error_kind"], row["last_read_at"]) == (
        "failed",
        "not_connected",
        "2026-06-01T12:00:00.000Z",
    )
    assert row["error"].startswith("Organization a has no primary Cal.com account connected")
    assert (row["bookings_read"], row["bookings_sent"], row["coverage"], row["requests"]) == (None, None, None, 1)


def test_an_organization_that_was_not_asked_says_what_stopped_the_sync():
    made = outcomes("a", "b")
    made.failed("a", OrganizationFailure(errors.TOKEN_EXPIRED, Facts("a", code="HTTP 401")), 1)
    row = row_of(made, "b")
    assert (row["outcome"], row["error_kind"], row["last_read_at"]) == ("not_asked", "token_expired", None)


def test_its_time_never_goes_backwards():
    made = outcomes("a")
    made.failed("a", OrganizationFailure(errors.NOT_CONNECTED, Facts("a")), 1)
    future = datetime(2999, 1, 1, tzinfo=timezone.utc)
    assert moment(row_of(made, "a", {"a": future}.items())["synced_at"]) > future


def test_when_each_was_read_last_is_remembered():
    messages = InMemoryMessageRepository()
    cursor = LastRead({"a": AT, "b": AT}, messages)
    made = outcomes("a", "b")
    made.read("a", Outcome(READ, AT + HOUR))
    for record in Results(["a", "b"], made, cursor.known).read():
        cursor.observe(record)
    cursor.ensure_at_least_one_state_emitted()
    [message] = messages.consume_queue()
    state = vars(message.state.stream.stream_state)
    assert organizations.remembered(state) == {"a": AT + HOUR, "b": AT}


@pytest.mark.parametrize("state", [{}, {"version": 9, "organizations": {"a": "x"}}, {"version": 1, "organizations": 5}])
def test_a_state_that_is_not_understood_is_none(state):
    assert organizations.remembered(state) == {}


BOTH = ("appointments", "organizations")


def test_the_rows_come_after_the_bookings_and_also_when_the_sync_fails(http, settings):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    messages, failure = read({**settings, "org_ids": ["a", "b"]}, catalog(*BOTH))
    assert failure
    assert statuses(messages) == [
        ("appointments", "STARTED"),
        ("appointments", "RUNNING"),
        ("appointments", "INCOMPLETE"),
        ("organizations", "STARTED"),
        ("organizations", "RUNNING"),
        ("organizations", "COMPLETE"),
    ]
    assert [row["outcome"] for row in rows(messages, "organizations")] == ["read", "failed"]
    [booking] = rows(messages)
    assert rows(messages, "organizations")[0]["synced_at"] == booking["synced_at"]


def test_selected_alone_it_reads_the_accounts_and_delivers_no_booking(http, settings):
    http.get(URL, json=answer(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    messages, failure = read({**settings, "org_ids": ["a", "b"]}, catalog("organizations", mode=SyncMode.incremental))
    assert rows(messages) == []
    assert [row["outcome"] for row in rows(messages, "organizations")] == ["read", "failed"]
    assert {name for name, _ in statuses(messages)} == {"organizations"}
    assert statuses(messages)[-1][1] == "INCOMPLETE"
    assert "forbidden" in failure.message
    assert [state.stream.stream_descriptor.name for state in states(messages)] == ["organizations"]


def test_it_costs_no_request_of_its_own(http, settings):
    http.get(URL, json=answer(OVER))
    read(settings, catalog())
    alone = http.call_count
    read(settings, catalog(*BOTH))
    assert http.call_count == 2 * alone


def test_a_refused_token_leaves_rows_that_say_so(http, settings):
    http.get(URL, status_code=401)
    messages, _ = read({**settings, "org_ids": list("abcde"), "num_workers": 1}, catalog(*BOTH))
    found = [(row["outcome"], row["error_kind"]) for row in rows(messages, "organizations")]
    assert found == [("failed", "token_refused")] * 3 + [("not_asked", "token_refused")] * 2


FUTURE = "2999-01-01T00:00:00.000Z"


def saved(**organizations):
    """States in which each stream says when it was that `o` was read."""
    sent = {"appointments": {"version": 2}, "organizations": {"version": 1}}
    return [
        AirbyteStateMessage(
            type=AirbyteStateType.STREAM,
            stream=AirbyteStreamState(
                stream_descriptor=StreamDescriptor(name=name),
                stream_state=AirbyteStateBlob({**sent[name], "organizations": entries}),
            ),
        )
        for name, entries in organizations.items()
    ]


@pytest.mark.parametrize(
    ("streams", "mode"),
    [
        (("organizations",), SyncMode.incremental),
        (BOTH, SyncMode.full_refresh),
        (BOTH, SyncMode.incremental),
    ],
)
def test_no_time_goes_backwards_whichever_stream_remembers_it(http, settings, streams, mode):
    http.get(URL, json=answer(OVER))
    [org_id] = settings["org_ids"]
    messages, _ = read(settings, catalog(*streams, mode=mode), saved(organizations={org_id: FUTURE}))
    assert all(row["synced_at"] > FUTURE for name in streams for row in rows(messages, name))


def test_the_later_of_two_memories_is_when_it_was_read_last(http, settings):
    http.get(URL, status_code=403)
    [org_id] = settings["org_ids"]
    old = {org_id: {"sent": "", "synced_at": "2026-01-01T00:00:00.000Z"}}
    messages, _ = read(settings, catalog(*BOTH), saved(appointments=old, organizations={org_id: FUTURE}))
    assert rows(messages, "organizations")[0]["last_read_at"] == FUTURE


def test_last_read_survives_syncs_that_fail(http, settings):
    http.get(URL, json=answer(OVER))
    incremental = catalog(*BOTH, mode=SyncMode.incremental)
    first, _ = read(settings, incremental)
    http.get(URL, status_code=403)
    second, _ = read(settings, incremental, states(first)[-2:])
    third, _ = read(settings, incremental, states(second)[-2:])
    [then], [now] = rows(first, "organizations"), rows(third, "organizations")
    assert now["last_read_at"] == then["synced_at"] < now["synced_at"]


def test_bookings_join_with_organizations_whatever_the_case_of_an_id(http, settings):
    http.get(URL, json=answer({**OVER, "organization_id": ORG.upper()}))
    messages, _ = read({**settings, "org_ids": [ORG]}, catalog("appointments", "organizations"))
    [booking], [organization] = rows(messages), rows(messages, "organizations")
    assert booking["organization_id"] == organization["organization_id"] == ORG
