"""How an answer is sent: whole, or in each of the ways in which a broken server or network does it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus

from aiohttp import web

from sandbox.faults import Fault

STALL_SECONDS = 600
"""How long the endless manners last."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _head(fault: Fault, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode()


def _bytes(content: bytes) -> Iterable[bytes]:
    return (content[at : at + 1] for at in range(len(content)))


async def _written(request: web.Request, at_once: bytes, each_second: Iterable[bytes] = ()) -> web.StreamResponse:
    """Write past the web framework, which would not break HTTP, and break the connection."""
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


async def _answer(request: web.Request, fault: Fault) -> web.StreamResponse:
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
    # A chunk's size line may carry an extension of any length, and the chunk begins only after it.
    size = f"{len(fault.content):x};padding={'0' * STALL_SECONDS}\r\n".encode()
    return await _written(request, _head(fault, Transfer_Encoding="chunked"), _bytes(size))


async def _endless_continue(request: web.Request, fault: Fault) -> web.StreamResponse:
    return await _written(request, _CONTINUE, itertools.repeat(_CONTINUE))


MANNERS: Mapping[str, Callable[[web.Request, Fault], Awaitable[web.StreamResponse]]] = {
    "answer": _answer,
    "cut": _cut,  # half of the body
    "reset": _reset,  # the connection, without a byte
    "stall": _stall,  # no byte for ten minutes
    "drip": _drip,  # the body, a byte a second
    "drip-headers": _drip_headers,  # from the status line on
    "drip-chunks": _drip_chunks,  # what frames a chunk
    "endless-continue": _endless_continue,  # the interim answer, each second
}
"""Each way to send a fault, by name."""
