"""`condense`: what is cut, what is asked for, and that the prompt only grows between two cuts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strategies.condense import Condense

Message = dict[str, Any]
HEAD = {"role": "system", "content": "Say aha."}


def said(turns: list[int]) -> list[Message]:
    """A conversation of answered turns, of so many characters each."""
    messages = [HEAD]
    for turn, length in enumerate(turns):
        messages += [
            {"role": "user", "content": f"U{turn}"},
            {"role": "assistant", "content": f"A{turn}".ljust(length, ".")},
        ]
    return messages


def talk(strategy: Condense, turns: list[int], answered: bool = True) -> list[list[Message]]:
    """What the model gets, turn by turn, when the summary that is due is there before the next turn."""
    memory: dict[str, str] = {}
    strategy.summaries = memory
    sent = []
    history = said(turns)
    for turn in range(len(turns)):
        sent.append(strategy.place(history[: 2 + 2 * turn]))
        if answered and (due := strategy.due(history[: 3 + 2 * turn])):
            held = [message["content"][:2] for message in due.messages]
            memory[due.key] = f"{due.earlier or ''}<{held[0]}-{held[-1]}>"
    return sent


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turns=st.lists(st.integers(2, 40), max_size=12), answered=st.booleans())
def test_between_two_cuts_the_prompt_only_grows_and_a_cut_leaves_room(turns: list[int], answered: bool) -> None:
    strategy = Condense(max_chars=60)
    for before, after in pairwise(talk(strategy, turns, answered)):
        grown = after[: len(before)] == before
        first_kept = next(message for message in after if message["role"] == "user")
        assert grown or "[Earlier" in first_kept["content"] or not answered
        told = sum(len(message["content"]) for message in after[1:-1] if "[Earlier" not in message["content"])
        assert told <= 60 + 40  # what was allowed, and the newest answer, which the cut had seen


def test_each_summary_goes_on_from_the_one_before() -> None:
    strategy = Condense(max_chars=60, keep=0.5, then="every-turn")
    sent = talk(strategy, [20] * 12)
    opened = list(dict.fromkeys(one[0]["content"].split("]")[0] for one in sent if "[Earlier" in one[0]["content"]))
    assert opened[:2] == ["[Earlier in this conversation: <U0-A1>", "[Earlier in this conversation: <U0-A1><U2-A3>"]
    assert sent[-1][0]["content"].endswith("Say aha.")
    assert sent[-1][-1]["content"].startswith("U11")


def test_without_a_summary_the_turns_are_dropped_and_an_older_one_stands_in() -> None:
    strategy = Condense(max_chars=60)
    history = [*said([20] * 5), {"role": "user", "content": "U5"}]
    dropped = strategy.place(history)
    assert dropped[0] == HEAD
    assert [message["content"][:2] for message in dropped[1:]] == ["U4", "A4", "U5"]
    first = strategy.due(said([20] * 3))
    assert first is not None
    strategy.summaries = {first.key: "S"}
    assert strategy.due(said([20] * 3)) is None  # there is one
    assert strategy.place(history)[1]["content"] == "[Earlier in this conversation: S]\n\nU4"
    trimmed = [{**message, "content": message["content"] + " \n"} for message in said([20] * 3)]
    assert strategy.due(trimmed) is None  # white space that a client adds or trims is no other conversation


def test_a_parts_list_gets_a_part_of_its_own() -> None:
    strategy = Condense(max_chars=10)
    history = said([20])
    due = strategy.due(history)
    assert due is not None
    strategy.summaries = {due.key: "S"}
    part = {"type": "text", "text": "U1", "cache_control": {"type": "ephemeral"}}
    placed = strategy.place([*history, {"role": "user", "content": [part]}])
    assert placed[-1]["content"] == [{"type": "text", "text": "[Earlier in this conversation: S]"}, part]
