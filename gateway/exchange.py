"""One answer on its way from the model to the client, and its row on the way into the books.

How an answer can end, and what the row then says:

    whole                     status ok; the last bytes leave only when the row is on disk
    refused before a byte     status error; the client gets the HTTP status
    broken off by upstream    status error; the client gets an error event, then the end, never [DONE]
    broken off by the client  status aborted; the upstream is let go at once, what was used is counted
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import orjson

from gateway.accounting.placement import PlacementCounts
from gateway.catalogue import Arm
from gateway.errors import (
    ClientLeft,
    GatewayError,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnavailable,
    http_status,
)
from gateway.identity import Identity, chain
from gateway.ledger.records import Assignment, Turn
from gateway.recorder import Recorder
from gateway.relay import Relay
from gateway.settings import TimeoutSettings
from gateway.upstreams.base import Reply
from gateway.usage import account
from gateway.wire.request import ChatRequest
from gateway.wire.required import fill_completion
from gateway.wire.sse import DONE, event, whole_events

T = TypeVar("T")
log = logging.getLogger(__name__)
_INTERNAL = GatewayError("The gateway had an internal error.", code="internal_error")


class Exchange:
    """The answer to one request. Made by `Chat.complete`; then `body` or `stream()` is what the client gets."""

    def __init__(
        self,
        *,
        request: ChatRequest,
        arm: Arm,
        identity: Identity,
        row: Turn,
        assignment: Assignment | None,
        counts: asyncio.Future[PlacementCounts],
        arrived_at: float,
        recorder: Recorder,
        limits: TimeoutSettings,
    ) -> None:
        self._request = request
        self._arm = arm
        self._identity = identity
        self._row = row
        self._assignment = assignment
        self._counts = counts
        self._arrived_at = arrived_at
        self._recorder = recorder
        self._limits = limits
        self._relay = Relay(wants_usage=request.wants_usage)
        self._seen = self._relay.seen
        self._reply: Reply | None = None
        self._events: AsyncIterator[list[bytes]] | None = None
        self._first: bytes = b""
        self._ended = False
        self.body: bytes = b""
        """The whole answer, when it is not streamed."""

    @property
    def headers(self) -> dict[str, str]:
        """The contract's response headers; an id that is not plain ASCII is percent-encoded."""
        row = self._row
        return {
            "x-request-id": row.request_id,
            "x-gattway-conversation-id": _header_safe(row.conversation_id),
            "x-gattway-experiment": row.experiment or "",
            "x-gattway-arm": row.arm or "",
            "x-gattway-turn": str(row.turn),
            "x-gattway-overhead-ms": f"{row.overhead_ms or 0:.2f}",
        }

    async def begin(self, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Send the request on, and wait for the first event of a stream or for the whole of another answer.

        Raises:
            GatewayError: nothing that the client could use came back; the row is written.
        """
        self._row.overhead_ms = self._since_arrival()
        self._recorder.begin()
        try:
            sending = self._arm.model.upstream.send(body, stream=self._request.stream, headers=headers)
            self._reply = await self._in_time(sending)
            if self._request.stream:
                self._events = whole_events(self._reply.chunks)
                self._first = await self._next()
                self._see_first_token()
            else:
                await self._read_whole(self._reply)
        except GatewayError as error:
            await self._fail(error)
            raise
        except asyncio.CancelledError:
            self._recorder.spawn(self._abandon(ClientLeft.status))
            raise
        except Exception:
            await self._fail(_INTERNAL)
            raise

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, whole events in each chunk."""
        try:
            chunk = self._first
            while chunk:
                yield chunk
                self._see_first_token()
                chunk = await self._next()
            yield await self._finish()
        except GatewayError as error:
            await self._fail(error)
            yield event(error.body())
        except (asyncio.CancelledError, GeneratorExit):
            self._recorder.spawn(self._abandon(200))
            raise
        except Exception:
            log.exception("an answer broke off inside the gateway")
            await self._fail(_INTERNAL)
            yield event(_INTERNAL.body())

    async def _next(self) -> bytes:
        """The next events that are for the client; b"" when there are no more."""
        assert self._events is not None
        self._relay.raise_failure()
        while not self._relay.done:
            events = await self._in_time(anext(self._events, None))
            if events is None:
                if self._seen.finish_reason is None:
                    raise UpstreamUnavailable(
                        "The upstream broke off in the middle of its answer.", code="stream_interrupted"
                    )
                self._relay.done = True
            elif forward := self._relay.take(events):
                return forward
        return b""

    async def _in_time(self, step: Awaitable[T]) -> T:
        """`step`, unless it takes longer than the limit for the first token or for the time between two."""
        limits = self._limits
        first = self._row.ttft_ms is None
        try:
            async with asyncio.timeout(limits.first_token_s if first else limits.between_tokens_s):
                return await step
        except TimeoutError:
            what = "began no answer" if first else "stopped in the middle of its answer"
            raise UpstreamTimeout(f"The upstream {what} in time.") from None

    async def _read_whole(self, reply: Reply) -> None:
        body = await self._in_time(_joined(reply.chunks))
        completion = _completion(body)
        self._seen.see_completion(completion)
        await self._end("ok", 200)
        changed = fill_completion(completion)
        if self._seen.usage is None:
            completion["usage"] = _usage(self._row)
            changed = True
        self.body = orjson.dumps(completion) if changed else body

    async def _finish(self) -> bytes:
        """Record the turn; then the events that the client still lacks."""
        had_usage = self._seen.usage is not None
        await self._end("ok", 200)
        if self._request.wants_usage and not had_usage:
            return event(_usage_chunk(self._row, self._arm.model.name)) + DONE
        return DONE

    async def _fail(self, error: GatewayError) -> None:
        if isinstance(error, UpstreamError):
            self._recorder.count_failure(self._row.model, error)
            if self._first:
                self._recorder.count_abort("upstream")
        self._row.error_code = error.code or error.type
        await self._end("error", http_status(error))

    async def _abandon(self, status: int) -> None:
        if self._ended:
            return
        self._recorder.count_abort("client")
        await self._end("aborted", status)

    async def _end(self, status: str, http: int) -> None:
        """Let the upstream go and write the row; does nothing the second time."""
        if self._ended:
            return
        self._ended = True
        if self._reply is not None:
            await self._reply.aclose()
        row = self._row
        row.status, row.http_status, row.finish_reason = status, http, self._seen.finish_reason
        row.duration_ms = self._since_arrival()
        await account(row, self._arm.model, self._seen, self._counts, self._identity.parent)
        if status == "ok" or (status == "aborted" and self._seen.text):
            row.answered_hash = chain([self._seen.message()], self._identity.history_hash)[0]
        await self._recorder.record(row, self._assignment)

    def _see_first_token(self) -> None:
        if self._row.ttft_ms is None and (self._seen.text or self._seen.tool_calls):
            self._row.ttft_ms = self._since_arrival()

    def _since_arrival(self) -> float:
        return (time.perf_counter() - self._arrived_at) * 1e3


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


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


def _usage_chunk(row: Turn, model: str) -> dict[str, Any]:
    """The chunk that `include_usage` asks for, from counts made here, for an upstream that sent none."""
    return {
        "id": f"chatcmpl-{row.request_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [],
        "usage": _usage(row),
    }


def _usage(row: Turn) -> dict[str, Any]:
    prompt, completion = row.prompt_tokens or 0, row.completion_tokens or 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _header_safe(value: str) -> str:
    return value if value.isascii() else quote(value, safe=" !#$&'()*+,/:;=?@[]-._~")
