"""A leaner server than the sandbox, in a process of its own, so that the server is not what is measured."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

PLACEHOLDER = "0" * 36


def row(number: int, org_id: str) -> dict[str, object]:
    """A row of the size and form of a real one."""
    return {
        "id": f"{number:022}",
        "organization_id": org_id,
        "agent_id": "",
        "attendee_name": f"Attendee {number:05}",
        "attendee_email": f"attendee{number:05}@example.com",
        "attendee_phone": f"+1555{number:07}",
        "attendee_timezone": "Europe/Berlin",
        "start_time": "2026-03-25T14:00:00Z",
        "end_time": "2026-03-25T14:30:00Z",
        "duration_minutes": 30,
        "status": "accepted",
    }


class Canned(asyncio.Protocol):
    """Answers every request with the same rows, for the organization it asks for."""

    def __init__(self, body: bytes, delay: float) -> None:
        self._body, self._delay, self._received = body, delay, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            org_id = head.partition(b"org_id=")[2][: len(PLACEHOLDER)]
            body = self._body.replace(PLACEHOLDER.encode(), org_id)
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
                len(body),
                body,
            )
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)


async def _serve(rows: int, delay: float) -> None:
    data = {"appointments": [row(number, PLACEHOLDER) for number in range(rows)], "count": rows, "org_id": PLACEHOLDER}
    body = orjson.dumps({"success": True, "message": "Appointments retrieved", "data": data})
    server = await asyncio.get_running_loop().create_server(lambda: Canned(body, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(rows: int, delay: float = 0.0) -> Iterator[str]:
    """Serve so many rows an organization, each answer after ``delay`` seconds; yields the URL."""
    arguments = [sys.executable, "-m", "benchmarks.server", "--rows", str(rows), "--delay", str(delay)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--delay", type=float, required=True)
    asked = parser.parse_args()
    asyncio.run(_serve(asked.rows, asked.delay))
