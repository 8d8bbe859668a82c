"""Tests that the sandbox follows the endpoint's contract and can be changed while it runs."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections import Counter
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest
import requests

from sandbox import (
    FAULTS,
    ORGANIZATIONS,
    TOKEN,
    Account,
    Booking,
    FixedWindow,
    Sandbox,
    TokenBucket,
    generated,
    serving,
    team,
)
from sandbox.accounts import FILTERS
from sandbox.limits import RETRY_AFTER
from sandbox.manners import MANNERS

BUSY, SMALL = ORGANIZATIONS["busy"], ORGANIZATIONS["small"]


class Served:
    """A client of the sandbox; calling it requests appointments."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self.url = url
        self._session = session

    def __call__(self, **params) -> requests.Response:
        return self._session.get(f"{self.url}/api/v1/calcom/appointments", params=params)

    def post(self, verb: str, **body) -> dict:
        response = self._session.post(f"{self.url}/sandbox/{verb}", json=body)
        response.raise_for_status()
        return response.json()


@pytest.fixture
def served(sandbox):
    sandbox.clock.set(sandbox.clock.now())
    with serving(sandbox) as url, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        yield Served(url, session)


def data(response) -> dict:
    assert response.status_code == 200
    return response.json()["data"]


@pytest.mark.parametrize(
    ("limit", "rows"), [(None, 50), ("0", 50), ("-1", 50), ("201", 50), ("many", 50), ("1", 1), ("200", 200)]
)
def test_limits_outside_the_range_are_replaced_as_documented(served, limit, rows):
    assert data(served(org_id=BUSY, limit=limit))["count"] == rows


def test_unfiltered_rows_are_the_oldest(served, sandbox):
    rows = data(served(org_id=BUSY, limit=200))["appointments"]
    starts = [row["start_time"] for row in rows]
    oldest = sorted(booking.start for booking in sandbox.accounts[BUSY].bookings.values())[199]
    assert starts == sorted(starts)
    assert starts[-1] == f"{oldest:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("status", [status for status in FILTERS if status])
def test_each_filter_shows_its_bookings_in_its_order(served, sandbox, status):
    now = f"{sandbox.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    rows = data(served(org_id=BUSY, limit=200, status=status))["appointments"]
    starts = [row["start_time"] for row in rows]
    statuses = {row["status"] for row in rows}
    assert starts == sorted(starts, reverse=status in ("past", "cancelled"))
    assert statuses <= ({"cancelled", "rejected"} if status == "cancelled" else {"accepted", "pending"})
    if status == "past":
        assert all(row["end_time"] <= now for row in rows)
    elif status != "cancelled":
        assert all(row["end_time"] >= now for row in rows)
    if status == "unconfirmed":
        assert statuses == {"pending"}


def test_an_empty_account_has_null_in_place_of_rows(served):
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
    response = served(**params)
    body = response.json()
    assert (response.status_code, body["success"], body.get("code")) == (status, False, code)
    assert isinstance(body["message"], str)


def test_the_same_seed_gives_the_same_bookings():
    now = Sandbox().clock.now()
    one, other = (Sandbox.with_sample_accounts(3, now).accounts[SMALL].bookings for _ in range(2))
    assert one == other


def test_bookings_can_be_changed_while_the_sandbox_runs(served, sandbox):
    ahead = (sandbox.clock.now() + timedelta(days=2)).isoformat()
    booked = served.post("book", org_id=SMALL, start=ahead)["id"]
    moved = served.post("reschedule", org_id=SMALL, id=booked, start=ahead)["id"]
    served.post("status", org_id=SMALL, id=moved, status="rejected")
    rows = {row["id"]: row["status"] for row in data(served(org_id=SMALL, limit=200))["appointments"]}
    assert (rows[booked], rows[moved]) == ("cancelled", "rejected")


def test_a_fault_can_be_set_and_removed(served):
    for name in ("not-connected", "internal-error", "html"):
        served.post("fault", org_id=SMALL, fault=name)
        assert served(org_id=SMALL).status_code == FAULTS[name].status
    served.post("fault", org_id=SMALL, fault=None)
    assert served(org_id=SMALL).json()["success"] is True


def test_setting_the_clock_moves_bookings_into_the_past(served, sandbox):
    later = (sandbox.clock.now() + timedelta(days=400)).isoformat()
    assert data(served(org_id=BUSY, status="upcoming"))["appointments"]
    served.post("clock", now=later)
    assert data(served(org_id=BUSY, status="upcoming"))["appointments"] is None


NOW = datetime(2026, 6, 1, 12, 30, tzinfo=timezone.utc)


def account_with(status: str, hours: float, *, recurring: bool = False) -> Account:
    """An account with one booking of half an hour, which starts this many hours after NOW."""
    account, start = Account("org"), NOW + timedelta(hours=hours)
    account.add(Booking("b", start, start + timedelta(minutes=30), status, recurring))
    return account


def windows_that_show(account: Account) -> set[str | None]:
    return {status for status in FILTERS if account.shown(status, NOW, 200)}


@pytest.mark.parametrize(
    ("hours", "recurring", "windows"),
    [(5, False, {None, "upcoming"}), (5, True, {None, "recurring"}), (-5, False, {None, "past"})],
)
def test_a_booking_that_awaits_its_host_is_not_unconfirmed(hours, recurring, windows):
    assert windows_that_show(account_with("awaiting_host", hours, recurring=recurring)) == windows


def test_version_2024_04_15_shows_upcoming_for_every_status(served, sandbox):
    sandbox.accounts[BUSY].version = "2024-04-15"
    now = f"{sandbox.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    for status in ("past", "cancelled", None):
        rows = data(served(org_id=BUSY, limit=200, status=status))["appointments"]
        assert len(rows) == 100
        assert all(row["end_time"] >= now for row in rows)


def test_version_2026_05_01_orders_by_uid_and_returns_at_most_100_rows(served, sandbox):
    sandbox.accounts[BUSY].version = "2026-05-01"
    for status in (None, "past"):
        uids = [row["id"] for row in data(served(org_id=BUSY, limit=200, status=status))["appointments"]]
        assert uids == sorted(uids)
        assert len(uids) == 100
    assert data(served(org_id=BUSY, limit=None))["count"] == 50


@pytest.mark.parametrize(("version", "shown"), [("2024-08-13", False), ("2024-04-15", False), ("2026-05-01", True)])
def test_only_version_2026_05_01_shows_a_booking_as_upcoming_for_an_hour_after_its_end(version, shown):
    account = account_with("accepted", -1)
    account.version = version
    assert bool(account.shown("upcoming", NOW, 200)) is shown


def test_a_version_may_refuse_a_large_limit(served, sandbox):
    sandbox.accounts[BUSY].largest_limit = 100
    assert served(org_id=BUSY, limit=200).json()["code"] == "INVALID_REQUEST"
    assert data(served(org_id=BUSY, limit=100))["count"] == 100


def test_bookings_with_the_same_start_have_a_random_order_and_are_cut_anywhere():
    def orders() -> list[list[str]]:
        account = Account("org")
        for number in range(20):
            account.add(Booking(f"{number:02}", NOW, NOW + timedelta(minutes=30)))
        account.add(Booking("later", NOW + timedelta(hours=1), NOW + timedelta(hours=2)))
        return [[booking.uid for booking in account.shown("upcoming", NOW, 10)] for _ in range(5)]

    assert len(set(map(frozenset, orders()))) > 1, "the cut must not always leave the same ten"
    assert all("later" not in order for order in orders())
    assert orders() == orders(), "the same requests have the same responses"


@pytest.mark.parametrize("status", ["accepted", "pending"])
def test_a_reschedule_makes_a_new_booking_accepted_or_pending(served, sandbox, status):
    ahead = (sandbox.clock.now() + timedelta(days=2)).isoformat()
    booked = served.post("book", org_id=SMALL, start=ahead)["id"]
    moved = served.post("reschedule", org_id=SMALL, id=booked, start=ahead, status=status)["id"]
    bookings = sandbox.accounts[SMALL].bookings
    assert (bookings[booked].status, bookings[moved].status) == ("cancelled", status)


def test_a_seated_booking_moves_under_its_uid(served, sandbox):
    ahead = sandbox.clock.now() + timedelta(days=300)
    account = sandbox.accounts[SMALL]
    moved = account.shown("past", sandbox.clock.now(), 1)[0]
    length = moved.end - moved.start
    served.post("move", org_id=SMALL, id=moved.uid, start=ahead.isoformat())
    rows = data(served(org_id=SMALL, limit=200))["appointments"]
    assert [row["id"] for row in rows].count(moved.uid) == 1
    assert rows[-1]["id"] == moved.uid, "it now has the latest start"
    assert moved.end - moved.start == length


def test_a_row_contradicts_its_filter_if_its_status_changes_between_the_two_queries():
    account = generated("org", 300, 1, NOW)
    assert {booking.status for booking in account.shown("past", NOW, 50)} <= {"accepted", "pending"}
    account.races = 1
    shown = Counter(booking.status for booking in account.shown("past", NOW, 50))
    assert shown["cancelled"] == 1


def test_bookings_of_a_team_share_their_starts():
    account = team("org", 2000, 1, NOW, hosts=10)
    starts = Counter(booking.start for booking in account.bookings.values())
    assert len(account.bookings) == 2000
    assert 1 < max(starts.values()) <= 10
    assert {booking.status for booking in account.bookings.values()} >= {"awaiting_host", "pending", "cancelled"}
    assert account.bookings == team("org", 2000, 1, NOW, hosts=10).bookings
    with pytest.raises(ValueError, match="larger than population"):
        team("org", 2000, 1, NOW, hosts=1)


@pytest.mark.parametrize("params", [{"org_id": SMALL}, {}, {"org_id": BUSY}], ids=["rows", "error", "fault"])
def test_the_date_header_has_the_accounts_time(served, sandbox, params):
    sandbox.faults[BUSY] = FAULTS["bad-gateway"]
    sandbox.clock.set(NOW)
    assert served(**params).headers["Date"] == "Mon, 01 Jun 2026 12:30:00 GMT"
    sandbox.clock.set(None)
    real = parsedate_to_datetime(served(**params).headers["Date"])
    assert abs(datetime.now(timezone.utc) - real) < timedelta(hours=1)
    sandbox.says_date = False
    assert "Date" not in served(**params).headers


class Seconds:
    """A clock for limits, set by the test."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def admitted(limit, at: Seconds, seconds: float, requests: int) -> int:
    """Advance the clock, send this many requests, and return how many are admitted."""
    at.at += seconds
    return sum(limit.refusal(NOW) is None for _ in range(requests))


def test_a_token_bucket_admits_its_capacity_and_then_its_refill_rate():
    at = Seconds()
    limit = TokenBucket(capacity=3, per_second=2, monotonic=at)
    assert [admitted(limit, at, seconds, 9) for seconds in (0, 0.25, 0.25, 1, 60)] == [3, 0, 1, 2, 3]
    assert (limit.allowed, limit.refused) == (9, 36)


def test_a_fixed_window_admits_its_number_of_requests_in_each_period():
    at = Seconds()
    limit = FixedWindow(requests=3, seconds=10, monotonic=at)
    assert [admitted(limit, at, seconds, 9) for seconds in (0, 9, 1, 5, 20, 4, 1)] == [3, 0, 3, 0, 3, 0, 3]


@pytest.mark.parametrize(
    ("limit", "wait"),
    [
        (lambda at, says: TokenBucket(capacity=1, per_second=0.4, monotonic=at, retry_after=says), 3),
        (lambda at, says: FixedWindow(requests=1, seconds=6.5, monotonic=at, retry_after=says), 7),
    ],
    ids=["bucket", "window"],
)
@pytest.mark.parametrize("says", RETRY_AFTER)
def test_a_refusal_has_the_seconds_to_wait_in_retry_after(limit, wait, says):
    limited = limit(Seconds(), says)
    limited.skew = timedelta(minutes=-2)
    expected = {
        "seconds": {"Retry-After": str(wait)},
        "date": {"Retry-After": f"Mon, 01 Jun 2026 12:28:0{wait} GMT"},
        "zero": {"Retry-After": "0"},
        "none": {},
    }
    assert [limited.refusal(NOW) for _ in range(2)] == [None, expected[says]]


def test_a_limit_counts_all_organizations_together_by_the_real_clock(served, sandbox):
    sandbox.limit = TokenBucket(capacity=2, per_second=0.001)
    responses = [served(org_id=org_id) for org_id in (SMALL, BUSY, SMALL)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert int(responses[-1].headers["Retry-After"]) > 900
    sandbox.clock.set(sandbox.clock.now() + timedelta(days=1))
    assert served(org_id=BUSY).status_code == 429
    assert (sandbox.limit.allowed, sandbox.limit.refused) == (2, 2)


def test_cookies_are_set_and_returned_ones_are_recorded(served, sandbox):
    served(org_id=SMALL)
    assert not sandbox.cookies
    sandbox.sets_cookies = True
    assert served(org_id=SMALL).cookies["organization"] == SMALL
    served(org_id=BUSY)
    assert sandbox.cookies == {BUSY: {f"organization={SMALL}"}}


def test_a_connection_goes_stale_after_one_response(served, sandbox):
    sandbox.goes_stale = True
    assert served(org_id=SMALL).status_code == 200
    with pytest.raises(requests.ConnectionError):
        served(org_id=SMALL)
    assert (sandbox.requests_for(SMALL), sandbox.stale_requests) == (1, 1)
    assert served(org_id=SMALL).status_code == 200, "on a new connection"


def first_bytes(url: str, count: int) -> bytes:
    """Request SMALL on a raw connection, and return the first bytes, fewer if it closes."""
    address = urlsplit(url)
    request = f"GET /api/v1/calcom/appointments?org_id={SMALL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(f"{request}\r\n".encode())
        received = b""
        while len(received) < count and (data := connection.recv(count - len(received))):
            received += data
    return received


@pytest.mark.parametrize(
    ("fault", "starts", "one_more"),
    [
        ("drip-headers", b"", b"H"),
        (
            "drip-chunks",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"8",
        ),
        ("drip", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2069\r\n\r\n", b"{"),
        ("endless-continue", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_each_fault_of_http_starts_with_the_expected_bytes(served, sandbox, fault, starts, one_more):
    sandbox.faults[SMALL] = FAULTS[fault]
    assert first_bytes(served.url, len(starts) + len(one_more)) == starts + one_more


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_a_fault_of_the_network_breaks_the_connection(served, sandbox, fault):
    sandbox.faults[SMALL] = FAULTS[fault]
    with pytest.raises(requests.RequestException):
        served(org_id=SMALL)


@pytest.mark.parametrize(("fault", "layers"), [("gzip-bomb", 1), ("gzip-bomb-twice", 2)])
def test_a_gzip_bomb_is_small_until_it_is_decompressed(served, sandbox, fault, layers):
    sandbox.faults[SMALL] = FAULTS[fault]
    address = served.url + "/api/v1/calcom/appointments"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with requests.get(address, params={"org_id": SMALL}, headers=headers, stream=True) as response:
        body = response.raw.read(decode_content=False)
        assert response.headers["Content-Encoding"].split(", ") == ["gzip"] * layers
    packed = gzip.decompress(body) if layers == 2 else body
    piece = zlib.decompressobj(wbits=31)
    unpacked = len(piece.decompress(packed))
    pieces = len(packed) // (len(packed) - len(piece.unused_data))
    assert unpacked * pieces > 2e9
    assert len(body) < (5e6 if layers == 1 else 3e5)


def test_a_nested_row_has_a_thousand_levels(served, sandbox):
    sandbox.faults[SMALL] = FAULTS["nested-row"]
    assert served(org_id=SMALL).text.count('{"deeper":') == 1000


def test_a_name_contains_a_lone_surrogate(served, sandbox):
    sandbox.faults[SMALL] = FAULTS["lone-surrogate"]
    response = served(org_id=SMALL)
    assert b"\\ud800" in response.content
    assert "\ud800" in data(response)["appointments"][0]["attendee_name"]


@pytest.mark.parametrize(
    ("fault", "retry_after", "code"),
    [
        ("rate-limited-zero", "0", None),
        ("rate-limited-day", "86400", None),
        ("rate-limited-not-connected", None, "NOT_CONNECTED"),
    ],
)
def test_each_rate_limit_fault_has_its_status_header_and_code(served, sandbox, fault, retry_after, code):
    sandbox.faults[SMALL] = FAULTS[fault]
    response = served(org_id=SMALL)
    assert (response.status_code, response.headers.get("Retry-After"), response.json().get("code")) == (
        429,
        retry_after,
        code,
    )


def test_every_fault_has_an_existing_way_to_send_it():
    assert {fault.manner for fault in FAULTS.values()} == set(MANNERS)
