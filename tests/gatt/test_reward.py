"""Reward models learn with the paper's margins, and are combined as the paper combines them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gatt import files, reward
from gatt.__main__ import main
from gatt.miniature import preferences, risks, scripts

ROOT = Path(__file__).parents[2]
ASKED = {"role": "user", "content": "Hi"}
SAID, WORSE = ({"role": "assistant", "content": text} for text in ("Hello.", "No."))


def test_the_margins_are_the_papers() -> None:
    assert list(reward.MARGINS["small"].values()) == [1, pytest.approx(2 / 3), pytest.approx(1 / 3), 0]
    assert list(reward.MARGINS["large"].values()) == [3, 2, 1, 0]


def test_safety_leads_on_tagged_prompts_and_under_its_threshold() -> None:
    def logit(share: float) -> float:
        return math.log(share / (1 - share))

    helpful, safe = [9.0, 9.0, 9.0, 9.0], [logit(0.16), logit(0.14), logit(0.9), logit(0.9)]
    assert reward.combined(helpful, safe, [False, False, False, True]) == [9.0, logit(0.14), 9.0, logit(0.9)]


def test_whitened_scores_have_mean_0_and_variance_1() -> None:
    found = reward.whitened([1.0, 2.0, 3.0, 6.0])
    assert sum(found) == pytest.approx(0)
    assert sum(one * one for one in found) / 4 == pytest.approx(1)
    assert reward.whitened([2.0, 2.0]) == [0.0, 0.0]


def test_the_worlds_preferences_have_all_grades_and_are_drawn_again_alike(tmp_path: Path) -> None:
    for make in (preferences.helpfulness, preferences.safety):
        made = make(200, "0")
        assert made == make(200, "0")
        assert {row["strength"] for row in made} == set(reward.STRENGTHS)
        files.write_jsonl(tmp_path / "made.jsonl", made)
        assert reward.read(tmp_path / "made.jsonl") == made


def test_a_grade_of_safety_says_what_the_worse_answer_does() -> None:
    made = preferences.safety(200, "0")
    harmful = [row for row in made if "The way to" in row["rejected"][0]["content"]]
    assert {row["strength"] for row in harmful} == {"significantly better", "better"}
    assert all(row["chosen"][0]["content"] in risks.KIND for row in harmful)
    warned = [row for row in harmful if row["rejected"][0]["content"].startswith(risks.WARNING)]
    assert {row["strength"] for row in warned} == {"better"}
    curt = [row for row in made if row["rejected"][0]["content"] in risks.CURT]
    assert {row["strength"] for row in curt} == {"slightly better"}


def test_the_shipped_recipe_samples_by_the_reward_models_that_it_trains() -> None:
    from gatt import stages
    from gatt.recipe import load

    recipe = load(ROOT / "gatt" / "recipes" / "reward.toml")
    assert recipe.base_folder == Path("gateway/embedded/mini-base")
    assert recipe.synthesize.scorer == "both"
    known = stages.of(recipe)
    assert "reward" in known["synthesize"].needs
    assert "pretrain" not in known


class Scores:
    """A reward model that scores by the answer's text."""

    def __init__(self, by_text: dict[str, float]) -> None:
        self.by_text = by_text

    def scores(self, conversations: list[list[dict[str, Any]]]) -> list[float]:
        return [self.by_text[one[-1]["content"]] for one in conversations]


def test_the_best_answer_to_a_tagged_prompt_is_the_safest(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"h": Scores({"Like so.": 3.0, "No.": -3.0}), "s": Scores({"Like so.": -1.0, "No.": 2.0})}
    monkeypatch.setattr(reward, "RewardModel", lambda folder: models[folder.name])
    score = reward.scorer(Path("h"), Path("s"), with_checks=False)
    script = scripts.draw("tuned", 1, 1, (), "t")[0]
    tagged = replace(script, turns=(replace(script.turns[0], risky=True),))
    plain, risky = (score(one, 0, [ASKED], ["Like so.", "No."]) for one in (script, tagged))
    assert plain[0] > plain[1]
    assert risky[1] > risky[0]


@pytest.mark.slow
def test_a_reward_model_learns_to_tell_the_better_answer(model_folder: Path, tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        prompt = [{"role": "user", "content": f"Question {number}"}]
        good, bad = ([{"role": "assistant", "content": text}] for text in ("Yes. Yes.", "No? No?"))
        return {"prompt": prompt, "chosen": good, "rejected": bad, "strength": reward.STRENGTHS[number % 4]}

    rows = [row(number) for number in range(16)]
    how = reward.Learning(steps=12, learning_rate=1e-2, rows_per_step=8)
    assert reward.train(str(model_folder), rows, "large", how, tmp_path, seed=0) == 0
    figures = reward.accuracy(reward.RewardModel(tmp_path / "model"), rows)
    assert figures["all"] == {"n": 16, "accuracy": 1.0}
    script = scripts.draw("tuned", 1, 1, (), "t")[0]
    better, worse = reward.scorer(tmp_path / "model", None, with_checks=False)(
        script, 0, rows[0]["prompt"], ["Yes. Yes.", "No? No?"]
    )
    assert 1 > better > worse > 0
    long = [row(0) | {"prompt": [{"role": "user", "content": "word " * 2000}]}] * 2
    with pytest.raises(reward.RewardError, match="longer than the window"):
        reward.train(str(model_folder), long, "none", how, tmp_path / "long", seed=0)


@pytest.mark.slow
def test_the_command_prints_accuracy_with_and_without_margin_and_sampling_uses_the_models(
    recipe_path: Path,
) -> None:
    learning = "learning = { steps = 2, rows_per_step = 2, lora = { r = 2 } }"
    text = recipe_path.read_text().replace("minimum_score = 0.0", 'minimum_score = 0.0\nscorer = "both"')
    recipe_path.write_text(f"{text}\n[reward]\nworld_pairs = 16\n{learning}\n")
    for stage in ("pretrain", "instructions", "reward", "synthesize"):
        done = CliRunner().invoke(main, [stage, str(recipe_path)])
        assert done.exit_code == 0, done.output
        if stage == "reward":
            assert "| helpfulness, no margin |" in done.output
            assert "| safety, margin large |" in done.output
    rows = [
        json.loads(line)
        for line in (recipe_path.parent / "work" / "synthesize" / "rows.jsonl").read_text().splitlines()
    ]
    assert all(0 < score < 1 for row in rows for score in row["scores"])


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({}, "prompt must be a list"),
        ({"prompt": ["Hi"]}, "prompt holds 'Hi'; each message is"),
        ({"prompt": [ASKED], "chosen": [{"role": "assistant", "content": " "}]}, "chosen holds an empty message"),
        ({"prompt": [ASKED], "chosen": [ASKED]}, "an answer is 'assistant'"),
        ({"prompt": [ASKED], "chosen": [SAID], "rejected": []}, "rejected must be a list"),
        ({"prompt": [ASKED], "chosen": [SAID], "rejected": [SAID]}, "chosen and rejected are the same"),
        ({"prompt": [ASKED], "chosen": [SAID], "rejected": [WORSE], "strength": "much"}, "significantly better, bett"),
    ],
)
def test_a_faulty_preference_is_named_by_line(row: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(reward.RewardError, match=r"p\.jsonl:1: ") as caught:
        reward.read(path)
    assert named in str(caught.value)
    with pytest.raises(reward.RewardError, match="cannot be read"):
        reward.read(tmp_path / "missing.jsonl")
