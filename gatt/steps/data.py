"""`instructions` and `synthesize`: what is to be said, and the dialogues sampled from it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gatt import catalogue, dialogues, files, instructions, reward, rewards_figure, sampling, script, synthesize
from gatt.miniature import scripts
from gatt.recipe import Catalogue, Dialogues, Instructions, Recipe, numbered
from gatt.samplers import Sampler
from gatt.samplers.endpoint import EndpointSampler
from gatt.samplers.local import LocalSampler
from gatt.stage import Context, hashed

WORLD_SPLITS = (
    instructions.UNSEEN_ATTRIBUTES,
    instructions.UNSEEN_FAMILIES,
    instructions.PLAIN,
    *instructions.CHANGED_SPLITS,
)
MODEL_SPLITS = (instructions.UNSEEN_ATTRIBUTES, instructions.UNSEEN_FAMILIES)


def splits(recipe: Recipe) -> tuple[str, ...]:
    """The splits that are held out of tuning and evaluated."""
    return WORLD_SPLITS if recipe.instructions else MODEL_SPLITS


def draw(context: Context, out: Path) -> None:
    """Writes tuned.jsonl and one file for each held-out split."""
    recipe = context.recipe
    if recipe.instructions is not None:
        tuned, held = _from_world(recipe, recipe.instructions)
    else:
        assert recipe.catalogue is not None
        assert recipe.dialogues is not None
        tuned, held = _from_model(context, recipe.catalogue, recipe.dialogues, out)
    instructed = [one for one in tuned if one.families]
    instructions.assert_disjoint(instructed, [one for some in held.values() for one in some])
    script.write(out / "tuned.jsonl", tuned)
    for split, some in held.items():
        script.write(out / f"{split}.jsonl", some)


def _from_world(recipe: Recipe, how: Instructions) -> tuple[list[script.Script], dict[str, list[script.Script]]]:
    tuned: list[script.Script] = []
    for batch in how.dialogues:
        for split, change, n in (
            (instructions.TUNED, "", batch.instructed),
            (instructions.PLAIN, "", batch.plain),
            (instructions.TUNED, instructions.CANCELLED, batch.cancelled),
            (instructions.TUNED, instructions.REPLACED, batch.replaced),
        ):
            drawn = scripts.draw(
                split, n, batch.turns, how.unseen_families, f"{recipe.seed}/tuning/{batch.turns}", change
            )
            name = f"{change or split}-{batch.turns}"
            tuned += [replace(one, id=f"{name}-{number:04d}") for number, one in enumerate(drawn)]
    held = {
        split: scripts.draw(
            split, getattr(how.held_out, split), _held_out_turns(recipe, how, split), how.unseen_families,
            f"{recipe.seed}/held out",
        )
        for split in WORLD_SPLITS
    }  # fmt: skip
    return tuned, held


def _held_out_turns(recipe: Recipe, how: Instructions, split: str) -> int:
    """Changes fall inside the evaluated turns; other scripts go on until the window is full."""
    return recipe.evaluate.turns if split in instructions.CHANGED_SPLITS else how.held_out.turns


def _from_model(
    context: Context, how: Catalogue, source: Dialogues, out: Path
) -> tuple[list[script.Script], dict[str, list[script.Script]]]:
    """Instructions that the model's own lists and the file of families make, over the dialogues' user turns."""
    seed = str(context.recipe.seed)
    families = catalogue.read(how.families)
    if any(family.ask for family in families):
        context.bars.say("instructions: asking the model what it knows")
        families = catalogue.ask(families, sampler(context, 1), out, how.values, how.least_values, seed)
    parts = catalogue.split(families, how.unseen_families, how.unseen_share, seed)
    ours, tests = _turns(source, context.recipe.evaluate.turns, seed)
    drawn: list[catalogue.Drawn | None] = [*catalogue.draw(parts.tuned, how.scripts.tuned, how.pairs, f"{seed}/tuned")]
    tuned = catalogue.scripts(drawn, ours, instructions.TUNED)
    tuned += catalogue.scripts([None] * how.scripts.plain, ours[::-1], instructions.PLAIN)
    held = {}
    for split, some, n, pairs in (
        (instructions.UNSEEN_ATTRIBUTES, parts.unseen_attributes, how.scripts.unseen_attributes, how.pairs),
        (instructions.UNSEEN_FAMILIES, parts.unseen_families, how.scripts.unseen_families, 0.0),
    ):
        tested = catalogue.draw(some, n, pairs, f"{seed}/{split}", in_turn=True)
        held[split] = catalogue.scripts(tested, tests, split)
    everything = [*drawn, *tested]
    files.write_jsonl(out / "instructions.jsonl", (asdict(one) for one in everything if one is not None))
    return tuned, held


def _turns(source: Dialogues, evaluated: int, seed: str) -> tuple[list[list[script.Turn]], list[list[script.Turn]]]:
    """User turns with their original answers: of each dialogue for tuning; of held-out ones, strung together to as
    many turns as are evaluated."""
    read = dialogues.read(source.path)
    random.Random(f"{seed}/dialogues").shuffle(read)
    cut = min(len(read) - 1, max(1, round(source.held_out * len(read))))
    if cut < 1:
        raise ValueError(f"{source.path}: holds one dialogue; two are needed, one to tune on and one to test with")
    tests = [turn for one in read[:cut] for turn in one.user_turns]
    strung = [[script.Turn(tests[(start + at) % len(tests)]) for at in range(evaluated)] for start in range(len(tests))]
    return [_paired(one)[: source.max_turns] for one in read[cut:]], strung


def _paired(one: dialogues.Dialogue) -> list[script.Turn]:
    answers: list[str | None] = [*one.answers, *[None] * len(one.user_turns)]
    return [script.Turn(user, None, answer, one.risky) for user, answer in zip(one.user_turns, answers, strict=False)]


def drawn_from(recipe: Recipe) -> Any:
    """What decides the instructions and user turns."""
    if recipe.instructions is not None:
        unseen, every = recipe.instructions.unseen_families, (*instructions.SPLITS, *instructions.CHANGED_SPLITS)
        drawn = [scripts.draw(split, 50, 3, unseen, "fingerprint") for split in every]
        return [recipe.instructions.model_dump(), recipe.evaluate.turns, hashed(drawn)]
    assert recipe.catalogue is not None
    assert recipe.dialogues is not None
    read = [files.seen(path) for path in (recipe.catalogue.families, _without_split(recipe.dialogues.path))]
    where = asdict(recipe.endpoint) if recipe.endpoint else None
    own = [recipe.catalogue.model_dump(mode="json"), recipe.dialogues.model_dump(mode="json")]
    return [own, recipe.evaluate.turns, where, read]


def _without_split(path: Path) -> Path:
    return Path(str(path).partition("#")[0])


def sampler(context: Context, number: int) -> Sampler:
    """The recipe's endpoint, or the latest model in process: the base in the first round, then the one just tuned."""
    recipe = context.recipe
    if recipe.endpoint is not None:
        return EndpointSampler(recipe.endpoint)
    latest = recipe.base_folder if number == 1 else context.folder(numbered("train", number - 1))
    return LocalSampler(*sampling.load(str(latest), recipe.dtype))


def sample(number: int) -> Any:
    """The work of round `number` of fresh sampling."""

    def work(context: Context, out: Path) -> None:
        recipe = context.recipe
        told = script.read(context.folder("instructions") / "tuned.jsonl")
        drawing, seed = sampler(context, number), f"{recipe.seed}{f'/{number}' if number > 1 else ''}"
        score = _scorer(context)
        sampled = synthesize.synthesize(
            drawing, told, recipe.synthesize, out / "shards", seed,
            lambda done, total: context.bars.show("synthesize, turns", done, total), score,
        )  # fmt: skip
        rows = synthesize.rows(sampled, recipe.synthesize)
        if not rows:
            raise synthesize.SynthesisError(_nothing_good(sampled, recipe.synthesize.minimum_score))
        if recipe.synthesize.contrast:
            rows = synthesize.contrast(
                drawing, rows, told, recipe.synthesize, out, seed,
                lambda done, total: context.bars.show("synthesize, without repetition", done, total), score,
            )  # fmt: skip
        files.write_jsonl(out / "rows.jsonl", rows)
        _summarise(context, out, number, sampled, rows)

    return work


def _scorer(context: Context) -> synthesize.Scorer | None:
    how = context.recipe.synthesize.scorer
    if how == "checks":
        return None
    folder = context.folder("reward")
    safety = folder / "safety" / "model"
    return reward.scorer(folder / "helpfulness" / "model", safety if safety.exists() else None, how == "both")


def _summarise(
    context: Context, out: Path, number: int, sampled: Sequence[synthesize.Dialogue], rows: Sequence[dict[str, Any]]
) -> None:
    whole = sum(dialogue.alive for dialogue in sampled)
    counts: dict[str, Any] = {"dialogues": len(sampled), "whole": whole, "rows": len(rows)}
    counts["pass_checks"] = share = _share_passing(sampled)
    counts |= Counter(row["kind"] for row in rows)
    counts["rewards"] = rewards_figure.of([scores for one in sampled for scores in one.scores])
    files.write_text(out / "summary.json", json.dumps(counts) + "\n")
    rounds = [context.folder(numbered("synthesize", before)) / "summary.json" for before in range(1, number)]
    by_round = [json.loads(path.read_text(encoding="utf-8"))["rewards"] for path in rounds] + [counts["rewards"]]
    rewards_figure.write(out, by_round)
    said = f"; {share:.1%} of the checked answers pass" if share is not None else ""
    context.bars.say(f"synthesize: {whole} of {len(sampled)} dialogues right to their end, {len(rows)} rows{said}")


def _nothing_good(sampled: Sequence[synthesize.Dialogue], minimum: float) -> str:
    best = max((max(scores) for one in sampled for scores in one.scores if scores), default=0.0)
    return (
        f"no first answer of {len(sampled)} dialogues scores {minimum} or more, the best one {best:.2f}: lower "
        "minimum_score in [synthesize], or sample from a model that follows its instructions"
    )


def _share_passing(sampled: Sequence[synthesize.Dialogue]) -> float | None:
    """How many of the answers kept have the instruction and fact that can be checked, whoever scored them."""
    passed = [
        one.script.adherent(turn, reply) and one.script.right(turn, reply)
        for one in sampled
        for turn, reply in enumerate(one.replies)
        if one.script.checks or one.script.turns[turn].fact
    ]
    return sum(passed) / len(passed) if passed else None
