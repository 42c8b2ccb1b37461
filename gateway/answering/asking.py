"""Questions of the gateway's own to a model: judges, summaries, shadow answers. Nobody waits at the other end."""

from __future__ import annotations

from typing import Any

from gateway.answering.answer import Answer
from gateway.catalogue import Model
from gateway.metrics import Metrics
from gateway.settings import TimeoutSettings
from gateway.wire.observe import Observation
from strategies import Message


class Asker:
    """Asks models, within the limits of time that hold for clients too."""

    def __init__(self, limits: TimeoutSettings, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics

    async def answer(self, model: Model, body: dict[str, Any], request_id: str) -> Observation:
        """A whole answer. Raises GatewayError when there is none."""
        answer = Answer(model, self._limits, wants_usage=True)
        try:
            await answer.begin(body, stream=False, headers={"x-request-id": request_id})
        finally:
            await answer.close()
        return answer.seen

    async def judge(self, model: Model, messages: list[Message]) -> str:
        """A judge's words, greedily; its tokens are counted in the metrics. Raises GatewayError when there are none."""
        seen = await self.answer(model, {"messages": messages, "temperature": 0, "max_tokens": 200}, "judge")
        if seen.usage is not None:
            self._metrics.judge_tokens.labels(model.name, "prompt").inc(seen.usage.prompt_tokens or 0)
            self._metrics.judge_tokens.labels(model.name, "completion").inc(seen.usage.completion_tokens or 0)
        return "".join(seen.text)
