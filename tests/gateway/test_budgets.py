"""An arm of `within-budget` takes the cheapest placement that keeps its adherence, and stays with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.build import build
from gateway.errors import ConfigError
from gateway.experiments.budgets import kept
from gateway.settings import load
from tests.gateway.experiment_config import CONFIG, Running, running, until

ARMS = """
[experiments.e]
[[experiments.e.checks]]
kind = "contains"
text = "{said}"
[experiments.e.arms.lean]
strategy = "once"
model = "echo"
[experiments.e.arms.safe]
strategy = "every-turn"
model = "echo"
[experiments.e.arms.budget]
strategy = "within-budget"
model = "echo"
weight = 0
parameters = {{ adherence = {adherence}, arms = ["lean", "safe"] }}
"""
SYSTEM = {"role": "system", "content": "Be odd."}


def hold(gateway: Running, conversation: str, turns: int, model: str = "e:budget") -> list[dict[str, Any]]:
    """A conversation that resends its history, as chat clients do; its rows."""
    messages = [SYSTEM]
    for turn in range(1, turns + 1):
        messages = [*messages, {"role": "user", "content": f"Hi {turn}"}]
        answer = gateway.ask(messages, model=model, x_conversation_id=conversation).json()
        messages = [*messages, {"role": "assistant", "content": answer["choices"][0]["message"]["content"]}]
    return gateway.rows(conversation)


def show(gateway: Running) -> None:
    """Enough conversations of the other arms for their curves; all are judged."""
    ids = [f"c{index}" for index in range(60)]
    for one in ids:
        gateway.ask([SYSTEM, {"role": "user", "content": "Hi"}], x_conversation_id=one)
    until(lambda: all(gateway.rows(one)[0]["adherence_source"] for one in ids))


def test_the_choice_follows_the_curves_and_a_conversation_keeps_what_it_began_with(tmp_path: Path) -> None:
    config = ARMS.format(said="You said", adherence=0.8)  # every answer does: the lean arm keeps what is asked for
    with running(tmp_path, config) as gateway:
        rows = hold(gateway, "early", 2)
        assert [row["strategy"] for row in rows] == ["within-budget:safe"] * 2  # nothing is known yet
        assert "within-budget:safe" in rows[0]["counterfactual_prompt_tokens"]
        assert [message["content"] for message in gateway.upstream.bodies[0]["messages"]] == ["Hi 1\n\nBe odd."]
        show(gateway)
    with running(tmp_path, config) as gateway:
        fresh = until(
            lambda: row if (row := hold(gateway, "late", 1)[-1])["strategy"] == "within-budget:lean" else None
        )
        assert fresh["arm"] == "budget"
        assert gateway.upstream.bodies[-1]["messages"][0] == SYSTEM
        # After a restart, the row of the turn before says what a conversation began with.
        early = gateway.get("/api/conversations/early")["turns"]
        messages = [SYSTEM, *({"role": "user", "content": f"Hi {turn}"} for turn in ())]
        for turn in (1, 2):
            said = f"Hi {turn}\n\nBe odd."
            messages += [
                {"role": "user", "content": f"Hi {turn}"},
                {"role": "assistant", "content": f"You said: {said}"},
            ]
        gateway.ask([*messages, {"role": "user", "content": "Hi 3"}], model="e:budget", x_conversation_id="early")
        rows = gateway.rows("early")
        assert len(rows) == len(early) + 1
        assert rows[-1]["parent_request_id"] == early[-1]["request_id"]
        assert rows[-1]["strategy"] == "within-budget:safe"
        assert gateway.upstream.bodies[-1]["messages"][0]["content"] == "Hi 1\n\nBe odd."


def test_what_an_arm_keeps_is_the_lower_end_of_its_worst_band() -> None:
    assert kept({}, 20) is None
    assert kept({1: (10, 10)}, 20) is None  # too few to say
    assert kept({1: (100, 100)}, 20) == pytest.approx(0.963, abs=0.001)
    falling = {1: (100, 100), 2: (50, 100), 4: (0, 5), 30: (0, 100)}
    assert kept(falling, 20) == pytest.approx(0.404, abs=0.001)  # turn 4 is too rare, turn 30 beyond the horizon
    assert kept(falling, 40) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('["lean", "safe"]', '["lean", "sage"]'), "there is no other arm 'sage'; there are: lean, safe"),
        (('["lean", "safe"]', '["budget"]'), "there is no other arm 'budget'"),
        (('["lean", "safe"]', '"lean"'), "parameters.arms must be a list of arms"),
        (('"every-turn"\nmodel = "echo"', '"every-turn"\nmodel = "other"'), "'safe' has another model"),
        (("adherence = 0.8", "adherence = 80"), "adherence must be a number from 0 to below 1"),
        (('"every-turn"', '"on-drift"'), "what 'on-drift' costs depends on the answers"),
    ],
)
def test_a_mistake_is_named_with_place_and_remedy(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = tmp_path / "gattway.toml"
    experiments = ARMS.format(said="x", adherence=0.8).replace(*change)
    upstream = "http://127.0.0.1:1"
    path.write_text(CONFIG.format(ledger=tmp_path / "l.db", upstream=upstream, experiments=experiments))
    with pytest.raises(ConfigError) as caught:
        build(load(path))
    assert words in str(caught.value)
    assert "experiments.e" in str(caught.value)
