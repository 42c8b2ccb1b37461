"""Candidates from any OpenAI-compatible endpoint: vLLM, TGI, llama.cpp, Ollama, a gateway, a provider.

Requests run side by side up to a bound. What may pass by itself (no connection, a time limit, 408, 409, 429, 5xx) is
tried again with growing pauses that honour `retry-after`; what is left is reported with its row. Servers that give one
choice where `n` were asked for are asked again for the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatt.samplers.base import Draw, Failure, Keep, Request, SamplerError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError
    from openai.types.chat import ChatCompletion
    from tenacity import RetryCallState

_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Endpoint:
    """Where it is and how hard it may be asked. The key is read from the environment variable `api_key_env`."""

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 32
    timeout_s: float = 120.0
    attempts: int = 6
    first_pause_s: float = 0.5

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1:
            raise ValueError("concurrency and attempts must be at least 1")
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url must begin with http:// or https://, not {self.base_url!r}")

    def key(self) -> str:
        """The key, or a filler where none is needed.

        Raises:
            SamplerError: the variable that should hold it is not set.
        """
        if self.api_key_env is None:
            return "none"
        if not os.environ.get(self.api_key_env):
            raise SamplerError(f"endpoint {self.base_url}: the environment variable {self.api_key_env} is not set")
        return os.environ[self.api_key_env]


class EndpointSampler:
    """One endpoint."""

    batches = False

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def draw(self, requests: Sequence[Request], how: Draw, keep: Keep) -> list[Failure]:
        """See `Sampler.draw`.

        Raises:
            SamplerError: no request of several was answered because there is no connection.
        """
        return asyncio.run(self._draw(requests, how, keep))

    async def _draw(self, requests: Sequence[Request], how: Draw, keep: Keep) -> list[Failure]:
        from openai import APIConnectionError, AsyncOpenAI

        where = self._endpoint
        slots = asyncio.Semaphore(where.concurrency)
        unreachable: list[OpenAIError] = []
        failures: dict[int, Failure] = {}
        async with AsyncOpenAI(
            base_url=where.base_url, api_key=where.key(), max_retries=0, timeout=where.timeout_s
        ) as client:

            async def one(at: int, request: Request) -> None:
                async with slots:
                    if len(unreachable) >= where.concurrency:
                        failures[at] = Failure(request.row, "not tried: the endpoint cannot be reached")
                        return
                    found = await self._candidates(client, request, how)
                if isinstance(found, list):
                    unreachable.clear()
                    keep(at, found)
                    return
                failures[at] = Failure(request.row, _reason(found))
                if isinstance(found, APIConnectionError):
                    unreachable.append(found)

            async with asyncio.TaskGroup() as group:
                for at, request in enumerate(requests):
                    group.create_task(one(at, request))
        if unreachable and len(failures) == len(requests):
            raise SamplerError(
                f"endpoint {where.base_url} cannot be reached ({_reason(unreachable[0])}; "
                f"first row: {requests[0].row}); start it or mend base_url, then run again: what was sampled is kept"
            )
        return [failures[at] for at in sorted(failures)]

    async def _candidates(self, client: AsyncOpenAI, request: Request, how: Draw) -> list[str] | OpenAIError:
        """All candidates, an empty list where the window is full, or the last error."""
        from openai import BadRequestError, OpenAIError

        found: list[str] = []
        try:
            while len(found) < how.candidates:
                body = {
                    "model": self._endpoint.model,
                    "messages": list(request.messages),
                    "n": how.candidates - len(found),
                    "temperature": how.temperature,
                    "max_tokens": how.max_new_tokens,
                    "seed": how.number(f"{request.row}/{len(found)}"),
                }
                found += await self._answers(client, body)
        except BadRequestError as error:
            return [] if error.code == "context_length_exceeded" or "context length" in str(error) else error
        except OpenAIError as error:
            return error
        return found

    async def _answers(self, client: AsyncOpenAI, body: dict[str, Any]) -> list[str]:
        from openai import APIConnectionError, APIStatusError, OpenAIError
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        def passes(error: BaseException) -> bool:
            if isinstance(error, APIStatusError):
                return error.status_code in (408, 409, 429) or error.status_code >= 500
            return isinstance(error, APIConnectionError)

        retrying = AsyncRetrying(
            retry=retry_if_exception(passes),
            stop=stop_after_attempt(self._endpoint.attempts),
            wait=self._pause,
            reraise=True,
        )

        async def once() -> ChatCompletion:
            made: ChatCompletion = await client.chat.completions.create(**body)
            return made

        answer: ChatCompletion = await retrying(once)
        if not answer.choices:
            raise OpenAIError("the endpoint answered without a choice")
        return [(choice.message.content or "").strip() for choice in answer.choices]

    def _pause(self, state: RetryCallState) -> float:
        """Seconds until the next attempt: what the server asks for, else growing ones with jitter."""
        from tenacity import wait_random_exponential

        error = state.outcome.exception() if state.outcome else None
        asked = getattr(getattr(error, "response", None), "headers", {}).get("retry-after", "")
        if asked.replace(".", "", 1).isdigit():
            return min(float(asked), _LONGEST_PAUSE_S)
        grown: float = wait_random_exponential(multiplier=self._endpoint.first_pause_s, max=_LONGEST_PAUSE_S)(state)
        return grown


def _reason(error: Exception) -> str:
    """The error in one line, without anything that was sent."""
    status = getattr(error, "status_code", None)
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
    return f"status {status}: {text}" if status else f"{text}{cause}"
