"""What a chat completions body asks of a local model, or the 400 that names the field it cannot serve.

Every field of OpenAI's API is in one of four tables: honoured, of no bearing on the answer, harmless at some
values only, or refused. A field in none of them is refused too, so nothing is ever dropped in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import BadRequest
from gateway.upstreams.local.sampling import Sampling

MAX_CHOICES = 8
MAX_STOPS = 4

HONOURED = frozenset(
    {
        "frequency_penalty",
        "ignore_eos",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "presence_penalty",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
    }
)

# They say who asks, how it is filed or billed, or where caches are looked for: any answer honours them.
OF_NO_BEARING = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "litellm_session_id",
    }
)

# Accepted where they ask for what the model does anyway; null always does.
_HARMLESS: dict[str, Callable[[Any], bool]] = {
    "function_call": lambda value: value in ("none", "auto"),
    "functions": lambda value: value == [],
    "logit_bias": lambda value: value == {},
    "logprobs": lambda value: value is False,
    "modalities": lambda value: value == ["text"],
    "response_format": lambda value: value == {"type": "text"},
    "tool_choice": lambda value: value in ("none", "auto"),
    "tools": lambda value: value == [],
    "top_logprobs": lambda value: value == 0,
}


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """A body that a local model can serve.

    Attributes:
        samplings: one for each of the `n` choices.
        include_usage: whether a stream ends with a chunk of usage.
    """

    model: str
    messages: list[dict[str, Any]]
    samplings: list[Sampling]
    include_usage: bool


def parse(body: dict[str, Any]) -> LocalRequest:
    """Read a chat completions body.

    Raises:
        BadRequest: a field is mistyped, out of range, or beyond a local model; `param` names it.
    """
    for field, value in body.items():
        if value is not None:
            _refuse_unless_served(field, value)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        raise BadRequest("'messages' must be a list of at least one message.", param="messages")
    stop = _stop(body.get("stop"))
    sampling = Sampling(
        temperature=_number(body, "temperature", 0, 2, 1.0),
        top_p=_number(body, "top_p", 0, 1, 1.0),
        seed=_integer(body, "seed"),
        max_tokens=_max_tokens(body),
        stop=stop,
        presence_penalty=_number(body, "presence_penalty", -2, 2, 0.0),
        frequency_penalty=_number(body, "frequency_penalty", -2, 2, 0.0),
        ignore_end=_flag(body, "ignore_eos"),
    )
    choices = _integer(body, "n", 1, MAX_CHOICES) or 1
    options = body.get("stream_options")
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise BadRequest("'stream_options' must be an object.", param="stream_options")
    return LocalRequest(
        str(body.get("model", "")),
        messages,
        [replace(sampling, choice=index) for index in range(choices)],
        include_usage=options.get("include_usage") is True,
    )


def _refuse_unless_served(field: str, value: Any) -> None:
    if field in HONOURED or field in OF_NO_BEARING:
        return
    harmless = _HARMLESS.get(field)
    if harmless is None or not harmless(value):
        raise BadRequest(f"This model runs in the gateway's own process and cannot serve '{field}'.", param=field)


def _number(body: dict[str, Any], name: str, low: float, high: float, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequest(f"'{name}' must be a number.", param=name)
    if not low <= value <= high:
        raise BadRequest(f"'{name}' must be between {low:g} and {high:g}, not {value}.", param=name)
    return float(value)


def _integer(body: dict[str, Any], name: str, low: int | None = None, high: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"'{name}' must be an integer.", param=name)
    if low is not None and value < low:
        raise BadRequest(f"'{name}' must be at least {low}, not {value}.", param=name)
    if high is not None and value > high:
        raise BadRequest(f"'{name}' must be at most {high} on this model, not {value}.", param=name)
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"'{name}' must be true or false.", param=name)
    return value is True


def _max_tokens(body: dict[str, Any]) -> int | None:
    """`max_completion_tokens`, else the older `max_tokens`."""
    newer, older = _integer(body, "max_completion_tokens", 1), _integer(body, "max_tokens", 1)
    if newer is not None and older is not None and newer != older:
        raise BadRequest("Give 'max_completion_tokens' or 'max_tokens', not both.", param="max_tokens")
    return newer if newer is not None else older


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(item, str) and item for item in stops):
        raise BadRequest("'stop' must be a string or a list of strings, none of them empty.", param="stop")
    if len(stops) > MAX_STOPS:
        raise BadRequest(f"'stop' holds {len(stops)} strings; at most {MAX_STOPS} are allowed.", param="stop")
    return tuple(stops)
