"""Ways to send a response: complete, or as a broken server or network does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus

from aiohttp import web

from sandbox.faults import Fault

STALL_SECONDS = 600
"""Duration of the endless ways."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _head(fault: Fault, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode()


def _bytes(content: bytes) -> Iterable[bytes]:
    return (content[at : at + 1] for at in range(len(content)))


async def _written(request: web.Request, at_once: bytes, each_second: Iterable[bytes] = ()) -> web.StreamResponse:
    """Write to the connection without the web framework, which sends only valid HTTP, then abort the connection."""
    transport = request.transport
    if transport:
        transport.write(at_once)
        for piece in itertools.islice(each_second, STALL_SECONDS):
            await asyncio.sleep(1)
            if transport.is_closing():
                break
            transport.write(piece)
        transport.abort()
    return web.Response()


async def _response(request: web.Request, fault: Fault) -> web.StreamResponse:
    return web.Response(status=fault.status, body=fault.content, headers=fault.headers)


async def _cut(request: web.Request, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(status=fault.status, headers=fault.headers)
    response.content_length = len(fault.content)
    await response.prepare(request)
    await response.write(fault.content[: len(fault.content) // 2])
    if request.transport:
        request.transport.close()
    return response


async def _reset(request: web.Request, fault: Fault) -> web.StreamResponse:
    return await _written(request, b"")


async def _stall(request: web.Request, fault: Fault) -> web.StreamResponse:
    await asyncio.sleep(STALL_SECONDS)
    return await _reset(request, fault)


async def _drip(request: web.Request, fault: Fault) -> web.StreamResponse:
    return await _written(request, _head(fault, Content_Length=len(fault.content)), _bytes(fault.content))


async def _drip_headers(request: web.Request, fault: Fault) -> web.StreamResponse:
    head = _head(fault, X_Request_Id="0" * STALL_SECONDS, Content_Length=len(fault.content))
    return await _written(request, b"", _bytes(head + fault.content))


async def _drip_chunks(request: web.Request, fault: Fault) -> web.StreamResponse:
    # The size line of a chunk may have an extension of any length before the chunk begins.
    size = f"{len(fault.content):x};padding={'0' * STALL_SECONDS}\r\n".encode()
    return await _written(request, _head(fault, Transfer_Encoding="chunked"), _bytes(size))


async def _endless_continue(request: web.Request, fault: Fault) -> web.StreamResponse:
    return await _written(request, _CONTINUE, itertools.repeat(_CONTINUE))


MANNERS: Mapping[str, Callable[[web.Request, Fault], Awaitable[web.StreamResponse]]] = {
    "response": _response,
    "cut": _cut,  # only half of the body
    "reset": _reset,  # the connection is reset without a response
    "stall": _stall,  # no byte for ten minutes, then a reset
    "drip": _drip,  # the body, one byte per second
    "drip-headers": _drip_headers,  # status line and headers, one byte per second
    "drip-chunks": _drip_chunks,  # the size line of a chunk, one byte per second
    "endless-continue": _endless_continue,  # an interim response every second
}
"""The ways to send a fault, by name."""
