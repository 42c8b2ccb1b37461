"""Conversations are held with the strategy's placement, end at the window, and are counted by turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gatt import sampling
from gatt.evaluate import Held, converse, summary
from gatt.miniature import scripts

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
