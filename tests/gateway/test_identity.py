"""Who is who: the hash chain over what the client sent."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.identity import chain


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


@pytest.mark.parametrize(
    "resent",
    [
        assistant("Bonjour le monde"),
        assistant("  Bonjour \n le   monde \n"),
        assistant([{"type": "text", "text": "Bonjour le monde"}]),
        assistant([{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Bonjour le monde"}]),
        assistant("Bonjour le monde", reasoning_content="Hm."),
        assistant("Bonjour le monde", refusal=None, tool_calls=None),
    ],
)
def test_an_answer_that_a_front_end_trimmed_or_stripped_of_reasoning_is_the_same(resent: dict[str, Any]) -> None:
    assert chain([resent]) == chain([assistant("Bonjour le monde")])


def test_other_words_roles_calls_and_orders_are_another_history() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    histories = [
        [assistant("a")],
        [assistant("b")],
        [{"role": "user", "content": "a"}],
        [assistant("a", tool_calls=[call])],
        [assistant("a", tool_calls=[{**call, "id": "c2"}])],
        [assistant("a"), assistant("b")],
        [assistant("b"), assistant("a")],
        [assistant([{"type": "image_url", "image_url": {"url": "x"}}])],
    ]
    assert len({chain(history)[-1] for history in histories}) == len(histories)


def test_the_chain_of_a_longer_history_starts_with_that_of_a_shorter_one() -> None:
    history = [assistant(str(index)) for index in range(5)]
    assert chain(history)[:3] == chain(history[:3])
    assert chain(history[3:], start=chain(history[:3])[-1]) == chain(history)[3:]
