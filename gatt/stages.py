"""The recipe's stages. Each writes into a folder of its own and is skipped while its inputs stay the same.

    pretrain ─▶ base model ─────────┬──────────────┐
    instructions ─▶ scripts ─▶ synthesize ─▶ rows ─▶ train ─▶ tuned model ─▶ evaluate ─▶ ship
                        └───────────────────────────────────────────────────────┘

A stage works in `STAGE.partial` and is renamed to `STAGE` when it is whole; `stamp.json` in it holds the hash of what
it was made from. What an interrupted stage left in `STAGE.partial` is taken up when the inputs are still the same.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatt import evaluate, files, instructions, report, sampling, script, synthesize, train
from gatt.miniature import pretrain, scripts
from gatt.progress import Bars
from gatt.recipe import Recipe

EVALUATED_SPLITS = (instructions.UNSEEN_ATTRIBUTES, instructions.UNSEEN_FAMILIES, instructions.PLAIN)


class StageError(RuntimeError):
    """A stage cannot run; the message says what to run first."""


@dataclass(frozen=True)
class Context:
    """What every stage gets."""

    recipe: Recipe
    bars: Bars

    def folder(self, stage: str) -> Path:
        """A finished stage's folder."""
        return self.recipe.work / stage


@dataclass(frozen=True)
class Stage:
    """A step: the stages it builds on, what else decides its output, and the work itself."""

    name: str
    needs: tuple[str, ...]
    inputs: Callable[[Recipe], Any]
    work: Callable[[Context, Path], None]


def run(name: str, context: Context, force: bool = False) -> bool:
    """Runs one stage unless it is done already; returns whether it ran.

    Raises:
        StageError: a stage that this one builds on is not done.
    """
    stage = STAGES[name]
    key = _key(stage, context)
    final = context.folder(name)
    if not force and stamp(final).get("inputs") == key:
        context.bars.say(f"{name}: done before, skipped")
        return False
    partial = final.with_name(f"{name}.partial")
    if force or _read(partial / "inputs.json").get("inputs") != key:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    files.write_text(partial / "inputs.json", json.dumps({"inputs": key}))
    started = time.perf_counter()
    stage.work(context, partial)
    (partial / "inputs.json").unlink()
    seconds = round(time.perf_counter() - started, 1)
    files.write_text(partial / "stamp.json", json.dumps({"stage": name, "inputs": key, "seconds": seconds}) + "\n")
    shutil.rmtree(final, ignore_errors=True)
    partial.replace(final)
    context.bars.say(f"{name}: done in {seconds:.0f} s")
    return True


def stamp(folder: Path) -> dict[str, Any]:
    """What a finished stage's folder says about itself; empty where there is none."""
    return _read(folder / "stamp.json")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _key(stage: Stage, context: Context) -> str:
    upstream = {}
    for name in stage.needs:
        upstream[name] = stamp(context.folder(name)).get("inputs")
        if upstream[name] is None:
            raise StageError(f"stage {stage.name!r} builds on {name!r}, which is not done: run `gatt {name}` first")
    return _hash({"own": stage.inputs(context.recipe), "upstream": upstream, "seed": context.recipe.seed})


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _world() -> str:
    """A fingerprint of what the world makes, so that a changed world makes its stages run again."""
    rng = random.Random(0)
    return _hash([make(rng) for make in pretrain.DIALOGUES.values() for _ in range(200)])


def _draws(recipe: Recipe) -> str:
    """A fingerprint of how scripts are drawn."""
    unseen = recipe.instructions.unseen_families
    return _hash([scripts.draw(split, 50, 2, unseen, "fingerprint") for split in instructions.SPLITS])


def _pretrain(context: Context, out: Path) -> None:
    recipe = context.recipe.pretrain

    def progress(phase: str, step: int, steps: int, loss: float) -> None:
        context.bars.show(f"pretrain, phase {phase}", step, steps, f"loss {loss:.3f}")

    pretrain.pretrain(
        out,
        recipe.phases,
        recipe.shape,
        context.recipe.seed,
        recipe.tokens_per_step,
        recipe.checkpoint_every,
        recipe.tokenizer_samples,
        progress,
    )


def _instructions(context: Context, out: Path) -> None:
    recipe, seed = context.recipe.instructions, context.recipe.seed
    unseen = recipe.unseen_families
    tuned: list[script.Script] = []
    for batch in recipe.dialogues:
        for split, n in ((instructions.TUNED, batch.instructed), (instructions.PLAIN, batch.plain)):
            drawn = scripts.draw(split, n, batch.turns, unseen, f"{seed}/tuning/{batch.turns}")
            tuned += [_renamed(one, f"{split}-{batch.turns}-{number:04d}") for number, one in enumerate(drawn)]
    held = {
        split: scripts.draw(split, getattr(recipe.held_out, split), recipe.held_out.turns, unseen, f"{seed}/held out")
        for split in EVALUATED_SPLITS
    }
    instructed = [one for one in tuned if one.instruction]
    instructions.assert_disjoint(instructed, [one for some in held.values() for one in some])
    script.write(out / "tuned.jsonl", tuned)
    for split, some in held.items():
        script.write(out / f"{split}.jsonl", some)


def _renamed(one: script.Script, name: str) -> script.Script:
    return script.Script(name, one.split, one.families, one.attributes, one.instruction, one.checks, one.turns)


def _synthesize(context: Context, out: Path) -> None:
    model, tokenizer = sampling.load(str(context.folder("pretrain")))
    sampled = synthesize.synthesize(
        model,
        tokenizer,
        script.read(context.folder("instructions") / "tuned.jsonl"),
        context.recipe.synthesize,
        out / "shards",
        str(context.recipe.seed),
        lambda done, total: context.bars.show("synthesize, turns", done, total),
    )
    rows = synthesize.rows(sampled)
    files.write_jsonl(out / "rows.jsonl", rows)
    whole = sum(dialogue.alive for dialogue in sampled)
    counts = {"dialogues": len(sampled), "whole": whole, "rows": len(rows)}
    counts |= {kind: sum(row["kind"] == kind for row in rows) for kind in ("first", "later", "plain")}
    files.write_text(out / "summary.json", json.dumps(counts) + "\n")
    context.bars.say(f"synthesize: {whole} of {len(sampled)} dialogues right to their end, {len(rows)} rows")


def _train(context: Context, out: Path) -> None:
    model, tokenizer = sampling.load(str(context.folder("pretrain")))
    rows = files.read_jsonl(context.folder("synthesize") / "rows.jsonl")
    figures = train.train(
        model,
        tokenizer,
        rows,
        context.recipe.train,
        out / "checkpoints",
        context.recipe.seed,
        lambda step, steps, loss: context.bars.show("train, steps", step, steps, f"loss {loss:.3f}"),
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    files.write_text(out / "training.json", json.dumps(figures) + "\n")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    context.bars.say(f"train: {figures['rows_too_long']} of {figures['rows']} rows left out as too long")


def _evaluate(context: Context, out: Path) -> None:
    splits = {split: script.read(context.folder("instructions") / f"{split}.jsonl") for split in EVALUATED_SPLITS}
    attributes, families = splits[instructions.UNSEEN_ATTRIBUTES], splits[instructions.UNSEEN_FAMILIES]
    results = files.result_head(f"gatt evaluate {context.recipe.name}")
    results["splits"] = _held(context, "train", "once", splits)
    results["base"] = {
        "once": _held(context, "pretrain", "once", {"unseen_attributes": attributes}),
        "every-turn": _held(
            context, "pretrain", "every-turn", {"unseen_attributes": attributes, "unseen_families": families}
        ),
    }
    files.write_text(out / "results.json", json.dumps(results, indent=1) + "\n")


def _held(context: Context, stage: str, strategy: str, splits: dict[str, list[script.Script]]) -> dict[str, Any]:
    how = context.recipe.evaluate
    model, tokenizer = sampling.load(str(context.folder(stage)))
    label = f"evaluate, {'tuned' if stage == 'train' else 'base'} {strategy}"

    def held(split: str, some: list[script.Script]) -> dict[str, Any]:
        chosen = some if split == instructions.UNSEEN_FAMILIES else some[: how.conversations]
        conversations = evaluate.converse(
            model, tokenizer, chosen, strategy, how.turns, how.max_new_tokens,
            lambda done, total: context.bars.show(f"{label} {split}", done, total),
        )  # fmt: skip
        found = evaluate.summary(conversations)
        context.bars.say(f"{label} {split}: lowest turn, facts: {', '.join(report.cells(found)[-2:])}")
        return found

    return {split: held(split, some) for split, some in splits.items()}


def _ship(context: Context, out: Path) -> None:
    from gatt.miniature import shipping

    shipping.ship(context.recipe, out)


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("pretrain", (), lambda recipe: [recipe.pretrain.model_dump(), _world()], _pretrain),
        Stage("instructions", (), lambda recipe: [recipe.instructions.model_dump(), _draws(recipe)], _instructions),
        Stage("synthesize", ("pretrain", "instructions"), lambda recipe: recipe.synthesize.__dict__, _synthesize),
        Stage("train", ("pretrain", "synthesize"), lambda recipe: recipe.train.__dict__, _train),
        Stage(
            "evaluate", ("pretrain", "train", "instructions"), lambda recipe: recipe.evaluate.model_dump(), _evaluate
        ),
        Stage("ship", ("pretrain", "synthesize", "train", "evaluate"), lambda recipe: str(recipe.ship), _ship),
    )
}
"""By name, in the order in which `gatt run` takes them."""
