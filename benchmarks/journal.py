"""What a benchmark has done so far, so that it can go on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.client import Answer, Conversation
from benchmarks.script import Script


class Journal:
    """Held conversations in a file beside the results, a line each, until the results are written.

    Args:
        path: the file; one that belongs to another run is begun anew.
        run: what says that two runs are the same.
    """

    def __init__(self, path: Path, run: Sequence[Any]) -> None:
        self._path = path
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if lines and lines[0] == json.dumps(run):
            for line in lines[1:]:
                if line.endswith("}"):  # the last one may have been cut off
                    held = json.loads(line)
                    self._known[held["script"], held["model"]] = held
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(run) + "\n", encoding="utf-8")

    def get(self, script: Script, model: str) -> Conversation | None:
        """A conversation that was held before the interruption."""
        held = self._known.get((script.id, model))
        if held is None:
            return None
        answers = [Answer(**answer) for answer in held["answers"]]
        return Conversation(
            held["id"], script, model, held["arm"], answers, window_full=held["window_full"], rows=held["rows"]
        )

    def add(self, held: Conversation) -> None:
        """Write a conversation down."""
        line = {
            "id": held.id,
            "script": held.script.id,
            "model": held.model,
            "arm": held.arm,
            "answers": [asdict(answer) for answer in held.answers],
            "window_full": held.window_full,
            "rows": held.rows,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def done(self) -> None:
        """The results are written: forget."""
        self._path.unlink(missing_ok=True)
