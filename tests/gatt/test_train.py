"""GAtt's loss, as the real trainer computes it: on the last answer and its end token, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gatt.miniature import scripts
from gatt.miniature.pretrain import Shape, build_model
from gatt.train import PrefixError, Round, Tuning, fitting, free, mix, train, trainer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

pytestmark = pytest.mark.slow


def rows(n: int = 6, turns: int = 4) -> list[dict[str, Any]]:
    """Rows of every length up to `turns`, with made-up answers."""
    made = []
    for number, script in enumerate(scripts.draw("tuned", n, turns, ("greeting",), "test")):
        turn = number % turns
        made.append(
            {
                "prompt": script.messages([f"The answer is {at}." for at in range(turn)]),
                "completion": [{"role": "assistant", "content": f"The last answer is {number}."}],
                "kind": "later" if turn else "first",
                "turn": turn + 1,
            }
        )
    return made


def test_only_the_last_answer_and_its_end_token_carry_loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = rows()
    run = trainer(model, tokenizer, made, Tuning(rows_per_step=len(made)), Round(steps=1), tmp_path, seed=0)
    batch = next(iter(run.get_train_dataloader()))
    learned = {
        tokenizer.decode(ids[labels != -100]): (labels != -100).nonzero().flatten().tolist()
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    }
    assert set(learned) == {f"{row['completion'][0]['content']}<|end|>" for row in made}
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        length = int((ids != tokenizer.pad_token_id).sum())
        positions = (labels != -100).nonzero().flatten().tolist()
        assert positions == list(range(positions[0], length))
        assert (labels[positions] == ids[positions]).all()


def test_rows_longer_than_the_window_are_counted_and_never_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    made = rows()
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


def test_only_the_named_weights_change(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    how = Tuning(rounds=(Round(steps=2),), rows_per_step=2, shares={"later": 0.5, "first": 0.5})
    figures = train(model, tokenizer, rows(), how, tmp_path, seed=0)
    changed = {name for name, weight in model.named_parameters() if not weight.equal(before[name])}
    assert changed == {name for name in before if "q_proj" in name or "k_proj" in name}
    assert figures["weights_learning"] == 2 * 2 * 32 * 32


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


def test_interrupted_tuning_goes_on_from_its_checkpoint_to_the_same_weights(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    how = Tuning(
        rounds=(Round(steps=10), Round(steps=20, by_turn=True)),
        rows_per_step=2,
        shares={"later": 0.5, "first": 0.5},
        checkpoint_every=10,
    )

    def tuned(folder: Path, stop_at: int | None = None) -> dict[str, Any]:
        def progress(step: int, steps: int, loss: float) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        fresh = build_model(Shape(hidden_size=32, intermediate_size=64, layers=2, heads=2), tokenizer, seed=1)
        train(fresh, tokenizer, rows(), how, folder, 0, progress)
        return dict(fresh.named_parameters())

    whole = tuned(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "cut", stop_at=30)
    resumed = tuned(tmp_path / "cut")
    assert all(weight.equal(whole[name]) for name, weight in resumed.items())


def test_the_average_of_the_rounds_is_the_mean_of_their_ends(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    import torch

    how = Tuning(rounds=(Round(2), Round(2)), rows_per_step=2, shares={"later": 0.5, "first": 0.5}, average=True)
    train(model, tokenizer, rows(), how, tmp_path, seed=0)
    ends = [torch.load(tmp_path / f"round-{number}" / "done.pt", weights_only=True) for number in (0, 1)]
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, (ends[0][name] + ends[1][name]) / 2)
