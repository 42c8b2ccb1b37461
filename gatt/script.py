"""A scripted conversation: the instruction, the checks that tell whether it is kept, and what the user says.

Scripts go into sampling (`gatt synthesize`), into evaluation and into the benchmarks, all in one JSON Lines format:

    {"id": "unseen_attributes-000", "split": "unseen_attributes", "families": ["figure"],
     "attributes": ["Oscar Wilde"], "instruction": "Act as Oscar Wilde.",
     "checks": [{"kind": "contains", "text": "Oscar Wilde"}],
     "turns": [{"user": "What is the capital of Peru?", "fact": {"kind": "word", "text": "Lima", …}}, …]}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adherence import CheckError, all_hold, parse
from gatt.files import read_jsonl, write_jsonl

Message = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """What the user says, and the check that a right answer passes."""

    user: str
    fact: dict[str, Any]


@dataclass(frozen=True)
class Script:
    """One conversation to be held; `instruction` is None in a plain one."""

    id: str
    split: str
    families: tuple[str, ...]
    attributes: tuple[str, ...]
    instruction: str | None
    checks: tuple[dict[str, Any], ...]
    turns: tuple[Turn, ...]

    def adherent(self, reply: str) -> bool:
        """Whether every check holds."""
        return all_hold(self.checks, reply)

    def right(self, turn: int, reply: str) -> bool:
        """Whether the fact asked for at `turn`, counted from 0, is in the reply."""
        return parse(self.turns[turn].fact)(reply)

    def messages(self, replies: Sequence[str]) -> list[Message]:
        """What a chat client sends after `replies`: instruction at the head, history, the next user message."""
        messages: list[Message] = [{"role": "system", "content": self.instruction}] if self.instruction else []
        for turn, reply in zip(self.turns, replies, strict=False):
            messages += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": reply}]
        return [*messages, {"role": "user", "content": self.turns[len(replies)].user}]


def write(path: Path, scripts: Sequence[Script]) -> None:
    """Writes scripts as JSON Lines."""
    write_jsonl(path, (asdict(script) for script in scripts))


def read(path: Path) -> list[Script]:
    """Reads scripts.

    Raises:
        ValueError: naming file and line, where a field is missing or a check cannot be read.
    """
    scripts = []
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            scripts.append(_script(row))
        except (KeyError, TypeError, CheckError) as error:
            reason = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}:{number}: {reason}") from error
    return scripts


def _script(row: dict[str, Any]) -> Script:
    for check in row["checks"]:
        parse(check)
    turns = tuple(Turn(turn["user"], turn["fact"]) for turn in row["turns"])
    for turn in turns:
        parse(turn.fact)
    families, attributes = tuple(row["families"]), tuple(row.get("attributes", ()))
    return Script(row["id"], row["split"], families, attributes, row["instruction"], tuple(row["checks"]), turns)
