"""`every-turn`: the instruction at the end of every user turn (prompt repetition).

    user U1 I   assistant A1   user U2 I   assistant A2   user U3 I   …

Old turns keep the same bytes in every later request, so all earlier copies come from the prefix cache; they
fill the context window all the same: I·(T−1) tokens at turn T, I·T·(T−1)/2 prompt tokens over T turns.
"""

from __future__ import annotations

from typing import ClassVar

from strategies.every_k import EveryK
from strategies.instruction import SEPARATOR


class EveryTurn(EveryK):
    """Moves the instruction from the head to the end of every user message: `every-k` with k = 1.

    Args:
        keep_system: leave the head copy in place too.
        separator: what stands between the user's text and the instruction.
    """

    name: ClassVar[str] = "every-turn"

    def __init__(self, keep_system: bool = False, separator: str = SEPARATOR) -> None:
        super().__init__(1, keep_system, separator)
