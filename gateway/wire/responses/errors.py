"""Errors that speak of a chat completion's fields, in the words of the Responses API."""

from __future__ import annotations

import re
from typing import TypeVar

from gateway.errors import GatewayError

E = TypeVar("E", bound=GatewayError)

_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "include",
}
_FIELD = re.compile(rf"({'|'.join(_NAMES)})((?:\[\d+\]|\.\w+)*)")
_QUOTED = re.compile(rf"'{_FIELD.pattern}'")


def reworded(message: str, param: str | None) -> tuple[str, str | None]:
    """Message and param with this API's field names.

    A place within the messages becomes `input` alone: a strategy may have moved messages, and items are counted
    differently.
    """
    named = _FIELD.fullmatch(param) if param else None
    return _QUOTED.sub(lambda found: f"'{_name(found)}'", message), _name(named) if named else param


def in_responses_words(error: E) -> E:
    """The same error, reworded."""
    error.message, error.param = reworded(error.message, error.param)
    return error


def _name(found: re.Match[str]) -> str:
    return _NAMES[found[1]] + ("" if found[1] == "messages" else found[2])
