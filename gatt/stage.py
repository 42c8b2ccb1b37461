"""What a stage is, and how it runs: once, whole or not at all, and from where it was interrupted.

A stage works in `STAGE.partial` and is renamed to `STAGE` when it is whole; `stamp.json` in it holds the hash of what
it was made from. What an interrupted stage left in `STAGE.partial` is taken up when the inputs are still the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gatt import files, processes
from gatt.progress import Bars
from gatt.recipe import Recipe


class StageError(RuntimeError):
    """A stage cannot run; the message says what to do."""


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
    """A step: the stages it builds on, what else decides its output, and the work itself.

    `several` says whether several processes may work on it together.
    """

    name: str
    needs: tuple[str, ...]
    inputs: Callable[[Recipe], Any]
    work: Callable[[Context, Path], None]
    several: bool = False


def run(stage: Stage, context: Context, force: bool = False) -> bool:
    """Runs one stage unless it is done already; returns whether it ran.

    Raises:
        StageError: a stage that this one builds on is not done, the disk is full, or several processes were started
            for a stage that runs in one.
    """
    if processes.count() > 1 and not stage.several:
        raise StageError(f"stage {stage.name!r} runs in one process; start only `gatt train` with a launcher")
    key = _key(stage, context)
    final = context.folder(stage.name)
    if not force and stamp(final).get("inputs") == key:
        context.bars.say(f"{stage.name}: done before, skipped")
        return False
    processes.wait()
    partial = final.with_name(f"{final.name}.partial")
    started = time.perf_counter()
    try:
        if processes.is_main():
            _begin(partial, key, force)
        processes.wait()
        stage.work(context, partial)
        processes.wait()
        seconds = round(time.perf_counter() - started, 1)
        if processes.is_main():
            _finish(partial, final, {"stage": stage.name, "inputs": key, "seconds": seconds})
    except OSError as error:
        raise StageError(f"stage {stage.name!r}: {_said(error)}; what is whole is kept, run again to go on") from error
    processes.wait()
    context.bars.say(f"{stage.name}: done in {seconds:.0f} s")
    return True


def _begin(partial: Path, key: str, force: bool) -> None:
    if force or _read(partial / "inputs.json").get("inputs") != key:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    files.write_text(partial / "inputs.json", json.dumps({"inputs": key}))


def _finish(partial: Path, final: Path, said: Mapping[str, Any]) -> None:
    files.write_text(partial / "stamp.json", json.dumps(said) + "\n")
    (partial / "inputs.json").unlink()
    shutil.rmtree(final, ignore_errors=True)
    partial.replace(final)


def _said(error: OSError) -> str:
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"


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
            raise StageError(
                f"stage {stage.name!r} builds on {name!r}, which is not done: run `{_command(name)}` first"
            )
    return hashed({"own": stage.inputs(context.recipe), "upstream": upstream, "seed": context.recipe.seed})


def _command(stage: str) -> str:
    name, _, number = stage.partition("-")
    return f"gatt {name}{f' --round {number}' if number else ''}"


def hashed(value: Any) -> str:
    """A short fingerprint of anything that JSON or `str` can show."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def given(settings: Any) -> dict[str, Any]:
    """The fields of a section that differ from their defaults: a new option leaves finished stages valid."""
    if isinstance(settings, BaseModel):
        return settings.model_dump(mode="json", exclude_defaults=True)
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {field.name: values[field.name] for field in dataclasses.fields(settings) if _differs(field, values)}


def _differs(field: dataclasses.Field[Any], values: Mapping[str, Any]) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(values[field.name] != field.default)
    if field.default_factory is not dataclasses.MISSING:
        return bool(values[field.name] != field.default_factory())
    return True
