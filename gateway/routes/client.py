"""The client's end of the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from gateway.answering.arrival import Arrival
from gateway.errors import BodyTooLarge, ClientLeft

T = TypeVar("T")


def arrival_of(scope: Scope) -> Arrival:
    """What is known of a request before its body is read."""
    state = scope["state"]
    return Arrival(state["request_id"], state["headers"], state["key"], time.perf_counter())


async def read_body(receive: Receive, limit: int) -> bytes:
    """The request body.

    Raises:
        BodyTooLarge: as soon as it grows beyond `limit` bytes.
        ClientLeft: the client closed the connection before it had sent it all.
    """
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("The client closed the connection.")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"The request body is larger than {limit} bytes; send less, or raise max_body_bytes.")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
        """Watch no more. The cancelled task keeps its last frame, which keeps this object: without its way back to the
        task no cycle is left, which would hold the request until the garbage collector came by."""
        self._watching.cancel()
        del self._watching

    def client_left(self) -> bool:
        """Whether the cancellation that has just come was the watch's own, which it then takes back."""
        return self._left and self._task.uncancel() == 0

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, or cancel it when the client closes the connection first.

    Raises:
        ClientLeft: nobody is there to answer any more.
    """
    with Watch(receive) as watch:
        try:
            return await work
        except asyncio.CancelledError:
            if not watch.client_left():
                raise
            raise ClientLeft("The client closed the connection.") from None
