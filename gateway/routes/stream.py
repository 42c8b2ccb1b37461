"""A model's answer as an HTTP response, streamed and whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.routes.client import Watch

KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {
    "cache-control": "no-store",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
    "content-type": "text/event-stream; charset=utf-8",
}


def event_stream(events: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> Response:
    """Server-sent events as they come, with a comment every `KEEP_ALIVE_S` seconds; ends when the client leaves."""
    return EventSourceResponse(
        events,
        headers=headers,
        ping=int(KEEP_ALIVE_S),
        ping_message_factory=lambda: ServerSentEvent(comment="keep-alive", sep="\n"),
        sep="\n",
    )


class Whole(Response):
    """An answer that is whole, on the hot route: its headers are put together in one go."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = _raw({"content-length": str(len(body)), "content-type": "application/json", **headers})


class EventStream(Response):
    """The same for the hot route, at a third of the work; comments come only where `KEEP_ALIVE_S` seconds bring none.

    When the client leaves, the source is closed at once, wherever it stands (docs/adr/027).

    Args:
        events: whole events in each of its chunks.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = _raw({**_HEADERS, **headers})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        keeping = _KeptAlive(send)
        try:
            with Watch(receive) as watch:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                try:
                    async for chunk in self._events:
                        await keeping.send(chunk)
                    await keeping.end()
                except asyncio.CancelledError:
                    if not watch.client_left():
                        raise
        finally:
            keeping.stop()
            await self._events.aclose()


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


class _KeptAlive:
    """Sends chunks, and a comment when none has come for long."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._timer = self._loop.call_later(KEEP_ALIVE_S, self._look)
        self._comment: asyncio.Task[None] | None = None

    async def send(self, chunk: bytes) -> None:
        async with self._turn:
            self._sent_at = self._loop.time()
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        self.stop()
        async with self._turn:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def stop(self) -> None:
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _look(self) -> None:
        quiet_s = self._loop.time() - self._sent_at
        if quiet_s >= KEEP_ALIVE_S - 0.01:
            self._comment = self._loop.create_task(self.send(KEEP_ALIVE))
            quiet_s = 0.0
        self._timer = self._loop.call_later(KEEP_ALIVE_S - quiet_s, self._look)
