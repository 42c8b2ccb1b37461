"""Who is who: the hash chain over what the client sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway import identity
from gateway.identity import Identifier, chain
from gateway.ledger.records import Answered


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


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


class Ledger:
    """Knows nothing, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def answered(self, hashes: Sequence[str]) -> list[Answered]:
        self.asked += 1
        return []


def answer_to(messages: list[dict[str, Any]], answer: dict[str, Any], request_id: str) -> Answered:
    history = chain([*messages, answer])
    return Answered(request_id, f"conv_{request_id}", None, 1, history[-2], history[-1], None)


@pytest.mark.parametrize(("alone", "asked"), [(True, 1), (False, 3)])
async def test_examples_that_the_ledger_does_not_know_are_looked_up_once_where_nobody_else_writes(
    alone: bool, asked: int
) -> None:
    ledger = Ledger()
    identifier = Identifier(ledger, [], alone=alone)  # type: ignore[arg-type]
    examples = [user("2 + 2?"), assistant("4")]
    for question in ("3 + 3?", "4 + 4?", "5 + 5?"):
        found = await identifier.identify({}, {}, [*examples, user(question)], None)
        assert (found.source, found.parent) == ("new", None)
    assert ledger.asked == asked


async def test_an_example_that_came_to_be_answered_here_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "REMEMBERED", 3)
    ledger = Ledger()
    identifier = Identifier(ledger, [])  # type: ignore[arg-type]
    first, second = [user("2 + 2?"), assistant("4")], [user("3 + 3?"), assistant("6")]
    sent = [*first, *second, user("4 + 4?")]
    assert (await identifier.identify({}, {}, sent, None)).source == "new"
    identifier.remember(answer_to(first[:1], first[1], "req_1"))  # a shorter history than the one that was asked for
    found = await identifier.identify({}, {}, sent, None)
    assert (found.source, found.conversation_id, found.known) == ("history", "conv_req_1", 2)
    assert ledger.asked == 1
    for index in range(3):  # its turn may be forgotten by then, and is in the ledger alone
        identifier.remember(answer_to([user(f"{index}")], assistant("?"), f"req_later_{index}"))
    await identifier.identify({}, {}, sent, None)
    assert ledger.asked == 2
