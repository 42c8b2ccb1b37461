"""A local model that answers as an OpenAI-compatible server would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from gateway.errors import BadRequest
from gateway.upstreams.base import Reply
from gateway.upstreams.local.completion import DONE, Choice, Completion
from gateway.upstreams.local.generation import Generation, Piece
from gateway.upstreams.local.model import LocalModel
from gateway.upstreams.local.request import LocalRequest, parse

# Longer histories are rendered and tokenized beside the event loop (about a millisecond for this many characters).
_RENDER_ON_LOOP = 10_000


class LocalUpstream:
    """Serves chat completions from a `LocalModel`."""

    kind: ClassVar[str] = "local"

    def __init__(self, model: LocalModel) -> None:
        self._model = model

    async def send(self, body: dict[str, Any], *, stream: bool, headers: Mapping[str, str]) -> Reply:
        """Answer one chat completion; `headers` have nothing to say to a model in process.

        The first chunk of a stream comes with the first token, so a failure before it is still an exception of
        the iterator's first step and no broken stream.

        Raises:
            BadRequest: a field is mistyped, out of range, or beyond the model.
            ContextLengthExceeded: prompt and completion do not fit the window.
            UpstreamUnavailable: the model has been closed.
        """
        request = parse(body)
        prompt = await self._render(request)
        generations: list[Generation] = []
        try:
            for sampling in request.samplings:
                generations.append(self._model.generate(prompt, sampling))
        except BaseException:
            _cancel(generations)
            raise

        async def let_go() -> None:
            _cancel(generations)

        if stream:
            chunks = _events(request, len(prompt), generations)
            return Reply(200, {"content-type": "text/event-stream; charset=utf-8"}, chunks, let_go)
        return Reply(200, {"content-type": "application/json"}, _whole(request, len(prompt), generations), let_go)

    async def relay(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See `Upstream.relay`: a model in this process completes chats, and nothing else."""
        raise BadRequest(
            "This model runs in the gateway's own process and answers /v1/chat/completions and /v1/responses only. "
            "Name a model of an upstream of kind 'openai'.",
            param="model",
            code="unsupported_route",
        )

    async def close(self) -> None:
        """Stop the model."""
        await self._model.close()

    async def _render(self, request: LocalRequest) -> list[int]:
        if sum(len(str(message.get("content"))) for message in request.messages) < _RENDER_ON_LOOP:
            return self._model.render(request.messages)
        return await asyncio.to_thread(self._model.render, request.messages)


def _cancel(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.cancel()


async def _whole(request: LocalRequest, prompt_tokens: int, generations: Sequence[Generation]) -> AsyncIterator[bytes]:
    choices = [Choice() for _ in generations]
    async for index, piece in _interleaved(generations):
        _add(choices[index], piece)
    if _finished(choices):
        yield Completion(request.model).whole(prompt_tokens, choices)


async def _events(request: LocalRequest, prompt_tokens: int, generations: Sequence[Generation]) -> AsyncIterator[bytes]:
    completion = Completion(request.model, usage_chunk=request.include_usage)
    choices = [Choice() for _ in generations]
    opening = b"".join(completion.opening(index) for index in range(len(choices)))
    async for index, piece in _interleaved(generations):
        _add(choices[index], piece)
        events = completion.text(index, piece.text) if piece.text else b""
        if piece.finish_reason:
            events += completion.end(index, piece.finish_reason)
        yield opening + events
        opening = b""
    if _finished(choices):
        last = completion.usage(prompt_tokens, choices) if request.include_usage else b""
        yield last + DONE


def _finished(choices: Sequence[Choice]) -> bool:
    """Whether all came to their end; an answer that was let go must not look whole."""
    return all(choice.finish_reason for choice in choices)


def _add(choice: Choice, piece: Piece) -> None:
    choice.text += piece.text
    choice.tokens += piece.tokens
    choice.finish_reason = piece.finish_reason
    choice.cached_tokens = piece.cached_tokens


async def _interleaved(generations: Sequence[Generation]) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of all generations as they come, each with its place; all are let go however this ends."""
    try:
        if len(generations) == 1:
            async for piece in generations[0]:
                yield 0, piece
            return
        steps = {index: asyncio.ensure_future(anext(one, None)) for index, one in enumerate(generations)}
        try:
            while steps:
                await asyncio.wait(steps.values(), return_when=asyncio.FIRST_COMPLETED)
                for index in [index for index, step in steps.items() if step.done()]:
                    news = steps[index].result()
                    if news is None:
                        del steps[index]
                    else:
                        yield index, news
                        steps[index] = asyncio.ensure_future(anext(generations[index], None))
        finally:
            for step in steps.values():
                step.cancel()
            await asyncio.gather(*steps.values(), return_exceptions=True)
    finally:
        _cancel(generations)
