"""The client's end of the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from gateway.answering.arrival import Arrival
from gateway.errors import BodyTooLarge, ClientLeft

T = TypeVar("T")


def arrival_of(request: Request) -> Arrival:
    """What is known of a request before its body is read."""
    return Arrival(request.state.request_id, request.headers, request.state.key, time.perf_counter())


async def read_body(request: Request, limit: int) -> bytes:
    """The request body. Raises BodyTooLarge as soon as it grows beyond `limit` bytes."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"The request body is larger than {limit} bytes; send less, or raise max_body_bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, or cancel it when the client closes the connection first.

    Raises:
        ClientLeft: nobody is there to answer any more.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft("The client closed the connection.")
        return task.result()
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
