"""Old turns are condensed by a model behind the answer, for the next turn, and booked apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.build import build
from gateway.errors import ConfigError
from gateway.settings import load
from tests.gateway.experiment_config import CONFIG, Running, running, until

ARM = """
[experiments.e.arms.a]
strategy = "condense"
model = "echo"
condenser = "other"
parameters = { max_chars = 140, keep = 0.7 }
"""
SYSTEM = {"role": "system", "content": "Be odd."}
SECRET = "my cat is called Tomasina"
SECOND = "And my dog is called Rex, and he is old."


class Talk:
    """A client that resends its whole history."""

    def __init__(self, gateway: Running) -> None:
        self.gateway = gateway
        self.messages: list[dict[str, Any]] = [SYSTEM]

    def say(self, text: str) -> dict[str, Any]:
        """Say something; what the arm's model got for it."""
        self.messages.append({"role": "user", "content": text})
        before = len(self.gateway.upstream.bodies)
        answer = self.gateway.ask(self.messages, x_conversation_id="c").json()["choices"][0]["message"]["content"]
        self.messages.append({"role": "assistant", "content": answer})
        sent = next(one for one in self.gateway.upstream.bodies[before:] if one["messages"][0] == SYSTEM)
        return sent["messages"][1]  # type: ignore[no-any-return]


def made(gateway: Running, outcome: str = "made") -> float:
    return gateway.metric(f'gattway_summaries_total{{arm="a",experiment="e",outcome="{outcome}"}}')


def test_the_summary_is_there_for_the_next_turn_and_stays_and_costs_apart(tmp_path: Path) -> None:
    with running(tmp_path, ARM) as gateway:
        talk = Talk(gateway)
        assert talk.say(SECRET)["content"] == SECRET
        assert talk.say(SECOND)["content"] == SECRET
        until(lambda: made(gateway) == 1)
        (asked,) = [body for body in gateway.upstream.bodies if "condense" in body["messages"][0]["content"]]
        assert SECRET in asked["messages"][1]["content"]
        third = talk.say("Hm?")["content"]
        assert third.startswith("[Earlier in this conversation: You said: {")
        assert SECRET in third
        assert third.endswith(f"]\n\n{SECOND}")
        assert talk.say("So?")["content"] == third  # the prefix stays
        turns = gateway.rows("c")
        (summary,) = [row for row in turns if row["auxiliary"] == "summary"]
        assert (summary["turn"], summary["model"], summary["excluded"]) == (0, "other", "auxiliary")
        assert summary["cost_usd"] > 0
        assert gateway.metric("gattway_summary_cost_usd_total") == pytest.approx(summary["cost_usd"])
        (conversation,) = gateway.get("/api/conversations")["data"]
        answered = [row for row in turns if row["auxiliary"] is None]
        assert conversation["requests"] == len(answered) == 4
        assert conversation["cost_usd"] == pytest.approx(sum(row["cost_usd"] for row in answered))
    for file in tmp_path.glob("ledger.db*"):
        assert b"Tomasina" not in file.read_bytes()  # a summary is content, and content is not kept


def test_kept_content_brings_the_same_summary_back_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATTWAY_LEDGER__STORE_CONTENT", "true")
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", "k" * 40)
    with running(tmp_path, ARM) as gateway:
        talk = Talk(gateway)
        talk.say(SECRET)
        talk.say(SECOND)
        until(lambda: made(gateway) == 1)
        before = talk.say("Hm?")
    with running(tmp_path, ARM) as gateway:
        talk.gateway = gateway
        assert talk.say("So?")["content"] == SECOND  # not there yet: the turn before it is dropped
        until(lambda: made(gateway, "restored") == 1)
        assert talk.say("And?") == before
        assert made(gateway) == 0  # no model was asked again
    for file in tmp_path.glob("ledger.db*"):
        assert b"Tomasina" not in file.read_bytes()  # sealed


def test_a_model_that_fails_leaves_the_turns_dropped_and_is_asked_again(tmp_path: Path) -> None:
    with running(tmp_path, ARM.replace('"other"', '"down"')) as gateway:
        talk = Talk(gateway)
        talk.say(SECRET)
        talk.say(SECOND)
        until(lambda: made(gateway, "failed") == 1)
        assert talk.say("Hm?")["content"] == SECOND
        until(lambda: made(gateway, "failed") == 2)
        statuses = [row["status"] for row in gateway.rows("c") if row["auxiliary"] == "summary"]
        assert statuses == ["error", "error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"other"', '"otter"'), "experiments.e.arms.a.condenser: 'otter' is not defined"),
        (("max_chars = 140", "max_chars = 0"), "max_chars must be a whole number from 1, not 0"),
        (("keep = 0.7", 'then = "condense"'), "then must be another strategy than 'condense'"),
    ],
)
def test_a_mistake_is_named_with_place_and_remedy(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = tmp_path / "gattway.toml"
    upstream, experiments = "http://127.0.0.1:1", ARM.replace(*change)
    path.write_text(CONFIG.format(ledger=tmp_path / "l.db", upstream=upstream, experiments=experiments))
    with pytest.raises(ConfigError, match=words):
        build(load(path))
