"""Past the cap: what the endpoint holds is delivered once, and what it keeps back is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox import FAULTS, Account, Booking, generated
from source_ravan_calcom.bookings.windows import WINDOWS


def union(account, now, cap=200) -> set[str]:
    """The ids that all six requests together hold."""
    shown = [account.shown(status, now, cap) for status in (None, *(window.status for window in WINDOWS))]
    return {booking.uid for bookings in shown for booking in bookings}


def without_ties(account: Account) -> Account:
    """The same account, each start a little different: where an answer is cut, nothing is left to chance."""
    apart = Account(account.org_id)
    for number, booking in enumerate(account.bookings.values()):
        apart.add(replace(booking, start=booking.start + timedelta(seconds=number)))
    return apart


@pytest.mark.parametrize("count", [194, 199, 200, 201, 260, 900])
def test_an_account_of_any_size_is_read_as_far_as_the_endpoint_goes(connector, sandbox, count):
    now = sandbox.clock.now()
    sandbox.clock.set(now)
    account = sandbox.put(without_ties(generated("org", count, count, now)))
    output = connector.run("read", connector.config("org"))
    held = union(account, now) if count >= 200 else set(account.bookings)
    delivered = Counter(row["id"] for row in output.rows)
    assert set(delivered) == held
    assert max(delivered.values()) == 1
    assert sandbox.requests_for("org") == (1 if count < 195 else 6), "near the cap is at the cap"
    if held == set(account.bookings):
        assert output.logs("WARN") == [], "no warning for an account that was read in full"
    else:
        [warning] = output.logs("WARN")
        assert warning.startswith("More bookings than one sync can read: 1 organization (org).")
    [closing] = [line for line in output.logs("INFO") if line.startswith("Done: ")]
    assert f"1 of 1 organization read, 0 failed; {len(held)} bookings read, {len(held)} delivered" in closing


def test_overlapping_windows_deliver_a_booking_once(connector, sandbox):
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


def test_a_booking_cancelled_between_two_windows_ends_cancelled(connector, sandbox):
    account = sandbox.put(generated("org", 400, 3, sandbox.clock.now()))
    victim = account.shown("upcoming", sandbox.clock.now(), 1)[0].uid

    def cancel_after_upcoming(org_id, status, number):
        if status == "past":
            account.set_status(victim, "cancelled")

    sandbox.on_request = cancel_after_upcoming
    output = connector.run("read", connector.config("org"))
    assert [row["status"] for row in output.rows if row["id"] == victim] == ["cancelled"]


def test_a_refused_window_is_named_and_fails_nothing(connector, sandbox):
    sandbox.put(generated("org", 300, 4, sandbox.clock.now())).refuses = ("recurring",)
    output = connector.run("read", connector.config("org"))
    assert output.code == 0
    assert len(output.rows) > 200
    [warning] = output.logs("WARN")
    assert "recurring: Ravan refused it" in warning
    assert "Sync more often" not in warning, "it would not help"


def test_a_refused_status_that_the_user_chose_is_an_error(connector, sandbox):
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
def test_a_smaller_cap_is_found_out(connector, sandbox, cap):
    now = sandbox.clock.now()
    sandbox.clock.set(now)
    sandbox.cap = cap
    account = sandbox.put(without_ties(generated("org", 400, 5, now)))
    output = connector.run("read", connector.config("org"))
    assert {row["id"] for row in output.rows} == union(account, now, cap)
    assert sandbox.requests_for("org") == 6


def test_the_same_booking_id_in_two_organizations_is_two_rows(connector, sandbox):
    for org_id in ("one", "other"):
        sandbox.put(generated(org_id, 5, 6, sandbox.clock.now()))
    output = connector.run("read", connector.config("one", "other"))
    assert len({(row["organization_id"], row["id"]) for row in output.rows}) == 10
