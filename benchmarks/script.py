"""Scripted conversations: what the user says in every turn, and how the replies are judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adherence.checks import Check, parse

MINIATURE = Path(__file__).parent / "scripts" / "miniature.jsonl"
"""Conversations in the embedded models' small world, from splits that tuning never saw."""


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """One user message, and the fact that its answer must hold (None: nothing to know)."""

    user: str
    fact: Check | None

    def fact_holds(self, reply: str) -> bool | None:
        """Whether the reply gives the fact; None where the turn asks for none."""
        return None if self.fact is None else self.fact(reply)


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation. All `checks` hold for a reply that follows the instruction; there may be none."""

    id: str
    split: str
    families: tuple[str, ...]
    instruction: str | None
    checks: tuple[Check, ...]
    turns: tuple[ScriptTurn, ...]

    def turn(self, number: int) -> ScriptTurn:
        """Turn 1, 2, …; a script that runs out starts again with its first question."""
        return self.turns[(number - 1) % len(self.turns)]

    def adherent(self, reply: str) -> bool | None:
        """Whether the reply follows the instruction; None where there is nothing to check."""
        return all(check(reply) for check in self.checks) if self.checks else None


def load(path: Path = MINIATURE, split: str | None = None) -> list[Script]:
    """Read scripts, one JSON object a line; with `split`, only those of that split.

    Raises:
        ValueError: naming file and line of a script that cannot be read.
    """
    scripts = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                script = _parse(json.loads(line))
            except KeyError as error:
                raise ValueError(f"{path}:{number}: a script needs {error}") from error
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}:{number}: not a script: {error}") from error
            if split in (None, script.split):
                scripts.append(script)
    return scripts


def _parse(data: dict[str, Any]) -> Script:
    return Script(
        id=data["id"],
        split=data["split"],
        families=tuple(data["families"]),
        instruction=data["instruction"],
        checks=tuple(parse(spec) for spec in data["checks"]),
        turns=tuple(ScriptTurn(turn["user"], _fact(turn.get("fact"))) for turn in data["turns"]),
    )


def _fact(spec: Any) -> Check | None:
    return None if spec is None else parse(spec)
