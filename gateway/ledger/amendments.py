"""What is said of a turn after its row has been written: verdicts on adherence, and users' feedback.

A verdict of each source is kept in a table of its own; the row's `adherent` and `adherence_source` are those of the
best source so far: users before checks, checks before judges. The shared database gets an amended row once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from gateway.ledger.records import Feedback, Verdict
from gateway.ledger.schema import feedback, turns, verdicts

FEEDBACK, CHECKS, JUDGE = "feedback", "checks", "judge"


@dataclass(frozen=True, slots=True)
class Amendment:
    """Verdicts and feedback to write in one transaction."""

    verdicts: Sequence[Verdict] = ()
    feedback: Sequence[Feedback] = field(default=())

    def apply(self, connection: Connection) -> list[str]:
        """Write it; returns the ids of the requests whose rows have changed."""
        changed: set[str] = set()
        for verdict in self.verdicts:
            changed.update(_judged(connection, verdict))
        for given in self.feedback:
            connection.execute(insert(feedback).on_conflict_do_nothing(), asdict(given))
            if given.adherent is not None:
                changed.update(_told(connection, given))
        return sorted(changed)


def _judged(connection: Connection, verdict: Verdict) -> list[str]:
    same = and_(verdicts.c.request_id == verdict.request_id, verdicts.c.source == verdict.source)
    connection.execute(delete(verdicts).where(same))
    connection.execute(verdicts.insert(), asdict(verdict))
    return _ruled(connection, turns.c.request_id == verdict.request_id, verdict.adherent, verdict.source)


def _told(connection: Connection, given: Feedback) -> list[str]:
    if given.request_id is not None:
        condition = turns.c.request_id == given.request_id
    else:
        condition = and_(
            turns.c.conversation_id == given.conversation_id,
            func.coalesce(turns.c.key_name, "") == (given.key_name or ""),
            turns.c.auxiliary.is_(None),
            turns.c.shadow_of.is_(None),
            turns.c.status == "ok",
        )
    return _ruled(connection, condition, given.adherent, FEEDBACK)


def _ruled(connection: Connection, condition: object, adherent: bool | None, source: str) -> list[str]:
    """Put a verdict into the rows, unless a better source has spoken; unknown never replaces a verdict."""
    rank = case(
        (turns.c.adherence_source == FEEDBACK, 3),
        (turns.c.adherence_source == CHECKS, 2),
        (turns.c.adherence_source.is_not(None), 1),
        else_=0,
    )
    known = turns.c.adherent.is_not(None)
    open_to_it = or_(~known, rank <= _rank(source))
    chosen = and_(condition, open_to_it) if adherent is not None else and_(condition, ~known, rank <= _rank(source))  # type: ignore[arg-type]
    ids = list(connection.execute(select(turns.c.request_id).where(chosen)).scalars())
    if ids:
        values = {"adherent": adherent, "adherence_source": source}
        connection.execute(update(turns).where(turns.c.request_id.in_(ids)).values(values))
    return ids


def _rank(source: str) -> int:
    return 3 if source == FEEDBACK else 2 if source == CHECKS else 1
