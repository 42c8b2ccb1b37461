"""What a report needs, added up by the database from every row: slow, and what the sums are held against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, Select, and_, case, func, literal, select
from sqlalchemy.sql.elements import ColumnElement

from gateway.ledger.aggregates import BANDS, COVARIATE, CURVE_TURNS, Moments
from gateway.ledger.schema import assignments, turns


class FromRows:
    """One experiment, read from all its rows by SQL alone."""

    def __init__(self, engine: Engine, experiment: str) -> None:
        self._engine = engine
        self._experiment = experiment

    def exposures(self) -> list[dict[str, Any]]:
        """Conversations by arm, policy, weights at the time, and why they are excluded (null when they are not)."""
        columns = (assignments.c.arm, assignments.c.policy, assignments.c.weights, assignments.c.excluded)
        query = (
            select(*columns, func.count().label("conversations"))
            .where(assignments.c.experiment == self._experiment)
            .group_by(*columns)
        )
        return self._rows(query)

    def crossovers(self) -> int:
        """Conversations with turns of more than one arm, those that the client forced aside."""
        moved = (
            select(turns.c.conversation_id)
            .where(self._counted())
            .group_by(turns.c.conversation_id, turns.c.key_name)
            .having(func.count(turns.c.arm.distinct()) > 1)
            .subquery()
        )
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(moved)).scalar_one())

    def reached(self, policy: str) -> dict[str, dict[int, int]]:
        """Arm → turn → conversations whose last turn that was."""
        last = (
            select(turns.c.arm, func.max(turns.c.turn).label("last"))
            .join(assignments, _own_assignment())
            .where(self._counted(), assignments.c.policy == policy, assignments.c.excluded.is_(None))
            .group_by(turns.c.conversation_id, turns.c.key_name, turns.c.arm)
            .subquery()
        )
        query = select(last.c.arm, last.c.last, func.count().label("n")).group_by(last.c.arm, last.c.last)
        found: dict[str, dict[int, int]] = {}
        for row in self._rows(query):
            found.setdefault(row["arm"], {})[row["last"]] = row["n"]
        return found

    def curves(self, policy: str) -> dict[str, dict[int, tuple[int, int]]]:
        """Arm → turn → (adherent, judged) answers, to turn `CURVE_TURNS`."""
        query = (
            select(turns.c.arm, turns.c.turn, _count(turns.c.adherent), _count(turns.c.adherent.is_not(None)))
            .join(assignments, _own_assignment())
            .where(self._counted(), assignments.c.policy == policy, assignments.c.excluded.is_(None))
            .where(turns.c.turn <= CURVE_TURNS, turns.c.adherent.is_not(None))
            .group_by(turns.c.arm, turns.c.turn)
        )
        found: dict[str, dict[int, tuple[int, int]]] = {}
        with self._engine.connect() as connection:
            for arm, turn, adherent, judged in connection.execute(query):
                found.setdefault(arm, {})[turn] = (int(adherent), int(judged))
        return found

    def moments(self, horizon: int, pairs: Iterable[tuple[str, str]], policy: str = "fixed") -> dict[str, Moments]:
        """Arm → sums over its conversations, of their turns up to `horizon` (bands: of all turns)."""
        one = self._conversations(horizon, policy).subquery()
        columns = [column.name for column in one.c if column.name != "arm"]
        wanted = list(dict.fromkeys([*((name, name) for name in columns), *pairs]))
        query = select(
            one.c.arm,
            func.count().label("n"),
            *(func.sum(one.c[name]) for name in columns),
            *(func.sum(one.c[a] * one.c[b]) for a, b in wanted),
        ).group_by(one.c.arm)
        found = {}
        with self._engine.connect() as connection:
            for arm, n, *values in connection.execute(query):
                numbers = [float(value or 0) for value in values]
                sums, products = numbers[: len(columns)], numbers[len(columns) :]
                found[arm] = Moments(n, dict(zip(columns, sums, strict=True)), dict(zip(wanted, products, strict=True)))
        return found

    def weighted(self, horizon: int) -> dict[str, tuple[int, float, float, float, float, float]]:
        """For what a bandit dealt: arm → (n, Σw, Σwy, Σw², Σw²y, Σw²y²), w = 1/propensity, y = the share of a
        conversation's judged answers up to `horizon` that were adherent."""
        share = func.avg(case((turns.c.adherent, 1.0), else_=0.0)).label("y")
        weight = (1.0 / func.max(assignments.c.propensity)).label("w")
        one = (
            select(turns.c.arm, share, weight)
            .join(assignments, _own_assignment())
            .where(self._counted(), assignments.c.policy == "thompson", assignments.c.excluded.is_(None))
            .where(turns.c.adherent.is_not(None), turns.c.turn <= horizon, assignments.c.propensity > 0)
            .group_by(turns.c.conversation_id, turns.c.key_name, turns.c.arm)
            .subquery()
        )
        w, y = one.c.w, one.c.y
        sums = [func.sum(x) for x in (w, w * y, w * w, w * w * y, w * w * y * y)]
        query = select(one.c.arm, func.count(), *sums).group_by(one.c.arm)
        with self._engine.connect() as connection:
            return {row[0]: (int(row[1]), *map(float, row[2:])) for row in connection.execute(query)}  # type: ignore[misc]

    def _counted(self) -> ColumnElement[bool]:
        return and_(turns.c.experiment == self._experiment, turns.c.excluded.is_(None), turns.c.auxiliary.is_(None))

    def _conversations(self, horizon: int, policy: str) -> Select[Any]:
        within = turns.c.turn <= horizon
        judged = turns.c.adherent.is_not(None)
        bands = []
        for first, last, name in BANDS:
            inside = turns.c.turn >= first if last is None else turns.c.turn.between(first, last)
            bands.append(_count(and_(inside, judged)).label(f"judged_{name}"))
            bands.append(_count(and_(inside, turns.c.adherent)).label(f"adherent_{name}"))
        used = turns.c.context_used * 1.0 / turns.c.context_window
        return (
            select(
                turns.c.arm,
                _count(within).label("turns"),
                _count(and_(within, judged)).label("judged"),
                _count(and_(within, turns.c.adherent)).label("adherent"),
                *(
                    func.sum(case((within, func.coalesce(turns.c[name], 0)), else_=0)).label(name)
                    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "repeated_instruction_tokens")
                ),
                func.sum(case((within, func.coalesce(turns.c.cost_usd, 0.0)), else_=0.0)).label("cost_usd"),
                _count(and_(within, turns.c.cost_usd.is_not(None))).label("priced"),
                func.coalesce(func.max(case((within, used), else_=0.0)), 0.0).label("window_used"),
                func.sum(case((within, func.coalesce(turns.c.ttft_ms, 0.0)), else_=0.0)).label("ttft_ms"),
                _count(and_(within, turns.c.ttft_ms.is_not(None))).label("streamed"),
                func.sum(case((within, func.coalesce(turns.c.duration_ms, 0.0)), else_=0.0)).label("duration_ms"),
                *bands,
                func.coalesce(func.max(assignments.c.prompt_chars), 0).label(COVARIATE),
            )
            .join(assignments, _own_assignment())
            .where(self._counted(), assignments.c.policy == policy, assignments.c.excluded.is_(None))
            .where(turns.c.status == "ok")
            .group_by(turns.c.conversation_id, turns.c.key_name, turns.c.arm)
        )

    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


def _own_assignment() -> ColumnElement[bool]:
    return and_(
        assignments.c.conversation_id == turns.c.conversation_id,
        assignments.c.experiment == turns.c.experiment,
        assignments.c.key_name == func.coalesce(turns.c.key_name, ""),
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows a condition holds for."""
    return func.sum(case((condition, literal(1)), else_=literal(0)))
