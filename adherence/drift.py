"""Has a conversation drifted: a sequential test over its verdicts.

Wald's sequential probability ratio test (Wald 1945, Ann. Math. Stat. 16:117) of `lapse_rate`, how often a conversation
that holds its instruction slips all the same, against `drift_rate`, how often one that has lost it fails. Replies are
looked at one after the other; the evidence is

    Λ_t = Σ log( P(verdict | drifted) / P(verdict | holding) )

cut off below at 0, so that an early run of good replies does not hide a later drift (Page's CUSUM, Biometrika 1954),
and drift is said as soon as Λ_t reaches log(1/false_alarm). Between two restarts at 0 the chance to get there while the
conversation holds is at most `false_alarm` (Ville's inequality: exp Λ is a martingale with mean 1 until it is cut).
Over `n` replies there are at most n restarts, so the chance of any false alarm is at most n·false_alarm; what it is
exactly `false_alarm_within` computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class DriftTest:
    """The test's constants; all three are probabilities in (0, 1), `lapse_rate` below `drift_rate`.

    Raises:
        ValueError: they are not.
    """

    lapse_rate: float = 0.02
    drift_rate: float = 0.8
    false_alarm: float = 0.05

    def __post_init__(self) -> None:
        for name in ("lapse_rate", "drift_rate", "false_alarm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
                raise ValueError(f"{name} must be a number between 0 and 1, not {value!r}")
        if self.lapse_rate >= self.drift_rate:
            raise ValueError(f"lapse_rate ({self.lapse_rate}) must be below drift_rate ({self.drift_rate})")

    @property
    def limit(self) -> float:
        """The evidence at which drift is said."""
        return math.log(1 / self.false_alarm)

    def step(self, evidence: float, adherent: bool | None) -> float:
        """The evidence after one more verdict, at least 0; an unknown verdict leaves it as it is."""
        if adherent is None:
            return evidence
        if adherent:
            return max(0.0, evidence + math.log((1 - self.drift_rate) / (1 - self.lapse_rate)))
        return evidence + math.log(self.drift_rate / self.lapse_rate)

    def drifted(self, verdicts: Iterable[bool | None]) -> bool:
        """Whether drift is said at any of the verdicts."""
        evidence = 0.0
        for adherent in verdicts:
            evidence = self.step(evidence, adherent)
            if evidence >= self.limit:
                return True
        return False

    def false_alarm_within(self, replies: int) -> float:
        """The exact chance that a conversation that holds (lapsing at `lapse_rate`) is called drifted in so many."""
        states, alarms = {0.0: 1.0}, 0.0
        for _ in range(replies):
            following: dict[float, float] = {}
            for evidence, chance in states.items():
                for adherent, share in ((True, 1 - self.lapse_rate), (False, self.lapse_rate)):
                    to = round(self.step(evidence, adherent), 9)
                    if to >= self.limit:
                        alarms += chance * share
                    else:
                        following[to] = following.get(to, 0.0) + chance * share
            states = following
        return alarms
