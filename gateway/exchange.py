"""One answer on its way from the model to the client, and its row on the way into the books.

How an answer can end, and what the row then says:

    whole                     status ok; the last bytes leave only when the row is on disk
    refused before a byte     status error; the client gets the HTTP status
    broken off by upstream    status error; the client gets an error event, then the end, never [DONE]
    broken off by the client  status aborted; the upstream is let go at once, what was used is counted
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from gateway.accounting.placement import PlacementCounts
from gateway.catalogue import Arm
from gateway.errors import ClientLeft, GatewayError, UpstreamError, UpstreamStatus, UpstreamUnavailable, http_status
from gateway.identity import Identity, chain
from gateway.ledger.records import Assignment, Turn
from gateway.recorder import Recorder
from gateway.upstreams.base import Reply
from gateway.usage import account
from gateway.wire.observe import Observation, is_usage_only
from gateway.wire.request import ChatRequest
from gateway.wire.sse import DONE, data_of, event, whole_events


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
    ) -> None:
        self._request = request
        self._arm = arm
        self._identity = identity
        self._row = row
        self._assignment = assignment
        self._counts = counts
        self._arrived_at = arrived_at
        self._recorder = recorder
        self._seen = Observation()
        self._reply: Reply | None = None
        self._events: AsyncIterator[list[bytes]] | None = None
        self._first: bytes = b""
        self._failure: GatewayError | None = None
        self._done = False
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
            self._reply = await self._arm.model.upstream.send(body, stream=self._request.stream, headers=headers)
            if self._request.stream:
                self._events = whole_events(self._reply.chunks)
                self._first = await self._next()
            else:
                await self._read_whole(self._reply)
        except GatewayError as error:
            await self._fail(error)
            raise
        except asyncio.CancelledError:
            self._recorder.spawn(self._abandon(ClientLeft.status))
            raise

    async def stream(self) -> AsyncIterator[bytes]:
        """The answer as server-sent events, whole events in each chunk."""
        try:
            chunk = self._first
            while chunk or not self._done:
                if chunk:
                    yield chunk
                chunk = b"" if self._done else await self._next()
            yield await self._finish()
        except GatewayError as error:
            await self._fail(error)
            yield event(error.body())
        except (asyncio.CancelledError, GeneratorExit):
            self._recorder.spawn(self._abandon(200))
            raise

    async def _next(self) -> bytes:
        """The next events that are for the client; b"" with `_done` set when there are no more."""
        assert self._events is not None
        if self._failure is not None:
            raise self._failure
        async for events in self._events:
            forward = self._for_client(events)
            if forward or self._done:
                return forward
        if self._seen.finish_reason is None:
            raise UpstreamUnavailable("The upstream broke off in the middle of its answer.", code="stream_interrupted")
        self._done = True
        return b""

    def _for_client(self, events: list[bytes]) -> bytes:
        """Those of `events` that the client gets; a failure among them is kept until they are sent."""
        forward = []
        for raw in events:
            try:
                if self._is_for_client(raw):
                    forward.append(raw)
            except GatewayError as error:
                if not forward:
                    raise
                self._failure = error
                break
        return b"".join(forward)

    def _is_for_client(self, raw: bytes) -> bool:
        data = data_of(raw)
        if data is None or self._done:
            return False
        if data == b"[DONE]":
            self._done = True
            return False
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise UpstreamUnavailable(
                "The upstream sent an event that is not JSON.", code="bad_upstream_event"
            ) from None
        self._seen.see_chunk(chunk)
        if self._seen.error is not None:
            raise UpstreamStatus(502, {"error": self._seen.error})
        if self._row.ttft_ms is None and (self._seen.text or self._seen.tool_calls):
            self._row.ttft_ms = self._since_arrival()
        return self._request.wants_usage or not is_usage_only(chunk)

    async def _read_whole(self, reply: Reply) -> None:
        body = b"".join([chunk async for chunk in reply.chunks])
        try:
            completion = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise UpstreamUnavailable("The upstream's answer is not JSON.", code="bad_upstream_answer") from None
        self._seen.see_completion(completion)
        await self._end("ok", 200)
        self.body = body

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

    def _since_arrival(self) -> float:
        return (time.perf_counter() - self._arrived_at) * 1e3


def _usage_chunk(row: Turn, model: str) -> dict[str, Any]:
    """The chunk that `include_usage` asks for, from counts made here, for an upstream that sent none."""
    prompt, completion = row.prompt_tokens or 0, row.completion_tokens or 0
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {
        "id": f"chatcmpl-{row.request_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [],
        "usage": usage,
    }


def _header_safe(value: str) -> str:
    return value if value.isascii() else quote(value, safe=" !#$&'()*+,/:;=?@[]-._~")
