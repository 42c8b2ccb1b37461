"""What the instruction and its repetitions take of a prompt, and what other placements of it would have taken."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import strategies
from gateway.accounting.caching import Overlap
from gateway.accounting.remembered import Recent, common
from strategies import Message, Strategy
from strategies.instruction import head_of, text_of

CACHE_MARKS = ("cache_control", "prompt_cache_breakpoint")
"""What a content part or message carries that ends a prefix to be cached (Anthropic; OpenAI from GPT-5.6 on)."""


class _Prompt(Protocol):
    @property
    def tokens(self) -> int: ...
    @property
    def exact(self) -> bool: ...
    def head(self, count: int) -> Any: ...
    def until(self, count: int) -> int: ...
    def shared(self, before: Any) -> tuple[int, int]: ...


class _Counter(Protocol):
    def prompt(self, messages: Sequence[Message], known: Mapping[int, int] = ...) -> _Prompt: ...
    def fixed(self, text: str) -> int: ...
    def keys(self, messages: Sequence[Message]) -> list[int]: ...


class _Counted(NamedTuple):
    """A placed prompt that has been counted: its tokens, whether they are all, and, of the one that was sent, its
    extra copies of the instruction."""

    tokens: int
    exact: bool
    extra_copies: int


Memory = Recent[tuple[str | None, int], dict[int, _Counted]]
"""Counted prompts by the arm's instruction and the client's messages, then by strategy (the object): a turn goes on
from the one before. For strategies that live as long as it does."""

MEMORY_LIMIT = 5_000
"""Turns."""
_ONCE = strategies.make("once")


class PlacementCounts(NamedTuple):
    """Token counts of one turn.

    Attributes:
        prompt_tokens: the prompt that was sent, text alone.
        exact: whether that is all of it: no tools, pictures or sounds, whose tokens are not known.
        instruction_tokens: one copy of the instruction; None when there is none.
        repeated_instruction_tokens: all copies that the prompt holds beyond those of saying it once.
        head_tokens: what stands in front of the first turn and does not grow with the conversation.
        user_turns: user messages in the prompt.
        overlaps: by strategy, the prompt that it makes of the same messages beside that of the turn before; the one
            that was used stands first.
    """

    prompt_tokens: int
    exact: bool
    instruction_tokens: int | None
    repeated_instruction_tokens: int | None
    head_tokens: int
    user_turns: int
    overlaps: Mapping[str, Overlap]


class Turn(NamedTuple):
    """What is to be counted.

    Attributes:
        messages: the client's; `placed` is what `strategy` made of them.
        instruction: the arm's own instruction, or None where the client's system message is it.
        continues: whether the messages up to the last answer were the turn before, and that was answered here.
        has_tools: whether the request defines tools or a format, whose tokens are not known.
        marks: whether the client's marks for the provider's cache count.
    """

    messages: Sequence[Message]
    placed: Sequence[Message]
    strategy: Strategy
    instruction: str | None = None
    continues: bool = False
    has_tools: bool = False
    marks: bool = False


def comparable(names: Iterable[str] | None, instruction: str | None) -> dict[str, Strategy]:
    """The strategies to compare with: those of the given names, else all that need no parameters.

    Left out are those that cannot place this instruction, and `pass-through`, which places none.
    """
    found = {}
    for name in strategies.FACTORIES if names is None else names:
        parameters = inspect.signature(strategies.FACTORIES[name]).parameters.values()
        if name == "pass-through" or any(parameter.default is parameter.empty for parameter in parameters):
            continue
        strategy = strategies.make(name)
        try:
            strategy.place([{"role": "user", "content": "-"}], instruction)
        except ValueError:
            continue
        found[name] = strategy
    return found


def count_placement(
    counter: _Counter, turn: Turn, others: Mapping[str, Strategy], memory: Memory | None = None
) -> PlacementCounts:
    """Count a placed prompt and what `others` would have made of the same messages.

    Args:
        memory: what earlier turns were counted as; strategies that only append are then counted from there.
    """
    text = turn.instruction or strategies.instruction_of(turn.messages)
    once = _ONCE.place(turn.messages, turn.instruction)
    counting = _Counting(counter, turn, text, once, memory)
    overlaps: dict[str, Overlap] = {}
    own, overlaps[turn.strategy.name] = counting.overlap(turn.strategy, turn.placed)
    for name, strategy in others.items():
        if name != turn.strategy.name:
            _, overlaps[name] = counting.overlap(strategy, once if name == "once" else None)
    counting.remember()
    size = counter.fixed(text) if text else None
    return PlacementCounts(
        prompt_tokens=own.tokens,
        exact=own.exact and not turn.has_tools,
        instruction_tokens=size,
        repeated_instruction_tokens=None if size is None else size * max(0, own.extra_copies),
        head_tokens=sum([counter.fixed(text_of(message.get("content"))) for message in head_of(turn.placed)]),
        user_turns=[message["role"] for message in turn.placed].count("user"),
        overlaps=overlaps,
    )


class _Counting:
    """One turn's counts, by strategy."""

    def __init__(
        self, counter: _Counter, turn: Turn, text: str | None, once: Sequence[Message], memory: Memory | None
    ) -> None:
        self._counter = counter
        self._turn = turn
        self._text = text
        self._once = once
        self._last = _last_answer(turn.messages) if turn.continues else None
        keys = counter.keys(turn.messages) if memory is not None and not turn.marks else []
        self._memory = memory if keys else None
        self._keys = keys
        self._found: dict[int, _Counted] = {}
        self._is_opening = self._last is None and [message["role"] for message in turn.messages].count("user") <= 1
        self._openings: dict[str | None, tuple[_Counted, Overlap]] = {}
        self._before: Mapping[int, _Counted] = {}
        if self._memory is not None and self._last is not None:
            self._before = self._memory.get((turn.instruction, hash(tuple(keys[: self._last])))) or {}

    def remember(self) -> None:
        """Keep the counts for the turn after this one."""
        if self._memory is None:
            return
        key = self._turn.instruction, hash(tuple(self._keys))
        known = self._memory.get(key)  # of an arm with another strategy
        self._memory.put(key, {**known, **self._found} if known else self._found)

    @cached_property
    def _known(self) -> dict[int, int]:
        """What the client's messages are remembered by, by object."""
        return dict(zip(map(id, self._turn.messages), self._keys, strict=False))

    def overlap(self, strategy: Strategy, placed: Sequence[Message] | None) -> tuple[_Counted, Overlap]:
        """The counts of what a strategy makes of the messages (`placed`, where that is known), and its overlap with the
        turn before."""
        opens_as = getattr(strategy, "opens_as", None) if self._is_opening else None
        found = self._openings.get(opens_as)
        if found is None:
            found = self._since(strategy, placed) or self._anew(strategy, self._placed(strategy, placed))
            if opens_as is not None:
                self._openings[opens_as] = found
        self._found[id(strategy)] = found[0]
        return found

    def _anew(self, strategy: Strategy, placed: Sequence[Message]) -> tuple[_Counted, Overlap]:
        """Without the counts of the turn before; where there was none, many placements make the same prompt."""
        if self._last is not None or placed != self._once:
            return self._whole(strategy, placed)
        found = self._openings.get(_ONCE.name)
        if found is None:
            found = self._openings[_ONCE.name] = self._whole(strategy, placed)
        return found

    def _placed(self, strategy: Strategy, placed: Sequence[Message] | None) -> Sequence[Message]:
        return strategy.place(self._turn.messages, self._turn.instruction) if placed is None else placed

    def _since(self, strategy: Strategy, placed: Sequence[Message] | None) -> tuple[_Counted, Overlap] | None:
        """From the counts of the turn before, where they are known."""
        before = self._before.get(id(strategy))
        if before is None or self._last is None:
            return None
        if not strategy.append_only:
            return self._moved(before, strategy, self._placed(strategy, placed))
        if placed is None and (place_from := getattr(strategy, "place_from", None)):  # as `Incremental` has it
            return self._grown(before, place_from(self._last, self._turn.messages, self._turn.instruction))
        placed = self._placed(strategy, placed)
        index = self._answer_in(placed)
        return None if index is None else self._grown(before, placed[index:], placed)

    def _grown(
        self, before: _Counted, new: Sequence[Message], placed: Sequence[Message] | None = None
    ) -> tuple[_Counted, Overlap]:
        """From the turn before on: its answer and what came after, at the end of `placed`."""
        tail = self._counter.prompt(new)
        opening, with_answer = tail.shared(tail.head(0))
        extra = before.extra_copies
        if placed is self._turn.placed:
            extra += self._extra(new, self._once[self._answer_in(self._once) or 0 :])
        counted = _Counted(before.tokens + tail.tokens - opening, before.exact and tail.exact, extra)
        return counted, Overlap(counted.tokens, before.tokens, before.tokens + with_answer - opening, before.tokens)

    def _moved(
        self, before: _Counted, strategy: Strategy, placed: Sequence[Message]
    ) -> tuple[_Counted, Overlap] | None:
        """From where the prompt is not that of the turn before any more: old messages that both leave as they were are
        the same objects. Not where that was never counted whole."""
        earlier = strategy.place(self._turn.messages[: self._last], self._turn.instruction)
        same = common(placed, earlier)
        if not before.exact:
            return None
        tail, tail_before = (self._counter.prompt(some[same:]) for some in (placed, earlier))
        ahead = before.tokens - tail_before.tokens
        read, known = tail.shared(tail_before)
        extra = self._extra(placed, self._once) if placed is self._turn.placed else 0
        counted = _Counted(ahead + tail.tokens, tail.exact, extra)
        return counted, Overlap(counted.tokens, ahead + read, ahead + known, before.tokens)

    def _whole(self, strategy: Strategy, placed: Sequence[Message]) -> tuple[_Counted, Overlap]:
        prompt = self._counter.prompt(placed, self._known)
        extra = self._extra(placed, self._once) if placed is self._turn.placed else 0
        counted = _Counted(prompt.tokens, prompt.exact, extra)
        marks = _marks(placed, prompt) if self._turn.marks else ()
        if self._last is None:
            return counted, Overlap(prompt.tokens, marks=marks)
        if strategy.append_only:
            # The prompt before is the beginning of this one, up to the very message object that answered it.
            index = self._answer_in(placed)
            placed_before: Sequence[Message] = placed[:index]
            before = prompt.head(len(placed_before))
        else:
            placed_before = strategy.place(self._turn.messages[: self._last], self._turn.instruction)
            before = self._counter.prompt(placed_before, self._known)
        read, known = prompt.shared(before)
        marks_before = _marks(placed_before, before) if self._turn.marks else ()
        return counted, Overlap(prompt.tokens, read, known, before.tokens, marks, marks_before)

    def _answer_in(self, placed: Sequence[Message]) -> int | None:
        """Where the last answer stands in placed messages: strategies leave it the very object that it is."""
        assert self._last is not None
        answer = self._turn.messages[self._last]
        return next((index for index in range(len(placed) - 1, -1, -1) if placed[index] is answer), None)

    def _extra(self, placed: Sequence[Message], once: Sequence[Message]) -> int:
        """Copies of the instruction beyond those of saying it once; messages that both have cancel out."""
        if self._text is None or placed is once:
            return 0
        return _copies(self._text, placed, beside=once) - _copies(self._text, once, beside=placed)


def _last_answer(messages: Sequence[Message]) -> int | None:
    """The index of the last assistant message: everything ahead of it was the prompt of the turn before."""
    for index in range(len(messages) - 1, 0, -1):
        if messages[index].get("role") == "assistant":
            return index
    return None


def _marks(messages: Sequence[Message], prompt: _Prompt) -> tuple[int, ...]:
    """Lengths of the prefixes that the client marked, to the end of the message that holds the mark."""
    return tuple(prompt.until(index + 1) for index, message in enumerate(messages) if _is_marked(message))


def _is_marked(message: Message) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return any(mark in holder for holder in (message, *parts) for mark in CACHE_MARKS)


def _copies(text: str, messages: Sequence[Message], *, beside: Sequence[Message]) -> int:
    shared = set(map(id, beside))
    return sum([text_of(message.get("content")).count(text) for message in messages if id(message) not in shared])
