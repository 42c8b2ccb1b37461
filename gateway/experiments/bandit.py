"""Thompson sampling over the arms' adherence, with the propensities that it deals by.

Each conversation counts once, with the share of its judged answers that were adherent, so that a long one is no more
evidence than a short one. Arm k's chance to be the best is the share of draws from the arms' Beta posteriors in which k
comes out on top; this chance is the share of new conversations that k gets until the next round, never below `floor`,
and it is written into every assignment (Thompson 1933; Russo et al. 2018, A Tutorial on Thompson Sampling). With
logged propensities and a floor, `gattway report` can weight by 1/propensity what a bandit has dealt unevenly.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Tally:
    """Conversations of an arm: the sum of their adherent shares, and their number."""

    adherent: float = 0.0
    conversations: int = 0


def best_shares(tallies: Mapping[str, Tally], floor: float, seed: int = 0) -> dict[str, float]:
    """Each arm's share of new conversations, in steps of about 0.01; they sum to 1 and none is below `floor`.

    Args:
        tallies: arm → what it has shown so far; an arm without evidence has a flat posterior.
        floor: at most 1 / number of arms.
    """
    rng = random.Random(seed)
    wins = dict.fromkeys(tallies, 0)
    for _ in range(DRAWS):
        drawn = {
            arm: rng.betavariate(1 + tally.adherent, 1 + tally.conversations - tally.adherent)
            for arm, tally in tallies.items()
        }
        wins[max(drawn, key=lambda arm: drawn[arm])] += 1
    free = 1 - floor * len(tallies)
    return {arm: floor + free * won / DRAWS for arm, won in wins.items()}
