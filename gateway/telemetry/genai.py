"""A turn in the words of OpenTelemetry's semantic conventions for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai, November 2026; status: development)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from gateway.ledger.records import Turn
from gateway.sections.upstreams import LiteLLMUpstreamSettings, OpenAIUpstreamSettings
from gateway.settings import Settings

Value = str | bool | int | float | list[str]

TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
CLIENT_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

METRICS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "gen_ai.client.token.usage": ("{token}", "Number of input and output tokens used.", TOKEN_BUCKETS),
    "gen_ai.client.operation.duration": ("s", "GenAI operation duration.", CLIENT_SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": ("s", "Time to receive the first chunk.", CLIENT_SECONDS),
    "gen_ai.server.request.duration": ("s", "Generative AI server request duration.", CLIENT_SECONDS),
    "gen_ai.server.time_to_first_token": ("s", "Time to generate the first token.", FIRST_TOKEN_SECONDS),
    "gen_ai.server.time_per_output_token": ("s", "Time per output token after the first.", PER_TOKEN_SECONDS),
}
"""Name → unit, description, bucket bounds, as the conventions have them."""

_HOSTS = {
    "api.openai.com": "openai",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.groq.com": "groq",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
}
_LITELLM = {
    "bedrock": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "watsonx": "ibm.watsonx.ai",
    "moonshot": "moonshot_ai",
}
_OPERATIONS = {"relay:embeddings": "embeddings", "relay:completions": "text_completion"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is: `gen_ai.provider.name`, and its server's address and port where it has one."""

    provider: str
    address: str | None = None
    port: int | None = None


def places(settings: Settings) -> dict[str, Place]:
    """Each model's place, by its name in the config."""
    found = {}
    for name, model in settings.models.items():
        upstream = settings.upstreams[model.upstream]
        if isinstance(upstream, OpenAIUpstreamSettings):
            url = urlsplit(upstream.base_url)
            port = url.port or {"http": 80, "https": 443}[url.scheme]
            # A server that speaks OpenAI's language is told apart by its address: the convention asks for the dialect.
            found[name] = Place(_HOSTS.get(url.hostname or "", "openai"), url.hostname, port)
        elif isinstance(upstream, LiteLLMUpstreamSettings):
            prefix = (model.name or name).partition("/")[0]
            found[name] = Place(_LITELLM.get(prefix, prefix))
        else:
            found[name] = Place("gattway")
    return found


def metric_attributes(row: Turn, place: Place) -> dict[str, Value]:
    """What metrics are told apart by: bounded, as the labels at `/metrics` are."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": _operation(row),
        "gen_ai.provider.name": place.provider,
        "gen_ai.request.model": row.fallback_for or row.model,
        "gen_ai.response.model": row.model,
        "gattway.experiment": row.experiment or "",
        "gattway.arm": row.arm or "",
        "gattway.strategy": row.strategy,
    }
    if place.address is not None and place.port is not None:
        attributes |= {"server.address": place.address, "server.port": place.port}
    return attributes


def measurements(row: Turn) -> list[tuple[str, float, dict[str, Value]]]:
    """Metric, value and further attributes of a turn; unknown figures are left out."""
    error: dict[str, Value] = {} if row.status == "ok" else {"error.type": error_type(row)}
    found: list[tuple[str, float, dict[str, Value]]] = []
    for kind, tokens in (("input", row.prompt_tokens), ("output", row.completion_tokens)):
        if tokens is not None and row.usage_source is not None:
            found.append(("gen_ai.client.token.usage", tokens, {"gen_ai.token.type": kind}))
    if row.duration_ms is None:
        return found
    found.append(("gen_ai.client.operation.duration", row.duration_ms / 1e3, error))
    found.append(("gen_ai.server.request.duration", row.duration_ms / 1e3, error))
    if row.ttft_ms is None:
        return found
    found.append(("gen_ai.client.operation.time_to_first_chunk", row.ttft_ms / 1e3, {}))
    if row.status == "ok":
        found.append(("gen_ai.server.time_to_first_token", row.ttft_ms / 1e3, {}))
        if row.completion_tokens and row.completion_tokens > 1:
            per_token = (row.duration_ms - row.ttft_ms) / 1e3 / (row.completion_tokens - 1)
            found.append(("gen_ai.server.time_per_output_token", per_token, {}))
    return found


def span_name(row: Turn) -> str:
    """As the conventions have it."""
    return f"{_operation(row)} {row.fallback_for or row.model}"


def span_attributes(row: Turn, place: Place) -> dict[str, Value]:
    """All that is known of a turn, and nothing that was said."""
    optional: dict[str, Value | None] = {
        "gen_ai.conversation.id": row.conversation_id,
        "gen_ai.request.stream": True if row.ttft_ms is not None else None,
        "gen_ai.response.id": row.completion_id,
        "gen_ai.response.finish_reasons": [row.finish_reason] if row.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": row.ttft_ms / 1e3 if row.ttft_ms is not None else None,
        "gen_ai.usage.input_tokens": row.prompt_tokens,
        "gen_ai.usage.output_tokens": row.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": row.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": row.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": row.reasoning_tokens,
        "error.type": None if row.status == "ok" else row.error_code or error_type(row),
        "http.response.status_code": row.http_status,
        "gattway.request.id": row.request_id,
        "gattway.turn": row.turn,
        "gattway.status": row.status,
        "gattway.usage.source": row.usage_source,
        "gattway.usage.instruction_tokens": row.instruction_tokens,
        "gattway.usage.repeated_instruction_tokens": row.repeated_instruction_tokens,
        "gattway.context.window": row.context_window,
        "gattway.context.used": row.context_used,
        "gattway.cost_usd": row.cost_usd,
        "gattway.overhead_ms": row.overhead_ms,
    }
    return metric_attributes(row, place) | {name: value for name, value in optional.items() if value is not None}


def times_ns(row: Turn) -> tuple[int, int]:
    """When a turn began and ended, in nanoseconds since 1970."""
    started = int(datetime.fromisoformat(row.started_at).timestamp() * 1e6) * 1_000
    return started, started + int((row.duration_ms or 0.0) * 1e6)


def error_type(row: Turn) -> str:
    """A class of error with few values: the status, or that the client left."""
    return "aborted" if row.status == "aborted" else str(row.http_status or "error")


def _operation(row: Turn) -> str:
    if row.auxiliary is None or not row.auxiliary.startswith("relay:"):
        return "chat"
    return _OPERATIONS.get(row.auxiliary, row.auxiliary.removeprefix("relay:"))
