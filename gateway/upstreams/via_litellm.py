"""Every provider that litellm knows, through litellm's own translation.

litellm's import takes seconds and, unless told not to, reads the network: it is imported when the first upstream
of this kind is built, at the gateway's start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar

from gateway.errors import BadRequest, GatewayError, UpstreamStatus, UpstreamTimeout, UpstreamUnavailable
from gateway.sections.upstreams import LiteLLMUpstreamSettings
from gateway.upstreams.base import Reply
from gateway.wire.sse import DONE, event


class LiteLLMUpstream:
    """All models of one provider, by litellm's names (`anthropic/…`, `bedrock/…`, `gemini/…`)."""

    kind: ClassVar[str] = "litellm"

    def __init__(self, settings: LiteLLMUpstreamSettings) -> None:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        import litellm

        litellm.telemetry = False
        litellm.suppress_debug_info = True
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):  # they quote what is sent; errors come back as such
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._litellm: Any = litellm
        self._options: dict[str, Any] = {"num_retries": 0, "max_retries": 0}
        key = settings.api_key()
        if key is not None:
            self._options["api_key"] = key.get_secret_value()
        if settings.base_url is not None:
            self._options["api_base"] = settings.base_url

    async def send(self, body: dict[str, Any], *, stream: bool, headers: Mapping[str, str]) -> Reply:
        """See `Upstream.send`."""
        try:
            answer = await self._litellm.acompletion(**{**body, "stream": stream}, **self._options)
        except Exception as error:
            raise self._translated(error) from None
        if not stream:
            return Reply(200, {}, _once(answer.model_dump_json().encode()), _nothing)
        return Reply(200, {}, self._events(answer), _closer(answer))

    async def relay(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See `Upstream.relay`: litellm translates chat completions here, and nothing else."""
        raise BadRequest(
            "This model answers /v1/chat/completions and /v1/responses only: its provider is reached through litellm. "
            "Name a model of an upstream of kind 'openai'.",
            param="model",
            code="unsupported_route",
        )

    async def close(self) -> None:
        """litellm keeps its own connections; nothing is held here."""

    async def _events(self, answer: Any) -> AsyncIterator[bytes]:
        iterator = aiter(answer)
        while True:
            try:
                chunk = await anext(iterator)
            except StopAsyncIteration:
                yield DONE
                return
            except Exception as error:
                raise self._translated(error) from None
            for part in _as_openai(chunk.model_dump()):
                yield event(part)

    def _translated(self, error: Exception) -> GatewayError:
        """litellm's exceptions carry OpenAI's status; what has none is a failure to reach the provider."""
        if isinstance(error, TimeoutError | self._litellm.exceptions.Timeout):
            return UpstreamTimeout("The provider did not answer in time.")
        status = getattr(error, "status_code", None)
        if not isinstance(status, int) or any(isinstance(cause, OSError) for cause in _causes(error)):
            return UpstreamUnavailable(f"The provider could not be reached ({type(error).__name__}).")
        code = getattr(error, "code", None)
        if isinstance(error, self._litellm.exceptions.ContextWindowExceededError):
            code = "context_length_exceeded"
        details = {"message": str(getattr(error, "message", error)), "type": getattr(error, "type", None), "code": code}
        return UpstreamStatus(status, {"error": details})


def _as_openai(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """litellm puts usage into a chunk that has a choice; OpenAI sends it behind all others, with none."""
    usage = chunk.pop("usage", None)
    parts = [chunk] if any(_says_something(choice) for choice in chunk["choices"]) else []
    return parts if usage is None else [*parts, {**chunk, "choices": [], "usage": usage}]


def _says_something(choice: dict[str, Any]) -> bool:
    return choice.get("finish_reason") is not None or any(choice["delta"].values())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _nothing() -> None:
    return


def _closer(answer: Any) -> Any:
    async def close() -> None:
        aclose = getattr(answer, "aclose", None)
        if aclose is not None:
            await aclose()

    return close
