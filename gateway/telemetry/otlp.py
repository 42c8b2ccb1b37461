"""Turns to an OpenTelemetry collector, over HTTP (`pip install 'gattway[otlp]'`).

The request's path only puts its row into a queue; a thread makes metrics and spans of it, and OpenTelemetry's own
threads export them in batches. When the collector is away, that is said once, and nothing else waits or fails.
"""

from __future__ import annotations

import logging
import queue
import threading
from contextvars import ContextVar
from typing import Any

from gateway import __version__
from gateway.ledger.records import Turn
from gateway.settings import Settings
from gateway.telemetry import genai

log = logging.getLogger(__name__)
TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The client's W3C trace context, for the request that is being worked on."""
MAX_WAITING = 10_000
EXPORT_TIMEOUT_S = 5
LAST_EXPORT_S = 3.0
"""Seconds that the last batch gets when the gateway stops."""


class Otlp:
    """The way of turns to a collector."""

    def __init__(self, settings: Settings) -> None:
        self._places = genai.places(settings)
        self._share = settings.telemetry.trace_share
        self._waiting: queue.Queue[tuple[Turn, str | None] | None] = queue.Queue(MAX_WAITING)
        self._sdk = _Sdk(settings)
        self._thread = threading.Thread(target=self._run, name="gattway-otlp", daemon=True)
        self._thread.start()

    def observe(self, row: Turn) -> None:
        """Take a turn that has ended; it is dropped when the thread is too far behind."""
        try:
            self._waiting.put_nowait((row, TRACEPARENT.get()))
        except queue.Full:
            self._sdk.outage.saw("rows are dropped: they come faster than they can be exported")

    def close(self) -> None:
        """Export what is left, for `LAST_EXPORT_S` at most; blocks."""
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(LAST_EXPORT_S)

    def _close(self) -> None:
        self._waiting.put(None)
        self._thread.join()
        self._sdk.close()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            row, traceparent = item
            place = self._places[row.model]
            attributes = genai.metric_attributes(row, place)
            for name, value, further in genai.measurements(row):
                self._sdk.record(name, value, {**attributes, **further})
            trace_id = int(row.request_id[-32:], 16)
            if (trace_id & 0xFFFFFFFF) < self._share * 2**32:
                self._sdk.trace(row, place, trace_id, traceparent)


class _Outage:
    """Says once that the collector is away, and once that it is back."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._told = False

    def saw(self, problem: str | None) -> None:
        if problem is not None and not self._told:
            log.warning("telemetry to %s: %s; it is tried again, and requests go on", self._endpoint, problem)
        elif problem is None and self._told:
            log.warning("telemetry to %s is exported again", self._endpoint)
        self._told = problem is not None


class _Sdk:
    """OpenTelemetry's SDK with nothing global; imported here, for it takes a while."""

    def __init__(self, settings: Settings) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        class Ids(RandomIdGenerator):
            """Gives a trace the id of its request."""

            next_trace_id = 0

            def generate_trace_id(self) -> int:
                return self.next_trace_id

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # each failed attempt is a line there
        telemetry = settings.telemetry
        assert telemetry.otlp_endpoint is not None
        endpoint = telemetry.otlp_endpoint.rstrip("/")
        headers = telemetry.otlp_headers()
        options: dict[str, Any] = {"timeout": EXPORT_TIMEOUT_S}
        if headers is not None:
            pairs = (pair.partition("=") for pair in headers.get_secret_value().split(","))
            options["headers"] = {name.strip(): value.strip() for name, _, value in pairs}
        self.outage = _Outage(endpoint)
        resource = Resource.create({"service.name": "gattway", "service.version": __version__})
        every_ms = telemetry.interval_s * 1e3
        metrics = _watched(OTLPMetricExporter, self.outage)(endpoint=f"{endpoint}/v1/metrics", **options)
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=every_ms)
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._instruments = {
            name: self._meters.get_meter("gattway", __version__).create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=bounds
            )
            for name, (unit, description, bounds) in genai.METRICS.items()
        }
        self._ids = Ids()
        self._tracers = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        spans = _watched(OTLPSpanExporter, self.outage)(endpoint=f"{endpoint}/v1/traces", **options)
        self._tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=every_ms))
        self._tracer = self._tracers.get_tracer("gattway", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, name: str, value: float, attributes: dict[str, genai.Value]) -> None:
        """Count a measurement."""
        self._instruments[name].record(value, attributes)

    def trace(self, row: Turn, place: genai.Place, trace_id: int, traceparent: str | None) -> None:
        """A span for a turn: in the client's trace, else in one of its own."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, StatusCode

        self._ids.next_trace_id = trace_id
        carrier = {"traceparent": traceparent} if traceparent else {}
        start, end = genai.times_ns(row)
        span = self._tracer.start_span(
            genai.span_name(row),
            context=self._propagator.extract(carrier, Context()),
            kind=SpanKind.CLIENT if place.address else SpanKind.INTERNAL,
            attributes=genai.span_attributes(row, place),
            start_time=start,
        )
        if row.status == "error":
            span.set_status(StatusCode.ERROR)
        span.end(end)

    def close(self) -> None:
        """Export what is left."""
        self._tracers.shutdown()
        self._meters.shutdown()


def _watched(exporter: Any, outage: _Outage) -> Any:
    """The exporter, which tells of its failures."""

    class Watched(exporter):  # type: ignore[misc]  # a class that is imported late
        def export(self, *batch: Any, **options: Any) -> Any:
            try:
                result = super().export(*batch, **options)
            except OSError as error:
                outage.saw(f"cannot be reached ({type(error).__name__})")
                raise
            outage.saw(None if result.name == "SUCCESS" else "nothing is taken there")
            return result

    return Watched
