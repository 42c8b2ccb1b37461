"""`on-drift`: the instruction once, and again when the answers have left it.

    system I   user U1   assistant A1 ✓   user U2   assistant A2 ✗   user U3 I   assistant A3 ✓   user U4   …

The history that the client sends back holds the answers, so drift needs no memory: the checks that the instruction asks
for (`adherence.Finder`) judge each of them, a sequential test (`adherence.DriftTest`) weighs the verdicts in order, and
where it says that the conversation has drifted the next user turn gets the instruction. A copy, once placed, is placed
again from every longer history: it only appends. With an instruction that no check can decide it is `once`.

False alarms cost a copy each; at the default constants a conversation that holds its instruction (2 lapses in 100
answers) sets one off with the chance that `DriftTest.false_alarm_within` gives: 0.33 within 20 answers, since one clear
failure is enough to act. `false_alarm = 0.001` asks for two: 0.006 within 20.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from adherence import DriftTest, Finder, verdict
from strategies.base import Message
from strategies.instruction import SEPARATOR, appended, instruction_of
from strategies.once import Once
from strategies.parameters import flag, whole
from strategies.turns import last_user_turn, replies, user_turns


class OnDrift:
    """Says the instruction once and puts it back into the user turn after a drift.

    Args:
        checks: rules as `[[experiments.NAME.checks]]` has them; an arm gets its experiment's.
        detect: whether gattway's own patterns find checks where no rule applies.
        copies: into how many user turns in a row the instruction goes back; 0 is all that follow.
        lapse_rate, drift_rate, false_alarm: the constants of `adherence.DriftTest`.
        moves: whether a copy stands in the newest user turn only: fewer tokens, but old turns change.
    """

    name: ClassVar[str] = "on-drift"

    def __init__(
        self,
        checks: Sequence[Mapping[str, Any]],
        detect: bool = True,
        copies: int = 1,
        lapse_rate: float = 0.02,
        drift_rate: float = 0.8,
        false_alarm: float = 0.05,
        moves: bool = False,
    ) -> None:
        self.copies = whole("copies", copies, 0)
        self.moves = flag("moves", moves)
        self.test = DriftTest(lapse_rate, drift_rate, false_alarm)
        self._finder = Finder(checks, detect=detect)
        self._once = Once()

    @property
    def append_only(self) -> bool:
        """See `Strategy.append_only`."""
        return not self.moves

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        text = instruction if instruction is not None else instruction_of(messages)
        placed = self._once.place(messages, instruction)
        if not text:
            return placed
        newest = last_user_turn(placed)
        for index in self._reminded(placed, text):
            if not self.moves or index == newest:
                placed[index] = appended(placed[index], text, SEPARATOR)
        return placed

    def _reminded(self, messages: Sequence[Message], instruction: str) -> Iterator[int]:
        """The user turns that get a copy."""
        checks = self._finder.checks(instruction)
        said = dict(replies(messages)) if checks else {}
        evidence, due = 0.0, 0
        turns = set(user_turns(messages))
        for index in range(len(messages)):
            if index in said:
                evidence = self.test.step(evidence, verdict(checks, said[index]))
                if evidence >= self.test.limit:
                    evidence, due = 0.0, self.copies or len(messages)
            elif index in turns and due:
                due -= 1
                yield index
