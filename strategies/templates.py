"""What a model's chat template does to an instruction, found out by rendering probes with it.

Tuning and serving in process read conversations through here, so that a model is served as it was tuned. GAtt needs
three things of a template: that it puts the instruction into turn 1 and leaves it there, that the prompt's
tokens are a prefix of prompt and answer, and, for whoever trains on all answers at once, that it never renders an old
turn anew. Llama 2, Llama 3 and ChatML do all of it. Gemma refuses a system message and Mistral moves it into the newest
user message: there the instruction is folded into the first user message instead. Qwen 3 drops the reasoning of old
turns, so a later prompt is no continuation of an earlier answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from strategies.base import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAID, _ASKED, _AGAIN = "Keep to this.", "First question", "Second question"
_ANSWERED, _REPLIED = "First answer", "Second answer"


class TemplateError(ValueError):
    """A chat template that GAtt cannot work with; the message names it."""


@dataclass(frozen=True)
class Template:
    """What a chat template does.

    `system`: "kept" (at the head or within turn 1, and it stays there), "moved" (into a later turn as the
    conversation grows) or "refused". `appends`: old turns keep their bytes in every longer conversation.
    `prefix`: the prompt is a prefix of prompt and answer. `speaks_unasked`: a system message of its own appears where
    the conversation has none.
    """

    system: str
    appends: bool
    prefix: bool
    speaks_unasked: bool

    @property
    def folds(self) -> bool:
        """Whether the instruction must be folded into the first user message to stay in turn 1."""
        return self.system != "kept"


def inspect(tokenizer: PreTrainedTokenizerBase) -> Template:
    """Renders probes with the tokenizer's template.

    Raises:
        TemplateError: there is no template, or it cannot render a plain conversation of two turns.
    """
    return _inspect(_Key(tokenizer))


class _Key:
    """A tokenizer as a cache key: the same template text renders in the same way."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.text = str(tokenizer.chat_template), str(tokenizer.special_tokens_map)

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.text == self.text


@lru_cache(maxsize=32)
def _inspect(key: _Key) -> Template:
    tokenizer = key.tokenizer
    if not tokenizer.chat_template:
        raise TemplateError("the tokenizer has no chat template; add chat_template.jinja to the model's folder")
    first = [_user(_ASKED)]
    longer = [*first, _assistant(_ANSWERED), _user(_AGAIN)]
    try:
        short, open_one = _render(tokenizer, first, True), _render(tokenizer, longer, True)
        whole = _render(tokenizer, [*first, _assistant(_ANSWERED)], False)
        last = _render(tokenizer, [*longer, _assistant(_REPLIED)], False)
    except _errors() as error:
        raise TemplateError(f"{name(tokenizer)} cannot render two plain turns: {error}") from error
    return Template(
        system=_system(tokenizer),
        appends=open_one.startswith(whole.rstrip()) and last.startswith(open_one.rstrip()),
        prefix=whole.startswith(short) and last.startswith(open_one),
        speaks_unasked=bool(short.partition(_ASKED)[0]) and "system" in short.partition(_ASKED)[0],
    )


def _system(tokenizer: PreTrainedTokenizerBase) -> str:
    head = [{"role": "system", "content": _SAID}, _user(_ASKED)]
    try:
        _render(tokenizer, head, True)
    except _errors():
        return "refused"
    text = _render(tokenizer, [*head, _assistant(_ANSWERED), _user(_AGAIN)], True)
    return "kept" if _SAID in text.partition(_ANSWERED)[0] else "moved"


def _errors() -> tuple[type[Exception], ...]:
    """What templates raise: jinja's own, and Python's where they take apart what is not there."""
    from jinja2 import TemplateError as JinjaError

    return JinjaError, TypeError, ValueError, KeyError


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def name(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template for an error message: the model it belongs to and its beginning."""
    return f"the chat template of {tokenizer.name_or_path or 'this tokenizer'} ({str(tokenizer.chat_template)[:60]!r}…)"


def messages(tokenizer: PreTrainedTokenizerBase, chat: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The conversation as this template keeps it: a system message that would be refused or moved is folded into
    the first user message, in front of its text, as Llama 2 does."""
    plain = [dict(message) for message in chat]
    if not plain or plain[0]["role"] != "system" or not inspect(tokenizer).folds:
        return plain
    head, *rest = plain
    for at, message in enumerate(rest):
        if message["role"] == "user":
            return [*rest[:at], {**message, "content": f"{head['content']}\n\n{message['content']}"}, *rest[at + 1 :]]
    return [{**head, "role": "user"}, *rest]


def text(tokenizer: PreTrainedTokenizerBase, chat: Sequence[Mapping[str, Any]], add_generation_prompt: bool) -> str:
    """The conversation as the model reads it."""
    return _render(tokenizer, messages(tokenizer, chat), add_generation_prompt)


def ids(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[Mapping[str, Any]], add_generation_prompt: bool
) -> list[int]:
    """Its token ids; special tokens are the template's own."""
    return list(tokenizer(text(tokenizer, chat, add_generation_prompt), add_special_tokens=False)["input_ids"])


def _render(tokenizer: PreTrainedTokenizerBase, chat: Sequence[Message], add_generation_prompt: bool) -> str:
    return str(tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=add_generation_prompt))
