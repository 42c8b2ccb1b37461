"""Experiments: who is in them, who is left out, what changes while they run, and shadows."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateway.build import build
from gateway.errors import ConfigError
from gateway.experiments.assignment import deal, position
from gateway.experiments.bandit import Tally, best_shares
from gateway.experiments.split import Audience
from gateway.ledger.database import open_database
from gateway.ledger.schema import assignments
from gateway.settings import load
from tests.gateway.experiment_config import CONFIG, running, until

TWO = """
[experiments.e]
{more}
[experiments.e.arms.a]
strategy = "once"
model = "echo"
[experiments.e.arms.b]
strategy = "every-turn"
model = "other"
"""
ARM_C = '[experiments.e.arms.c]\nstrategy = "once"\nmodel = "echo"\n[experiments.e.arms.b]'


def test_experiments_with_their_own_salts_are_not_correlated() -> None:
    weights = {"a": 0.5, "b": 0.5}
    ids = [f"conversation-{index}" for index in range(20_000)]
    table = {(x, y): 0 for x in "ab" for y in "ab"}
    for one in ids:
        table[deal(weights, position("first", one)), deal(weights, position("second", one))] += 1
    chi2 = sum((count - 5000) ** 2 / 5000 for count in table.values())
    assert chi2 < 16.27  # the 99.9 % point of chi-square with 3 degrees of freedom
    covered = [position("first\ncoverage", one) < 0.5 for one in ids]
    in_a = [deal(weights, position("first", one)) == "a" for one, is_in in zip(ids, covered, strict=True) if is_in]
    assert sum(in_a) / len(in_a) == pytest.approx(0.5, abs=0.02)


def test_conversations_outside_coverage_get_the_outside_arm_and_stay_there(tmp_path: Path) -> None:
    with running(tmp_path, TWO.format(more='coverage = 0\noutside = "b"')) as gateway:
        assert gateway.ask("x", x_conversation_id="c").headers["x-gattway-arm"] == "b"
        assert gateway.rows("c")[0]["excluded"] == "coverage"
    with running(tmp_path, TWO.format(more='outside = "a"')) as gateway:
        assert gateway.ask("x", x_conversation_id="c").headers["x-gattway-arm"] == "b"
        assert [row["excluded"] for row in gateway.rows("c")] == ["coverage", "coverage"]
        gateway.ask("x", x_conversation_id="fresh")
        assert gateway.rows("fresh")[0]["excluded"] is None


def test_the_audience_is_chosen_by_header(tmp_path: Path) -> None:
    more = '[experiments.e.audience]\nheaders = { x-tier = "gold|silver" }'
    with running(tmp_path, TWO.format(more=more)) as gateway:
        gateway.ask("x", x_conversation_id="in", x_tier="gold")
        gateway.ask("x", x_conversation_id="out", x_tier="goldish")
        gateway.ask("x", x_conversation_id="none")
        excluded = {one: gateway.rows(one)[0]["excluded"] for one in ("in", "out", "none")}
    assert excluded == {"in": None, "out": "audience", "none": "audience"}


def test_the_audience_is_chosen_by_key() -> None:
    audience = Audience(keys=frozenset({"ann", "bob"}))
    assert [audience.holds(name, {}) for name in ("ann", "bob", "eve", None)] == [True, True, False, False]


def test_the_exposure_is_recorded_once_with_what_was_known_before_the_arm_could_act(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be odd."}, {"role": "user", "content": "Hi"}]
    with running(tmp_path, TWO.format(more="")) as gateway:
        answer = gateway.ask(messages, x_conversation_id="c").json()["choices"][0]["message"]
        gateway.ask([*messages, answer, {"role": "user", "content": "And more."}], x_conversation_id="c")
        arm = gateway.rows("c")[0]["arm"]
    engine = open_database(tmp_path / "ledger.db")
    with engine.connect() as connection:
        (exposure,) = connection.execute(assignments.select()).mappings()
    engine.dispose()
    assert (exposure["arm"], exposure["turn"], exposure["excluded"]) == (arm, 1, None)
    assert (exposure["instruction_chars"], exposure["prompt_chars"]) == (7, 9)
    assert (exposure["policy"], exposure["propensity"], exposure["weights"]) == ("fixed", 0.5, '{"a":0.5,"b":0.5}')


def test_weights_changed_while_running_move_no_conversation_and_survive_a_restart(tmp_path: Path) -> None:
    ids = [f"c{index}" for index in range(8)]
    with running(tmp_path, TWO.format(more="")) as gateway:
        before = {one: gateway.ask("x", x_conversation_id=one).headers["x-gattway-arm"] for one in ids}
        assert set(before.values()) == {"a", "b"}
        url = f"{gateway.url}/api/experiments/e"
        changed = httpx.patch(url, json={"weights": {"a": 0, "b": 3}}, timeout=20).json()
        assert {name: arm["share"] for name, arm in changed["arms"].items()} == {"a": 0.0, "b": 1.0}
        after = {one: gateway.ask("x", x_conversation_id=one).headers["x-gattway-arm"] for one in ids}
        assert after == before
        assert gateway.ask("x", x_conversation_id="n0").headers["x-gattway-arm"] == "b"
    with running(tmp_path, TWO.format(more="")) as gateway:
        fresh = {gateway.ask("x", x_conversation_id=f"n{one}").headers["x-gattway-arm"] for one in ids}
        assert fresh == {"b"}
    with running(tmp_path, TWO.format(more="coverage = 0.999")) as gateway:  # the config has changed: it wins again
        (experiment,) = gateway.get("/api/experiments")["data"]
        assert experiment["arms"]["a"]["share"] == 0.5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"weights": {"a": 1}}, "must give a weight to every arm"),
        ({"weights": {"a": 0, "b": 0}}, "no arm has a weight above 0"),
        ({"weights": {"a": -1, "b": 1}}, "'weights.a' must be between 0"),
        ({"weights": "equal"}, "must be an object"),
        ({"coverage": 1.5}, "'coverage' must be between 0 and 1"),
        ({"wieghts": {}}, "'weights', 'coverage'"),
        ({}, "'weights', 'coverage'"),
    ],
)
def test_bad_changes_are_refused(tmp_path: Path, body: dict[str, object], words: str) -> None:
    with running(tmp_path, TWO.format(more="")) as gateway:
        refused = httpx.patch(f"{gateway.url}/api/experiments/e", json=body, timeout=20)
        assert refused.status_code == 400
        assert words in refused.json()["error"]["message"]
        assert httpx.patch(f"{gateway.url}/api/experiments/f", json=body, timeout=20).status_code == 404


def test_what_is_left_out_says_why(tmp_path: Path) -> None:
    fallback = TWO.format(more="").replace('model = "echo"', 'model = "down"\nfallbacks = ["echo"]') + "weight = 0\n"
    with running(tmp_path, fallback) as gateway:
        gateway.ask("x", x_conversation_id="fallback")
        gateway.ask("x", model="e:b", x_conversation_id="forced")
        title = "### Task:\nGenerate a concise, 3-5 word title for the chat history"
        gateway.ask(title, x_conversation_id="auxiliary")
        excluded = [gateway.rows(one)[0]["excluded"] for one in ("fallback", "forced", "auxiliary")]
        text = httpx.get(f"{gateway.url}/metrics", timeout=20).text
    counted = [line for line in text.splitlines() if line.startswith("gattway_excluded_turns_total")]
    assert sorted(line.split('reason="')[1] for line in counted) == [
        f'{reason}"}} 1.0' for reason in ("auxiliary", "fallback", "forced")
    ]
    assert excluded == ["fallback", "forced", "auxiliary"]


def test_a_shadow_answers_the_same_history_unseen_and_is_booked_apart(tmp_path: Path) -> None:
    rule = '[[experiments.e.checks]]\nkind = "contains"\ntext = "Be odd"\n'
    with running(tmp_path, TWO.format(more="shadow = 1") + rule) as gateway:
        messages = [{"role": "system", "content": "Be odd."}, {"role": "user", "content": "Hi"}]
        shown = gateway.ask(messages, x_conversation_id="c")
        rows = until(lambda: found if len(found := gateway.rows("c")) == 2 and found[1]["adherence_source"] else None)
        row, shadow = sorted(rows, key=lambda one: one["shadow_of"] is not None)
        assert shadow["shadow_of"] == row["request_id"] == shown.headers["x-request-id"]
        assert {row["arm"], shadow["arm"]} == {"a", "b"}
        assert {row["arm"]: row["adherent"], shadow["arm"]: shadow["adherent"]} == {"a": False, "b": True}
        assert shadow["excluded"] == "shadow"
        (conversation,) = gateway.get("/api/conversations")["data"]
        assert (conversation["requests"], conversation["cost_usd"]) == (1, row["cost_usd"])
        assert gateway.metric("gattway_shadow_cost_usd_total") == pytest.approx(shadow["cost_usd"])
        assert gateway.metric("gattway_requests_total") == 1


def test_a_bandit_leans_to_the_better_arm_and_keeps_its_floor() -> None:
    shares = best_shares({"good": Tally(95.0, 100), "bad": Tally(20.0, 100)}, floor=0.1)
    assert shares["bad"] == pytest.approx(0.1)
    assert sum(shares.values()) == pytest.approx(1.0)
    even = best_shares({"a": Tally(), "b": Tally()}, floor=0.1)
    assert even["a"] == pytest.approx(0.5, abs=0.05)


def test_a_bandit_deals_by_what_it_has_seen(tmp_path: Path) -> None:
    rule = '[[experiments.e.checks]]\nkind = "contains"\ntext = "Be odd"\n'
    config = TWO.format(more='allocation = "thompson"\nfloor = 0.05') + rule
    messages = [{"role": "system", "content": "Be odd."}, {"role": "user", "content": "Hi"}]
    with running(tmp_path, config) as gateway:
        for index in range(24):
            gateway.ask(messages, x_conversation_id=f"c{index}")
        until(lambda: all(gateway.rows(f"c{index}")[0]["adherence_source"] for index in range(24)))
    with running(tmp_path, config) as gateway:
        (experiment,) = gateway.get("/api/experiments")["data"]
        assert experiment["arms"]["b"]["share"] > 0.9
        assert experiment["arms"]["a"]["share"] >= 0.05


@pytest.mark.parametrize(
    ("experiments", "words"),
    [
        (TWO.format(more="") + "weight = -1\n", "experiments.e.arms.b.weight: -1: input should be greater than"),
        (TWO.format(more="").replace('"once"', '"once"\nweight = 0') + "weight = 0\n", "every arm has weight 0"),
        (TWO.format(more="").replace('"echo"', '"ecko"'), "experiments.e.arms.a.model: 'ecko' is not defined"),
        (TWO.format(more="") + TWO.format(more=""), "not valid TOML"),
        (TWO.format(more='outside = "c"'), "there is no arm 'c'; the arms are: a, b"),
        (TWO.format(more="coverage = 2"), "experiments.e.coverage"),
        (TWO.format(more='allocation = "thompson"\nfloor = 0.5').replace("[experiments.e.arms.b]", ARM_C), "floor:"),
        (TWO.format(more='[experiments.e.audience]\nkeys = ["ann"]'), "experiments.e.audience.keys: 'ann'"),
        (TWO.format(more='[experiments.e.audience]\nheaders = { x = "(" }'), "no regular expression"),
        (TWO.format(more='[experiments.e.adherence]\njudge = "nobody"'), "experiments.e.adherence.judge: 'nobody'"),
        (TWO.format(more='checks = [{ kind = "jsn" }]'), "checks[0]: unknown check kind 'jsn'; choose one of"),
        (TWO.format(more='checks_file = "nowhere.toml"'), "checks_file: "),
    ],
)
def test_a_mistake_in_an_experiment_is_named_with_place_and_remedy(
    tmp_path: Path, experiments: str, words: str
) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(
        CONFIG.format(ledger=tmp_path / "l.db", upstream="http://127.0.0.1:1", experiments=experiments),
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        build(load(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value) or "experiments.e" in str(caught.value)
