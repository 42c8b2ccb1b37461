"""One answer on its way from the engine's thread to the event loop that asked for it.

How it can end:
    finished    the last piece carries a finish reason; then the iterator stops
    failed      what was made so far is given, then the error is raised
    let go      `cancel`, `aclose`, a cancelled consumer or a dropped object: the engine frees the slot at its next
                step, and the iterator stops
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from gateway.errors import UpstreamUnavailable


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of an answer.

    Attributes:
        text: may be empty.
        tokens: tokens made since the last piece, the end token included.
        finish_reason: "stop" or "length" on the last piece, else None.
        cached_tokens: prompt tokens that were not computed again; the same in every piece.
    """

    text: str
    tokens: int
    finish_reason: str | None = None
    cached_tokens: int = 0


class Generation(AsyncIterator[Piece]):
    """An answer's pieces; those that the consumer was too slow for come as one."""

    _ended = True  # until begun

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._on_cancel = on_cancel
        self._pieces: deque[Piece] = deque()
        self._error: UpstreamUnavailable | None = None
        self._ended = False
        self._more = asyncio.Event()

    def deliver(self, news: Piece | UpstreamUnavailable) -> None:
        """Called on the event loop by the engine."""
        if self._ended:
            return
        if isinstance(news, Piece):
            self._pieces.append(news)
            self._ended = news.finish_reason is not None
        else:
            self._error, self._ended = news, True
        self._more.set()

    async def __anext__(self) -> Piece:
        while not self._pieces:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._ended:
                raise StopAsyncIteration
            self._more.clear()
            try:
                await self._more.wait()
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self._merged()

    def _merged(self) -> Piece:
        pieces = list(self._pieces)
        self._pieces.clear()
        last = pieces[-1]
        if len(pieces) == 1:
            return last
        text = "".join(piece.text for piece in pieces)
        return Piece(text, sum(piece.tokens for piece in pieces), last.finish_reason, last.cached_tokens)

    def cancel(self) -> None:
        """Let the answer go; what was not read is dropped. May be called at any time, more than once."""
        if not self._ended:
            self._on_cancel()
        self._ended = True
        self._pieces.clear()
        self._more.set()

    async def aclose(self) -> None:
        """The same, for `async with aclosing(...)`."""
        self.cancel()

    def __del__(self) -> None:
        if not self._ended:
            self._on_cancel()
