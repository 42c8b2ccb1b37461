"""The other arm's answer to the same history, for a share of the turns: computed, examined and booked, never shown.

So both arms are compared on the very same history, which no split of conversations gives. A shadow's row names the
request that it shadows and is left out of every sum, limit and identity; only `gattway report` reads it, and its money
is in `gattway_shadow_cost_usd_total`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.answering.asking import Asker
from gateway.answering.counting import Counting
from gateway.answering.usage import account
from gateway.catalogue import Arm, Experiment
from gateway.errors import GatewayError, http_status
from gateway.experiments.assignment import deal, is_within, position
from gateway.experiments.budgets import Budgets
from gateway.experiments.examiner import Ended, Examiner
from gateway.ledger.records import Turn
from gateway.ledger.writer import Writer
from gateway.metrics import Metrics
from gateway.wire.observe import Observation
from gateway.wire.request import ChatRequest

AT_ONCE = 4
WAITING_AT_MOST = 200

log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """A turn that was answered, as its shadow needs it."""

    ended: Ended
    request: ChatRequest

    @property
    def body(self) -> dict[str, Any]:
        """The request's, for an answer that nobody waits for."""
        left_out = {*self.request.kept_here, "stream", "stream_options"}
        return {name: value for name, value in self.request.body.items() if name not in left_out}


class Shadows:
    """Computes shadow answers, a few at a time; what is too many is left out and counted."""

    def __init__(
        self,
        experiments: Mapping[str, Experiment],
        asker: Asker,
        examiner: Examiner,
        writer: Writer,
        metrics: Metrics,
        counting: Counting,
        budgets: Budgets,
    ) -> None:
        self._experiments = experiments
        self._asker = asker
        self._examiner = examiner
        self._writer = writer
        self._metrics = metrics
        self._counting = counting
        self._budgets = budgets
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, shown: Shown) -> None:
        """Have another arm answer too, if the turn is in the share; returns at once."""
        row = shown.ended.row
        experiment = self._experiments.get(row.experiment or "")
        if experiment is None or row.excluded is not None or row.arm is None:
            return
        if not is_within(experiment.shadow, "shadow", row.request_id):
            return
        others = {name: arm.weight for name, arm in experiment.arms.items() if name != row.arm and arm.weight > 0}
        if not others or len(self._tasks) >= WAITING_AT_MOST:
            self._metrics.shadows.labels(experiment.name, "", "skipped").inc()
            return
        arm = self._budgets.current(experiment, experiment.arms[deal(others, position("shadow-arm", row.request_id))])
        task = asyncio.create_task(self._answer(shown, arm))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait for all that was begun."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await self.settled()

    async def _answer(self, shown: Shown, arm: Arm) -> None:
        async with self._slots:
            ended, body = shown.ended, shown.body
            row = _begun(ended.row, arm)
            started, seen = time.perf_counter(), Observation()
            placed = arm.strategy.place(ended.messages, arm.instruction)
            counts = self._counting.start(
                arm, body, ended.messages, placed, continues=ended.row.parent_request_id is not None
            )
            try:
                seen = await self._asker.answer(arm.model, {**body, "messages": placed}, row.request_id)
                row.status, row.http_status, row.finish_reason = "ok", 200, seen.finish_reason
            except GatewayError as error:
                row.status, row.http_status, row.error_code = "error", http_status(error), error.code or error.type
            row.completion_id, row.attempts = seen.completion_id, 1
            row.duration_ms = (time.perf_counter() - started) * 1e3
            await account(row, arm.model, seen, counts)
            await self._book(row)
        if row.status == "ok":
            self._examiner.offer(Ended(row, ended.messages, arm.instruction, "".join(seen.text)))

    async def _book(self, row: Turn) -> None:
        self._metrics.shadows.labels(row.experiment or "", row.arm or "", row.status).inc()
        if row.cost_usd:
            self._metrics.shadow_cost.labels(row.experiment or "", row.arm or "").inc(row.cost_usd)
        try:
            await self._writer.write(row)
        except GatewayError as error:
            log.warning("a shadow's row could not be written: %s", error.message)


def _begun(shown: Turn, arm: Arm) -> Turn:
    return Turn(
        request_id=f"shadow_{uuid.uuid4().hex}",
        conversation_id=shown.conversation_id,
        identity_source=shown.identity_source,
        parent_request_id=shown.parent_request_id,
        experiment=shown.experiment,
        arm=arm.name,
        forced=False,
        strategy=arm.strategy.name,
        model=arm.model.name,
        upstream=arm.model.upstream_name,
        turn=shown.turn,
        started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        context_window=arm.model.window,
        key_name=shown.key_name,
        excluded="shadow",
        shadow_of=shown.request_id,
        user_hash=shown.user_hash,
    )
