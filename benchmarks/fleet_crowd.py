"""Clients of a fleet: conversations without ids, held with the openai client from a thread, until told to end."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import openai

from benchmarks.fleet_parts import until

TURNS = 5
THINK_S = (0.3, 0.9)
AGAIN_S = 0.3
WITHIN_S = 60.0
INSTRUCTIONS = ('Include the word "indeed" in every answer.', 'Include the word "garden" in every answer.')
"""The upstream keeps the first of them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn that was answered to its end: of which of the crowd's conversations, and what its headers said.

    `asked_at` and `ended_at` are seconds since 1970; `stays` is whether the balancer keeps conversations in place.
    """

    conversation: int
    turn: int
    stays: bool
    request_id: str
    conversation_id: str
    arm: str
    said_turn: int
    gateway: str
    asked_at: float
    ended_at: float


class Crowd:
    """Talks with `experiment` from the moment it is made.

    Args:
        urls: the balancer that keeps conversations in place, and the one that does not; half of the clients each.
    """

    def __init__(self, urls: Sequence[str], experiment: str, key: str, clients: int, seed: int) -> None:
        self.answers: list[Answer] = []
        self.failures: list[tuple[float, str]] = []
        """Requests that failed, with the time; the clients do not retry, the crowd asks again until it is answered."""
        self._experiment = experiment
        self._dice = random.Random(seed)
        self._numbers = count()
        self._ending = False
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(urls, key, clients), name="crowd", daemon=True)
        self._thread.start()

    def goes_on(self, answers: int) -> None:
        """Return after so many answers more.

        Raises:
            RuntimeError: they did not come in time, or a client failed otherwise than the openai client does.
        """
        wanted = len(self.answers) + answers
        if not until(lambda: len(self.answers) >= wanted or self._problem is not None, WITHIN_S) or self._problem:
            raise RuntimeError(
                f"{wanted - len(self.answers)} answers are missing; {self.failures[-3:]}"
            ) from self._problem

    def end(self) -> None:
        """Let every client end the conversation it is in."""
        self._ending = True
        self._thread.join(WITHIN_S)
        if self._thread.is_alive() or self._problem:
            raise RuntimeError(f"the clients did not come to an end; {self.failures[-3:]}") from self._problem

    def _run(self, urls: Sequence[str], key: str, clients: int) -> None:
        try:
            asyncio.run(self._talk(urls, key, clients))
        except BaseException as error:
            self._problem = error

    async def _talk(self, urls: Sequence[str], key: str, clients: int) -> None:
        async with (
            openai.AsyncOpenAI(base_url=f"{urls[0]}/v1", api_key=key, timeout=20, max_retries=0) as staying,
            openai.AsyncOpenAI(base_url=f"{urls[1]}/v1", api_key=key, timeout=20, max_retries=0) as going,
        ):
            one_each = [(staying, True) if number % 2 else (going, False) for number in range(clients)]
            await asyncio.gather(*(self._client(client, stays) for client, stays in one_each))

    async def _client(self, client: openai.AsyncOpenAI, stays: bool) -> None:
        while not self._ending:
            await self._converse(client, next(self._numbers), stays)

    async def _converse(self, client: openai.AsyncOpenAI, number: int, stays: bool) -> None:
        messages: list[dict[str, Any]] = [{"role": "system", "content": INSTRUCTIONS[number // 2 % 2]}]
        for turn in range(1, TURNS + 1):
            messages.append({"role": "user", "content": f"Visitor {number} asks question {turn}. Are you there?"})
            text, answer = await self._ask(client, messages, number, turn, stays)
            self.answers.append(answer)
            messages.append({"role": "assistant", "content": text})
            await asyncio.sleep(self._dice.uniform(*THINK_S))

    async def _ask(
        self, client: openai.AsyncOpenAI, messages: list[Any], number: int, turn: int, stays: bool
    ) -> tuple[str, Answer]:
        """Ask until there is an answer, as a person does who sees an error."""
        while True:
            asked_at = time.time()
            try:
                headers, text = await self._once(client, messages, stream=turn % 2 == 1)
            except (openai.APIError, httpx.TransportError) as error:
                self.failures.append((time.time(), f"{type(error).__name__}: {error}"))
                await asyncio.sleep(AGAIN_S)
                continue
            return text, Answer(
                number,
                turn,
                stays,
                headers["x-request-id"],
                headers["x-gattway-conversation-id"],
                headers["x-gattway-arm"],
                int(headers["x-gattway-turn"]),
                headers["x-served-by"],
                asked_at,
                time.time(),
            )

    async def _once(
        self, client: openai.AsyncOpenAI, messages: list[Any], *, stream: bool
    ) -> tuple[httpx.Headers, str]:
        raw = client.chat.completions.with_raw_response
        if not stream:
            whole = await raw.create(model=self._experiment, messages=messages)
            return whole.headers, whole.parse().choices[0].message.content or ""
        begun = await raw.create(model=self._experiment, messages=messages, stream=True)
        parts, finished = [], False
        async for chunk in begun.parse():
            for choice in chunk.choices:
                parts.append(choice.delta.content or "")
                finished = finished or choice.finish_reason is not None
        if not finished:
            raise httpx.RemoteProtocolError("the stream broke off")
        return begun.headers, "".join(parts)
