"""Every Prometheus series of the gateway, declared once.

Labels are bounded: experiments, arms and models come from the config, never from what a client sends.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.ledger.records import Turn

_ARM = ("experiment", "arm", "model")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1)
_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_TURNS = (1, 2, 4, 6, 8, 10, 15, 20, 30, 50, 100)


class Metrics:
    """The series, in a registry of their own, so that two gateways in one process do not mix."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, and nothing that a gateway's dashboard asks for
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Chat completions by outcome.", "experiment", "arm", "strategy", "model", "outcome"
        )
        self.tokens = self._counter("tokens", "Tokens by kind.", *_ARM, "kind")
        self.cost = self._counter("cost_usd", "Cost in US dollars by kind.", *_ARM, "kind")
        self.context_used = self._histogram("context_used_ratio", "Share of the context window used.", _RATIOS, *_ARM)
        self.overflow = self._counter("context_overflow", "Prompts beyond the context window.", *_ARM, "action")
        self.conversations = self._counter("conversations", "Conversations dealt to an arm.", "experiment", "arm")
        self.turn = self._histogram("conversation_turn", "Turn number of each request.", _TURNS, "experiment", "arm")
        self.first_token = self._histogram("time_to_first_token_seconds", "Until the first byte.", _SECONDS, *_ARM)
        self.per_token = self._histogram("time_per_output_token_seconds", "After the first.", _TOKEN_SECONDS, *_ARM)
        self.duration = self._histogram("request_duration_seconds", "Whole request.", _SECONDS, *_ARM)
        self.overhead = self._histogram("overhead_seconds", "The gateway's own share.", _SECONDS, *_ARM)
        self.auxiliary = self._counter("auxiliary_requests", "Requests that are no turn, by rule.", "model", "rule")
        self.in_flight = Gauge("gattway_in_flight_requests", "Requests being answered.", registry=self.registry)
        self.upstream_errors = self._counter("upstream_errors", "Failures of upstreams.", "model", "kind")
        self.aborted = self._counter("streams_aborted", "Answers broken off, by whom.", "by")
        self.ledger_pending = Gauge("gattway_ledger_pending_rows", "Rows not on disk yet.", registry=self.registry)
        self.estimated = self._counter("usage_estimated", "Turns whose usage was counted here.", "model")

    def exposition(self) -> bytes:
        """All series in Prometheus's text format."""
        return generate_latest(self.registry)

    def observe(self, row: Turn) -> None:
        """Count a turn that has ended."""
        arm = (row.experiment or "", row.arm or "", row.model)
        self.requests.labels(arm[0], arm[1], row.strategy, row.model, row.status).inc()
        if row.auxiliary is None:
            self.turn.labels(*arm[:2]).observe(row.turn)
        else:
            self.auxiliary.labels(row.model, row.auxiliary).inc()
        for kind in ("prompt", "completion", "cached", "reasoning", "instruction", "repeated_instruction"):
            tokens = getattr(row, f"{kind}_tokens")
            if tokens:
                self.tokens.labels(*arm, kind).inc(tokens)
        for kind in ("input", "cached", "output"):
            cost = getattr(row, f"cost_{kind}_usd")
            if cost:
                self.cost.labels(*arm, kind).inc(cost)
        if row.context_used is not None and row.context_window:
            self.context_used.labels(*arm).observe(row.context_used / row.context_window)
        if row.error_code == "context_length_exceeded":
            self.overflow.labels(*arm, "rejected").inc()
        if row.usage_source in ("counted", "partial"):
            self.estimated.labels(row.model).inc()
        self._observe_times(row, arm)

    def _observe_times(self, row: Turn, arm: tuple[str, str, str]) -> None:
        if row.overhead_ms is not None:
            self.overhead.labels(*arm).observe(row.overhead_ms / 1e3)
        if row.duration_ms is None:
            return
        self.duration.labels(*arm).observe(row.duration_ms / 1e3)
        if row.ttft_ms is None:
            return
        self.first_token.labels(*arm).observe(row.ttft_ms / 1e3)
        if row.completion_tokens and row.completion_tokens > 1:
            self.per_token.labels(*arm).observe((row.duration_ms - row.ttft_ms) / 1e3 / (row.completion_tokens - 1))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gattway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"gattway_{name}", text, labels, buckets=buckets, registry=self.registry)
