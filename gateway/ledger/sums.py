"""An experiment's turns as sufficient statistics: sums by arm and turn from which every figure of a report follows.

Let X and Y be two columns of a conversation, summed over its turns up to t. A report at horizon h needs ΣX, ΣY and ΣXY
over conversations. What is kept is by how much the conversations' X·Y grew at each turn: added up over the turns to h
it is ΣXY again, for any h. So the sums of two blocks of conversations can be added, and none has to be read twice.

Columns of the whole conversation (bands of turns, what was known before turn 1) grow at turn 0. NumPy comes with the
extra `report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.ledger.aggregates import BANDS, COVARIATE, CURVE_TURNS, ONE, WEIGHTED, WITHIN

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROW = (
    "conversation_id",
    "key_name",
    "arm",
    "policy",
    "excluded",
    "status",
    "turn",
    "adherent",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "repeated_instruction_tokens",
    "cost_usd",
    "ttft_ms",
    "duration_ms",
    "context_used",
    "context_window",
    "propensity",
    "prompt_chars",
)
"""What is read of a turn and of its conversation's assignment (`key_name`, `policy` and on from `propensity`)."""

_NUMBERS = ROW.index("turn")


class Block:
    """The turns of some conversations, each with its assignment, as columns of numbers (NaN where unknown)."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        conversations: dict[tuple[str, str], int] = {}
        groups: dict[tuple[int, str], int] = {}
        self.labels: dict[tuple[str, str], int] = {}  # (policy, arm)
        conversation, group, label = [], [], []
        for conversation_id, key_name, arm, policy, *_ in rows:
            own = conversations.setdefault((conversation_id, key_name), len(conversations))
            conversation.append(own)
            group.append(groups.setdefault((own, arm), len(groups)))
            label.append(self.labels.setdefault((policy, arm), len(self.labels)))
        self.conversation: Ints = np.array(conversation, dtype=np.int64)
        self.group: Ints = np.array(group, dtype=np.int64)  # a conversation in one arm
        self.label: Ints = np.array(label, dtype=np.int64)
        self.included = np.array([row[ROW.index("excluded")] is None for row in rows], dtype=bool)
        self.answered = np.array([row[ROW.index("status")] == "ok" for row in rows], dtype=bool)
        numbers: Floats = np.array([row[_NUMBERS:] for row in rows], dtype=np.float64)
        numbers = numbers.reshape(len(rows), len(ROW) - _NUMBERS)
        self._number = {name: numbers[:, i] for i, name in enumerate(ROW[_NUMBERS:])}
        self.turn: Ints = self._number["turn"].astype(np.int64)

    def __getitem__(self, name: str) -> Floats:
        return self._number[name]

    def crossovers(self) -> int:
        """Conversations with turns of more than one arm."""
        pairs = {(int(c), int(g)) for c, g in zip(self.conversation, self.group, strict=True)}
        return sum(arms > 1 for arms in Counter(c for c, _ in pairs).values())

    def reached(self) -> list[list[Any]]:
        """[policy, arm, last turn, conversations]."""
        last: dict[tuple[int, int], int] = {}
        chosen = self.included
        for key, turn in zip(
            zip(self.group[chosen].tolist(), self.label[chosen].tolist(), strict=True),
            self.turn[chosen].tolist(),
            strict=True,
        ):
            last[key] = max(turn, last.get(key, turn))
        names = list(self.labels)
        counted = Counter((label, turn) for (_, label), turn in last.items())
        return [[*names[label], turn, n] for (label, turn), n in counted.items()]

    def curves(self) -> list[list[Any]]:
        """[policy, arm, turn, [adherent, judged]]."""
        chosen = self.included & ~np.isnan(self["adherent"]) & (self.turn <= CURVE_TURNS)
        held = self["adherent"][chosen]
        return self._by_turn(self.label[chosen], self.turn[chosen], np.stack([held, np.ones_like(held)], axis=1))

    def moments(self, pairs: Sequence[tuple[str, str]]) -> list[list[Any]]:
        """[policy, arm, turn, growth of each pair's product], from turn 0; see the module's head."""
        order = np.flatnonzero(self.included & self.answered)
        order = order[np.lexsort((self.turn[order], self.group[order]))]
        if not order.size:
            return []
        starts = _starts(self.group[order])
        # A row of turn 0 goes before each conversation's own.
        at = np.insert(np.arange(order.size), starts, -1)
        opening = at < 0
        first = np.flatnonzero(opening)
        rows = order[np.where(opening, np.append(at[1:], -1), at)]
        columns = self._columns(rows, opening, first)
        grown = np.stack([_growth(columns[a] * columns[b], first) for a, b in pairs], axis=1)
        return self._by_turn(self.label[rows], np.where(opening, 0, self.turn[rows]), grown)

    def weighted(self) -> list[list[Any]]:
        """[policy, arm, turn, growth of Σ1, Σw, Σwy, Σw², Σw²y, Σw²y²]: w = 1/propensity, y the share of a
        conversation's judged answers that were adherent."""
        judged = ~np.isnan(self["adherent"]) & (self["propensity"] > 0)
        bandit = [label for (policy, _), label in self.labels.items() if policy == WEIGHTED]
        order = np.flatnonzero(self.included & judged & np.isin(self.label, bandit))
        order = order[np.lexsort((self.turn[order], self.group[order]))]
        first = _starts(self.group[order])
        count = _running(np.ones(order.size), first)
        y = _running(self["adherent"][order], first) / count
        w = 1.0 / self["propensity"][order]
        parts = (np.ones(order.size), w, w * y, w * w, w * w * y, w * w * y * y)
        grown = np.stack([_growth(part, first) for part in parts], axis=1)
        return self._by_turn(self.label[order], self.turn[order], grown)

    def _columns(self, rows: Ints, opening: NDArray[np.bool_], first: Ints) -> dict[str, Floats]:
        """The columns' values after each row: within the turns so far, or of the whole conversation."""
        within = ~opening
        turn, held = self.turn[rows], self["adherent"][rows]
        judged, adherent = (within & ~np.isnan(held)).astype(float), np.where(within & (held == 1), 1.0, 0.0)
        columns = {ONE: np.ones(rows.size)}
        grows = {"turns": within.astype(float), "judged": judged, "adherent": adherent}
        for name, known_by in WITHIN.items():
            values = self[name][rows]
            known = within & ~np.isnan(values)
            grows[name] = np.where(known, values, 0.0)
            if known_by is not None:
                grows[known_by] = known.astype(float)
        columns |= {name: _running(values, first) for name, values in grows.items()}
        window = self["context_window"][rows]
        used = self["context_used"][rows] / np.where(window == 0, np.nan, window)
        columns["window_used"] = _running_maximum(np.where(within & ~np.isnan(used), used, 0.0), first)
        for low, high, name in BANDS:
            inside = (turn >= low) & (turn <= (high or turn.max()))
            columns[f"judged_{name}"] = _whole(judged * inside, first)
            columns[f"adherent_{name}"] = _whole(adherent * inside, first)
        columns[COVARIATE] = np.nan_to_num(self[COVARIATE][rows])
        return columns

    def _by_turn(self, label: Ints, turn: Ints, values: Floats) -> list[list[Any]]:
        """Add up the rows of each arm's turn."""
        names = list(self.labels)
        turns = int(turn.max(initial=0)) + 1
        keys, place = np.unique(label * turns + turn, return_inverse=True)
        sums = [np.bincount(place, weights=column, minlength=len(keys)) for column in values.T]
        table = np.stack(sums, axis=1).tolist() if len(keys) else []
        return [[*names[key // turns], key % turns, row] for key, row in zip(keys.tolist(), table, strict=True)]


def _starts(groups: Ints) -> Ints:
    """Where each group of a sorted column begins."""
    return np.flatnonzero(np.diff(groups, prepend=-1)) if groups.size else np.zeros(0, dtype=np.int64)


def _lengths(first: Ints, size: int) -> Ints:
    return np.diff(np.append(first, size))


def _running(values: Floats, first: Ints) -> Floats:
    """Running sums that begin anew at each group."""
    total = np.cumsum(values)
    before = total[first] - values[first]
    return total - np.repeat(before, _lengths(first, values.size))


def _running_maximum(values: Floats, first: Ints) -> Floats:
    """Running maxima that begin anew at each group; looks back twice as far at each step."""
    position = np.arange(values.size) - np.repeat(first, _lengths(first, values.size))
    found, step = values.copy(), 1
    while step <= position.max(initial=0):
        shifted = np.concatenate([found[:step], found[:-step]])
        found = np.where(position >= step, np.maximum(found, shifted), found)
        step *= 2
    return found


def _whole(values: Floats, first: Ints) -> Floats:
    """Each group's sum, at each of its rows."""
    return np.repeat(np.add.reduceat(values, first), _lengths(first, values.size))


def _growth(values: Floats, first: Ints) -> Floats:
    """What each row adds to the one before it in its group; the first row its own value."""
    before = np.concatenate([[0.0], values[:-1]])[: values.size]
    before[first] = 0.0
    grown: Floats = values - before
    return grown
