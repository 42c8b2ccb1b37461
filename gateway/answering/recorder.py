"""Where a turn goes when it has ended: the ledger, the metrics, and the memory of conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from gateway.access.limits import Limiter
from gateway.errors import UpstreamError
from gateway.identity import Identifier, named_user
from gateway.ledger.books import Books
from gateway.ledger.content import Said
from gateway.ledger.records import Answered, Assignment, Turn
from gateway.metrics import Metrics

Observer = Callable[[Turn], None]


class Recorder:
    """Records turns, each once; `observers` see each beside the metrics, and must be quick."""

    def __init__(
        self,
        books: Books,
        metrics: Metrics,
        identifier: Identifier,
        limiter: Limiter,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._writer = books.writer
        self._content = books.content
        self._vault = books.vault
        self._metrics = metrics
        self._identifier = identifier
        self._limiter = limiter
        self._observers = (metrics.observe, *observers)
        self.in_flight = 0
        """Requests that have begun and are not recorded yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.closing = asyncio.Event()
        """Set when the gateway stops and waits for nothing but what must be written."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be recorded at present, or None."""
        return self._writer.problem

    def begin(self, row: Turn) -> None:
        """Count a request as in flight, until its `record`; the ledger notes that it has begun, beside its way."""
        self._writer.begin(row)
        self.in_flight += 1
        self._metrics.in_flight.set(self.in_flight)

    def user_hash(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
        """The name under which the ledger knows the user whom a request names; None without a user, or a key."""
        user = named_user(headers, body) if self._vault is not None else None
        return self._vault.user_hash(user) if self._vault is not None and user else None

    async def record(self, row: Turn, assignment: Assignment | None, said: Said | None = None) -> None:
        """Return once the row is on disk. Raises LedgerError when it cannot be put there now."""
        for observe in self._observers:
            observe(row)
        if assignment is not None:
            self._metrics.count_dealt(assignment)
        if (answered := Answered.of(row)) is not None:
            self._identifier.remember(answered)
        try:
            await self._limiter.charge(row)
            sealed = None
            if self._content is not None and said is not None:
                sealed = await self._content.sealed(row.request_id, row.parent_request_id, said)
            await self._writer.write(row, assignment, sealed)
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
        """Wait for all that was spawned; nothing more may be begun."""
        self.closing.set()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
