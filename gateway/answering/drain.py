"""What becomes of an answer whose client has left: let go at once, or read to its end for an exact bill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from gateway.sections.relay import StreamingSettings

T = TypeVar("T")


class Drain:
    """One answer's steps: asking for it, then reading it.

    Without `streaming.drain` a step is simply awaited, and a client that leaves cancels it together with everything
    below. With it, a step outlives its client, and `finish` takes the answer up where the client left it.

    Args:
        closing: set when the gateway stops and can wait for no more.
    """

    def __init__(self, settings: StreamingSettings, closing: asyncio.Event) -> None:
        self._limit_s = settings.drain_s if settings.drain else 0.0
        self._closing = closing
        self._step: asyncio.Future[Any] | None = None

    async def step(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which goes on when the one who awaits it is cancelled, if answers are drained."""
        if not self._limit_s:
            return await work
        self._step = asyncio.ensure_future(work)
        return await asyncio.shield(self._step)

    async def finish(self, go_on: Callable[[], Awaitable[None]]) -> None:
        """Once the client has left: await the step that it left in, then `go_on`.

        Returns when that is done, when it has taken too long, or when the gateway stops. Does nothing where answers
        are not drained.

        Raises:
            GatewayError: the upstream failed meanwhile.
        """
        if self._step is None:
            return
        reading = asyncio.ensure_future(_after(self._step, go_on))
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait((reading, closing), timeout=self._limit_s, return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        if reading.done():
            reading.result()
        else:
            reading.cancel()
            await asyncio.wait((reading,))


async def _after(step: asyncio.Future[Any], go_on: Callable[[], Awaitable[None]]) -> None:
    await step
    await go_on()
