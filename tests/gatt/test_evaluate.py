"""Conversations are held with the strategy's placement, end at the window, and are counted by turn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gatt import sampling
from gatt.evaluate import Held, converse, summary
from gatt.miniature import scripts
from gatt.script import Probe

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


def test_a_summary_counts_each_turn_and_each_family() -> None:
    script = next(one for one in scripts.draw("tuned", 200, 3, (), "test") if one.families == ("figure",))
    figure = script.attributes[0]
    right, wrong = [f"I, {figure}, say: {turn.fact['text']}" for turn in script.turns], "no"
    found = summary([Held(script, (right[0], right[1])), Held(script, (right[0], wrong, wrong))])
    assert found["n"] == 2
    assert found["adherence_by_turn"] == [1.0, 0.5, 0.0]
    assert found["n_by_turn"] == [2, 2, 1]
    assert found["facts"] == pytest.approx(3 / 5)
    assert found["families"]["figure"]["adherence_by_turn"] == [1.0, 0.5, 0.0]


def test_a_cancelled_instruction_is_counted_by_turn_since_the_change() -> None:
    (script,) = scripts.draw("cancelled", 1, 6, (), "seed 3")
    at = script.changes[0].turn
    plain = "The capital of Peru is Lima."
    before = ["", *([""] * (at - 1))]
    found = summary([Held(script, (*before, "All right.", *([plain] * (5 - at))))])
    assert found["after_change"]["adherence_by_turn"] == [1.0] * (5 - at)
    assert found["adherence_by_turn"][at] == 1.0
    held_on = summary([Held(script, (*before, "All right.", *(["I love chess!"] * (5 - at))))])
    assert held_on["after_change"]["share"] == 0.0
    assert "after_change" not in summary([Held(scripts.draw("plain", 1, 2, (), "x")[0], (plain, plain))])


@pytest.mark.slow
def test_a_conversation_ends_where_the_window_is_full(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "window", lambda model: 120)
    held = converse(model, tokenizer, scripts.draw("tuned", 3, 8, (), "test"), "every-turn", 8, max_new_tokens=6)
    assert all(0 < len(one.replies) < 8 for one in held)


@pytest.mark.slow
def test_a_reply_does_not_depend_on_the_batch_it_is_in(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [
        sampling.prompt_ids(tokenizer, script.messages(["One.", "Two."][:turn]))
        for turn, script in enumerate(scripts.draw("tuned", 3, 3, (), "test"))
    ]
    together = sampling.replies(model, tokenizer, prompts, max_new_tokens=8)
    alone = [sampling.replies(model, tokenizer, [prompt], max_new_tokens=8)[0] for prompt in prompts]
    assert together == alone


@pytest.mark.slow
def test_probes_are_asked_beside_the_conversation_which_never_sees_them(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[dict[str, str]]] = []
    render = sampling.prompt_ids

    def remember(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> list[int]:
        asked.append(messages)
        return render(tokenizer, messages)

    plain = scripts.draw("tuned", 1, 3, (), "test")
    probe = Probe("What is your name?", ({"kind": "contains", "text": "Nobody answers this"},))
    with_probe = [replace(one, checks=(), probes=(probe,)) for one in plain]
    monkeypatch.setattr(sampling, "prompt_ids", remember)
    (alone,) = converse(model, tokenizer, plain, "once", 3, max_new_tokens=4)
    asked.clear()
    (held,) = converse(model, tokenizer, with_probe, "once", 3, max_new_tokens=4)
    assert held.replies == alone.replies
    forks = [messages for messages in asked if messages[-1]["content"] == probe.user]
    assert [len(messages) for messages in forks] == [4, 6, 8]
    assert not any(message["content"] == probe.user for messages in asked for message in messages[:-1])
    assert held.adherent == [False] * 3
