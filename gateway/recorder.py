"""Where a turn goes when it has ended: the ledger, the metrics, and the memory of conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.errors import UpstreamError
from gateway.identity import Identifier
from gateway.ledger.records import Answered, Assignment, Turn
from gateway.ledger.writer import Writer
from gateway.limits import Limiter
from gateway.metrics import Metrics


class Recorder:
    """Records turns, each once."""

    def __init__(self, writer: Writer, metrics: Metrics, identifier: Identifier, limiter: Limiter) -> None:
        self._writer = writer
        self._metrics = metrics
        self._identifier = identifier
        self._limiter = limiter
        self.in_flight = 0
        """Requests that have begun and are not recorded yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def problem(self) -> str | None:
        """Why nothing can be recorded at present, or None."""
        return self._writer.problem

    def begin(self) -> None:
        """Count a request as in flight, until its `record`."""
        self.in_flight += 1
        self._metrics.in_flight.set(self.in_flight)

    async def record(self, row: Turn, assignment: Assignment | None) -> None:
        """Return once the row is on disk. Raises LedgerError when it cannot be put there now."""
        self._metrics.observe(row)
        if assignment is not None:
            self._metrics.conversations.labels(assignment.experiment, assignment.arm).inc()
        if row.history_hash and row.answered_hash:
            self._identifier.remember(
                Answered(
                    row.request_id,
                    row.conversation_id,
                    row.parent_request_id,
                    row.turn,
                    row.history_hash,
                    row.answered_hash,
                    row.context_used,
                )
            )
        try:
            await self._limiter.charge(row)
            await self._writer.write(row, assignment)
        finally:
            self.in_flight -= 1
            self._metrics.in_flight.set(self.in_flight)

    def count_failure(self, model: str, error: UpstreamError) -> None:
        """Count an upstream's failure."""
        self._metrics.upstream_errors.labels(model, error.kind).inc()

    def count_abort(self, by: str) -> None:
        """Count an answer that was broken off by the `client` or the `upstream`."""
        self._metrics.aborted.labels(by).inc()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the request that asks for it, which may be cancelled at any moment."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for all that was spawned."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
