"""A scripted conversation: the instruction, the checks that tell whether it is kept, and what the user says.

Scripts go into sampling (`gatt synthesize`), into evaluation and into the benchmarks, all in one JSON Lines format:

    {"id": "unseen_attributes-000", "split": "unseen_attributes", "families": ["figure"],
     "attributes": ["Oscar Wilde"], "instruction": "Act as Oscar Wilde.",
     "checks": [{"kind": "contains", "text": "Oscar Wilde"}],
     "turns": [{"user": "What is the capital of Peru?", "fact": {"kind": "word", "text": "Lima", …}}, …]}

Where the user changes or cancels the instruction on the way, `changes` says so:

    "changes": [{"turn": 4, "instruction": null, "checks": [{"kind": "regex", "pattern": "^The "}]}]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adherence import CheckError, all_hold, parse
from gatt.files import read_jsonl, write_jsonl

if TYPE_CHECKING:
    from strategies import Strategy

Message = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """What the user says, the check that a right answer passes, and the answer that the dialogue came with.

    `risky`: tagged as a request that may do harm, so that the safety reward model judges its answers.
    """

    user: str
    fact: dict[str, Any] | None = None
    answer: str | None = None
    risky: bool = field(default=False, repr=False)  # not in fingerprints: scripts without tags stay what they were


@dataclass(frozen=True)
class Probe:
    """A question that tells whether an instruction still holds where the answers themselves do not ("What is your
    name?"). It is asked beside the conversation, which never sees it."""

    user: str
    checks: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Change:
    """From `turn` on, counted from 0, another instruction holds; None: the user's message there cancels it."""

    turn: int
    instruction: str | None
    checks: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Script:
    """One conversation to be held; `instruction` is the one at its head, None in a plain one."""

    id: str
    split: str
    families: tuple[str, ...]
    attributes: tuple[str, ...]
    instruction: str | None
    checks: tuple[dict[str, Any], ...]
    turns: tuple[Turn, ...]
    changes: tuple[Change, ...] = ()
    probes: tuple[Probe, ...] = ()

    def adherent(self, turn: int, reply: str) -> bool:
        """Whether every check of what holds at `turn`, counted from 0, passes."""
        passed = [change for change in self.changes if change.turn <= turn]
        return all_hold(passed[-1].checks if passed else self.checks, reply)

    def right(self, turn: int, reply: str) -> bool:
        """Whether the fact asked for at `turn`, counted from 0, is in the reply; true where none is asked for."""
        fact = self.turns[turn].fact
        return fact is None or parse(fact)(reply) is True

    def messages(self, replies: Sequence[str]) -> list[Message]:
        """What a chat client sends after `replies`: instruction at the head, history, the next user message.

        A new instruction on the way stands behind the question of its turn, as `every-turn` would put it.
        """
        told = {change.turn: change.instruction for change in self.changes if change.instruction}
        return [*_head(self.instruction), *self._spoken(0, replies, told)]

    def repeated(self, replies: Sequence[str], strategy: Strategy) -> list[Message]:
        """The same conversation with the instruction that holds placed by `strategy`, from each change anew."""
        starts = [(0, self.instruction), *((change.turn, change.instruction) for change in self.changes)]
        ends = [*(start for start, _ in starts[1:]), len(self.turns)]
        placed: list[Message] = []
        for (start, instruction), end in zip(starts, ends, strict=True):
            if start <= len(replies):
                placed += strategy.place([*_head(instruction), *self._spoken(start, replies[:end], {}, end)])
        return placed

    def _spoken(
        self, start: int, replies: Sequence[str], told: Mapping[int, str], end: int | None = None
    ) -> list[Message]:
        """Messages from turn `start` to the next open question, or to the end of turn `end` - 1."""
        messages: list[Message] = []
        for turn in range(start, min(len(replies) + 1, end or len(self.turns))):
            text = self.turns[turn].user
            messages.append({"role": "user", "content": f"{text}\n\n{told[turn]}" if turn in told else text})
            if turn < len(replies):
                messages.append({"role": "assistant", "content": replies[turn]})
        return messages


def _head(instruction: str | None) -> list[Message]:
    return [{"role": "system", "content": instruction}] if instruction else []


def write(path: Path, scripts: Sequence[Script]) -> None:
    """Writes scripts as JSON Lines."""
    write_jsonl(path, (_record(script) for script in scripts))


def _record(script: Script) -> dict[str, Any]:
    row = asdict(script)
    for turn in row["turns"]:
        if not turn["risky"]:
            del turn["risky"]
    return row


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
    checks = tuple(row["checks"])
    changes = tuple(
        Change(change["turn"], change["instruction"], tuple(change["checks"])) for change in row.get("changes", ())
    )
    probes = tuple(Probe(probe["user"], tuple(probe["checks"])) for probe in row.get("probes", ()))
    turns = tuple(
        Turn(turn["user"], turn.get("fact"), turn.get("answer"), turn.get("risky", False)) for turn in row["turns"]
    )
    facts = [turn.fact for turn in turns if turn.fact is not None]
    later = [*(one.checks for one in changes), *(one.checks for one in probes)]
    for check in [*checks, *facts, *(check for checks in later for check in checks)]:
        parse(check)
    families, attributes = tuple(row["families"]), tuple(row.get("attributes", ()))
    return Script(row["id"], row["split"], families, attributes, row["instruction"], checks, turns, changes, probes)
