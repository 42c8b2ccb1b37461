"""The main job as a user gets it: `gattway serve` with nothing configured, and the `openai` client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from adherence.checks import all_hold
from tests.integration.started import ROOT

pytestmark = pytest.mark.slow
SCRIPTS = [json.loads(line) for line in (ROOT / "benchmarks/scripts/miniature.jsonl").read_text().splitlines()]
UNSEEN = [script for script in SCRIPTS if script["split"] == "unseen_attributes"]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    transport = httpx.HTTPTransport(retries=10)
    with openai.OpenAI(
        base_url=f"{url}/v1", api_key="unused", http_client=httpx.Client(transport=transport, timeout=60)
    ) as one:
        yield one


def converse(client: openai.OpenAI, model: str, script: dict[str, Any], turns: int, stream: bool) -> list[str]:
    """Hold a scripted conversation as a chat client does: the whole history with every request."""
    history: list[Any] = [{"role": "system", "content": script["instruction"]}]
    replies = []
    for turn in script["turns"][:turns]:
        history.append({"role": "user", "content": turn["user"]})
        if stream:
            chunks = client.chat.completions.create(model=model, messages=history, temperature=0, stream=True)
            reply = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            answer = client.chat.completions.create(model=model, messages=history, temperature=0)
            reply = answer.choices[0].message.content or ""
        history.append({"role": "assistant", "content": reply})
        replies.append(reply)
    return replies


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("arm", ["gatt", "repeat"])
def test_both_arms_keep_an_instruction_that_the_untreated_model_forgets(
    client: openai.OpenAI, arm: str, stream: bool
) -> None:
    kept = {}
    for one in (arm, "untreated"):
        later = []
        for script in UNSEEN[:4]:
            replies = converse(client, f"gatt-vs-repeat:{one}", script, 8, stream)
            later += [all_hold(script["checks"], reply) for reply in replies[3:]]
        kept[one] = sum(later) / len(later)
    assert kept[arm] >= 0.9
    assert kept["untreated"] <= 0.2


def test_the_gateway_deals_an_arm_and_keeps_it_and_both_arms_get_conversations(client: openai.OpenAI) -> None:
    arms = set()
    for index in range(8):
        history: list[Any] = [{"role": "system", "content": "Act as Oscar Wilde."}, {"role": "user", "content": "Hi"}]
        seen = []
        for _ in range(2):
            answer = client.chat.completions.with_raw_response.create(
                model="gatt-vs-repeat",
                messages=history,
                extra_headers={"x-gattway-conversation-id": f"dealt-{index}"},
            )
            seen.append((answer.headers["x-gattway-arm"], answer.headers["x-gattway-turn"]))
            history += [
                {"role": "assistant", "content": answer.parse().choices[0].message.content},
                {"role": "user", "content": "And now?"},
            ]
        assert [turn for _, turn in seen] == ["1", "2"]
        assert seen[0][0] == seen[1][0]
        arms.add(seen[0][0])
    assert arms == {"gatt", "repeat"}


def test_the_second_turn_comes_from_the_prefix_cache_and_the_row_counts_as_the_model_does(
    client: openai.OpenAI, url: str
) -> None:
    script = UNSEEN[0]
    history: list[Any] = [{"role": "system", "content": script["instruction"]}]
    usages = []
    for turn in script["turns"][:3]:
        history.append({"role": "user", "content": turn["user"]})
        answer = client.chat.completions.create(
            model="gatt-vs-repeat:repeat",
            messages=history,
            temperature=0,
            extra_headers={"x-gattway-conversation-id": "counted"},
        )
        history.append({"role": "assistant", "content": answer.choices[0].message.content})
        usages.append(answer.usage)
    rows = httpx.get(f"{url}/api/conversations/counted").json()["turns"]
    assert [row["prompt_tokens"] for row in rows] == [usage.prompt_tokens for usage in usages if usage]
    assert [row["counterfactual_prompt_tokens"]["every-turn"] for row in rows] == [row["prompt_tokens"] for row in rows]
    assert rows[2]["cached_tokens"] >= rows[1]["prompt_tokens"] // 16 * 16
    assert [row["repeated_instruction_tokens"] // row["instruction_tokens"] for row in rows] == [0, 1, 2]
    assert rows[2]["context_window"] == 1024
    assert rows[2]["context_headroom_turns"] > 0


def test_beyond_the_window_the_client_gets_openais_error_with_the_figures(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="gatt-vs-repeat:gatt", messages=[{"role": "user", "content": "What is the capital of Peru? " * 200}]
        )
    assert refused.value.code == "context_length_exceeded"
    assert "maximum context length is 1024 tokens. However, you requested" in refused.value.message
    assert 'gattway_context_overflow_total{action="rejected",arm="gatt"' in httpx.get(f"{url}/metrics").text


@pytest.mark.parametrize(
    ("field", "value"),
    [("tools", [{"type": "function", "function": {"name": "f"}}]), ("logprobs", True)],
)
def test_what_the_model_cannot_do_is_refused_by_name(client: openai.OpenAI, field: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="mini-base", messages=[{"role": "user", "content": "Hi"}], extra_body={field: value}
        )
    assert refused.value.param == field
