"""A server with less overhead than the sandbox, in a separate process, so that it does not affect the measurement.

``GET /counts`` returns the numbers of requests that its limit has allowed and refused.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import orjson

from benchmarks.rows import WINDOWS, Window, row
from sandbox.limits import FixedWindow, Limit, TokenBucket

PLACEHOLDER = "0" * 36

LIMITS = {limit.__name__: limit for limit in (TokenBucket, FixedWindow)}


@dataclass(frozen=True)
class Service:
    """The behaviour of the server.

    Attributes:
        rows: Rows of each response.
        delay: Seconds before each response.
        failing_every: Organizations whose number is a multiple of it always respond with 502; 0 for none.
        limit: The name of a limit in ``LIMITS``, empty for none.
        limits: The arguments of the limit.
    """

    rows: int
    delay: float = 0.0
    failing_every: int = 0
    limit: str = ""
    limits: Mapping[str, Any] | None = None


def _response(status: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def _body(rows: int, window: Window) -> bytes:
    appointments = [row(number, PLACEHOLDER, window) for number in range(rows)]
    data = {"appointments": appointments, "count": rows, "org_id": PLACEHOLDER}
    return orjson.dumps({"success": True, "message": "Appointments retrieved", "data": data})


_FAILURE = orjson.dumps({"success": False, "message": "Cal.com answered 500", "code": "CALCOM_API_ERROR"})
_TOO_MANY = orjson.dumps({"success": False, "message": "slow down"})


class Endpoint:
    """Responds to each window with the same rows for every organization."""

    def __init__(self, service: Service) -> None:
        self._service = service
        # Responses have the same length for every organization, so they are made in advance.
        self._good = {status: _response("200 OK", _body(service.rows, window)) for status, window in WINDOWS.items()}
        self._failure = _response("502 Bad Gateway", _FAILURE)
        self._limit: Limit | None = LIMITS[service.limit](**service.limits or {}) if service.limit else None

    def respond(self, head: bytes) -> tuple[bytes, float]:
        """Return the response to a request, and the seconds to wait before it."""
        if head.startswith(b"GET /counts "):
            limit = self._limit
            counts = {"allowed": limit.allowed, "refused": limit.refused} if limit else {}
            return _response("200 OK", orjson.dumps(counts)), 0
        refusal = self._limit.refusal(datetime.now(timezone.utc)) if self._limit else None
        if refusal is not None:
            return _response("429 Too Many Requests", _TOO_MANY, refusal), 0
        target = head.partition(b" HTTP/")[0]
        org_id = target.partition(b"org_id=")[2][: len(PLACEHOLDER)]
        if self._service.failing_every and int(org_id) % self._service.failing_every == 0:
            return self._failure, self._service.delay
        status = target.partition(b"status=")[2].partition(b"&")[0]
        return self._good[status].replace(PLACEHOLDER.encode(), org_id), self._service.delay


class Connection(asyncio.Protocol):
    """One connection, which responds to its requests in order."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._received = endpoint, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            response, delay = self._endpoint.respond(head)
            asyncio.get_running_loop().call_later(delay, self._transport.write, response)


async def _serve(service: Service) -> None:
    endpoint = Endpoint(service)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(endpoint), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve in a separate process, and yield the URL."""
    arguments = [sys.executable, "-m", "benchmarks.server", json.dumps(asdict(service))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"  # ignore-https-check
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_serve(Service(**json.loads(sys.argv[1]))))
