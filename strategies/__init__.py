"""Where the instruction goes: pure functions over OpenAI message lists.

A chat client resends the whole history with every request, so a strategy needs no memory: it reads the
client's messages and writes the messages that the model gets. Same input, same bytes, always; that is
what keeps a provider's prefix cache warm.

    >>> make("every-turn").place([{"role": "system", "content": "Speak French."}, {"role": "user", "content": "Hi"}])
    [{'role': 'user', 'content': 'Hi\\n\\nSpeak French.'}]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from strategies.base import Message, Strategy
from strategies.every_turn import EveryTurn
from strategies.instruction import instruction_of
from strategies.once import Once
from strategies.pass_through import PassThrough

__all__ = ["FACTORIES", "Message", "Strategy", "instruction_of", "make"]

FACTORIES: dict[str, Callable[..., Strategy]] = {
    "once": Once,
    "every-turn": EveryTurn,
    "pass-through": PassThrough,
}
"""Strategy name, as written in an arm, to the class that builds it."""


def make(name: str, **parameters: Any) -> Strategy:
    """Build a strategy by name.

    Raises:
        ValueError: the name is unknown, or a parameter is unknown or unfit; the message says what is possible.
    """
    factory = FACTORIES.get(name)
    if factory is None:
        raise ValueError(f"unknown strategy {name!r}; choose one of {', '.join(sorted(FACTORIES))}")
    known = set(inspect.signature(factory).parameters)
    for parameter in parameters:
        if parameter not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise ValueError(f"strategy {name!r} has no parameter {parameter!r}; it takes: {allowed}")
    return factory(**parameters)
