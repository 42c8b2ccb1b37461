"""What `gattway report` needs of the ledger: counts, sums, squares and products over conversations.

The conversation is the unit; means, variances and covariances follow from the sums. `gateway.ledger.summaries` keeps
them, so that a report reads arms × turns and what is new, not every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Select, and_, case, func, literal, select
from sqlalchemy.sql.elements import ColumnElement

from gateway.ledger.schema import assignments, turns, verdicts
from gateway.ledger.summaries import Summaries, Summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS: tuple[tuple[int, int | None, str], ...] = (
    (1, 1, "1"),
    (2, 2, "2"),
    (3, 3, "3"),
    (4, 5, "4-5"),
    (6, 10, "6-10"),
    (11, 20, "11-20"),
    (21, None, "21+"),
)
"""Bands of turns (first, last, name), as in the label `turn_bucket` of `gattway_adherence_total`."""

COVARIATE = "prompt_chars"
"""Known before the arm could do anything: the characters that the client sent at exposure."""

CURVE_TURNS = 50

WITHIN: dict[str, str | None] = {
    "prompt_tokens": None,
    "completion_tokens": None,
    "cached_tokens": None,
    "repeated_instruction_tokens": None,
    "cost_usd": "priced",
    "ttft_ms": "streamed",
    "duration_ms": None,
}
"""Figures of a turn that are summed up to the horizon, unknown ones as 0, and the column that counts the known ones."""

ONE = "one"
"""The column that is 1 for each conversation."""

COLUMNS = (
    "turns",
    "judged",
    "adherent",
    *WITHIN,
    *(known_by for known_by in WITHIN.values() if known_by is not None),
    "window_used",
    *(f"{kind}_{name}" for _, _, name in BANDS for kind in ("judged", "adherent")),
    COVARIATE,
)
"""What is known of a conversation at a turn: `window_used` is the largest share so far, bands are of all its turns."""

WEIGHTED = "thompson"
"""The policy whose conversations are weighted by 1/propensity."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over an arm's conversations: `n`, Σx by column, and Σxy by pair of columns (in the order asked for)."""

    n: int
    sums: dict[str, float]
    products: dict[tuple[str, str], float]


class Aggregates:
    """What one experiment's turns add up to. Every method blocks on the disk.

    Args:
        pairs: the products of columns that `moments` shall hold, besides each column's square.
    """

    def __init__(self, engine: Engine, experiment: str, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._engine = engine
        self._experiment = experiment
        self._products = _products(pairs)

    @cached_property
    def _summary(self) -> Summary:
        return summaries_of(self._engine, self._experiment, self._products).read()

    def exposures(self) -> list[dict[str, Any]]:
        """Conversations by arm, policy, weights at the time, and why they are excluded (null when they are not)."""
        names = ("arm", "policy", "weights", "excluded")
        return [
            {**dict(zip(names, kind, strict=True)), "conversations": n} for kind, n in self._summary.exposures.items()
        ]

    def left_out(self) -> list[dict[str, Any]]:
        """Turns that are out of the statistics, by reason: requests, conversations and what they cost."""
        query = (
            select(
                turns.c.excluded.label("reason"),
                func.count().label("turns"),
                func.count(turns.c.conversation_id.distinct()).label("conversations"),
                func.sum(turns.c.cost_usd).label("cost_usd"),
            )
            .where(turns.c.experiment == self._experiment, turns.c.excluded.is_not(None))
            .group_by(turns.c.excluded)
        )
        return self._rows(query)

    def crossovers(self) -> int:
        """Conversations with turns of more than one arm, those that the client forced aside."""
        return self._summary.crossovers

    def reached(self, policy: str) -> dict[str, dict[int, int]]:
        """Arm → turn → conversations whose last turn that was."""
        return {arm: lasts for (dealt_by, arm), lasts in self._summary.reached.items() if dealt_by == policy}

    def curves(self, policy: str) -> dict[str, dict[int, tuple[int, int]]]:
        """Arm → turn → (adherent, judged) answers, to turn `CURVE_TURNS`."""
        return {
            arm: {turn: (int(adherent), int(judged)) for turn, (adherent, judged) in by_turn.items()}
            for (dealt_by, arm), by_turn in self._summary.curves.items()
            if dealt_by == policy
        }

    def moments(self, horizon: int, policy: str = "fixed") -> dict[str, Moments]:
        """Arm → sums over its conversations, of their turns up to `horizon` (bands: of all turns)."""
        found = {}
        for (dealt_by, arm), by_turn in self._summary.moments.items():
            if dealt_by == policy:
                n, *sums = _to(horizon, by_turn)
                products = dict(zip(self._products, sums[len(COLUMNS) :], strict=True))
                found[arm] = Moments(round(n), dict(zip(COLUMNS, sums, strict=False)), products)
        return found

    def weighted(self, horizon: int) -> dict[str, tuple[int, float, float, float, float, float]]:
        """For what a bandit dealt: arm → (n, Σw, Σwy, Σw², Σw²y, Σw²y²), w = 1/propensity, y = the share of a
        conversation's judged answers up to `horizon` that were adherent."""
        found = {}
        for (_, arm), by_turn in self._summary.weighted.items():
            n, w, wy, w2, w2y, w2y2 = _to(horizon, by_turn)
            if round(n):
                found[arm] = (round(n), w, wy, w2, w2y, w2y2)
        return found

    def shadows(self) -> list[dict[str, Any]]:
        """Turns that two arms answered: by shown and shadow arm, how the verdicts fell, and both costs' means."""
        shadow = turns.alias("shadow")
        both = and_(turns.c.adherent.is_not(None), shadow.c.adherent.is_not(None))
        query = (
            select(
                turns.c.arm.label("shown_arm"),
                shadow.c.arm.label("shadow_arm"),
                func.count().label("turns"),
                _count(both).label("judged"),
                _count(and_(both, turns.c.adherent, shadow.c.adherent.is_(False))).label("only_shown_adherent"),
                _count(and_(both, turns.c.adherent.is_(False), shadow.c.adherent)).label("only_shadow_adherent"),
                func.avg(turns.c.cost_usd).label("shown_cost_usd"),
                func.avg(shadow.c.cost_usd).label("shadow_cost_usd"),
            )
            .join(shadow, shadow.c.shadow_of == turns.c.request_id)
            .where(shadow.c.experiment == self._experiment, shadow.c.excluded == "shadow", shadow.c.status == "ok")
            .group_by(turns.c.arm, shadow.c.arm)
        )
        return self._rows(query)

    def agreement(self) -> dict[str, dict[tuple[bool, bool], int]]:
        """Judge → (its verdict, the checks') → answers that both decided."""
        judge, checks = verdicts.alias("judge"), verdicts.alias("checks")
        query = (
            select(judge.c.source, judge.c.adherent, checks.c.adherent, func.count())
            .join(checks, and_(checks.c.request_id == judge.c.request_id, checks.c.source == "checks"))
            .where(judge.c.experiment == self._experiment, judge.c.source.like("judge:%"))
            .where(judge.c.adherent.is_not(None), checks.c.adherent.is_not(None))
            .group_by(judge.c.source, judge.c.adherent, checks.c.adherent)
        )
        found: dict[str, dict[tuple[bool, bool], int]] = {}
        with self._engine.connect() as connection:
            for source, said, held, n in connection.execute(query):
                found.setdefault(source.removeprefix("judge:"), {})[bool(said), bool(held)] = n
        return found

    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


def summaries_of(engine: Engine, experiment: str, pairs: Iterable[tuple[str, str]]) -> Summaries:
    """The stored sums that `Aggregates` reads with these pairs."""
    return Summaries(engine, experiment, [(ONE, ONE), *((ONE, name) for name in COLUMNS), *_products(pairs)])


def _products(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each column's square, and what else is asked for."""
    return list(dict.fromkeys([*((name, name) for name in COLUMNS), *pairs]))


def experiments_in(engine: Engine) -> Sequence[str]:
    """The experiments that the ledger knows, by name; a look into the index for each."""
    found: list[str] = []
    with engine.connect() as connection:
        while True:
            query = select(func.min(assignments.c.experiment))
            if found:
                query = query.where(assignments.c.experiment > found[-1])
            if (name := connection.execute(query).scalar_one()) is None:
                return found
            found.append(name)


def _to(horizon: int, by_turn: Mapping[int, NDArray[Any]]) -> list[float]:
    """Add up what grew at the turns up to `horizon`; zeros when there are none."""
    import numpy as np

    size = len(next(iter(by_turn.values())))
    grown = [values for turn, values in sorted(by_turn.items()) if turn <= horizon]
    total: list[float] = np.sum(grown, axis=0).tolist() if grown else [0.0] * size
    return total


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows a condition holds for."""
    return func.sum(case((condition, literal(1)), else_=literal(0)))
