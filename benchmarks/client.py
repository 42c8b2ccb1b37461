"""Scripted conversations with a gateway through the official `openai` client, as any chat front end holds them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote

import httpx
from openai import AsyncOpenAI, BadRequestError, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletionMessageParam

from adherence import judges
from benchmarks.script import Script

REQUEST_TIMEOUT_S = 120.0


class UnexpectedArm(Exception):
    """The gateway put a conversation on an arm that it should not be on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One judged reply. `adherent` is None where the script has no checks, `fact` where the turn asked for none.

    `judged` is what the judge said, None for rubbish too; `by_checks` whether checks decided, so that both can be
    compared.
    """

    turn: int
    reply: str
    adherent: bool | None
    fact: bool | None
    ttft_ms: float
    was_judged: bool = False
    judged: bool | None = None
    by_checks: bool = False


@dataclass(slots=True)
class Conversation:
    """One script with one arm, as far as it went."""

    id: str
    script: Script
    model: str
    arm: str = ""
    answers: list[Answer] = field(default_factory=list)
    history: list[ChatCompletionMessageParam] = field(default_factory=list)
    window_full: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The ledger's rows of the answered turns, oldest first, in the ledger's own column names."""


T = TypeVar("T")


async def together(work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Results in order; the first failure cancels the rest and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


class Client:
    """Holds conversations with the gateway at `base_url` (no `/v1`), at most `concurrency` of them at a time.

    `judge` is the model that decides what no check does, and reads a share `judge_sample` of the scripts that checks
    decide too. `on_answer` is called after every answer, for progress bars.
    """

    def __init__(
        self,
        base_url: str,
        *,
        concurrency: int = 16,
        judge: str | None = None,
        judge_sample: float = 0.0,
        on_answer: Callable[[Conversation], None] = lambda _: None,
    ) -> None:
        self._judge = judge
        self._judge_sample = judge_sample
        self._on_answer = on_answer
        self._slots = asyncio.Semaphore(concurrency)
        # A retry would be a second row in the ledger and hide a failure, so there is none; nor does a proxy
        # that the environment names stand between this process and its own machine.
        self._openai = AsyncOpenAI(
            base_url=f"{base_url}/v1",
            api_key="none-needed",
            max_retries=0,
            timeout=REQUEST_TIMEOUT_S,
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )
        self._api = httpx.AsyncClient(base_url=f"{base_url}/api", timeout=REQUEST_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._openai.close()
        await self._api.aclose()

    async def hold(
        self, script: Script, model: str, conversation_id: str, *, turns: int, until_full: int = 0
    ) -> Conversation:
        """Hold a conversation of `turns` turns and fetch its ledger rows.

        With `until_full`, it goes on after that, to at most that many turns, until the gateway refuses a turn
        because the context window is full. A window that is full earlier ends the conversation earlier.

        Raises:
            openai.APIError: the gateway refused or broke off a turn for any other reason.
            UnexpectedArm: the gateway moved the conversation to another arm.
            httpx.HTTPError: the ledger could not be read.
        """
        conversation = Conversation(conversation_id, script, model)
        turns = script.length(turns)
        if script.instruction is not None:
            conversation.history.append({"role": "system", "content": script.instruction})
        conversation.history.extend(cast("list[ChatCompletionMessageParam]", [dict(one) for one in script.history]))
        async with self._slots:
            for turn in range(1, max(turns, until_full) + 1):
                if not await self._answered(conversation, turn):
                    break
            conversation.rows = await self._ledger_rows(conversation_id)
        return conversation

    async def _answered(self, conversation: Conversation, turn: int) -> bool:
        """Hold one turn; False when the window is full."""
        script, asked = conversation.script, conversation.script.turn(turn)
        conversation.history.append({"role": "user", "content": asked.user})
        try:
            reply, ttft_ms, arm = await self._stream(conversation.model, conversation.history, conversation.id)
            self._expect_arm(conversation, arm)
            conversation.history.append({"role": "assistant", "content": reply})
            shown = reply if asked.probe is None else await self._probed(conversation, asked.probe, turn)
        except BadRequestError as error:
            if error.code != "context_length_exceeded":
                raise
            conversation.window_full = True
            return False
        adherent = script.adherent(shown, turn)
        answer = Answer(turn, shown, adherent, asked.fact_holds(reply), ttft_ms, by_checks=adherent is not None)
        criterion = asked.criterion or script.instruction
        if self._judge is not None and criterion and (adherent is None or self._is_sampled(script)):
            judged = await self._judged(criterion, asked.probe or asked.user, shown)
            adherent = adherent if answer.by_checks else judged
            answer = replace(answer, adherent=adherent, was_judged=True, judged=judged)
        conversation.answers.append(answer)
        self._on_answer(conversation)
        return True

    def _expect_arm(self, conversation: Conversation, arm: str) -> None:
        if conversation.answers and arm != conversation.arm:
            raise UnexpectedArm(f"conversation {conversation.id} was moved from {conversation.arm!r} to {arm!r}")
        conversation.arm = arm

    def _is_sampled(self, script: Script) -> bool:
        """Whether the judge reads what checks decide: whole scripts, the same ones for every arm."""
        return random.Random(script.id).random() < self._judge_sample

    async def _probed(self, conversation: Conversation, probe: str, turn: int) -> str:
        """The answer to a probe on a fork of the conversation, which itself never hears of it."""
        history: list[ChatCompletionMessageParam] = [*conversation.history, {"role": "user", "content": probe}]
        named = not conversation.arm or ":" in conversation.model
        model = conversation.model if named else f"{conversation.model}:{conversation.arm}"
        reply, _, _ = await self._stream(model, history, f"{conversation.id}-probe-{turn}")
        return reply

    async def _judged(self, criterion: str, user: str, reply: str) -> bool | None:
        """The judge's verdict, through the gateway; None for rubbish."""
        assert self._judge is not None
        prompt = cast("list[ChatCompletionMessageParam]", judges.messages(criterion, user, reply))
        answer = await self._openai.chat.completions.create(model=self._judge, messages=prompt, temperature=0)
        return judges.read(answer.choices[0].message.content or "")

    async def _stream(
        self, model: str, history: list[ChatCompletionMessageParam], conversation_id: str
    ) -> tuple[str, float, str]:
        """Send a whole history; the streamed reply, milliseconds to its first text, and the arm that gave it."""
        started = time.perf_counter()
        response = await self._openai.chat.completions.with_raw_response.create(
            model=model,
            messages=history,
            stream=True,
            temperature=0,
            extra_headers={"x-gattway-conversation-id": conversation_id},
        )
        pieces: list[str] = []
        ttft_ms = 0.0
        async for chunk in response.parse():
            if chunk.choices and (text := chunk.choices[0].delta.content):
                ttft_ms = ttft_ms or (time.perf_counter() - started) * 1000
                pieces.append(text)
        return "".join(pieces), ttft_ms, response.headers.get("x-gattway-arm", "")

    async def _ledger_rows(self, conversation_id: str) -> list[dict[str, Any]]:
        response = await self._api.get(f"/conversations/{quote(conversation_id, safe='')}")
        response.raise_for_status()
        rows = [row for row in response.json()["turns"] if row["http_status"] == 200]
        return sorted(rows, key=lambda row: row["turn"])
