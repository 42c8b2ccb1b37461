"""Counts by a model's own template and tokenizer: the embedded models', to the token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from gateway.accounting.caching import Blocks
from gateway.accounting.placement import Turn, comparable, count_placement
from gateway.accounting.template_tokens import TemplateCounter
from strategies import Message
from tests.gateway.accounting.engine import PrefixCache

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[3] / "gateway/embedded/mini-base"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def counter(tokenizer: Any) -> TemplateCounter:
    def render(messages: Sequence[Message]) -> str:
        text: str = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        return text

    return TemplateCounter(render, tokenizer.backend_tokenizer)


words = st.text(st.sampled_from("abc XYZ\n.,?é日<|>"), min_size=1, max_size=30)
talk = st.lists(st.tuples(words, words), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(talk, words)
def test_every_placement_is_counted_and_cached_to_the_token(
    counter: TemplateCounter, tokenizer: Any, talk: list[tuple[str, str]], instruction: str
) -> None:
    """Against the whole prompt tokenized at once, and an exact prefix cache over its tokens."""
    used = strategies.make("every-turn")
    everything = {used.name: used, **comparable(None, None)}
    engines = {name: PrefixCache(16) for name in everything}
    messages: list[Message] = [{"role": "system", "content": instruction}]
    for number, (asked, answered) in enumerate(talk):
        messages.append({"role": "user", "content": asked})
        turn = Turn(messages, used.place(messages), used, continues=number > 0)
        counts = count_placement(counter, turn, everything)
        for name, strategy in everything.items():
            text = counter.render(strategy.place(messages))
            prompt = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
            assert counts.overlaps[name].prompt_tokens == len(prompt)
            assert Blocks(16).cached(counts.overlaps[name]).read == engines[name].read(prompt)
            engines[name].write(counter.ids(text + answered))
        messages.append({"role": "assistant", "content": answered})


def test_prompts_are_counted_in_pieces_that_are_remembered(counter: TemplateCounter) -> None:
    pieces = counter.pieces("<|user|>Hello<|end|><|assistant|>")
    assert pieces == ["<|user|>", "Hello", "<|end|>", "<|assistant|>"]
    assert counter.count(pieces) == len(counter.ids("".join(pieces)))
