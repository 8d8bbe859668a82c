"""The sandbox is what the contract says the endpoint is, and can be changed while it runs."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests

from sandbox import FAULTS, ORGANIZATIONS, TOKEN, Sandbox, serving
from source_ravan_calcom.appointments import WINDOWS

BUSY, SMALL = ORGANIZATIONS["busy"], ORGANIZATIONS["small"]


@pytest.fixture
def served(sandbox):
    sandbox.clock.set(sandbox.clock.now())
    with serving(sandbox) as url, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"

        def ask(**params):
            return session.get(f"{url}/api/v1/calcom/appointments", params=params)

        def post(verb, **body):
            answer = session.post(f"{url}/sandbox/{verb}", json=body)
            answer.raise_for_status()
            return answer.json()

        ask.post = post
        yield ask


def data(answer) -> dict:
    assert answer.status_code == 200
    return answer.json()["data"]


@pytest.mark.parametrize(
    ("limit", "rows"), [(None, 50), ("0", 50), ("-1", 50), ("201", 50), ("many", 50), ("1", 1), ("200", 200)]
)
def test_the_limit_is_clamped_as_documented(served, limit, rows):
    assert data(served(org_id=BUSY, limit=limit))["count"] == rows


def test_unfiltered_rows_are_the_oldest(served, sandbox):
    rows = data(served(org_id=BUSY, limit=200))["appointments"]
    starts = [row["start_time"] for row in rows]
    oldest = sorted(booking.start for booking in sandbox.accounts[BUSY].bookings.values())[199]
    assert starts == sorted(starts)
    assert starts[-1] == f"{oldest:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.status)
def test_each_filter_has_its_meaning_and_its_order(served, sandbox, window):
    now = f"{sandbox.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    rows = data(served(org_id=BUSY, limit=200, status=window.status))["appointments"]
    starts = [row["start_time"] for row in rows]
    statuses = {row["status"] for row in rows}
    assert starts == sorted(starts, reverse=window.status in ("past", "cancelled"))
    assert statuses <= ({"cancelled", "rejected"} if window.status == "cancelled" else {"accepted", "pending"})
    if window.status == "past":
        assert all(row["end_time"] <= now for row in rows)
    elif window.status != "cancelled":
        assert all(row["end_time"] >= now for row in rows)
    if window.status == "unconfirmed":
        assert statuses == {"pending"}


def test_an_empty_account_is_null_as_go_writes_it(served):
    assert data(served(org_id=ORGANIZATIONS["empty"]))["appointments"] is None


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"org_id": ORGANIZATIONS["not-connected"]}, 400, "NOT_CONNECTED"),
        ({}, 400, "INVALID_REQUEST"),
        ({"org_id": SMALL, "status": "accepted"}, 400, "INVALID_REQUEST"),
        ({"org_id": "nobody"}, 403, None),
    ],
)
def test_errors_have_the_documented_form(served, params, status, code):
    answer = served(**params)
    body = answer.json()
    assert (answer.status_code, body["success"], body.get("code")) == (status, False, code)
    assert isinstance(body["message"], str)


def test_the_same_seed_gives_the_same_bookings():
    now = Sandbox().clock.now()
    one, other = (Sandbox.with_sample_accounts(3, now).accounts[SMALL].bookings for _ in range(2))
    assert one == other


def test_bookings_change_while_it_runs(served, sandbox):
    ahead = (sandbox.clock.now() + timedelta(days=2)).isoformat()
    booked = served.post("book", org_id=SMALL, start=ahead)["id"]
    moved = served.post("reschedule", org_id=SMALL, id=booked, start=ahead)["id"]
    served.post("status", org_id=SMALL, id=moved, status="rejected")
    rows = {row["id"]: row["status"] for row in data(served(org_id=SMALL, limit=200))["appointments"]}
    assert (rows[booked], rows[moved]) == ("cancelled", "rejected")


def test_an_organization_fails_and_recovers(served):
    for name in ("not-connected", "internal-error", "html"):
        served.post("fault", org_id=SMALL, fault=name)
        assert served(org_id=SMALL).status_code == FAULTS[name].status
    served.post("fault", org_id=SMALL, fault=None)
    assert served(org_id=SMALL).json()["success"] is True


def test_the_clock_moves_bookings_into_the_past(served, sandbox):
    later = (sandbox.clock.now() + timedelta(days=400)).isoformat()
    assert data(served(org_id=BUSY, status="upcoming"))["appointments"]
    served.post("clock", now=later)
    assert data(served(org_id=BUSY, status="upcoming"))["appointments"] is None
