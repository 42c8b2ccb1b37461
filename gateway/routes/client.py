"""The client's end of the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from fastapi import Request
from starlette.types import Receive

from gateway.answering.arrival import Arrival
from gateway.errors import BodyTooLarge, ClientLeft

T = TypeVar("T")


def arrival_of(request: Request) -> Arrival:
    """What is known of a request before its body is read."""
    scope = request.scope
    state = scope["state"]
    return Arrival(state["request_id"], _headers(scope["headers"]), state["key"], time.perf_counter())


def _headers(raw: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """By name in small letters, as ASGI gives them; of a name that comes twice, the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}


async def read_body(request: Request, limit: int) -> bytes:
    """The request body. Raises BodyTooLarge as soon as it grows beyond `limit` bytes."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"The request body is larger than {limit} bytes; send less, or raise max_body_bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


class Watch:
    """While its block runs, cancels the task that runs it as soon as the client closes the connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False

    def __enter__(self) -> Watch:
        """Begin to watch."""
        task = asyncio.current_task()
        assert task is not None, "a request is answered in a task"
        self._task = task
        self._watching = asyncio.ensure_future(self._until_left())
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no more."""
        self._watching.cancel()

    def client_left(self) -> bool:
        """Whether the cancellation that has just come was the watch's own, which it then takes back."""
        return self._left and self._task.uncancel() == 0

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()


async def unless_client_leaves(request: Request, work: Awaitable[T]) -> T:
    """Do `work`, or cancel it when the client closes the connection first.

    Raises:
        ClientLeft: nobody is there to answer any more.
    """
    with Watch(request.receive) as watch:
        try:
            return await work
        except asyncio.CancelledError:
            if not watch.client_left():
                raise
            raise ClientLeft("The client closed the connection.") from None
