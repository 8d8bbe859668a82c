"""The endpoint: token, parameters, response format and error codes of the contract."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from weakref import WeakSet

import orjson
from aiohttp import web

from sandbox.accounts import Account, Booking, Clock, generated, uid
from sandbox.faults import FAULTS, Fault, rate_limited, today
from sandbox.limits import Limit
from sandbox.manners import MANNERS

TOKEN = "sandbox-token"  # noqa: S105  valid only for the sandbox

ORGANIZATIONS = {
    "small": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0001",
    "medium": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0002",
    "busy": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0003",
    "empty": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0004",
    "not-connected": "0d9e3a52-6a0c-4c57-9b0e-5a1f5f0f0005",
}

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


@dataclass
class Sandbox:
    """The accounts, and the behaviour of the endpoint.

    Attributes:
        tokens: The accepted tokens.
        token_requests: The number of requests after which all tokens are refused; ``None`` for no such number.
        cap: The most rows of a response; 200 in the contract.
        limit: The rate limit for the requests of all organizations together.
        delay: Seconds before each response.
        says_date: Whether responses have the accounts' time in their ``Date`` header.
        sets_cookies: Whether each response sets a cookie that names its organization.
        goes_stale: Whether each connection is reset on its second request, without an announcement in the first
            response.
        on_request: Called before each response with the organization, the status and that organization's
            number of requests, for tests that change an account while it is read.
        requests: The number of requests by organization and status.
        cookies: The ``Cookie`` headers of the requests for each organization.
        stale_requests: The number of requests on stale connections. They are not in ``requests``.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    token_requests: int | None = None
    cap: int = MAX_LIMIT
    limit: Limit | None = None
    delay: float = 0.0
    says_date: bool = True
    sets_cookies: bool = False
    goes_stale: bool = False
    faults: dict[str, Fault] = field(default_factory=dict)
    on_request: Callable[[str, str | None, int], None] | None = None
    requests: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    cookies: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    stale_requests: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    _used: WeakSet[asyncio.BaseTransport] = field(default_factory=WeakSet)

    @classmethod
    def with_sample_accounts(cls, seed: int = 1, now: datetime | None = None) -> Sandbox:
        """Make five organizations: small, medium, one with far more than 200 bookings, empty, and not connected.

        Args:
            seed: Seed of the random bookings.
            now: The time around which the bookings are; by default the clock's.
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
        """Add a booking of half an hour."""
        account = self.accounts[org_id]
        end = start + timedelta(minutes=30)
        return account.add(Booking(uid(self.rng), start, end, status, recurring, attendee=len(account.bookings)))

    def reschedule(self, org_id: str, booking_uid: str, start: datetime, status: str = "accepted") -> Booking:
        """Cancel a booking and add a new one, accepted or pending, at another time."""
        return self.accounts[org_id].reschedule(booking_uid, start, uid(self.rng), status)

    def requests_for(self, org_id: str) -> int:
        """Return the number of requests for an organization, with any status."""
        return sum(count for (requested, _), count in self.requests.items() if requested == org_id)

    def app(self) -> web.Application:
        """Make the web application: the endpoint, and the routes that change the accounts."""
        app = web.Application()
        app.on_response_prepare.append(self._head)
        app.router.add_get("/api/v1/calcom/appointments", self._appointments)
        app.router.add_post("/sandbox/book", self._book)
        app.router.add_post("/sandbox/status", self._set_status)
        app.router.add_post("/sandbox/reschedule", self._reschedule)
        app.router.add_post("/sandbox/move", self._move)
        app.router.add_post("/sandbox/fault", self._set_fault)
        app.router.add_post("/sandbox/clock", self._set_clock)
        return app

    async def _appointments(self, request: web.Request) -> web.StreamResponse:
        org_id = request.query.get("org_id", "")
        status = request.query.get("status") or None
        if self._is_stale(request):
            return await MANNERS["reset"](request, Fault())
        self.requests[org_id, status] += 1
        if "Cookie" in request.headers:
            self.cookies[org_id].add(request.headers["Cookie"])
        limited = self._limited()
        if limited:
            return await MANNERS[limited.manner](request, limited)
        if self.on_request:
            self.on_request(org_id, status, self.requests_for(org_id))
        if self.delay:
            await asyncio.sleep(self.delay)
        limit = self._limit(request.query.get("limit", ""))
        fault = self._fault(request, org_id, status) or self._refusal(org_id, status, limit)
        if fault:
            return await MANNERS[fault.manner](request, fault)
        agent_id = request.query.get("agent_id", "")
        account = self.accounts[org_id]
        shown = account.shown(status, self.clock.now(), min(limit, self.cap))
        rows = [account.row(booking, agent_id) for booking in shown]
        data = {"appointments": rows or None, "count": len(rows), "org_id": org_id, "agent_id": agent_id}
        return _json({"success": True, "message": "Appointments retrieved", "data": data})

    def _is_stale(self, request: web.Request) -> bool:
        transport = request.transport
        if not (self.goes_stale and transport):
            return False
        stale = transport in self._used
        self._used.add(transport)
        self.stale_requests += stale
        return stale

    def _limited(self) -> Fault | None:
        refusal = self.limit.refusal(self.clock.now()) if self.limit else None
        return None if refusal is None else rate_limited(refusal.get("Retry-After"))

    async def _head(self, request: web.Request, response: web.StreamResponse) -> None:
        # The framework has set the real time.
        del response.headers["Date"]
        if self.says_date:
            response.headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        if self.sets_cookies:
            response.headers["Set-Cookie"] = f"organization={request.query.get('org_id', '')}; Path=/"

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
        return None

    def _refusal(self, org_id: str, status: str | None, limit: int) -> Fault | None:
        account = self.accounts.get(org_id)
        if not org_id:
            return today(400, "INVALID_REQUEST", "org_id is required")
        if account is None:
            return today(403, None, "access denied")
        if not account.connected:
            return FAULTS["not-connected"]
        if account.rule(status) is None:
            return today(400, "INVALID_REQUEST", f"unknown status {status}")
        if limit > (account.largest_limit or limit):
            return today(400, "INVALID_REQUEST", f"limit is larger than {account.largest_limit}")
        return None

    @staticmethod
    def _limit(given: str) -> int:
        try:
            limit = int(given)
        except ValueError:
            limit = DEFAULT_LIMIT
        return limit if 0 < limit <= MAX_LIMIT else DEFAULT_LIMIT

    async def _book(self, request: web.Request) -> web.Response:
        body = await request.json()
        start = datetime.fromisoformat(body["start"])
        return _json({"id": self.book(body["org_id"], start, status=body.get("status", "accepted")).uid})

    async def _set_status(self, request: web.Request) -> web.Response:
        body = await request.json()
        return _json({"id": self.accounts[body["org_id"]].set_status(body["id"], body["status"]).uid})

    async def _reschedule(self, request: web.Request) -> web.Response:
        body = await request.json()
        start = datetime.fromisoformat(body["start"])
        status = body.get("status", "accepted")
        return _json({"id": self.reschedule(body["org_id"], body["id"], start, status).uid})

    async def _move(self, request: web.Request) -> web.Response:
        body = await request.json()
        start = datetime.fromisoformat(body["start"])
        return _json({"id": self.accounts[body["org_id"]].move(body["id"], start).uid})

    async def _set_fault(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.faults.pop(body["org_id"], None)
        if body.get("fault"):
            self.faults[body["org_id"]] = FAULTS[body["fault"]]
        return _json({"fault": body.get("fault")})

    async def _set_clock(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.clock.set(datetime.fromisoformat(body["now"]) if body.get("now") else None)
        return _json({"now": self.clock.now().isoformat()})


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


@contextmanager
def serving(sandbox: Sandbox, port: int = 0) -> Iterator[str]:
    """Serve on loopback in a separate thread.

    Args:
        sandbox: The sandbox to serve.
        port: 0 for any free port.

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
        return f"http://127.0.0.1:{runner.addresses[0][1]}"  # ignore-https-check

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
