"""GAtt's loss, as the real trainer computes it; every objective, every way to choose what learns, and resuming."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import strategies
from gatt import sampling
from gatt.miniature import scripts
from gatt.train import train
from gatt.tuning import checkpoints
from gatt.tuning.objectives import trainer
from gatt.tuning.rows import PrefixError, fitting, mix
from gatt.tuning.settings import Lora, Round, Tuning
from gatt.tuning.weights import free

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

pytestmark = pytest.mark.slow
SHARES = {"later": 0.5, "first": 0.5}
Weights = dict[str, "torch.Tensor"]


def rows(n: int = 6, turns: int = 4) -> list[dict[str, Any]]:
    """Rows of every length up to `turns`, with made-up answers."""
    made = []
    for number, script in enumerate(scripts.draw("tuned", n, turns, ("greeting",), "test")):
        turn = number % turns
        prompt = script.messages([f"The answer is {at}." for at in range(turn)])
        made.append(
            {
                "prompt": prompt,
                "completion": [{"role": "assistant", "content": f"The last answer is {number}."}],
                "rejected": [{"role": "assistant", "content": f"Another answer than {number}."}],
                "placed": strategies.make("every-turn").place(prompt),
                "rejected_score": 0.5,
                "scores": [1.0, 0.0],
                "kind": "later" if turn else "first",
                "script": script.id,
                "turn": turn + 1,
            }
        )
    return made


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return dict(sampling.load(str(folder))[0].named_parameters())


def learned(batch: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [
        tokenizer.decode(ids[labels != -100]) for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    ]


def test_only_the_last_answer_and_its_end_token_carry_loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = rows()
    run = trainer(model, tokenizer, made, Tuning(rows_per_step=len(made)), Round(steps=1), tmp_path, seed=0)
    batch = next(iter(run.get_train_dataloader()))
    assert set(learned(batch, tokenizer)) == {f"{row['completion'][0]['content']}<|end|>" for row in made}
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        length = int((ids != tokenizer.pad_token_id).sum())
        positions = (labels != -100).nonzero().flatten().tolist()
        assert positions == list(range(positions[0], length))
        assert (labels[positions] == ids[positions]).all()


def test_sft_all_learns_every_answer_and_nothing_that_the_user_said(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = rows(4)
    how = Tuning(objective="sft-all", rows_per_step=4)
    run = trainer(model, tokenizer, made, how, Round(steps=1), tmp_path, seed=0)
    found = learned(next(iter(run.get_train_dataloader())), tokenizer)
    answers = [[m["content"] for m in [*row["prompt"], *row["completion"]] if m["role"] == "assistant"] for row in made]
    assert sorted(found) == sorted("".join(f"{answer}<|end|>" for answer in some) for some in answers)


@pytest.mark.parametrize("objective", ["sft-last", "sft-all", "dpo", "sdft"])
def test_every_objective_moves_the_named_weights_and_no_others(
    objective: str, model_folder: Path, tmp_path: Path
) -> None:
    how = Tuning(
        objective=objective, rounds=(Round(steps=2, learning_rate=1e-2),), rows_per_step=2, shares=SHARES,
        max_new_tokens=4,
    )  # fmt: skip
    figures = train(model_folder, rows(), how, tmp_path, seed=0)
    before, after = weights_in(model_folder), weights_in(tmp_path / "tuned")
    changed = {name for name, weight in after.items() if not weight.equal(before[name])}
    assert changed
    assert changed <= {name for name in before if "q_proj" in name or "k_proj" in name}
    assert figures["weights_learning"] == 2 * 2 * 32 * 32


def test_without_modules_all_weights_learn(model: LlamaForCausalLM) -> None:
    assert free(model, ()) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("merge", [True, False])
def test_lora_leaves_a_merged_model_or_an_adapter(merge: bool, model_folder: Path, tmp_path: Path) -> None:
    import torch

    lora = Lora(r=2, modules=("q_proj", "k_proj"), merge=merge)
    how = Tuning(
        lora=lora, rounds=(Round(steps=2, learning_rate=1e-1),), rows_per_step=2, shares=SHARES,
        gradient_checkpointing=True,
    )  # fmt: skip
    train(model_folder, rows(), how, tmp_path, seed=0)
    files = {path.name for path in (tmp_path / "tuned").iterdir()}
    assert ("adapter_model.safetensors" in files) is not merge
    assert "chat_template.jinja" in files
    tuned, tokenizer = sampling.load(str(tmp_path / "tuned"))
    base, _ = sampling.load(str(model_folder))
    prompt = sampling.prompt_ids(tokenizer, rows()[0]["prompt"])
    ids = torch.tensor([prompt])
    assert not tuned(input_ids=ids).logits.equal(base(input_ids=ids).logits)
    if merge:
        assert tuned.config.use_cache


def test_rows_longer_than_the_window_are_counted_and_never_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    made = [{key: row[key] for key in ("prompt", "completion")} for row in rows()]
    lengths = sorted(
        len(tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=True)["input_ids"])
        for row in made
    )
    kept, too_long = fitting(made, tokenizer, lengths[-1] - 1)
    assert too_long == lengths.count(lengths[-1])
    assert len(kept) == len(made) - too_long
    assert all(row in made for row in kept)


def test_a_template_that_renders_the_history_anew_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    before = tokenizer.chat_template
    numbered = "{% for m in messages %}{{ loop.revindex }}{{ m.content }}{% endfor %}"
    tokenizer.chat_template = numbered + "{% if add_generation_prompt %}>{% endif %}"
    try:
        with pytest.raises(PrefixError, match="revindex"):
            fitting(rows(), tokenizer, 1024)
    finally:
        tokenizer.chat_template = before


def test_weights_that_do_not_exist_are_named(model: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="qq_proj"):
        free(model, ["qq_proj"])


def test_the_mix_has_the_shares_that_the_recipe_asks_for() -> None:
    pool = [{"kind": kind, "n": n} for kind, count in (("later", 50), ("first", 2), ("plain", 9)) for n in range(count)]
    mixed = mix(pool, {"later": 0.6, "first": 0.1, "plain": 0.3}, 100, seed=0)
    counts = {kind: sum(row["kind"] == kind for row in mixed) for kind in ("later", "first", "plain")}
    assert counts == {"later": 60, "first": 10, "plain": 30}
    with pytest.raises(ValueError, match="'first'"):
        mix(pool[:50], {"later": 0.5, "first": 0.5}, 10, seed=0)


def test_interrupted_tuning_goes_on_from_its_checkpoint_to_the_same_weights(model_folder: Path, tmp_path: Path) -> None:
    how = Tuning(
        rounds=(Round(steps=10), Round(steps=20, by_turn=True)), rows_per_step=2, shares=SHARES, checkpoint_every=10
    )

    def tuned(folder: Path, stop_at: int | None = None) -> dict[str, Any]:
        def progress(step: int, steps: int, loss: float) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        train(model_folder, rows(), how, folder, 0, progress)
        return weights_in(folder / "tuned")

    whole = tuned(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "cut", stop_at=30)
    resumed = tuned(tmp_path / "cut")
    assert all(weight.equal(whole[name]) for name, weight in resumed.items())


def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((2, True), (10, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert checkpoints.last(tmp_path) == str(tmp_path / "checkpoint-10")
    assert checkpoints.last(tmp_path / "nothing") is None


def test_a_full_disk_is_called_that_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "round-0" / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "round-0" / "model.new").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 0))
    with pytest.raises(OSError, match="No space left"), checkpoints.kept_whole(tmp_path):
        raise RuntimeError("basic_ios::clear: iostream error")
    assert list((tmp_path / "round-0").iterdir()) == []
    with pytest.raises(OSError, match="another"), checkpoints.kept_whole(tmp_path):
        raise OSError("another")


def test_the_average_of_the_rounds_is_the_mean_of_their_ends(model_folder: Path, tmp_path: Path) -> None:
    import torch

    how = Tuning(rounds=(Round(2), Round(2)), rows_per_step=2, shares=SHARES, average=True)
    train(model_folder, rows(), how, tmp_path, seed=0)
    first, second = (weights_in(tmp_path / f"round-{number}" / "model") for number in (0, 1))
    for name, weight in weights_in(tmp_path / "tuned").items():
        assert torch.allclose(weight, (first[name] + second[name]) / 2, atol=1e-7)


@pytest.mark.parametrize("objective", ["sft-last", "sft-all"])
def test_one_batch_of_eight_gives_what_eight_batches_of_one_give(
    objective: str, model_folder: Path, tmp_path: Path
) -> None:
    def tuned(micro_batch: int) -> dict[str, torch.Tensor]:
        folder = tmp_path / str(micro_batch)
        how = Tuning(
            objective=objective, modules=(), rounds=(Round(steps=3, learning_rate=1e-2),), rows_per_step=8,
            micro_batch=micro_batch, shares=SHARES, bf16=False,
        )  # fmt: skip
        train(model_folder, rows(8), how, folder, seed=0)
        return weights_in(folder / "tuned")

    assert_alike(tuned(8), tuned(1), weights_in(model_folder))


def assert_alike(some: Weights, others: Weights, start: Weights) -> None:
    """Both moved from `start`, to the same place but for rounding."""
    moved = max(float((weight - start[name]).detach().abs().max()) for name, weight in some.items())
    apart = max(float((weight - others[name]).detach().abs().max()) for name, weight in some.items())
    assert moved > 1e-3
    assert apart < moved / 100


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"objective": "ppo"}, "sft-last, sft-all, dpo, sdft"),
        ({"rows_per_step": 7, "micro_batch": 2}, "rows_per_step = 7"),
        ({"rounds": ()}, "at least one round"),
        ({"rounds": (Round(1), Round(1)), "lora": Lora(merge=False)}, "merge"),
    ],
)
def test_settings_that_cannot_work_are_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Tuning(**wrong).per_device(1)


def test_dpo_and_sdft_say_what_they_need_of_the_rows(model_folder: Path, tmp_path: Path) -> None:
    bare = [{key: value for key, value in row.items() if key not in ("rejected", "placed")} for row in rows()]
    for objective, named in (("dpo", "contrast = true"), ("sdft", "placed = true")):
        with pytest.raises(ValueError, match=named):
            train(model_folder, bare, Tuning(objective=objective, rows_per_step=2, shares=SHARES), tmp_path, seed=0)
