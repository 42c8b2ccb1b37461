"""What a user of a strategy can rely on, over generated histories."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strategies
from strategies.base import Incremental
from strategies.condense import Condense
from strategies.instruction import text_of
from strategies.within_budget import WithinBudget

TEXT = st.text(alphabet="abc é<\n", min_size=0, max_size=12)
PART = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, TEXT),
    st.builds(lambda t: {"type": "text", "text": t, "cache_control": {"type": "ephemeral"}}, TEXT),
    st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
)
CONTENT = st.one_of(TEXT, st.lists(PART, min_size=1, max_size=3))
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Client histories: a head or none, then user turns answered plainly or by a tool run."""
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 2))):
        marked = draw(st.booleans())
        text = draw(TEXT)
        content: Any = f"Policy. <instruction>{text}</instruction> End." if marked else draw(CONTENT)
        messages.append({"role": draw(st.sampled_from(["system", "developer"])), "content": content})
    for _ in range(draw(st.integers(0, 4))):
        messages.append({"role": "user", "content": draw(CONTENT), "name": "ann"})
        if draw(st.booleans()):
            messages.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
            messages.append({"role": "tool", "tool_call_id": "c1", "content": draw(TEXT)})
        messages.append({"role": "assistant", "content": draw(TEXT)})
    if messages and draw(st.booleans()):
        messages.append({"role": "user", "content": draw(CONTENT)})
    return messages


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is slow to draw the first history, and at times to place one; both are small."""
EXAMPLES = [{"user": "a b", "assistant": "x"}, {"user": "b c", "assistant": "y"}, {"user": "é", "assistant": "z"}]
CANDIDATES = [{"name": name, "strategy": name} for name in ("once", "last-turn", "every-turn")]
CHECKS = [{"kind": "contains", "text": "a"}]


class SummaryOfAnything(dict[str, str]):
    """A memory that knows every key."""

    def __missing__(self, key: str) -> str:
        return f"S{key[:4]}"

    def get(self, key: str, default: object = None) -> str:  # type: ignore[override]
        return self[key]


def condensing() -> strategies.Strategy:
    strategy = Condense(max_chars=20, then="every-turn")
    strategy.summaries = SummaryOfAnything()
    return strategy


def every_strategy() -> list[strategies.Strategy]:
    needing = ("on-drift", "drop-oldest", "few-shot", "condense", "within-budget")
    without_needs = [name for name in strategies.FACTORIES if name not in needing]
    return [
        *(strategies.make(name) for name in without_needs),
        strategies.make("every-turn", keep_system=True),
        strategies.make("every-k", k=2),
        strategies.make("last-turn", keep_system=True),
        strategies.make("short-reminder", reminder="Mind.", k=2),
        strategies.make("on-drift", checks=CHECKS),
        strategies.make("on-drift", checks=CHECKS, copies=0, false_alarm=0.001),
        *WithinBudget(0.9, CANDIDATES).among.values(),
        strategies.make("within-budget", adherence=0.9, candidates=CANDIDATES),
        strategies.make("drop-oldest", max_chars=20),
        strategies.make("drop-oldest", max_chars=20, then="every-turn"),
        strategies.make("on-drift", checks=CHECKS, copies=0, moves=True),
        strategies.make("condense", max_chars=20),
        condensing(),
        strategies.make("few-shot", examples=EXAMPLES, n=2),
        strategies.make("few-shot", examples=EXAMPLES, n=1, by="last"),
    ]


@pytest.mark.parametrize("strategy", every_strategy(), ids=lambda s: s.name)
@PATIENT
@given(history=histories())
def test_placing_is_pure_and_the_same_history_gives_the_same_messages(
    strategy: strategies.Strategy, history: list[dict[str, Any]]
) -> None:
    before = copy.deepcopy(history)
    first = strategy.place(history)
    assert history == before
    assert strategy.place(copy.deepcopy(history)) == first


@pytest.mark.parametrize("strategy", every_strategy(), ids=lambda s: s.name)
@pytest.mark.parametrize("instruction", [None, "Be kind."])
@PATIENT
@given(history=histories())
def test_a_strategy_opens_as_it_says(
    strategy: strategies.Strategy, instruction: str | None, history: list[dict[str, Any]]
) -> None:
    opens_as = getattr(strategy, "opens_as", None)
    second = [index for index, message in enumerate(history) if message["role"] == "user"][1:2]
    opening = history[: second[0]] if second else history
    if opens_as is not None:
        assert strategy.place(opening, instruction) == strategies.make(opens_as).place(opening, instruction)


@pytest.mark.parametrize("strategy", every_strategy(), ids=lambda s: s.name)
@PATIENT
@given(history=histories())
def test_an_append_only_strategy_never_changes_what_an_earlier_request_sent(
    strategy: strategies.Strategy, history: list[dict[str, Any]]
) -> None:
    if not strategy.append_only:
        return
    cuts = [i + 1 for i, m in enumerate(history) if m["role"] == "user"]
    longest = strategy.place(history)
    for cut in cuts:
        shorter = strategy.place(history[:cut])
        assert longest[: len(shorter)] == shorter


@pytest.mark.parametrize(
    "strategy", [one for one in every_strategy() if isinstance(one, Incremental)], ids=lambda s: s.name
)
@PATIENT
@given(history=histories(), own=st.sampled_from([None, "", "Be brief. Always."]))
def test_placing_from_an_answer_on_gives_the_end_of_what_placing_all_gives(
    strategy: strategies.Strategy, history: list[dict[str, Any]], own: str | None
) -> None:
    assert isinstance(strategy, Incremental)
    whole = strategy.place(history, own)
    for start in (i for i, m in enumerate(history) if m["role"] == "assistant"):
        assert strategy.place_from(start, history, own) == whole[len(whole) - (len(history) - start) :]


@pytest.mark.parametrize("strategy", every_strategy(), ids=lambda s: s.name)
@PATIENT
@given(history=histories())
def test_assistant_and_tool_messages_and_cache_marked_parts_are_never_touched(
    strategy: strategies.Strategy, history: list[dict[str, Any]]
) -> None:
    placed = strategy.place(history)
    theirs = [m for m in history if m["role"] in ("assistant", "tool")]
    ours = [m for m in placed if m["role"] in ("assistant", "tool")]
    if strategy.name in ("drop-oldest", "condense"):  # whole turns may go, from the oldest on
        assert ours == theirs[len(theirs) - len(ours) :]
        return
    assert ours[len(ours) - len(theirs) :] == theirs
    assert marked_parts(placed) == marked_parts(history)


def marked_parts(messages: list[dict[str, Any]]) -> list[Any]:
    lists = [m["content"] for m in messages if isinstance(m["content"], list)]
    return [part for parts in lists for part in parts if "cache_control" in part]


@PATIENT
@given(history=histories())
def test_every_turn_puts_the_instruction_at_the_end_of_each_user_turn(history: list[dict[str, Any]]) -> None:
    instruction = strategies.instruction_of(history)
    placed = strategies.make("every-turn").place(history)
    users = [m for m in placed if m["role"] == "user"]
    assert len(users) == sum(m["role"] == "user" for m in history)
    if instruction:
        assert all(text_of(m["content"]).endswith(instruction) for m in users)
    else:
        assert placed == history


@PATIENT
@given(history=histories())
def test_placing_every_turn_twice_adds_no_second_copy(history: list[dict[str, Any]]) -> None:
    strategy = strategies.make("every-turn", keep_system=True)
    instruction = strategies.instruction_of(history)
    once_placed = strategy.place(history, instruction)
    assert strategy.place(once_placed, instruction) == once_placed


def test_only_the_marked_part_of_a_system_message_is_repeated() -> None:
    head = {"role": "system", "content": "You work for ACME. <instruction>Answer in French.</instruction>"}
    user = {"role": "user", "content": "Hi"}
    assert strategies.make("every-turn").place([head, user]) == [
        {"role": "system", "content": "You work for ACME."},
        {"role": "user", "content": "Hi\n\nAnswer in French."},
    ]
    assert strategies.make("once").place([head, user])[0]["content"] == "You work for ACME. Answer in French."


def test_an_instruction_set_by_the_arm_leaves_the_clients_own_system_message_alone() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert strategies.make("every-turn").place(messages, "Answer in French.") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi\n\nAnswer in French."},
    ]
    assert strategies.make("once").place(messages, "Answer in French.")[0]["content"] == "Be kind.\n\nAnswer in French."


def test_unknown_names_and_parameters_are_refused_with_what_is_possible() -> None:
    with pytest.raises(ValueError, match="every-turn, few-shot, last-turn, on-drift, once, pass-through"):
        strategies.make("evry-turn")
    with pytest.raises(ValueError, match="it takes: keep_system, separator"):
        strategies.make("every-turn", keep=True)
    with pytest.raises(ValueError, match="keep_system must be true or false"):
        strategies.make("every-turn", keep_system="yes")


@pytest.mark.parametrize("mark", ["cache_control", "prompt_cache_breakpoint"])
def test_a_system_message_marked_for_a_providers_cache_stays_whole_at_the_head(mark: str) -> None:
    head = {"role": "system", "content": [{"type": "text", "text": "Speak French.", mark: {"type": "ephemeral"}}]}
    placed = strategies.make("every-turn").place([head, {"role": "user", "content": "Hi"}])
    assert placed == [head, {"role": "user", "content": "Hi\n\nSpeak French."}]
