"""The gateway's parts, each given those that it works with; started together, and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from gateway.access.gate import Gate
from gateway.access.keys import Keyring
from gateway.access.leased_meters import LeasedMeters, over_database, over_file
from gateway.access.limits import DAY_S, Limiter
from gateway.answering.aftermath import Aftermath
from gateway.answering.asking import Asker
from gateway.answering.attempts import Attempts
from gateway.answering.breaker import Breaker
from gateway.answering.condensing import Condensing
from gateway.answering.counting import Counting
from gateway.answering.draining import Draining
from gateway.answering.ending import Means
from gateway.answering.recorder import Recorder
from gateway.answering.shadows import Shadows
from gateway.auxiliary import Auxiliary
from gateway.catalogue import Catalogue
from gateway.chat import Chat
from gateway.experiments.allocation import Allocations
from gateway.experiments.assigner import Assigner
from gateway.experiments.budgets import Budgets
from gateway.experiments.examiner import Examiner
from gateway.experiments.report import curves
from gateway.experiments.split import Split
from gateway.experiments.upkeep import Upkeep
from gateway.identity import Identifier
from gateway.ledger.books import Books, open_books
from gateway.metrics import Metrics
from gateway.other_routes import OtherRoutes
from gateway.settings import Settings
from gateway.telemetry.otlp import Otlp
from gateway.telemetry.request_log import log_request


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes and the lifespan of one gateway need."""

    catalogue: Catalogue
    books: Books
    metrics: Metrics
    keyring: Keyring
    meters: LeasedMeters | None
    limiter: Limiter
    otlp: Otlp | None
    recorder: Recorder
    draining: Draining
    allocations: Allocations
    budgets: Budgets
    aftermath: Aftermath
    upkeep: Upkeep
    chat: Chat
    others: OtherRoutes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start what works beside the requests; afterwards, write what is left and let everything go."""
        await asyncio.to_thread(self.books.start)
        await self.limiter.restore(await asyncio.to_thread(self.books.local.spent, DAY_S))
        await self.allocations.refresh(bandit=True)
        keeping_up = [asyncio.create_task(part.run()) for part in (self.allocations, self.budgets)]
        self.aftermath.examiner.start()
        self.upkeep.start()
        async with self.meters.kept() if self.meters else nullcontext():
            async with self.metrics.kept_fresh():
                yield
            for task in keeping_up:
                task.cancel()
            await self.recorder.settle()
        await self.aftermath.shadows.stop()
        await self.aftermath.condensing.stop()
        await self.aftermath.examiner.stop()
        for upstream in {id(arm.model.upstream): arm.model.upstream for arm in self.catalogue.direct.values()}.values():
            await upstream.close()
        await asyncio.to_thread(self.upkeep.close)
        await asyncio.to_thread(self.books.close)
        if self.otlp is not None:
            await asyncio.to_thread(self.otlp.close)


def assemble(settings: Settings, catalogue: Catalogue) -> Parts:
    """Make all parts.

    Args:
        catalogue: what clients may name; closed when the gateway stops.

    Raises:
        ConfigError: the ledger cannot be opened.
    """
    books, metrics, keyring = open_books(settings.ledger), Metrics(), Keyring(settings.keys)
    metrics.expect(catalogue)
    alone = settings.server.workers == 1 and settings.ledger.url is None
    meters = None if alone else _shared_meters(settings, books, metrics)
    limiter = Limiter(keyring, meters)
    id_headers, max_id_chars = settings.identity.headers, settings.bounds.max_id_chars
    identifier = Identifier(books.lookup, id_headers, max_id_chars, alone=alone)
    otlp = Otlp(settings) if settings.telemetry.otlp_endpoint else None
    observers = [log_request, otlp.observe] if otlp else [log_request]
    recorder = Recorder(books, metrics, identifier, limiter, observers)
    gate, draining = Gate(limiter, settings.bounds), Draining(recorder)
    attempts = Attempts(settings.retries, Breaker(settings.breaker))
    means = Means(recorder, attempts, settings.timeouts, settings.streaming)
    counting, auxiliary = Counting(settings.accounting.compare), Auxiliary(settings.auxiliary)
    allocations = _allocations(catalogue, books, metrics)
    assigner = Assigner(books.lookup, allocations)
    budgets = Budgets(catalogue.experiments, partial(curves, books.store.engine), books.lookup)
    aftermath = _aftermath(settings, catalogue, books, metrics, counting, budgets)
    return Parts(
        catalogue=catalogue,
        books=books,
        metrics=metrics,
        keyring=keyring,
        meters=meters,
        limiter=limiter,
        otlp=otlp,
        recorder=recorder,
        draining=draining,
        allocations=allocations,
        budgets=budgets,
        aftermath=aftermath,
        upkeep=Upkeep(settings.ledger, books.store.engine),
        chat=Chat(catalogue, identifier, assigner, budgets, gate, auxiliary, draining, means, counting, aftermath),
        others=OtherRoutes(catalogue, gate, draining, means, settings.relay, id_headers, max_id_chars),
    )


def _shared_meters(settings: Settings, books: Books, metrics: Metrics) -> LeasedMeters:
    """Limits over all gateways of a database, or all workers of a file."""
    run = over_database(books.shared) if books.shared else over_file(settings.ledger.path)
    meters = LeasedMeters(run, settings.server.workers, timeout_s=4 * settings.ledger.lookup_timeout_s)
    metrics.read(metrics.limits_degraded, lambda: meters.degraded)
    return meters


def _allocations(catalogue: Catalogue, books: Books, metrics: Metrics) -> Allocations:
    """The shares in force, which the metrics read when they are asked, as they do the ledger's state."""
    splits = {name: experiment.split for name, experiment in catalogue.experiments.items()}
    allocations = Allocations(splits, books.local.allocations, books.local.tallies, books.writer.amend)
    metrics.read(metrics.ledger_pending, lambda: books.pending)
    metrics.read(metrics.ledger_lag, lambda: books.lag_s)
    for split in splits.values():
        for arm in split.weights:
            metrics.read(metrics.arm_share.labels(split.name, arm), partial(_share, allocations, split, arm))
    return allocations


def _share(allocations: Allocations, split: Split, arm: str) -> float:
    return allocations.of(split).shares.get(arm, 0.0)


def _aftermath(
    settings: Settings,
    catalogue: Catalogue,
    books: Books,
    metrics: Metrics,
    counting: Counting,
    budgets: Budgets,
) -> Aftermath:
    """Examiner, shadows and summaries, which ask models on the gateway's own account."""
    asker = Asker(settings.timeouts, metrics)
    plans = {name: experiment.examination for name, experiment in catalogue.experiments.items()}
    examiner = Examiner(plans, asker.judge, books.writer.amend, metrics)
    shadows = Shadows(catalogue.experiments, asker, examiner, books.writer, metrics, counting, budgets)
    return Aftermath(examiner, shadows, Condensing(catalogue.experiments, asker, books, metrics, counting))
