"""What a turn used and cost, as it stands in the books: by kind, from where, and against the other placements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.accounting.tokens import TiktokenCounter
from tests.gateway.scripted import Script, Scripted, scripted
from tests.gateway.test_cli import gattway

MORE = """
[models.gpt-4o]
upstream = "scripted"

[models.tuned]
upstream = "scripted"
price_as = "gpt-4o"
price_surcharge = 1.5

[models.claude]
upstream = "scripted"
price_as = "claude-sonnet-4-6"
prefix_cache = { rule = "breakpoints", minimum_tokens = 8 }

[models.windowed]
upstream = "scripted"
context_window = 400
price = { input = 1.0, cached = 0.1, cache_write = 1.25, output = 4.0, reasoning = 8.0 }
[experiments.window.arms.repeat]
strategy = "every-turn"
model = "windowed"
"""
SYSTEM = {"role": "system", "content": "Always answer in rhymes, and always name the river Amazon in the last line."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accounting")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Scripted]:
    with scripted(folder, MORE) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: Scripted) -> Scripted:
    running.upstream.script = Script()
    return running


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def asked(gateway: Scripted, conversation: str, model: str, messages: list[Any], **more: Any) -> dict[str, Any]:
    """The row of one request."""
    body = {"model": model, "messages": messages, **more}
    answer = gateway.post("/v1/chat/completions", body, x_gattway_conversation_id=conversation)
    assert answer.status_code == 200, answer.text
    return rows(gateway, conversation)[-1]


def rows(gateway: Scripted, conversation: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.get(f"/api/conversations/{conversation}").json()["turns"]
    return found


def usage(prompt: int, completion: int, total: int | None = None, **details: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
        **details,
    }


@pytest.mark.parametrize("stream", [False, True])
def test_cached_tokens_are_billed_once_at_their_own_price(gateway: Scripted, stream: bool) -> None:
    """litellm 6215: the whole prompt was billed as fresh, and the cached part again."""
    gateway.upstream.script.usage = usage(2006, 300, prompt_tokens_details={"cached_tokens": 1920})
    row = asked(gateway, f"cached-{stream}", "gpt-4o", [user("x")], stream=stream)
    assert row["cost_input_usd"] == pytest.approx(86 * 2.5e-6)
    assert row["cost_cached_usd"] == pytest.approx(1920 * 1.25e-6)
    assert row["cost_output_usd"] == pytest.approx(300 * 10e-6)
    assert row["cost_usd"] == pytest.approx(86 * 2.5e-6 + 1920 * 1.25e-6 + 300 * 10e-6)
    assert row["prices"]["cached"] == 1.25
    assert row["prices"]["unit"] == "usd_per_million_tokens"
    assert row["prices"]["table"].startswith("litellm ")


@pytest.mark.parametrize(
    "reported",
    [
        {"prompt_tokens_details": {"cached_tokens": 60}},
        {"prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40},
        {"cache_read_input_tokens": 60},
        {"cached_tokens": 60},
    ],
    ids=["openai", "deepseek", "anthropic", "moonshot"],
)
def test_cached_tokens_are_found_where_each_provider_puts_them(gateway: Scripted, reported: dict[str, Any]) -> None:
    gateway.upstream.script.usage = usage(100, 10, **reported)
    assert asked(gateway, f"where-{next(iter(reported))}", "m", [user("x")])["cached_tokens"] == 60


def test_cache_writes_reasoning_and_a_surcharge_have_their_own_prices(gateway: Scripted) -> None:
    gateway.upstream.script.usage = usage(
        10_000,
        500,
        prompt_tokens_details={
            "cached_tokens": 6000,
            "cache_creation_tokens": 3000,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
        },
        completion_tokens_details={"reasoning_tokens": 400},
    )
    row = asked(gateway, "written", "claude", [user("x")])
    assert (row["cache_write_tokens"], row["reasoning_tokens"]) == (3000, 400)
    assert row["cost_input_usd"] == pytest.approx(1000 * 3e-6)
    assert row["cost_cached_usd"] == pytest.approx(6000 * 0.3e-6)
    assert row["cost_cache_write_usd"] == pytest.approx(2000 * 3.75e-6 + 1000 * 6e-6)
    assert (row["cost_output_usd"], row["cost_reasoning_usd"]) == pytest.approx((100 * 15e-6, 400 * 15e-6))
    kinds = ("input", "cached", "cache_write", "output", "reasoning")
    assert row["cost_usd"] == pytest.approx(sum(row[f"cost_{kind}_usd"] for kind in kinds))

    row = asked(gateway, "surcharge", "tuned", [user("x")])
    assert (row["prices"]["input"], row["prices"]["surcharge"]) == (3.75, 1.5)


def test_reasoning_tokens_that_the_completion_leaves_out_are_output_all_the_same(gateway: Scripted) -> None:
    """xAI reports a completion without its reasoning; the total gives it away."""
    gateway.upstream.script.usage = usage(100, 10, 160, completion_tokens_details={"reasoning_tokens": 50})
    row = asked(gateway, "xai", "windowed", [user("x")])
    assert (row["completion_tokens"], row["reasoning_tokens"]) == (60, 50)
    assert (row["cost_output_usd"], row["cost_reasoning_usd"]) == pytest.approx((10 * 4e-6, 50 * 8e-6))


def test_more_cached_than_prompt_tokens_never_make_a_negative_cost(gateway: Scripted) -> None:
    gateway.upstream.script.usage = usage(100, 10, prompt_tokens_details={"cached_tokens": 5000})
    row = asked(gateway, "negative", "m", [user("x")])
    assert (row["cost_input_usd"], row["cost_cached_usd"]) == pytest.approx((0, 100 * 0.1e-6))


def test_sound_without_a_price_makes_the_cost_unknown(gateway: Scripted) -> None:
    gateway.upstream.script.usage = usage(100, 10, prompt_tokens_details={"audio_tokens": 80})
    row = asked(gateway, "sound", "m", [user("x")])
    assert row["cost_usd"] is None
    assert row["prices"]["input"] == 1.0


@pytest.mark.parametrize("stream", [False, True])
def test_an_unreported_answer_is_counted_over_all_its_choices_and_says_so(gateway: Scripted, stream: bool) -> None:
    script = gateway.upstream.script
    script.usage = None
    row = asked(gateway, f"counted-{stream}", "gpt-4o", [user("hello")], stream=stream, n=1)
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (8, 1, "counted")
    assert row["figure_sources"] == {"prompt_tokens": "counted", "completion_tokens": "counted"}
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (None, None)


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_counted_stays_unknown_and_no_usage_is_made_up(gateway: Scripted, stream: bool) -> None:
    gateway.upstream.script.usage = None
    picture = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    for name, messages, more in (("picture", [user(picture)], {}), ("tools", [user("hello")], {"tools": tools})):
        options = {"stream_options": {"include_usage": True}} if stream else {}
        body = {"model": "gpt-4o", "messages": messages, "stream": stream, **options, **more}
        answer = gateway.post("/v1/chat/completions", body, x_gattway_conversation_id=f"{name}-{stream}")
        (row,) = rows(gateway, f"{name}-{stream}")
        assert (row["prompt_tokens"], row["counted_prompt_tokens"], row["cost_usd"]) == (None, None, None)
        assert (row["completion_tokens"], row["context_used"]) == (1, None)
        assert row["counterfactual_prompt_tokens"] is None
        assert '"prompt_tokens"' not in answer.text


def test_with_tools_the_difference_between_placements_is_still_known(gateway: Scripted) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    plain = asked(gateway, "plain-difference", "ab:repeat", [SYSTEM, user("hello")])
    with_tools = asked(gateway, "tools-difference", "ab:repeat", [SYSTEM, user("hello")], tools=tools)
    gateway.upstream.script.usage = usage(500, 4)
    with_tools = asked(gateway, "tools-difference-2", "ab:repeat", [SYSTEM, user("hello")], tools=tools)
    one, other = plain["counterfactual_prompt_tokens"], with_tools["counterfactual_prompt_tokens"]
    assert other["every-turn"] == 500
    assert other["once"] - other["every-turn"] == pytest.approx(one["once"] - one["every-turn"], abs=6)


def test_an_answer_that_breaks_off_keeps_what_it_used(gateway: Scripted) -> None:
    """litellm 14457, 30630; TensorZero 475: usage of broken answers was lost."""
    gateway.upstream.script.breaks_off = True
    body = {"model": "m", "messages": [user("hello")], "stream": True}
    gateway.post("/v1/chat/completions", body, x_gattway_conversation_id="broken")
    (row,) = rows(gateway, "broken")
    assert (row["status"], row["usage_source"]) == ("error", "partial")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (8, 1)
    assert row["figure_sources"] == {"prompt_tokens": "counted", "completion_tokens": "partial"}
    assert row["cost_usd"] == pytest.approx(8e-6 + 4e-6)


def converse(gateway: Scripted, conversation: str, turns: int) -> list[dict[str, Any]]:
    """A conversation in the arm `window:repeat`; the upstream counts as o200k_base does and caches nothing."""
    messages: list[Any] = [SYSTEM]
    gateway.upstream.script.usage = None
    for turn in range(1, turns + 1):
        messages.append(user(f"Question {turn}: what is the capital of Peru?"))
        asked(gateway, conversation, "window:repeat", messages)
        messages.append({"role": "assistant", "content": "Hello"})
    return rows(gateway, conversation)


def test_a_turn_says_how_much_of_the_window_is_left_by_its_own_growth(gateway: Scripted) -> None:
    seen = converse(gateway, "headroom", 5)
    for turn, row in enumerate(seen, start=1):
        assert row["context_used"] == row["prompt_tokens"] + row["completion_tokens"]
        assert row["context_headroom_tokens"] == 400 - row["context_used"]
        assert row["context_headroom_turns"] == row["context_headroom_tokens"] // (row["context_used"] / turn)
    last = seen[-1]
    assert last["repeated_instruction_tokens"] == 4 * last["instruction_tokens"]


def test_the_other_placement_is_what_the_other_arm_really_takes(gateway: Scripted) -> None:
    """Prompt tokens, cached share by the block rule and cost, of the same client messages sent through both arms."""
    messages: list[Any] = [SYSTEM]
    gateway.upstream.script.usage = None
    for turn in range(1, 6):
        messages.append(user(f"Question {turn}: what is the capital of Peru, and how many people live there?"))
        one = asked(gateway, "real-once", "ab:once", messages)
        other = asked(gateway, "real-repeat", "ab:repeat", messages)
        messages.append({"role": "assistant", "content": "Hello"})
        for column in ("counterfactual_prompt_tokens", "counterfactual_cached_tokens"):
            assert one[column] == {**one[column], **other[column]} == {**other[column], **one[column]}
        assert one["counterfactual_prompt_tokens"]["once"] == one["prompt_tokens"]
        assert one["counterfactual_prompt_tokens"]["every-turn"] == other["prompt_tokens"]
        assert one["cache_rule"] == "blocks-16"
    assert one["counterfactual_cached_tokens"]["every-turn"] > one["counterfactual_cached_tokens"]["once"] > 0
    assert one["counterfactual_cost_usd"]["every-turn"] > one["counterfactual_cost_usd"]["once"]


def test_a_cache_that_had_gone_cold_had_gone_cold_for_every_placement(gateway: Scripted) -> None:
    messages: list[Any] = [SYSTEM, user("Question 1: what is the capital of Peru?")]
    asked(gateway, "cold", "ab:repeat", messages)
    messages += [{"role": "assistant", "content": "Hello"}, user("Question 2: what is the capital of Chile?")]
    gateway.upstream.script.usage = usage(90, 1, prompt_tokens_details={"cached_tokens": 0})
    row = asked(gateway, "cold", "ab:repeat", messages)
    assert set(row["counterfactual_cached_tokens"].values()) == {0}
    assert row["counterfactual_cost_usd"]["every-turn"] == pytest.approx(row["cost_usd"])


def test_a_conversation_says_what_repetition_has_cost(gateway: Scripted, folder: Path) -> None:
    converse(gateway, "told", 6)
    found = gateway.get("/api/conversations/told").json()
    compared = found["comparison"]
    once, repeat = compared["strategies"]["once"], compared["strategies"]["every-turn"]
    assert (compared["used"], compared["against"], compared["requests"]) == ("every-turn", "once", 6)
    assert compared["more_usd"] == pytest.approx(repeat["cost_usd"] - once["cost_usd"])
    assert compared["more_usd"] > 0
    assert repeat["window_full_at_turn"] < once["window_full_at_turn"]
    assert compared["sentence"].startswith("Repeating it in every turn has cost $0.000")
    fills = f"at turn {repeat['window_full_at_turn']} instead of {once['window_full_at_turn']}."
    assert compared["sentence"].endswith(f"more than saying it once; the window fills {fills}")
    assert found["totals"]["prompt_tokens"] == sum(row["prompt_tokens"] for row in found["turns"])
    assert found["totals"]["sources"] == {"counted": 6}
    told = gattway("conversations", "show", "told", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert compared["sentence"] in told.stdout
    for part in ("██ instruction", "▓▓ repeated instruction", "▒▒ history", "░░ answer", "every-turn (used)"):
        assert part in told.stdout
    as_json = gattway("conversations", "show", "told", "--json", cwd=folder)
    assert found.pop("content_turns") == 0  # a count of the page's, for a link
    assert json.loads(as_json.stdout) == found
    missing = gattway("conversations", "show", "nobody's", cwd=folder)
    assert (missing.returncode, missing.stderr) == (1, "gattway: There is no conversation 'nobody's'.\n")


def test_a_conversation_without_an_instruction_has_nothing_to_place(gateway: Scripted) -> None:
    asked(gateway, "bare", "ab:once", [user("hello")])
    compared = gateway.get("/api/conversations/bare").json()["comparison"]
    assert compared["sentence"] == "There is no instruction in this conversation, so there is nothing to place."
    assert compared["more_usd"] == 0


def test_a_price_that_nobody_has_is_named(folder: Path) -> None:
    config = (folder / "gattway.toml").read_text().replace('price_as = "gpt-4o"', 'price_as = "gpt-99"')
    (folder / "wrong.toml").write_text(config)
    done = gattway("check", "--config", "wrong.toml", cwd=folder)
    assert done.returncode == 2
    assert "models.tuned.price_as: litellm's table has no price for 'gpt-99'" in done.stderr


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_accounted_for_like_a_chat(gateway: Scripted, stream: bool) -> None:
    gateway.upstream.script.usage = usage(40, 5, prompt_tokens_details={"cached_tokens": 16})
    body = {"model": "ab:repeat", "instructions": SYSTEM["content"], "input": "hello", "stream": stream}
    answer = gateway.post("/v1/responses", body, x_gattway_conversation_id=f"response-{stream}")
    assert answer.status_code == 200
    (row,) = rows(gateway, f"response-{stream}")
    assert (row["prompt_tokens"], row["cached_tokens"], row["usage_source"]) == (40, 16, "upstream")
    assert row["instruction_tokens"] == TiktokenCounter("m").text(SYSTEM["content"])
    assert row["counterfactual_prompt_tokens"]["every-turn"] == 40
    assert row["cost_usd"] == pytest.approx(24e-6 + 16 * 0.1e-6 + 5 * 4e-6)


def test_how_far_counts_are_off_is_exported(gateway: Scripted) -> None:
    gateway.upstream.script.usage = usage(10, 1)
    asked(gateway, "error", "tuned", [user("hello")])  # 8 by o200k_base, 10 by the upstream
    text = gateway.get("/metrics").text
    assert 'gattway_token_count_error_ratio_bucket{le="0.1",model="tuned"} 0.0' in text
    assert 'gattway_token_count_error_ratio_bucket{le="0.25",model="tuned"} 1.0' in text
