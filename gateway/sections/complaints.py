"""pydantic's complaints about the config, in one line each: file, key, value, remedy."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, path: Path, root: type[BaseModel]) -> Iterator[str]:
    """Yield a line for each mistake in `error`, found while validating `path` against `root`."""
    for problem in error.errors():
        keys = [str(part) for part in problem["loc"]]
        if keys[:1] == ["upstreams"]:
            del keys[2:3]  # pydantic puts the union's tag here, which is no key of the file
        yield f"{_place(path, keys)}: {_sentence(problem, keys, root)}"


def _place(path: Path, keys: list[str]) -> str:
    variable = "GATTWAY_" + "__".join(keys).upper()
    if keys and variable in os.environ:
        return f"environment variable {variable}"
    return f"{path}: {'.'.join(keys)}" if keys else str(path)


def _sentence(problem: Any, keys: list[str], root: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        known = _fields_at(root, keys[:-1])
        near = difflib.get_close_matches(keys[-1], known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key; {remedy}"
    if problem["type"] == "missing":
        return "missing; add it"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{problem['input']!r}: {message}"


def _fields_at(root: type[BaseModel], keys: list[str]) -> list[str]:
    """The field names of the section at `keys`; dictionary keys and union tags are stepped over."""
    sections: list[type[BaseModel]] = [root]
    for key in keys:
        found: list[type[BaseModel]] = []
        for section in sections:
            field = section.model_fields.get(key)
            found.extend(_models_in(field.annotation) if field else [])
        sections = found or sections
    return sorted({name for section in sections for name in section.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
