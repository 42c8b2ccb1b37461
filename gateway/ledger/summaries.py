"""The sums that a report needs: from stored segments where there are any, from the turns where not."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from sqlalchemy import Column, Connection, Engine, and_, delete, func, insert, or_, select, text, update
from sqlalchemy.exc import DBAPIError

from gateway.ledger.schema import DEALT, assignments, report_segments, turns
from gateway.ledger.segments import TRIGGERS_LOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

CONVERSATIONS = 1000
"""In a segment; the newest conversations, up to as many, are read from their turns each time."""

FORMAT = 1
"""Raised when a summary's content changes: stored ones of another version are made again."""

Key = tuple[str, str]
"""Policy and arm."""


@dataclass(slots=True)
class Summary:
    """Sums over an experiment's conversations; arrays are by turn. `gateway.ledger.sums` says what they hold."""

    exposures: dict[tuple[str, str, str | None, str | None], int] = field(default_factory=dict)
    crossovers: int = 0
    reached: dict[Key, dict[int, int]] = field(default_factory=dict)
    curves: dict[Key, dict[int, NDArray[Any]]] = field(default_factory=dict)
    moments: dict[Key, dict[int, NDArray[Any]]] = field(default_factory=dict)
    weighted: dict[Key, dict[int, NDArray[Any]]] = field(default_factory=dict)

    def add(self, part: Mapping[str, Any]) -> None:
        """Add a segment's."""
        import numpy as np

        for arm, policy, weights, excluded, n in part["exposures"]:
            kind = (arm, policy, weights, excluded)
            self.exposures[kind] = self.exposures.get(kind, 0) + n
        self.crossovers += part["crossovers"]
        for policy, arm, turn, n in part["reached"]:
            lasts = self.reached.setdefault((policy, arm), {})
            lasts[turn] = lasts.get(turn, 0) + n
        for name in ("curves", "moments", "weighted"):
            found: dict[Key, dict[int, NDArray[Any]]] = getattr(self, name)
            for policy, arm, turn, values in part[name]:
                by_turn = found.setdefault((policy, arm), {})
                grown = np.array(values)
                by_turn[turn] = by_turn[turn] + grown if turn in by_turn else grown


class Summaries:
    """Reads one experiment, and stores what it had to add up. Blocks on the disk.

    Args:
        pairs: products of columns to sum over conversations.
        conversations: how many a segment takes.
    """

    def __init__(
        self, engine: Engine, experiment: str, pairs: Sequence[tuple[str, str]], conversations: int = CONVERSATIONS
    ) -> None:
        self._engine = engine
        self._experiment = experiment
        self._pairs = pairs
        self._conversations = conversations
        self._version = f"{FORMAT}-{zlib.crc32(repr(pairs).encode()):08x}"
        self._stores = True

    def read(self) -> Summary:
        """Everything up to now."""
        found = Summary()
        position: str | None = None
        for begins_at, ends_at, summary in self._stored(report_segments.c.summary):
            for begins, ends in self._gap(position, begins_at) if position != begins_at else ():
                found.add(self._made(begins, ends))
            found.add(orjson.loads(summary))
            position = ends_at
        for begins, ends in self._gap(position, None):
            found.add(self._made(begins, ends))
        return found

    def fill(self) -> Iterator[int]:
        """Store what `read` would have to add up, but for the newest conversations, which are no segment; yields the
        number of conversations after each step."""
        for after, before in self._gaps():
            for begins_at, ends_at in self._gap(after, before):
                if ends_at is not None:
                    yield sum(n for *_, n in self._made(begins_at, ends_at)["exposures"])

    def missing(self) -> int:
        """How many conversations `fill` would add up."""
        total = 0
        for after, before in self._gaps():
            query = select(func.count()).select_from(assignments).where(*self._dealt(after, before))
            with self._engine.connect() as connection:
                count = connection.execute(query).scalar_one()
            total += count if before is not None else max(0, count - self._conversations)
        return total

    def _stored(self, *more: Column[Any]) -> list[tuple[Any, ...]]:
        """Where each stored segment begins and ends, and `more` of it; the oldest first."""
        columns = report_segments.c
        query = select(columns.begins_at, columns.ends_at, *more).where(
            columns.experiment == self._experiment, columns.version == self._version, columns.summary.is_not(None)
        )
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(columns.begins_at))]

    def _gaps(self) -> Iterator[tuple[str | None, str | None]]:
        """From where and until before when nothing is stored; None where that is open."""
        position: str | None = None
        for begins_at, ends_at in self._stored():
            if position != begins_at:
                yield position, begins_at
            position = ends_at
        yield position, None

    def _gap(self, begins_at: str | None, before: str | None) -> Iterator[tuple[str, str | None]]:
        """The segments of the conversations that were dealt in between; the newest have no end and are none."""
        position = self._first(begins_at, before)
        while position is not None:
            following = self._following(position, before)
            yield position, following or before
            position = following

    def _made(self, begins_at: str, ends_at: str | None) -> dict[str, Any]:
        """Add up; store it, if it is a segment."""
        if ends_at is None:
            return self._added_up(begins_at, None)
        maker = str(uuid4())
        begun = self._stores and self._begin(begins_at, ends_at, maker)
        part = self._added_up(begins_at, ends_at)
        if begun:
            self._finish(begins_at, maker, orjson.dumps(part))
        return part

    def _begin(self, begins_at: str, ends_at: str, maker: str) -> bool:
        """Announce a segment; not where another report has stored one that it would overlap."""
        columns = report_segments.c
        inside = and_(columns.experiment == self._experiment, columns.begins_at < ends_at, columns.ends_at > begins_at)
        try:
            with self._engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({TRIGGERS_LOCK})"))
                useless = or_(columns.summary.is_(None), columns.version != self._version)
                connection.execute(delete(report_segments).where(inside, useless))
                if connection.execute(select(columns.maker).where(inside).limit(1)).first() is not None:
                    return False
                row = {"experiment": self._experiment, "begins_at": begins_at, "ends_at": ends_at}
                connection.execute(insert(report_segments).values(**row, version=self._version, maker=maker))
        except DBAPIError as error:
            return self._cannot_store(error)
        return True

    def _finish(self, begins_at: str, maker: str, summary: bytes) -> None:
        columns = report_segments.c
        own = and_(columns.experiment == self._experiment, columns.begins_at == begins_at, columns.maker == maker)
        try:
            with self._engine.begin() as connection:
                connection.execute(update(report_segments).where(own).values(summary=summary))
        except DBAPIError as error:
            self._cannot_store(error)

    def _cannot_store(self, error: DBAPIError) -> bool:
        """A report is as good without: the ledger is read-only, or busy."""
        log.info("the report's sums are not kept: %s", error.orig)
        self._stores = False
        return False

    def _first(self, begins_at: str | None, before: str | None) -> str | None:
        with self._engine.connect() as connection:
            query = select(func.min(assignments.c.assigned_at)).where(*self._dealt(begins_at, before))
            found: str | None = connection.execute(query).scalar_one()
        return found

    def _following(self, begins_at: str, before: str | None) -> str | None:
        """Where the segment after the one that begins there begins; None when there is no more.

        What is left of a gap between segments makes one of less than twice the size: no small ones pile up.
        """
        with self._engine.connect() as connection:
            if before is not None and self._nth(connection, 2 * self._conversations, begins_at, before) is None:
                return None
            last = self._nth(connection, self._conversations, begins_at, before)
            if last is None:
                return None
            # Those that were dealt at the same moment stay together.
            after = select(func.min(assignments.c.assigned_at))
            after = after.where(*self._dealt(None, before), assignments.c.assigned_at > last)
            found: str | None = connection.execute(after).scalar_one()
        return found

    def _nth(self, connection: Connection, n: int, begins_at: str, before: str | None) -> str | None:
        query = select(assignments.c.assigned_at).where(*self._dealt(begins_at, before))
        query = query.order_by(assignments.c.assigned_at).offset(n - 1).limit(1)
        return connection.execute(query).scalar_one_or_none()

    def _dealt(self, begins_at: str | None, before: str | None) -> list[Any]:
        conditions: list[Any] = [assignments.c.experiment == self._experiment]
        if begins_at is not None:
            conditions.append(assignments.c.assigned_at >= begins_at)
        if before is not None:
            conditions.append(assignments.c.assigned_at < before)
        return conditions

    def _added_up(self, begins_at: str, before: str | None) -> dict[str, Any]:
        from gateway.ledger.sums import Block

        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # It does not know that a conversation's turns lie together, and would read all turns for each thousand.
                connection.execute(text("SET LOCAL enable_seqscan = off"))
            exposures = self._exposures(connection, begins_at, before)
            block = Block(self._rows(connection, begins_at, before))
        return {
            "exposures": exposures,
            "crossovers": block.crossovers(),
            "reached": block.reached(),
            "curves": block.curves(),
            "moments": block.moments(self._pairs),
            "weighted": block.weighted(),
        }

    def _exposures(self, connection: Connection, begins_at: str, before: str | None) -> list[list[Any]]:
        columns = [assignments.c[name] for name in ("arm", "policy", "weights", "excluded")]
        query = select(*columns, func.count()).where(*self._dealt(begins_at, before)).group_by(*columns)
        return [list(row) for row in connection.execute(query)]

    def _rows(self, connection: Connection, begins_at: str, before: str | None) -> Sequence[Sequence[Any]]:
        from gateway.ledger.sums import ROW

        own = ("key_name", "policy", "excluded", "propensity", "prompt_chars")
        query = (
            select(*(assignments.c[name] if name in own else turns.c[name] for name in ROW))
            .join(turns, DEALT)
            .where(*self._dealt(begins_at, before), turns.c.excluded.is_(None), turns.c.auxiliary.is_(None))
        )
        return connection.execute(query).all()
