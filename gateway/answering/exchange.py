"""One answer on its way from the model to the client, and its row on the way into the books.

How an answer can end, and what the row then says:

    whole                     status ok; the last bytes leave only when the row is on disk
    refused before a byte     status error; the client gets the HTTP status
    broken off by upstream    status error; the client gets an error event, then the end, never [DONE]
    broken off by the client  status aborted; the upstream is let go at once and what was used is counted, or it is
                              read to its end (`streaming.drain`) and the usage is the upstream's
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from gateway.accounting.placement import PlacementCounts
from gateway.answering.aftermath import Aftermath
from gateway.answering.answer import Answer
from gateway.answering.ending import INTERNAL, Ending, Means
from gateway.answering.usage import account
from gateway.catalogue import Arm, Model
from gateway.errors import GatewayError
from gateway.identity import Identity, chain
from gateway.ledger.content import Said
from gateway.ledger.records import Assignment, Turn
from gateway.wire.observe import Observation
from gateway.wire.request import ChatRequest
from gateway.wire.sse import DONE, event
from strategies import Message

log = logging.getLogger(__name__)


class Exchange(Ending):
    """The answer to one request. Made by `Chat.complete`; then `body` or `stream()` is what the client gets."""

    def __init__(
        self,
        *,
        request: ChatRequest,
        placed: list[Message],
        arm: Arm,
        identity: Identity,
        row: Turn,
        assignment: Assignment | None,
        counts: asyncio.Future[PlacementCounts],
        arrived_at: float,
        means: Means,
        aftermath: Aftermath,
    ) -> None:
        super().__init__(row, arrived_at, means)
        self._request = request
        self._placed = placed
        self._arm = arm
        self._identity = identity
        self._assignment = assignment
        self._counts = counts
        self._aftermath = aftermath
        self._seen_by_client: Message | None = None
        self._answer: Answer | None = None
        self.body: bytes = b""
        """The whole answer, when it is not streamed."""

    async def begin(self, body: Mapping[str, Any], client_headers: Mapping[str, str]) -> None:
        """Send the request on, and wait for the first event of a stream or for the whole of another answer.

        Args:
            body: what the model is to get; its name is put in here.
            client_headers: the client's request headers.

        Raises:
            GatewayError: nothing that the client could use came back; the row is written.
        """
        await self._begin(self._answered(body, client_headers))

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, whole events in each chunk."""
        answer = self._answer
        assert answer is not None, "an answer is streamed once it has begun"
        try:
            chunk = answer.first
            while chunk:
                yield chunk
                self._see_first_token()
                chunk = await self._drain.step(answer.next())
            yield await self._finish()
        except GatewayError as error:
            await self._fail(error)
            yield event(error.body())
        except (asyncio.CancelledError, GeneratorExit):
            self._recorder.spawn(self._abandon(200))
            raise
        except Exception:
            log.exception("an answer broke off inside the gateway")
            await self._fail(INTERNAL)
            yield event(INTERNAL.body())

    async def _answered(self, body: Mapping[str, Any], client_headers: Mapping[str, str]) -> None:
        answer = await self._drain.step(self._first_answer(body, client_headers))
        if not self._request.stream:
            await self._finish_whole(answer)

    async def _first_answer(self, body: Mapping[str, Any], client_headers: Mapping[str, str]) -> Answer:
        answer = await self._attempts.first_answer(
            (self._arm.model, *self._arm.fallbacks),
            lambda model: self._ask(model, body, {"x-request-id": self._row.request_id}),
            client_headers,
        )
        self._answered_by(answer)
        return answer

    async def _ask(self, model: Model, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """One attempt."""
        self._row.attempts += 1
        answer = Answer(model, self._limits, wants_usage=self._request.wants_usage)
        try:
            await answer.begin(body, stream=self._request.stream, headers=headers)
        except BaseException:
            await answer.close()
            raise
        return answer

    def _answered_by(self, answer: Answer) -> None:
        self._answer = answer
        row, model = self._row, answer.model
        if model is not self._arm.model:
            row.fallback_for, row.model = self._arm.model.name, model.name
            row.upstream, row.context_window = model.upstream_name, model.window
        self._see_first_token()

    async def _finish_whole(self, answer: Answer) -> None:
        """Record the turn; then the body, with a usage counted here where the upstream gave none."""
        await self._end("ok", 200)
        self.body, completion = answer.whole
        if answer.seen.usage is None and (usage := _usage(self._row)) is not None:
            self.body = orjson.dumps({**completion, "usage": usage})

    async def _finish(self) -> bytes:
        """Record the turn; then the events that the client still lacks."""
        had_usage = self._seen.usage is not None
        await self._end("ok", 200)
        if self._request.wants_usage and not had_usage and (usage := _usage(self._row)) is not None:
            return event(_usage_chunk(self._seen.completion_id, self._model.name, usage)) + DONE
        return DONE

    @property
    def _speaker(self) -> Model | None:
        return self._answer.model if self._answer else None

    def _note_what_was_seen(self) -> None:
        self._seen_by_client = self._seen.message() if self._seen.text else None

    async def _read_on(self) -> None:
        while self._request.stream and self._answer is not None and await self._answer.next():
            pass

    async def _let_go(self) -> None:
        if self._answer is not None:
            await self._answer.close()

    async def _book(self) -> None:
        row, seen = self._row, self._seen
        row.finish_reason, row.completion_id = seen.finish_reason, seen.completion_id
        if row.excluded is None and row.fallback_for is not None:
            row.excluded = "fallback"
        await account(row, self._model, seen, self._counts)
        told = seen.message() if row.status == "ok" else self._seen_by_client
        if told is not None:
            row.answered_hash = chain([told], self._identity.history_hash)[0]
        await self._recorder.record(row, self._assignment, self._said())
        if row.status == "ok":
            self._aftermath.answered(row, self._request, self._arm.instruction, seen)

    def _said(self) -> Said | None:
        if not self._request.keep:
            return None
        seen = self._seen
        answer = seen.message() if seen.text or seen.tool_calls else None
        return Said(self._request.messages, self._identity.known, self._placed, answer, self._request.instructed)

    @property
    def _seen(self) -> Observation:
        return self._answer.seen if self._answer else Observation()

    @property
    def _model(self) -> Model:
        return self._answer.model if self._answer else self._arm.model

    def _see_first_token(self) -> None:
        if self._request.stream and self._row.ttft_ms is None and self._answer is not None and self._answer.begun:
            self._row.ttft_ms = self._since_arrival()


def _usage_chunk(completion_id: str | None, model: str, usage: dict[str, Any]) -> dict[str, Any]:
    """The chunk that `include_usage` asks for, from counts made here, for an upstream that sent none."""
    return {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [],
        "usage": usage,
    }


def _usage(row: Turn) -> dict[str, Any] | None:
    """OpenAI's usage from counts made here; None where the prompt or the answer holds what cannot be counted."""
    prompt, completion = row.prompt_tokens, row.completion_tokens
    if prompt is None or completion is None:
        return None
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
