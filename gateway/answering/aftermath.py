"""What happens once a turn is answered, recorded and gone: its answer is examined, another arm may answer too, and old
turns are condensed for the next."""

from __future__ import annotations

from gateway.answering.condensing import Condensing
from gateway.answering.shadows import Shadows, Shown
from gateway.experiments.examiner import Ended, Examiner
from gateway.ledger.records import Turn
from gateway.wire.observe import Observation
from gateway.wire.request import ChatRequest


class Aftermath:
    """Takes answered turns; every call returns at once."""

    def __init__(self, examiner: Examiner, shadows: Shadows, condensing: Condensing) -> None:
        self.examiner = examiner
        self.shadows = shadows
        self.condensing = condensing

    def answered(self, row: Turn, request: ChatRequest, instruction: str | None, seen: Observation) -> None:
        """A turn of an experiment was answered whole.

        Args:
            instruction: the arm's own, if it sets one.
            seen: the answer.
        """
        if row.experiment is None or row.auxiliary is not None:
            return
        ended = Ended(row, request.messages, instruction, "".join(seen.text))
        if ended.reply:
            self.examiner.offer(ended)
            self.condensing.offer(ended)
        self.shadows.offer(Shown(ended, request))
