"""One model's answer while it comes: asked for, awaited within limits, relayed, let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

import orjson

from gateway.answering.relay import Relay
from gateway.catalogue import Model
from gateway.errors import UpstreamStatus, UpstreamTimeout, UpstreamUnavailable
from gateway.settings import TimeoutSettings
from gateway.upstreams.base import Reply
from gateway.wire.observe import Observation
from gateway.wire.required import fill_completion, new_head
from gateway.wire.sse import whole_events

T = TypeVar("T")


class Answer:
    """An answer of one model to one request.

    Attributes:
        model: who gives it.
        first: the first events of a stream.
        whole: the body of an answer that is not streamed, with what OpenAI's clients expect and the upstream left out,
            and the same parsed.
    """

    def __init__(self, model: Model, limits: TimeoutSettings, *, wants_usage: bool) -> None:
        self.model = model
        self.first = b""
        self.whole: tuple[bytes, dict[str, Any]] = (b"", {})
        self._limits = limits
        self._head = new_head(model.name)
        self._relay = Relay(self._head, wants_usage=wants_usage)
        self._reply: Reply | None = None
        self._events: AsyncIterator[bytes] | None = None

    @property
    def seen(self) -> Observation:
        """What is known of it so far."""
        return self._relay.seen

    @property
    def begun(self) -> bool:
        """Whether there is a token yet."""
        return bool(self.seen.text or self.seen.tool_calls)

    async def begin(self, body: Mapping[str, Any], *, stream: bool, headers: Mapping[str, str]) -> None:
        """Ask for it, and wait for the first event of a stream or for the whole of another answer.

        Raises:
            GatewayError: nothing that a client could use came back.
        """
        asked = {**body, "model": self.model.upstream_model}
        if stream:
            self._reply = await self._in_time(self.model.upstream.send(asked, stream=True, headers=headers))
            self._events = whole_events(self._reply.chunks)
            self.first = await self.next()
        else:
            raw = await self._in_time(self._read(asked, headers))
            completion = _completion(raw)
            self.whole = orjson.dumps(completion) if fill_completion(completion, self._head) else raw, completion
            self.seen.see_completion(completion)

    async def next(self) -> bytes:
        """The next events that are for the client; b"" when there are no more.

        Raises:
            UpstreamError: it broke off, stalled, or said that it failed.
        """
        assert self._events is not None
        self._relay.raise_failure()
        while not self._relay.done:
            events = await self._in_time(anext(self._events, None))
            if events is None:
                if self.seen.finish_reason is None:
                    raise UpstreamUnavailable(
                        "The upstream broke off in the middle of its answer.", code="stream_interrupted"
                    )
                self._relay.done = True
            elif forward := self._relay.take(events):
                return forward
        return b""

    async def close(self) -> None:
        """Let the upstream go, also in the middle of an answer."""
        if self._reply is not None:
            await self._reply.aclose()

    async def _read(self, asked: dict[str, Any], headers: Mapping[str, str]) -> bytes:
        self._reply = await self.model.upstream.send(asked, stream=False, headers=headers)
        return b"".join([chunk async for chunk in self._reply.chunks])

    async def _in_time(self, step: Awaitable[T]) -> T:
        """`step`, unless it takes longer than the limit for the first token or for the time between two."""
        limit = self._limits.between_tokens_s if self.begun else self._limits.first_token_s
        try:
            async with asyncio.timeout(limit):
                return await step
        except TimeoutError:
            what = "stopped in the middle of its answer" if self.begun else "began no answer in time"
            raise UpstreamTimeout(f"The upstream {what}.") from None


def _completion(body: bytes) -> dict[str, Any]:
    """An unstreamed answer, parsed. Raises UpstreamError when it is none."""
    try:
        completion = orjson.loads(body)
    except orjson.JSONDecodeError:
        completion = None
    if isinstance(completion, dict) and isinstance(completion.get("error"), dict):
        raise UpstreamStatus(502, completion)
    if not isinstance(completion, dict) or not isinstance(completion.get("choices"), list):
        raise UpstreamUnavailable("The upstream's answer is no chat completion.", code="bad_upstream_answer")
    return completion
