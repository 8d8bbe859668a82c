"""Tests of accounts above the cap: each visible booking is delivered once, and missing ones are reported."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox import FAULTS, Account, Booking, generated
from source_ravan_calcom.bookings.windows import WINDOWS


def union(account, now, cap=200) -> set[str]:
    """The IDs in the responses to all six requests."""
    shown = [account.shown(status, now, cap) for status in (None, *(window.status for window in WINDOWS))]
    return {booking.uid for bookings in shown for booking in bookings}


def without_ties(account: Account) -> Account:
    """The same account with distinct starts, so that the cut of a response does not depend on chance."""
    apart = Account(account.org_id)
    for number, booking in enumerate(account.bookings.values()):
        apart.add(replace(booking, start=booking.start + timedelta(seconds=number)))
    return apart


@pytest.mark.parametrize("count", [194, 199, 200, 201, 260, 900])
def test_every_visible_booking_is_read_for_an_account_of_any_size(connector, sandbox, count):
    now = sandbox.clock.now()
    sandbox.clock.set(now)
    account = sandbox.put(without_ties(generated("org", count, count, now)))
    output = connector.run("read", connector.config("org"))
    held = union(account, now) if count >= 200 else set(account.bookings)
    delivered = Counter(row["id"] for row in output.rows)
    assert set(delivered) == held
    assert max(delivered.values()) == 1
    assert sandbox.requests_for("org") == (1 if count < 195 else 6), (
        "a response near the cap counts as one that may be cut"
    )
    if held == set(account.bookings):
        assert output.logs("WARN") == [], "a completely read account causes no warning"
    else:
        [warning] = output.logs("WARN")
        assert warning.startswith("One sync can't read all bookings of 1 organization (org).")
    [closing] = [line for line in output.logs("INFO") if line.startswith("Done: ")]
    assert f"1 of 1 organization read, 0 failed; {len(held)} bookings read, {len(held)} delivered" in closing


def test_a_booking_in_several_windows_is_delivered_once(connector, sandbox):
    now = sandbox.clock.now()
    sandbox.clock.set(now)
    account = sandbox.put(Account("org"))
    for number in range(250):
        start = now + timedelta(hours=number + 1)
        account.add(Booking(f"b{number}", start, start + timedelta(minutes=30), "pending", recurring=number % 2 == 0))
    output = connector.run("read", connector.config("org"))
    delivered = [row["id"] for row in output.rows]
    assert len(delivered) == len(set(delivered))
    assert set(delivered) == union(account, now)


def test_a_booking_cancelled_between_two_windows_is_delivered_as_cancelled(connector, sandbox):
    account = sandbox.put(generated("org", 400, 3, sandbox.clock.now()))
    victim = account.shown("upcoming", sandbox.clock.now(), 1)[0].uid

    def cancel_after_upcoming(org_id, status, number):
        if status == "past":
            account.set_status(victim, "cancelled")

    sandbox.on_request = cancel_after_upcoming
    output = connector.run("read", connector.config("org"))
    assert [row["status"] for row in output.rows if row["id"] == victim] == ["cancelled"]


def test_a_refused_window_is_named_and_causes_no_failure(connector, sandbox):
    sandbox.put(generated("org", 300, 4, sandbox.clock.now())).refuses = ("recurring",)
    output = connector.run("read", connector.config("org"))
    assert output.code == 0
    assert len(output.rows) > 200
    [warning] = output.logs("WARN")
    assert "recurring: Ravan refused it" in warning
    assert "Sync more often" not in warning, "a retry would not help"


def test_a_refused_status_from_the_settings_fails_the_organization(connector, sandbox):
    sandbox.put(generated("org", 30, 4, sandbox.clock.now())).refuses = ("recurring",)
    output = connector.run("read", connector.config("org", statuses=["recurring"]))
    assert output.code == 1
    assert (
        "as invalid (INVALID_REQUEST, HTTP 400). Check Organization IDs (org_ids), Booking Statuses"
        in output.errors[0]["message"]
    )


def test_an_organization_is_delivered_whole_or_not_at_all(connector, sandbox):
    sandbox.put(generated("org", 300, 4, sandbox.clock.now()))
    sandbox.faults["org"] = replace(FAULTS["forbidden"], only="cancelled")
    output = connector.run("read", connector.config("org"), mode="incremental")
    assert sandbox.requests_for("org") == 6
    assert (output.code, output.rows) == (1, [])
    assert output.states[-1]["stream"]["stream_state"]["organizations"] == {}


@pytest.mark.parametrize("cap", [50, 100])
def test_a_smaller_cap_is_detected(connector, sandbox, cap):
    now = sandbox.clock.now()
    sandbox.clock.set(now)
    sandbox.cap = cap
    account = sandbox.put(without_ties(generated("org", 400, 5, now)))
    output = connector.run("read", connector.config("org"))
    assert {row["id"] for row in output.rows} == union(account, now, cap)
    assert sandbox.requests_for("org") == 6


def test_the_same_booking_id_in_two_organizations_is_delivered_twice(connector, sandbox):
    for org_id in ("one", "other"):
        sandbox.put(generated(org_id, 5, 6, sandbox.clock.now()))
    output = connector.run("read", connector.config("one", "other"))
    assert len({(row["organization_id"], row["id"]) for row in output.rows}) == 10
