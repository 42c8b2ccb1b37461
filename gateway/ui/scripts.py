"""Ready-made conversations that play themselves in the page, and whether an answer in them follows its instruction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adherence.checks import Check, parse

SCRIPTS = Path(__file__).parent / "scripts.jsonl"


@dataclass(frozen=True, slots=True)
class Script:
    """What a user says, turn by turn, and the checks that hold for an answer which follows the instruction."""

    id: str
    title: str
    instruction: str | None
    turns: tuple[str, ...]
    checks: tuple[Check, ...]

    def adherent(self, reply: str) -> bool | None:
        """Whether the reply follows the instruction; None where the script has none."""
        return all(check(reply) for check in self.checks) if self.checks else None

    def public(self) -> dict[str, Any]:
        """What the browser needs to play it."""
        return {"id": self.id, "title": self.title, "instruction": self.instruction, "turns": self.turns}


def load(path: Path = SCRIPTS) -> Mapping[str, Script]:
    """The scripts by id, in the file's order."""
    with path.open(encoding="utf-8") as lines:
        scripts = [_script(json.loads(line)) for line in lines]
    return {script.id: script for script in scripts}


def _script(data: Mapping[str, Any]) -> Script:
    checks = tuple(parse(spec) for spec in data["checks"])
    return Script(data["id"], data["title"], data["instruction"], tuple(data["turns"]), checks)
