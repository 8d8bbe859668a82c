"""The endpoint itself: token, parameters, envelope and error codes as the contract has them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import orjson
from aiohttp import web

from sandbox.accounts import FILTERS, Account, Booking, Clock, generated, uid
from sandbox.faults import FAULTS, Fault, today

TOKEN = "sandbox-token"  # noqa: S105  it opens nothing but the sandbox

ORGANIZATIONS = {
    "small": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0001",
    "medium": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0002",
    "busy": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0003",
    "empty": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0004",
    "not-connected": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0005",
}

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

STALL_SECONDS = 600


@dataclass
class Sandbox:
    """The accounts behind the endpoint, and how it behaves.

    Attributes:
        tokens: The tokens it accepts.
        token_requests: After so many requests no token is accepted any more; ``None`` for never.
        cap: The most rows it gives; the contract's is 200.
        delay: Seconds before each answer.
        on_request: Called before each answer with the organization, the window and that organization's
            count of requests, for tests that change an account while it is read.
        requests: Every request by organization and window, for tests that count them.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    token_requests: int | None = None
    cap: int = MAX_LIMIT
    delay: float = 0.0
    faults: dict[str, Fault] = field(default_factory=dict)
    on_request: Callable[[str, str | None, int], None] | None = None
    requests: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    @classmethod
    def with_sample_accounts(cls, seed: int = 1, now: datetime | None = None) -> Sandbox:
        """Five organizations: small, medium, far over 200 bookings, empty, and not connected.

        Args:
            seed: Another seed, other bookings.
            now: The time they are spread around; the clock's where not given.
        """
        sandbox = cls()
        sizes = {"small": 37, "medium": 180, "busy": 900, "empty": 0, "not-connected": 0}
        for offset, (name, count) in enumerate(sizes.items()):
            org_id = ORGANIZATIONS[name]
            sandbox.put(
                generated(org_id, count, seed + offset, now or sandbox.clock.now(), milliseconds=name == "medium")
            ).connected = name != "not-connected"
        return sandbox

    def put(self, account: Account) -> Account:
        """Add or replace an account."""
        self.accounts[account.org_id] = account
        return account

    def book(self, org_id: str, start: datetime, *, status: str = "accepted", recurring: bool = False) -> Booking:
        """Make a new booking of half an hour."""
        account = self.accounts[org_id]
        end = start + timedelta(minutes=30)
        return account.add(Booking(uid(self.rng), start, end, status, recurring, attendee=len(account.bookings)))

    def reschedule(self, org_id: str, booking_uid: str, start: datetime) -> Booking:
        """Move a booking."""
        return self.accounts[org_id].reschedule(booking_uid, start, uid(self.rng))

    def requests_for(self, org_id: str) -> int:
        """How often an organization was asked for, over all windows."""
        return sum(count for (asked, _), count in self.requests.items() if asked == org_id)

    def app(self) -> web.Application:
        """The web application: the endpoint, and the routes that change what is behind it."""
        app = web.Application()
        app.router.add_get("/api/v1/calcom/appointments", self._appointments)
        app.router.add_post("/sandbox/book", self._book)
        app.router.add_post("/sandbox/status", self._set_status)
        app.router.add_post("/sandbox/reschedule", self._reschedule)
        app.router.add_post("/sandbox/fault", self._set_fault)
        app.router.add_post("/sandbox/clock", self._set_clock)
        return app

    async def _appointments(self, request: web.Request) -> web.StreamResponse:
        org_id = request.query.get("org_id", "")
        status = request.query.get("status") or None
        self.requests[org_id, status] += 1
        if self.on_request:
            self.on_request(org_id, status, self.requests_for(org_id))
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = self._fault(request, org_id, status)
        if fault:
            return await _misbehave(request, fault)
        agent_id = request.query.get("agent_id", "")
        account = self.accounts[org_id]
        shown = account.shown(status, self.clock.now(), self._limit(request.query.get("limit", "")))
        rows = [account.row(booking, agent_id) for booking in shown]
        data = {"appointments": rows or None, "count": len(rows), "org_id": org_id, "agent_id": agent_id}
        return _answer({"success": True, "message": "Appointments retrieved", "data": data})

    def _fault(self, request: web.Request, org_id: str, status: str | None) -> Fault | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        spent = self.token_requests is not None and self.requests.total() > self.token_requests
        if token not in self.tokens or spent:
            return FAULTS["unauthorized"]
        fault = self.faults.get(org_id)
        if fault and fault.only in ("all", status) and fault.times != 0:
            if fault.times:
                self.faults[org_id] = replace(fault, times=fault.times - 1)
            return fault
        return self._refusal(org_id, status)

    def _refusal(self, org_id: str, status: str | None) -> Fault | None:
        account = self.accounts.get(org_id)
        if not org_id:
            return today(400, "INVALID_REQUEST", "org_id is required")
        if account is None:
            return today(403, None, "access denied")
        if not account.connected:
            return FAULTS["not-connected"]
        if status not in FILTERS or status in account.refuses:
            return today(400, "INVALID_REQUEST", f"unknown status {status}")
        return None

    def _limit(self, given: str) -> int:
        try:
            limit = int(given)
        except ValueError:
            limit = DEFAULT_LIMIT
        return min(limit if 0 < limit <= MAX_LIMIT else DEFAULT_LIMIT, self.cap)

    async def _book(self, request: web.Request) -> web.Response:
        asked = await request.json()
        start = datetime.fromisoformat(asked["start"])
        return _answer({"id": self.book(asked["org_id"], start, status=asked.get("status", "accepted")).uid})

    async def _set_status(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return _answer({"id": self.accounts[asked["org_id"]].set_status(asked["id"], asked["status"]).uid})

    async def _reschedule(self, request: web.Request) -> web.Response:
        asked = await request.json()
        start = datetime.fromisoformat(asked["start"])
        return _answer({"id": self.reschedule(asked["org_id"], asked["id"], start).uid})

    async def _set_fault(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.faults.pop(asked["org_id"], None)
        if asked.get("fault"):
            self.faults[asked["org_id"]] = FAULTS[asked["fault"]]
        return _answer({"fault": asked.get("fault")})

    async def _set_clock(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.clock.set(datetime.fromisoformat(asked["now"]) if asked.get("now") else None)
        return _answer({"now": self.clock.now().isoformat()})


def _answer(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


async def _misbehave(request: web.Request, fault: Fault) -> web.StreamResponse:
    transport = request.transport
    if fault.manner == "stall":
        await asyncio.sleep(STALL_SECONDS)
    if fault.manner in ("reset", "stall"):
        if transport:
            transport.abort()
        return web.Response()
    if fault.manner == "answer":
        return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
    response = web.StreamResponse(status=fault.status, headers=fault.headers)
    response.content_length = len(fault.body)
    await response.prepare(request)
    if fault.manner == "cut":
        await response.write(fault.body[: len(fault.body) // 2])
        if transport:
            transport.close()
    else:
        for start in range(len(fault.body)):
            await response.write(fault.body[start : start + 1])
            await asyncio.sleep(1)
    return response


@contextmanager
def serving(sandbox: Sandbox, port: int = 0) -> Iterator[str]:
    """Serve on loopback from a thread of its own.

    Args:
        sandbox: What to serve.
        port: 0 for any free one.

    Yields:
        The URL to configure as API URL.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(sandbox.app(), shutdown_timeout=0.1, access_log=None)

    async def start() -> str:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop() -> None:
        await runner.cleanup()
        stalled = asyncio.all_tasks() - {asyncio.current_task()}
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
