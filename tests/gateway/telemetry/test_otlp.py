"""Metrics and traces as a collector on a real socket receives them."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.app import create_app
from gateway.build import build
from gateway.errors import ConfigError
from gateway.settings import load
from tests.gateway.servers import FakeUpstream, serving

CONFIG = """
[ledger]
path = "{ledger}"
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.cut]
upstream = "fake"
[models.priced]
upstream = "fake"
name = "echo"
price = {{ input = 1.0, cached = 0.1, output = 4.0 }}
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "priced"
[telemetry]
otlp_endpoint = "{collector}"
otlp_headers_env = "OTLP_HEADERS"
interval_s = 0.2
"""
SAID = "what was said"
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


class Collector:
    """Takes OTLP over HTTP and keeps it, decoded."""

    def __init__(self) -> None:
        self.raw = b""
        self.headers: list[dict[str, str]] = []
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[dict[str, str]] = []
        self.arrived = threading.Condition()
        paths = {"/v1/traces": self._traces, "/v1/metrics": self._metrics}
        self.app = Starlette(routes=[Route(path, take, methods=["POST"]) for path, take in paths.items()])

    async def _traces(self, request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await self._body(request))
        with self.arrived:
            for resource in sent.resource_spans:
                self.resources.append(attributes(resource.resource))
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self.arrived.notify_all()
        return Response(media_type="application/x-protobuf")

    async def _metrics(self, request: Request) -> Response:
        sent = ExportMetricsServiceRequest.FromString(await self._body(request))
        with self.arrived:
            for resource in sent.resource_metrics:
                self.metrics |= {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
            self.arrived.notify_all()
        return Response(media_type="application/x-protobuf")

    async def _body(self, request: Request) -> bytes:
        self.headers.append(dict(request.headers))
        body = await request.body()
        self.raw += body
        return body

    def wait_for(self, count: int) -> None:
        with self.arrived:
            done = self.arrived.wait_for(lambda: len(self.spans) >= count and len(self.metrics) >= 6, 20)
        assert done, (len(self.spans), sorted(self.metrics))


def attributes(thing: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in thing.attributes}


@pytest.fixture
def upstream() -> Iterator[str]:
    with serving(FakeUpstream().app) as url:
        yield url


def settings_for(folder: Path, upstream: str, collector: str) -> Any:
    config = folder / "gattway.toml"
    config.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream, collector=collector))
    return load(config)


def ask(url: str, model: str, *, stream: bool = False, **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": SAID}], "stream": stream}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def test_turns_reach_a_collector_under_the_conventions_names(
    tmp_path: Path, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_HEADERS", "authorization=Bearer of-the-collector")
    collector = Collector()
    with serving(collector.app) as url:
        settings = settings_for(tmp_path, upstream, url)
        with serving(create_app(settings, build(settings))) as gateway:
            answer = ask(gateway, "ab", stream=True, **{"x-session-id": "chat-1"})
            ask(gateway, "cut", stream=True, traceparent=PARENT)
            collector.wait_for(2)
    answered, cut = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    said = attributes(answered)
    assert answered.name == "chat priced"
    assert answered.trace_id.hex() == answer.headers["x-request-id"].removeprefix("req_")
    assert said["gen_ai.conversation.id"] == "chat-1"
    assert (said["gattway.experiment"], said["gattway.arm"], said["gattway.turn"]) == ("ab", "repeat", 1)
    assert (said["gen_ai.operation.name"], said["gen_ai.provider.name"]) == ("chat", "openai")
    assert said["gen_ai.usage.input_tokens"] == 3
    assert said["gen_ai.response.finish_reasons"].values[0].string_value == "stop"
    assert 0 < said["gen_ai.response.time_to_first_chunk"] < 20
    assert 0 < answered.end_time_unix_nano - answered.start_time_unix_nano < 20e9
    assert (cut.trace_id.hex(), cut.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    assert (attributes(cut)["error.type"], cut.status.code) == ("stream_interrupted", 2)
    assert collector.resources[0]["service.name"] == "gattway"

    used = collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    used = [(attributes(point), point) for point in used]
    points = {said["gen_ai.token.type"]: point for said, point in used if said["gen_ai.request.model"] == "priced"}
    assert (points["input"].sum, points["output"].sum) == (3, 5)
    assert list(points["input"].explicit_bounds)[:3] == [1, 4, 16]
    assert set(collector.metrics) == {
        *("gen_ai.client.token.usage", "gen_ai.client.operation.duration"),
        *("gen_ai.client.operation.time_to_first_chunk", "gen_ai.server.request.duration"),
        *("gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token"),
    }
    assert SAID.encode() not in collector.raw
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer of-the-collector"}


def test_a_collector_that_is_away_costs_one_warning_and_no_answer(
    tmp_path: Path, upstream: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts connections and never answers, which is worse than refusing them."""
    monkeypatch.setenv("OTLP_HEADERS", "a=b")
    monkeypatch.setattr("gateway.telemetry.otlp.EXPORT_TIMEOUT_S", 0.3)
    caplog.set_level(logging.INFO, "gateway.telemetry.otlp")
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        away.listen()
        settings = settings_for(tmp_path, upstream, f"http://127.0.0.1:{away.getsockname()[1]}")
        with serving(create_app(settings, build(settings))) as gateway:
            deadline = time.monotonic() + 20
            while not caplog.records and time.monotonic() < deadline:
                assert ask(gateway, "ab").status_code == 200
            for _ in range(5):
                assert ask(gateway, "ab").status_code == 200
                time.sleep(0.1)  # several exports fail meanwhile
    (warning,) = [record for record in caplog.records if record.name == "gateway.telemetry.otlp"]
    assert "requests go on" in warning.getMessage()


def test_without_an_endpoint_nothing_of_opentelemetrys_sdk_is_loaded() -> None:
    code = "import sys, gateway.app; sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"telemetry: otlp_headers_env: the environment variable OTLP_HEADERS is not"):
        settings_for(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2")
