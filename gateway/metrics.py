"""Every Prometheus series of the gateway, declared once.

Labels are bounded: experiments, arms, models, strategies and rules come from the config, never from what a client
sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from gateway import __version__
from gateway.catalogue import Catalogue
from gateway.errors import ClientLeft, GatewayError, UpstreamError
from gateway.ledger.records import Assignment, Turn
from gateway.telemetry.crossover import Crossovers
from gateway.telemetry.exemplars import Exemplars
from gateway.telemetry.exposition import Exposition, Series, is_multiprocess
from gateway.telemetry.tallies import Buckets, Sums

_ARM = ("experiment", "arm", "model")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1)
_ERRORS = (0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
_OVERHEAD_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_TURNS = (1, 2, 4, 6, 8, 10, 15, 20, 30, 50, 100)
_TURN_BUCKETS = ((1, "1"), (2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (20, "11-20"))
_LAST_TURN_BUCKET = "21+"
_TOKEN_KINDS = ("prompt", "completion", "cached", "cache_write", "reasoning", "instruction", "repeated_instruction")
_TOKENS = tuple((kind, f"{kind}_tokens") for kind in _TOKEN_KINDS)
_COST_KINDS = ("input", "cached", "cache_write", "output", "reasoning")
_COSTS = tuple((kind, f"cost_{kind}_usd") for kind in _COST_KINDS)
OUTCOMES = ("ok", "error", "aborted")

_UPSTREAM_ERRORS: list[type[UpstreamError]] = [UpstreamError, *UpstreamError.__subclasses__()]
_REFRESH_S = 1.0
_Merge = Literal["livesum", "livemax", "livemostrecent"]

Arm = tuple[str, str, str]
"""Experiment, arm and model; the first two are empty for a model that was named directly."""


class Metrics:
    """The series, in a registry of their own, so that two gateways in one process do not mix."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, and nothing that a gateway's dashboard asks for
        self._registry = CollectorRegistry()
        self._bound: dict[Arm, _Bound] = {}
        self._read: list[tuple[Gauge, Callable[[], float]]] = []
        self._crossovers = Crossovers()
        self.requests = self._counter("requests", "Requests by outcome.", *_ARM, "strategy", "outcome")
        self.refusals = self._counter("refusals", "Error answers of the gateway's own, by class.", "error")
        self.tokens = self._counter("tokens", "Tokens by kind.", *_ARM, "kind")
        self.cost = self._counter("cost_usd", "Cost in US dollars by kind.", *_ARM, "kind")
        self.counterfactual_tokens = self._counter(
            "counterfactual_tokens", "Prompt tokens that another strategy would have taken.", *_ARM, "strategy"
        )
        self.counterfactual_cost = self._counter(
            "counterfactual_cost_usd", "US dollars that another strategy would have cost.", *_ARM, "strategy"
        )
        self.context_used = self._histogram("context_used_ratio", "Share of the context window used.", _RATIOS, *_ARM)
        self.overflow = self._counter("context_overflow", "Prompts beyond the context window.", *_ARM, "action")
        self.conversations = self._counter("conversations", "Conversations dealt to an arm.", *_ARM[:2])
        self.arm_share = self._gauge(
            "arm_share", "Share of new conversations an arm is to get.", *_ARM[:2], workers="livemostrecent"
        )
        self.crossovers = self._counter(
            "crossovers", "Turns answered by another arm than the conversation's turn before.", "experiment"
        )
        self.excluded = self._counter("excluded_turns", "Turns that are out of the statistics.", *_ARM[:2], "reason")
        self.turn = self._histogram("conversation_turn", "Turn number of each request.", _TURNS, *_ARM[:2])
        self.adherence = self._counter(
            "adherence", "Verdicts on answers: adherent, drifted, unknown.", *_ARM[:2], "turn_bucket", "verdict"
        )
        self.examinations_dropped = self._counter("examinations_dropped", "Answers that stayed unexamined in a rush.")
        self.judge_tokens = self._counter("judge_tokens", "Tokens that judges used.", "model", "kind")
        self.feedback = self._counter("feedback", "What users said of answers.", "kind")
        self.shadows = self._counter("shadow_requests", "Answers that nobody saw.", *_ARM[:2], "outcome")
        self.shadow_cost = self._counter("shadow_cost_usd", "Their cost in US dollars.", *_ARM[:2])
        self.summaries = self._counter(
            "summaries", "Old turns condensed: made, restored, failed, skipped.", *_ARM[:2], "outcome"
        )
        self.summary_cost = self._counter("summary_cost_usd", "Their cost in US dollars.", *_ARM[:2])
        self.first_token = self._histogram("time_to_first_token_seconds", "Until the first token.", _SECONDS, *_ARM)
        self.per_token = self._histogram("time_per_output_token_seconds", "After the first.", _TOKEN_SECONDS, *_ARM)
        self.duration = self._histogram("request_duration_seconds", "Whole request.", _SECONDS, *_ARM)
        self.overhead = self._histogram("overhead_seconds", "The gateway's own share.", _OVERHEAD_SECONDS, *_ARM)
        self.auxiliary = self._counter("auxiliary_requests", "Requests that are no turn, by rule.", "model", "rule")
        self.in_flight = self._gauge("in_flight_requests", "Requests being answered.")
        self.upstream_errors = self._counter("upstream_errors", "Failures of upstreams.", "model", "kind")
        self.retries = self._counter("upstream_retries", "Attempts after a request's first.", "model")
        self.fallbacks = self._counter("fallbacks", "Answers of a model in another's stead.", "model", "instead_of")
        self.aborted = self._counter("streams_aborted", "Answers broken off, by whom.", "by")
        self.ledger_pending = self._gauge("ledger_pending_rows", "Rows not on disk yet, or not in the shared database.")
        self.ledger_lag = self._gauge("ledger_lag_seconds", "Age of the oldest of them.", workers="livemax")
        self.limits_degraded = self._gauge(
            "limits_degraded", "1 while limits over several gateways are held by each alone.", workers="livemax"
        )
        self.estimated = self._counter("usage_estimated", "Turns whose usage was counted here.", "model")
        self.count_error = self._histogram(
            "token_count_error_ratio", "Own count of the prompt beside the upstream's, as a share.", _ERRORS, "model"
        )
        self.build = self._gauge("build_info", "Always 1; the version is the label.", "version", workers="livemax")
        self.build.labels(__version__).set(1)
        self._exposition = Exposition(self._declared(), ProcessCollector(registry=None))

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All series as text, and its content type: OpenMetrics where `accept` asks for it."""
        self.refresh()
        return self.rendered(accept)

    def rendered(self, accept: str) -> tuple[bytes, str]:
        """The same as of the last `refresh`, from whatever thread."""
        return self._exposition.render(accept)

    def read(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Have `gauge` show `value()` at each scrape."""
        self._read.append((gauge, value))

    def refresh(self) -> None:
        """Take the gauges' readings, and settle what has been counted; in the event loop's thread, which counts."""
        for gauge, value in self._read:
            gauge.set(value())
        for bound in self._bound.values():
            bound.settle(self._exposition.exemplars)

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Refresh every second while one of several workers serves; one process by itself does so when scraped."""
        refreshing = asyncio.ensure_future(self._refresh_forever()) if is_multiprocess() else None
        try:
            yield
        finally:
            if refreshing is not None:
                refreshing.cancel()

    async def _refresh_forever(self) -> None:
        while True:
            self.refresh()
            if self._exposition.exemplars is not None:
                await asyncio.to_thread(self._exposition.exemplars.publish)
            await asyncio.sleep(_REFRESH_S)

    def expect(self, catalogue: Catalogue) -> None:
        """Begin outcomes and errors of all that can be named at 0, so that a first one is an increase."""
        arms = [(one.name, arm) for one in catalogue.experiments.values() for arm in one.arms.values()]
        for experiment_name, arm in [*(("", arm) for arm in catalogue.direct.values()), *arms]:
            bound = self._arm((experiment_name, arm.name, arm.model.name))
            for outcome in OUTCOMES:
                self.requests.labels(*bound.labels, arm.strategy.name, outcome)
        for model in catalogue.direct:
            for error in _UPSTREAM_ERRORS:
                self.upstream_errors.labels(model, error.kind)
        for by in ("client", "upstream"):
            self.aborted.labels(by)
        self.exposition()  # the first scrape then finds its lines prepared

    def count_refusal(self, error: GatewayError) -> None:
        """Count an error answer that is the gateway's own; those of upstreams are counted by model."""
        if not isinstance(error, UpstreamError | ClientLeft):
            self.refusals.labels(type(error).__name__).inc()

    def count_dealt(self, assignment: Assignment) -> None:
        """Count a conversation that was dealt to an arm, and is part of the experiment."""
        if assignment.excluded is None:
            self.conversations.labels(assignment.experiment, assignment.arm).inc()

    def count_adherence(self, experiment: str | None, arm: str | None, turn: int, adherent: bool | None) -> None:
        """Count a verdict on the answer of a turn; None is a verdict that could not be reached."""
        verdict = "unknown" if adherent is None else "adherent" if adherent else "drifted"
        self.adherence.labels(experiment or "", arm or "", turn_bucket(turn), verdict).inc()

    def observe(self, row: Turn) -> None:
        """Count a turn that has ended."""
        arm = self._arm((row.experiment or "", row.arm or "", row.model))
        arm.add(self.requests, row.strategy, row.status)
        if row.auxiliary is None:
            arm.turn.observe(row.turn)
        else:
            self.auxiliary.labels(row.model, row.auxiliary).inc()
        self._observe_used(row, arm)
        if row.adherent is not None:
            self.count_adherence(row.experiment, row.arm, row.turn, row.adherent)
        self._observe_rarer(row, arm)
        self._observe_times(row, arm)
        if self._exposition.exemplars is not None:  # one of several workers, which shows what all have left by now
            arm.settle(self._exposition.exemplars)

    def _observe_used(self, row: Turn, arm: _Bound) -> None:
        for kind, figure in _TOKENS:
            if tokens := getattr(row, figure):
                arm.add(self.tokens, kind, amount=tokens)
        for kind, figure in _COSTS:
            if cost := getattr(row, figure):
                arm.add(self.cost, kind, amount=cost)
        if row.context_used is not None and row.context_window:
            arm.context_used.observe(row.context_used / row.context_window)
        if row.usage_source in ("counted", "partial"):
            self.estimated.labels(row.model).inc()
        if row.counted_prompt_tokens and row.prompt_tokens and _from_upstream(row, "prompt_tokens"):
            arm.count_error.observe(abs(row.counted_prompt_tokens / row.prompt_tokens - 1))

    def _observe_rarer(self, row: Turn, arm: _Bound) -> None:
        if row.error_code == "context_length_exceeded":
            self.overflow.labels(*arm.labels, "rejected").inc()
        if row.excluded is not None:
            self.excluded.labels(*arm.labels[:2], row.excluded).inc()
        if row.attempts > 1:
            self.retries.labels(row.model).inc(row.attempts - 1)
        if row.fallback_for is not None:
            self.fallbacks.labels(row.model, row.fallback_for).inc()
        if row.experiment and row.auxiliary is None and self._crossovers.crosses(row):
            self.crossovers.labels(row.experiment).inc()
        for strategy, tokens in (row.counterfactual_prompt_tokens or {}).items():
            arm.add(self.counterfactual_tokens, strategy, amount=tokens)
        for strategy, cost in (row.counterfactual_cost_usd or {}).items():
            arm.add(self.counterfactual_cost, strategy, amount=cost)

    def _observe_times(self, row: Turn, arm: _Bound) -> None:
        """With the request's id as the exemplar, so that a slow bucket leads to a line of the log."""
        if row.overhead_ms is not None:
            arm.overhead.observe(row.overhead_ms / 1e3, row.request_id)
        if row.duration_ms is None:
            return
        arm.duration.observe(row.duration_ms / 1e3, row.request_id)
        if row.ttft_ms is None:
            return
        arm.first_token.observe(row.ttft_ms / 1e3, row.request_id)
        if row.completion_tokens and row.completion_tokens > 1:
            per_token = (row.duration_ms - row.ttft_ms) / 1e3 / (row.completion_tokens - 1)
            arm.per_token.observe(per_token, row.request_id)

    def _arm(self, labels: Arm) -> _Bound:
        bound = self._bound.get(labels)
        if bound is None:
            bound = self._bound[labels] = _Bound(self, labels)
        return bound

    def _declared(self) -> list[Series]:
        return [series for series in vars(self).values() if isinstance(series, Counter | Gauge | Histogram)]

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gattway_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str, workers: _Merge = "livesum") -> Gauge:
        """A gauge; `workers` says what several workers' values make."""
        return Gauge(f"gattway_{name}", text, labels, registry=self._registry, multiprocess_mode=workers)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"gattway_{name}", text, labels, buckets=buckets, registry=self._registry)


class _Bound:
    """The series of one arm and model, looked up once: `labels()` costs more than counting does."""

    def __init__(self, metrics: Metrics, labels: Arm) -> None:
        self.labels = labels
        self.sums = Sums(labels)
        self.add = self.sums.add
        self.turn = Buckets(metrics.turn, labels[:2])
        self.context_used = Buckets(metrics.context_used, labels)
        self.first_token = Buckets(metrics.first_token, labels)
        self.per_token = Buckets(metrics.per_token, labels)
        self.duration = Buckets(metrics.duration, labels)
        self.overhead = Buckets(metrics.overhead, labels)
        self._all = [one for one in vars(self).values() if isinstance(one, Buckets)]
        for buckets in self._all:
            buckets.begin()
        self.count_error = Buckets(metrics.count_error, labels[2:])
        self._all.append(self.count_error)

    def settle(self, exemplars: Exemplars | None) -> None:
        """Bring what has been counted into the series."""
        self.sums.settle()
        for buckets in self._all:
            buckets.settle(exemplars)


def turn_bucket(turn: int) -> str:
    """The label that stands for a turn number."""
    return next((name for last, name in _TURN_BUCKETS if turn <= last), _LAST_TURN_BUCKET)


def _from_upstream(row: Turn, figure: str) -> bool:
    return (row.figure_sources or {}).get(figure) == "upstream"
