"""The rules of prefix caches: the field notes' figures, an exact simulation, and the providers' own tables."""

from __future__ import annotations

import json
import time
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from gateway.accounting.cache_table import TABLE, provider_of_host, provider_of_name, rule_for
from gateway.accounting.caching import Blocks, Breakpoints, Cached, NoCache, Overlap, Steps
from gateway.accounting.placement import Memory, Turn, comparable, count_placement
from gateway.accounting.prices import LITELLM_TABLE, litellm_folder
from gateway.accounting.remembered import Recent
from gateway.accounting.tokens import TiktokenCounter
from strategies import Message, Strategy
from strategies.instruction import appended, instruction_of, without_instruction
from tests.gateway.accounting.engine import PrefixCache

Token = tuple[str, int]


def prompt_of(placement: str, turn: int, instruction: int, user: int, answer: int) -> list[Token]:
    """A conversation's prompt as bare tokens, the instruction placed in one of the four ways of the field notes."""
    repeated = {
        "once": lambda k: False,
        "every": lambda k: True,
        "last": lambda k: k == turn,
        "fourth": lambda k: k % 4 == 1,
    }[placement]
    parts = [("head", instruction)] if placement == "once" else []
    for k in range(1, turn + 1):
        parts += [(f"user {k}", user), *([(f"copy {k}", instruction)] if repeated(k) else [])]
        parts += [(f"answer {k}", answer)] if k < turn else []
    return [(name, position) for name, length in parts for position in range(length)]


def overlap_of(prompt: list[Token], before: list[Token], answer: list[Token]) -> Overlap:
    """The overlap by comparing tokens."""

    def shared(other: list[Token]) -> int:
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, other, strict=False)))

    return Overlap(len(prompt), shared(before), shared(before + answer), len(before))


@pytest.mark.parametrize(
    ("placement", "short", "long"),
    [("once", 5_486, 6_077), ("every", 6_248, 13_232), ("last", 9_317, 12_917), ("fourth", 5_667, 7_539)],
)
@pytest.mark.parametrize("length", ["short", "long"])
def test_twenty_turns_cost_what_the_field_notes_say(placement: str, short: int, long: int, length: str) -> None:
    """T=20, U=40, A=200, cached tokens at a tenth, in fresh tokens, I=20 and 200."""
    instruction, expected = (20, short) if length == "short" else (200, long)
    rule, engine, cost = Blocks(16), PrefixCache(16), 0.0
    before: list[Token] = []
    for turn in range(1, 21):
        prompt = prompt_of(placement, turn, instruction, user=40, answer=200)
        answer = [(f"answer {turn - 1}", position) for position in range(200)] if turn > 1 else []
        read = rule.cached(overlap_of(prompt, before, answer)).read
        assert read == engine.read(prompt), "the rule and the simulation agree at every turn"
        engine.write(prompt + [(f"answer {turn}", position) for position in range(200)])
        cost += len(prompt) - read + 0.1 * read
        before = prompt
    assert round(cost) == expected


class LastTurn:
    """The instruction at the end of the last user turn alone."""

    name = "last-turn"
    append_only = False

    def place(self, messages: Any, instruction: str | None = None) -> list[Message]:
        text = instruction or instruction_of(messages)
        placed = without_instruction(messages)
        last = max((i for i, message in enumerate(placed) if message["role"] == "user"), default=None)
        return [appended(m, text, "\n\n") if text and i == last else m for i, m in enumerate(placed)]


words = st.lists(st.sampled_from(["red", "green", " blue", "x", "42", ".", "é", "\n"]), min_size=1, max_size=60)
talk = st.lists(st.tuples(words, words), min_size=1, max_size=6)


def tokens_of(counter: TiktokenCounter, messages: list[Message]) -> list[Any]:
    """The prompt as tokens, in OpenAI's chat format."""
    encode = counter._encoding.encode_ordinary
    tokens: list[Any] = []
    for message in messages:
        tokens += ["<start>", *encode(message["role"]), "<sep>", *encode(message["content"]), "<end>"]
    return [*tokens, "<start>", *encode("assistant"), "<sep>"]


@settings(deadline=None)  # the first example loads the encoding
@given(talk, words, st.sampled_from([*map(strategies.make, ("once", "every-turn")), LastTurn()]))
def test_the_block_rule_agrees_with_an_exact_prefix_cache(
    talk: list[tuple[list[str], list[str]]], system: list[str], strategy: Strategy
) -> None:
    """Real tokens, real hashes of blocks, every prompt and answer of the conversation kept."""
    counter, rule, engine = TiktokenCounter("gpt-4o"), Blocks(16), PrefixCache(16)
    messages: list[Message] = [{"role": "system", "content": "Follow this. " + "".join(system)}]
    for number, (asked, answered) in enumerate(talk):
        messages.append({"role": "user", "content": f"{number}: " + "".join(asked)})
        placed = strategy.place(messages)
        counts = count_placement(counter, Turn(messages, placed, strategy, continues=number > 0), {})
        prompt = tokens_of(counter, placed)
        overlap = counts.overlaps[strategy.name]
        assert (overlap.prompt_tokens, counts.exact) == (len(prompt), True)
        assert rule.cached(overlap).read == engine.read(prompt)
        reply = "".join(answered)
        engine.write(prompt + counter._encoding.encode_ordinary(reply))
        messages.append({"role": "assistant", "content": reply})


@pytest.mark.parametrize(
    ("shared", "read"), [(0, 0), (1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (2006, 1920)]
)
def test_openai_caches_from_1024_tokens_on_in_steps_of_128(shared: int, read: int) -> None:
    assert Steps().cached(Overlap(3000, shared, shared, shared)) == Cached(read)


def test_a_step_can_make_more_tokens_cheaper_than_fewer() -> None:
    def cost(tokens: int) -> float:
        read = Steps().cached(Overlap(tokens, tokens, tokens, tokens)).read
        return tokens - read + 0.1 * read

    assert cost(1030) < cost(1020)


def test_breakpoints_write_once_and_read_from_then_on() -> None:
    rule = Breakpoints(minimum=1024, automatic=True)
    assert rule.cached(Overlap(1000)) == Cached(0, 0)
    assert rule.cached(Overlap(1200)) == Cached(0, 1200)
    assert rule.cached(Overlap(1500, 1200, 1400, 1200)) == Cached(1200, 300)
    # A prompt that is not the beginning of the next one leaves no breakpoint to read at.
    assert rule.cached(Overlap(1500, 1190, 1190, 1200)) == Cached(0, 1500)


def test_without_marks_anthropic_caches_nothing_and_with_them_up_to_the_last() -> None:
    rule = Breakpoints(minimum=1024, automatic=False)
    assert rule.cached(Overlap(5000, 4000, 4100, 4000)) == Cached(0, 0)
    assert rule.cached(Overlap(5000, 0, 0, 0, marks=(2000,))) == Cached(0, 2000)
    assert rule.cached(Overlap(6000, 5000, 5100, 5000, marks=(2000, 5500), marks_before=(2000,))) == Cached(2000, 3500)
    assert rule.cached(Overlap(6000, 1500, 1500, 5000, marks=(2000,), marks_before=(2000,))) == Cached(0, 2000)


sizes = st.integers(min_value=1, max_value=5000)
rules = st.sampled_from([NoCache(), Blocks(16), Blocks(64), Steps(), Breakpoints(1024, True), Breakpoints(512, False)])


@given(rules, sizes, sizes, sizes, sizes, st.lists(sizes, max_size=4))
def test_no_rule_caches_more_than_there_is(
    rule: Any, prompt: int, before: int, read: int, answer: int, marks: list[int]
) -> None:
    read = min(read, prompt, before)
    known = min(prompt, read + answer)
    points = tuple(sorted(mark for mark in marks if mark <= prompt))
    cached = rule.cached(Overlap(prompt, read, known, before, points, tuple(m for m in points if m <= before)))
    assert 0 <= cached.read <= known
    assert 0 <= cached.written <= prompt - cached.read


def test_the_minimum_of_every_claude_is_the_one_that_litellm_lists() -> None:
    table = json.loads((litellm_folder() / LITELLM_TABLE).read_text())
    listed = {
        name: int(row["prompt_cache_min_tokens"])
        for name, row in table.items()
        if isinstance(row, dict) and row.get("litellm_provider") == "anthropic" and "prompt_cache_min_tokens" in row
    }
    assert len(listed) > 10
    ours = {name: rule_for("anthropic", name) for name in listed}
    assert {name: rule.minimum for name, rule in ours.items() if isinstance(rule, Breakpoints)} == listed


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4o", "steps-1024-128"),
        ("openai", "gpt-5.4-mini", "steps-1024-128"),
        ("openai", "o3-mini", "steps-1024-128"),
        ("openai", "gpt-5.6-luna", "breakpoints-1024-automatic"),
        ("openai", "gpt-4-0613", "none"),
        ("openai", "gpt-3.5-turbo", "none"),
        (provider_of_name("anthropic/claude-opus-4-8"), "anthropic/claude-opus-4-8", "breakpoints-1024"),
        (provider_of_name("bedrock/anthropic.claude-haiku-4-5"), "claude-haiku-4-5", "breakpoints-4096"),
        (provider_of_name("gemini/gemini-2.5-pro"), "gemini/gemini-2.5-pro", "observed"),
        (provider_of_host("https://api.openai.com/v1"), "gpt-4.1", "steps-1024-128"),
        (provider_of_host("http://10.0.0.7:8000/v1"), "meta-llama/Llama-2-7b-chat-hf", "blocks-16"),
    ],
)
def test_a_model_goes_by_its_providers_rule(provider: str, model: str, name: str) -> None:
    assert rule_for(provider, model).name == name


def test_every_line_of_the_table_is_dated_and_has_its_source() -> None:
    for entry in TABLE:
        assert entry.since[:2] == entry.checked[:2] == "20"
        assert entry.source.startswith("https://") or "litellm" in entry.source or entry.source.endswith(".py")


@settings(deadline=None)
@given(talk, words, st.booleans(), st.sampled_from(["every-turn", "last-turn", "every-k", "drop-oldest"]))
def test_counting_on_from_the_turn_before_gives_what_counting_anew_gives(
    talk: list[tuple[list[str], list[str]]], system: list[str], has_system: bool, name: str
) -> None:
    counter = TiktokenCounter("gpt-4o")
    memory: Memory = Recent(100)
    others = {**comparable(None, None), "last-turn": LastTurn(), "every-2": strategies.make("every-k", k=2)}
    strategy = strategies.make(name, **({"max_chars": 60} if name == "drop-oldest" else {}))
    head = {"role": "system", "content": "".join(system) + "!"}
    messages: list[Message] = [head] if has_system else []
    for number, (asked, answered) in enumerate(talk):
        messages = json.loads(json.dumps([*messages, {"role": "user", "content": f"{number}: " + "".join(asked)}]))
        turn = Turn(messages, strategy.place(messages), strategy, continues=number > 0)
        assert count_placement(counter, turn, others, memory) == count_placement(counter, turn, others)
        messages.append({"role": "assistant", "content": "".join(answered)})


@pytest.mark.parametrize(("compare", "most"), [(["once", "every-turn"], 3), (None, 3)])
def test_a_turn_with_400_messages_of_history_costs_little_more_to_count_than_one_with_4(
    compare: list[str] | None, most: float
) -> None:
    """The least of many rounds, for other processes only ever add. Placing the instruction in the old messages once
    more for each strategy that is compared would be most of what grows."""
    counter, strategy, memory = TiktokenCounter("gpt-4o"), strategies.make("every-turn"), Memory(10_000)
    others, times = comparable(compare, None), {4: 1e9, 400: 1e9}
    for number in range(60):
        for length in times:
            roles = ("user", "assistant")
            text = " ".join(f"w{number}{length}"[:4] + " turn of the model" for _ in range(40))
            history = [{"role": roles[i % 2], "content": f"{number} {i} {text}"} for i in range(length + 1)]
            messages: list[Message] = [{"role": "system", "content": "Speak French."}, *history]
            earlier = messages[:-2]
            count_placement(counter, Turn(earlier, strategy.place(earlier), strategy, continues=True), others, memory)
            messages = json.loads(json.dumps(messages))
            turn = Turn(messages, strategy.place(messages), strategy, continues=True)
            began = time.perf_counter()
            count_placement(counter, turn, others, memory)
            times[length] = min(times[length], time.perf_counter() - began)
    assert times[400] <= most * times[4], times
