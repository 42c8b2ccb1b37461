"""What is said of a turn after its row has been written: verdicts on adherence, and users' feedback.

A verdict of each source is kept in a table of its own; the row's `adherent` and `adherence_source` are those of the
best source so far: users before checks, checks before judges. The shared database gets an amended row once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter

from sqlalchemy import Connection, and_, func, update
from sqlalchemy.dialects.sqlite import insert

from gateway.ledger.records import Feedback, Verdict
from gateway.ledger.schema import feedback, turns, verdicts

FEEDBACK, CHECKS, JUDGE = "feedback", "checks", "judge"

# Written out: a verdict follows most answers, and Core takes several times as long for it (`gateway.ledger.commit`).
_KEEP = f"INSERT OR REPLACE INTO verdicts ({', '.join(verdicts.c.keys())}) VALUES ({', '.join('?' * len(verdicts.c))})"
# Unless a better source has spoken; a verdict gives way to none that is unknown.
_RULE = f"""
    UPDATE turns SET adherent = ?1, adherence_source = ?2 WHERE request_id = ?3 AND (adherent IS NULL OR ?1 IS NOT NULL)
    AND (adherent IS NULL AND ?1 IS NOT NULL OR ?4 >= CASE
        WHEN adherence_source = '{FEEDBACK}' THEN 3 WHEN adherence_source = '{CHECKS}' THEN 2
        WHEN adherence_source IS NOT NULL THEN 1 ELSE 0 END)
"""
_values_of_verdict = attrgetter(*verdicts.c.keys())


@dataclass(frozen=True, slots=True)
class Amendment:
    """Verdicts and feedback to write in one transaction."""

    verdicts: Sequence[Verdict] = ()
    feedback: Sequence[Feedback] = field(default=())

    def apply(self, connection: Connection) -> None:
        """Write it."""
        if self.verdicts:
            connection.exec_driver_sql(_KEEP, [_values_of_verdict(verdict) for verdict in self.verdicts])
            connection.exec_driver_sql(_RULE, [_ruling(verdict) for verdict in self.verdicts])
        for given in self.feedback:
            connection.execute(insert(feedback).on_conflict_do_nothing(), asdict(given))
            if given.adherent is not None:
                _told(connection, given)


def _ruling(verdict: Verdict) -> tuple[bool | None, str, str, int]:
    return verdict.adherent, verdict.source, verdict.request_id, _rank(verdict.source)


def _told(connection: Connection, given: Feedback) -> None:
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
    values = {"adherent": given.adherent, "adherence_source": FEEDBACK}
    connection.execute(update(turns).where(condition).values(values))


def _rank(source: str) -> int:
    return 3 if source == FEEDBACK else 2 if source == CHECKS else 1
