"""Running a study: the data that cells share, then each cell and seed in a folder of its own, each once."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gatt import evaluate, files, instructions, sampling, script, synthesize, train
from gatt.miniature import scripts
from gatt.progress import Bars
from gatt.recipe import Model, Recipe
from gatt.samplers.local import LocalSampler
from gatt.stage import Context, Stage, given, hashed, run
from gatt.steps import base
from gatt.study.settings import Cell, Study

SPLITS = (
    instructions.UNSEEN_ATTRIBUTES,
    instructions.UNSEEN_FAMILIES,
    instructions.PLAIN,
    *instructions.CHANGED_SPLITS,
)


def run_all(study: Study, cells: list[Cell], bars: Bars) -> None:
    """Runs every cell with every seed, with the data that it needs; what is done before is skipped."""
    for number, (cell, seed) in enumerate((cell, seed) for cell in cells for seed in study.seeds):
        bars.show("study, cells", number, len(cells) * len(study.seeds), cell.path)
        context = Context(_recipe(study, seed), bars)
        data = _data_stage(study, cell, seed)
        if data is not None:
            run(data, context)
        run(_cell_stage(study, cell, seed, data), context)
    bars.show("study, cells", len(cells) * len(study.seeds), len(cells) * len(study.seeds))


def results(study: Study, cell: Cell) -> list[dict[str, Any]]:
    """The figures of a cell's finished seeds, each by split."""
    found = []
    for seed in study.seeds:
        path = study.work / _name(cell, seed) / "results.json"
        if path.exists():
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


def _name(cell: Cell, seed: int) -> str:
    return f"cells/{cell.path}/seed-{seed}"


def _recipe(study: Study, seed: int) -> Recipe:
    """What the stages' machinery asks of a recipe: where to work, and the seed."""
    return Recipe.model_construct(name=study.name, seed=seed, work=study.work, model=Model(path=str(study.base)))


def tuned_families(study: Study, cell: Cell, seed: int) -> list[str]:
    """The families that a cell tunes on: the paper's first, the others in the seed's order."""
    number = cell.families or len(study.tunable)
    first, rest = study.tunable[:3], study.tunable[3:]
    random.Random(f"{seed}/families").shuffle(rest)
    return [*first, *rest][:number]


def _never(study: Study, cell: Cell, seed: int) -> list[str]:
    """All families that a cell does not tune on: the held-out ones before the others."""
    tuned = tuned_families(study, cell, seed)
    return [*study.unseen_families, *(name for name in study.tunable if name not in tuned)]


def _data_stage(study: Study, cell: Cell, seed: int) -> Stage | None:
    """The dialogues that a cell learns from; cells with the same history and families share them."""
    if cell.objective is None:
        return None
    never = _never(study, cell, seed)
    how = replace(study.synthesize, history=cell.history, contrast=_contrasted(study, cell), placed=True)

    def work(context: Context, out: Path) -> None:
        told = _scripts(study, never, seed)
        sampler = LocalSampler(*sampling.load(str(study.base)))
        sampled = synthesize.synthesize(
            sampler, told, how, out / "shards", str(seed),
            lambda done, total: context.bars.show("study, turns sampled", done, total),
        )  # fmt: skip
        rows = synthesize.rows(sampled, how)
        if how.contrast:
            rows = synthesize.contrast(
                sampler, rows, told, how, out, str(seed),
                lambda done, total: context.bars.show("study, without repetition", done, total),
            )  # fmt: skip
        files.write_jsonl(out / "rows.jsonl", rows)

    name = f"data/{cell.history}-{len(tuned_families(study, cell, seed))}/seed-{seed}"
    drawn = hashed(scripts.draw(instructions.TUNED, 50, 3, never, "fingerprint"))
    own = [given(how), [asdict(batch) for batch in study.dialogues], never, drawn, base.model(_recipe(study, seed))]
    return Stage(name, (), lambda recipe: own, work)


def _contrasted(study: Study, cell: Cell) -> bool:
    """Whether a cell with the same data learns from rejected answers too, whichever cells are run now."""

    def data(one: Cell) -> tuple[str, int]:
        return one.history, one.families or len(study.tunable)

    return any(one.objective == "dpo" and data(one) == data(cell) for one in study.cells)


def _scripts(study: Study, never: list[str], seed: int) -> list[script.Script]:
    told: list[script.Script] = []
    for batch in study.dialogues:
        for split, change, n in (
            (instructions.TUNED, "", batch.instructed),
            (instructions.PLAIN, "", batch.plain),
            (instructions.TUNED, instructions.CANCELLED, batch.cancelled),
            (instructions.TUNED, instructions.REPLACED, batch.replaced),
        ):
            drawn = scripts.draw(split, n, batch.turns, never, f"{seed}/study/{batch.turns}", change)
            name = f"{change or split}-{batch.turns}"
            told += [replace(one, id=f"{name}-{number:04d}") for number, one in enumerate(drawn)]
    return told


def _cell_stage(study: Study, cell: Cell, seed: int, data: Stage | None) -> Stage:
    how = study.tuning(cell)

    def work(context: Context, out: Path) -> None:
        folder = study.base
        if data is not None:
            rows = files.read_jsonl(context.folder(data.name) / "rows.jsonl")
            figures = train.train(
                study.base, rows, how, out / "rounds", seed,
                lambda step, steps, loss: context.bars.show(f"{cell.path}, steps", step, steps, f"loss {loss:.3f}"),
            )  # fmt: skip
            files.write_text(out / "training.json", json.dumps(figures) + "\n")
            folder = out / "rounds" / "tuned"
        found = _evaluated(study, cell, seed, folder, context.bars)
        files.write_text(out / "results.json", json.dumps(found) + "\n")
        if data is not None:
            shutil.rmtree(out / "model", ignore_errors=True)
            folder.replace(out / "model")
            shutil.rmtree(out / "rounds")

    own = [asdict(cell), given(how), study.conversations, study.turns, base.model(_recipe(study, seed))]
    return Stage(_name(cell, seed), (data.name,) if data else (), lambda recipe: own, work)


def _evaluated(study: Study, cell: Cell, seed: int, folder: Path, bars: Bars) -> dict[str, Any]:
    """Adherence by split; each seed has conversations of its own, the same for all cells."""
    model, tokenizer = sampling.load(str(folder))
    found = {}
    for split in SPLITS:
        held_out = list(study.unseen_families)
        known = _never(study, cell, seed) if split == instructions.UNSEEN_ATTRIBUTES else held_out
        some = scripts.draw(split, study.conversations, study.turns, known, f"{seed}/study/test")

        def progress(done: int, total: int, label: str = f"{cell.path}, {split}") -> None:
            bars.show(label, done, total)

        conversations = evaluate.converse(
            model, tokenizer, some, cell.strategy, study.turns, study.synthesize.max_new_tokens, progress
        )
        found[split] = evaluate.summary(conversations)
    return found
