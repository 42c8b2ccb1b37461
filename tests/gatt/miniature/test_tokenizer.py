"""The chat template renders what OpenAI clients send, and refuses what the model cannot read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from jinja2.exceptions import TemplateError

from gatt.miniature.dialogues import Encoder, long_dialogue, short_dialogue

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def rendered(tokenizer: PreTrainedTokenizerFast, *messages: dict[str, Any], prompt: bool = False) -> str:
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt)
    assert isinstance(text, str)
    return text


def test_a_system_message_is_folded_in_front_of_the_next_user_message(tokenizer: PreTrainedTokenizerFast) -> None:
    for role in ("system", "developer"):
        text = rendered(tokenizer, {"role": role, "content": "I"}, {"role": "user", "content": "Q"}, prompt=True)
        assert text == "<|user|>I\n\nQ<|end|><|assistant|>"


def test_a_system_message_at_the_end_is_a_message_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    text = rendered(tokenizer, {"role": "user", "content": "Q"}, {"role": "system", "content": "I"})
    assert text == "<|user|>Q<|end|><|user|>I<|end|>"


def test_text_parts_are_rendered_as_their_text(tokenizer: PreTrainedTokenizerFast) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": " this?"}]
    assert rendered(tokenizer, {"role": "user", "content": parts}) == "<|user|>What is this?<|end|>"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "tool", "content": "42"}, "role 'tool' is not supported"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "not 'image_url'"),
    ],
)
def test_what_the_model_cannot_read_is_refused(
    tokenizer: PreTrainedTokenizerFast, message: dict[str, Any], named: str
) -> None:
    with pytest.raises(TemplateError, match=named):
        rendered(tokenizer, message)


def test_the_assistant_mask_covers_replies_and_their_end_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "The answer."}]
    out = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    learned = [token for token, on in zip(out["input_ids"], out["assistant_masks"], strict=True) if on]
    assert tokenizer.decode(learned) == "The answer.<|end|>"


@pytest.mark.parametrize("make", [short_dialogue, long_dialogue])
def test_pretraining_sees_the_ids_that_the_chat_template_gives(tokenizer: PreTrainedTokenizerFast, make: Any) -> None:
    rng, encode = random.Random(3), Encoder(tokenizer)
    for _ in range(10):
        dialogue = make(rng)
        messages = []
        for asked, reply in dialogue:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
        ids, labels = encode(dialogue)
        assert ids == tokenizer(rendered(tokenizer, *messages))["input_ids"][: len(ids)]
        assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))
