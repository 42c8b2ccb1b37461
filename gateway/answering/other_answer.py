"""An answer of another route than chat on its way to the client, in bytes, and its row on the way into the books.

It ends as a chat's answer does (`gateway.answering.exchange`), but for what breaks off behind the first byte: an event
stream gets an error event, and any other body ends without its proper end, so that no client takes it for whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import TypeVar

from gateway.answering.arrival import Arrival
from gateway.answering.ending import INTERNAL, Ending, Means
from gateway.answering.usage import fill_cost, take_usage
from gateway.catalogue import Model
from gateway.errors import GatewayError, UpstreamTimeout
from gateway.ledger.records import Turn
from gateway.upstreams.base import Reply
from gateway.wire.named_body import NamedBody
from gateway.wire.overheard import Overheard
from gateway.wire.sse import event, split_events, whole_events

T = TypeVar("T")
HANDED_ON = ("accept", "openai-beta")
"""Headers of the request that say something to the upstream; the client's key and cookies do not."""
HANDED_BACK = ("content-type", "content-disposition", "openai-model", "openai-processing-ms", "openai-version")


class OtherAnswer(Ending):
    """The answer to one request. Made by `OtherRoutes.post`; `stream()` is its body."""

    def __init__(self, model: Model, asked: NamedBody, row: Turn, arrival: Arrival, means: Means) -> None:
        super().__init__(row, arrival.at, means)
        self._model = model
        self._asked = asked
        self._arrival = arrival
        self._reply: Reply | None = None
        self._reads: AsyncIterator[bytes] | None = None
        self._first: bytes | None = None
        self._seen = Overheard()

    @property
    def status(self) -> int:
        """The upstream's status, a good one."""
        assert self._reply is not None, "an answer has a status once it has begun"
        return self._reply.status

    @property
    def headers(self) -> dict[str, str]:
        """The contract's response headers, and what the upstream says of the body."""
        assert self._reply is not None, "an answer has headers once it has begun"
        theirs = {name.lower(): value for name, value in self._reply.headers.items()}
        return {**{name: theirs[name] for name in HANDED_BACK if name in theirs}, **super().headers}

    @property
    def _is_event_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def begin(self, path: str) -> None:
        """Send the request on and wait for the first bytes.

        Raises:
            GatewayError: nothing that the client could use came back; the row is written.
        """
        await self._begin(self._answered(path))

    async def _answered(self, path: str) -> None:
        await self._drain.step(
            self._attempts.first_answer((self._model,), lambda model: self._ask(model, path), self._arrival.headers)
        )
        self._row.ttft_ms = self._since_arrival() if self._asked.stream else None

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Its end leaves only when the row is on disk.

        Raises:
            GatewayError: it broke off, and is no event stream that could say so.
        """
        try:
            read = self._first
            while read is not None:
                yield read
                read = await self._drain.step(self._next())
            await self._end("ok", self.status)
        except GatewayError as error:
            await self._fail(error)
            if not self._is_event_stream:
                raise
            yield event(error.body())
        except (asyncio.CancelledError, GeneratorExit):
            self._recorder.spawn(self._abandon(self.status))
            raise
        except Exception:
            await self._fail(INTERNAL)
            raise

    async def _ask(self, model: Model, path: str) -> None:
        """One attempt."""
        self._row.attempts += 1
        given = self._arrival.headers
        headers = {
            **{name: given[name] for name in HANDED_ON if name in given},
            "content-type": self._asked.content_type,
            "x-request-id": self._row.request_id,
        }
        body = self._asked.naming(model.upstream_model)
        reply = self._reply = await self._in_time(model.upstream.relay(path, body, headers))
        try:
            self._reads = whole_events(reply.chunks) if self._is_event_stream else reply.chunks
            self._first = await self._next()
        except BaseException:
            await reply.aclose()
            raise

    async def _next(self) -> bytes | None:
        """The next bytes, once they have been looked at: of an event stream whole events; None at the end."""
        assert self._reads is not None, "an answer is read once it has begun"
        read = await self._in_time(anext(self._reads, None))
        if read is None:
            self._seen.end_of_body()
        elif self._is_event_stream:
            for raw in split_events(read):
                self._seen.see_event(raw)
        else:
            self._seen.see_bytes(read)
        return read

    async def _in_time(self, step: Awaitable[T]) -> T:
        limit = self._limits.first_token_s if self._first is None else self._limits.between_tokens_s
        try:
            async with asyncio.timeout(limit):
                return await step
        except TimeoutError:
            what = "began no answer in time" if self._first is None else "stopped in the middle of its answer"
            raise UpstreamTimeout(f"The upstream {what}.") from None

    @property
    def _speaker(self) -> Model | None:
        return self._model if self._first is not None else None

    async def _read_on(self) -> None:
        while await self._next() is not None:
            pass

    async def _let_go(self) -> None:
        if self._reply is not None:
            await self._reply.aclose()

    async def _book(self) -> None:
        if self._row.status != "error" or self._first is not None:
            await self._account()
        await self._recorder.record(self._row, None)

    async def _account(self) -> None:
        """Tokens as the upstream gave them; else, for words in and words out, as they are counted here."""
        row, usage, prompt = self._row, self._seen.usage, self._asked.prompt()
        if usage is not None:
            row.usage_source = "upstream"
            take_usage(row, usage)
        elif prompt:
            row.usage_source = "counted" if row.status == "ok" else "partial"
            count = self._model.counter.text
            row.prompt_tokens = await asyncio.to_thread(count, prompt)
            row.completion_tokens = await asyncio.to_thread(count, "".join(self._seen.text))
        fill_cost(row, self._model, usage, None)
