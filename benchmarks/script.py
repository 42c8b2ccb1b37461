"""Scripted conversations: what the user says in every turn, and how the replies are judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adherence.checks import Check, parse, verdict

MINIATURE = Path(__file__).parent / "scripts" / "miniature.jsonl"
"""Conversations in the embedded models' small world, from splits that tuning never saw."""


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """One user message, and the fact that its answer must hold (None: nothing to know).

    `checks` are of this turn alone; `criterion` says in words what a judge is to look for. `probe` is a question that
    is asked on a fork of the conversation after this turn, which goes on as if it had not been: its answer, not the
    turn's own, is then looked at.
    """

    user: str
    fact: Check | None
    checks: tuple[Check, ...] = ()
    criterion: str | None = None
    probe: str | None = None

    def fact_holds(self, reply: str) -> bool | None:
        """Whether the reply gives the fact; None where the turn asks for none."""
        return None if self.fact is None else self.fact(reply)


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation. All `checks` hold for a reply that follows the instruction; there may be none.

    `repeats`: whether a script that runs out starts again with its first question. `history` are messages that were
    said before turn 1.
    """

    id: str
    split: str
    families: tuple[str, ...]
    instruction: str | None
    checks: tuple[Check, ...]
    turns: tuple[ScriptTurn, ...]
    repeats: bool = True
    history: tuple[Mapping[str, str], ...] = ()

    def length(self, turns: int) -> int:
        """How many turns are held when `turns` are asked for."""
        return turns if self.repeats else min(turns, len(self.turns))

    def turn(self, number: int) -> ScriptTurn:
        """Turn 1, 2, …; a script that runs out starts again with its first question."""
        return self.turns[(number - 1) % len(self.turns)]

    def adherent(self, reply: str, turn: int = 1) -> bool | None:
        """Whether the reply of a turn follows the instruction; None where there is nothing to check, or no telling."""
        return verdict((*self.checks, *self.turn(turn).checks), reply)


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
