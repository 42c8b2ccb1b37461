"""Deciding on the adherence of answers beside the traffic: from a bounded queue, after the answer has gone out.

A full queue drops what comes, counted; no request ever waits for a verdict. Whole conversations are sampled, by hash,
so that every turn of a curve is about the same conversations.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from adherence import judges, verdict
from gateway.catalogue import Examination, Model
from gateway.errors import GatewayError
from gateway.experiments.assignment import is_within
from gateway.ledger.amendments import CHECKS, JUDGE, Amendment
from gateway.ledger.records import Turn, Verdict
from gateway.metrics import Metrics
from strategies import Message, instruction_of
from strategies.instruction import text_of

QUEUED_AT_MOST = 2000
WORKERS = 4
"""Judges that are asked at the same time, and visits to a thread."""
TOGETHER = 32
"""Answers that one visit checks."""
LINGER_S = 0.05
"""How long an answer waits for others to be checked with it: a visit to a thread and a commit cost more than checks."""
STOP_WITHIN_S = 5.0

log = logging.getLogger(__name__)
Ask = Callable[[Model, list[Message]], Awaitable[str]]
"""Asks a model a question of the gateway's own; returns its text. Raises GatewayError when it gives none."""


class Ended(NamedTuple):
    """An answered turn: its row, what the client sent, the arm's own instruction if it sets one, and the answer."""

    row: Turn
    messages: Sequence[Message]
    instruction: str | None
    reply: str


class Examiner:
    """Examines answers, a few at a time."""

    def __init__(
        self,
        plans: Mapping[str, Examination],
        ask: Ask,
        amend: Callable[[Amendment], Awaitable[None]],
        metrics: Metrics,
        queued_at_most: int = QUEUED_AT_MOST,
    ) -> None:
        self._plans = plans
        self._ask = ask
        self._amend = amend
        self._metrics = metrics
        self._queue: asyncio.Queue[Ended] = asyncio.Queue(queued_at_most)
        self._workers: list[asyncio.Task[None]] = []
        self._judging = asyncio.Semaphore(WORKERS)
        self._gathering = asyncio.Lock()

    def offer(self, ended: Ended) -> None:
        """Have an answer examined some time, if it has an instruction to keep and its conversation is in the sample;
        returns at once."""
        plan = self._plans.get(ended.row.experiment or "")
        if plan is None or not is_within(plan.sample, "adherence", ended.row.conversation_id):
            return
        if not (ended.instruction or instruction_of(ended.messages)):
            return
        try:
            self._queue.put_nowait(ended)
        except asyncio.QueueFull:
            self._metrics.examinations_dropped.inc()

    def start(self) -> None:
        """Begin to work."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        """Finish what is queued, as far as a few seconds go, and stop."""
        try:
            await asyncio.wait_for(self._queue.join(), STOP_WITHIN_S)
        except TimeoutError:
            log.warning("%d answers stay unexamined", self._queue.qsize())
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until all that was offered is examined."""
        await self._queue.join()

    async def _work(self) -> None:
        while True:
            waiting = await self._gathered()
            try:
                await self._examine_all(waiting)
            except GatewayError as error:
                log.warning("verdicts could not be written: %s", error.message)
            except Exception:
                log.exception("an examination failed")
            finally:
                for _ in waiting:
                    self._queue.task_done()

    async def _gathered(self) -> list[Ended]:
        """The next answers, as many as come together."""
        async with self._gathering:
            waiting = [await self._queue.get()]
            if self._queue.qsize() + 1 < TOGETHER:
                await asyncio.sleep(LINGER_S)
            while len(waiting) < TOGETHER and not self._queue.empty():
                waiting.append(self._queue.get_nowait())
        return waiting

    async def _examine_all(self, waiting: list[Ended]) -> None:
        """Check answers in one visit to a thread, have the judges asked side by side, and write all verdicts at once:
        in a rush each answer by itself would cost as much as the turn did."""
        instructed = [
            (self._plans[ended.row.experiment or ""], instruction, ended)
            for ended in waiting
            if (instruction := ended.instruction or instruction_of(ended.messages))
        ]
        if not instructed:
            return
        checked = await asyncio.to_thread(_checked, instructed)
        said = await asyncio.gather(*(self._ruled(*one) for one in checked))
        verdicts = [verdict for some in said for verdict in some]
        if verdicts:
            await self._amend(Amendment(verdicts))

    async def _ruled(self, plan: Examination, instruction: str, ended: Ended, found: bool | None) -> list[Verdict]:
        said: list[tuple[str, bool | None]] = [(CHECKS, found)] if found is not None else []
        if plan.judge is not None and is_within(plan.judge_sample, "judge", ended.row.conversation_id):
            said.append((f"{JUDGE}:{plan.judge.name}", await self._judged(plan.judge, instruction, ended)))
        row = ended.row
        ruling = next((adherent for _, adherent in said if adherent is not None), None)
        self._metrics.count_adherence(row.experiment, row.arm, row.turn, ruling)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return [
            Verdict(row.request_id, source, row.experiment or "", row.arm or "", adherent, now)
            for source, adherent in said
        ]

    async def _judged(self, judge: Model, instruction: str, ended: Ended) -> bool | None:
        """The judge's verdict; None for rubbish and for a judge that does not answer."""
        user = next((m for m in reversed(ended.messages) if m.get("role") == "user"), {})
        messages = judges.messages(instruction, text_of(user.get("content")), ended.reply)
        try:
            async with self._judging:
                return judges.read(await self._ask(judge, list(messages)))
        except GatewayError as error:
            log.info("the judge %s gave no verdict: %s", judge.name, error.message)
            return None


def _checked(
    answers: list[tuple[Examination, str, Ended]],
) -> list[tuple[Examination, str, Ended, bool | None]]:
    """The same with what the checks say of each, without those whose checks break."""
    found: list[tuple[Examination, str, Ended, bool | None]] = []
    for plan, instruction, ended in answers:
        try:
            found.append((plan, instruction, ended, verdict(plan.finder.checks(instruction), ended.reply)))
        except Exception:
            log.exception("an examination failed")
    return found
