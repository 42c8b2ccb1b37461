"""Retention by age. A conversation goes as a whole, when its last turn is older than the limit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, Engine, Select, delete, exists, func, select

from gateway.ledger.erasing import delete_conversations
from gateway.ledger.schema import feedback, outbox, turns

BATCH = 200


def prune(engine: Engine, before: datetime) -> Iterator[int]:
    """Delete the conversations whose last turn began before `before`; yields how many went in each batch.

    A batch is a transaction of its own, so the gateway goes on in between.
    """
    while True:
        with engine.begin() as connection:
            ids = _over(connection, before, BATCH)
            delete_conversations(connection, ids)
        if not ids:
            return
        yield len(ids)


def drop_shipped(local: Engine, before: datetime) -> None:
    """The same for a gateway's own file, where the shared database has the rows: nothing goes while rows wait."""
    with local.connect() as connection:
        if connection.execute(select(outbox.c.seq).limit(1)).first() is not None:
            return
    for _ in prune(local, before):
        pass
    elsewhere = ~exists().where(turns.c.conversation_id == feedback.c.conversation_id)
    with local.begin() as connection:  # on answers that another gateway gave
        connection.execute(delete(feedback).where(feedback.c.given_at < _iso(before), elsewhere))


def count_over(engine: Engine, before: datetime) -> int:
    """How many conversations `prune` would delete."""
    with engine.connect() as connection:
        chosen = _query(before).subquery()
        return connection.execute(select(func.count()).select_from(chosen)).scalar_one()


def _over(connection: Connection, before: datetime, limit: int) -> list[str]:
    return list(connection.execute(_query(before).limit(limit)).scalars())


def _query(before: datetime) -> Select[str]:
    at = _iso(before)
    later = turns.alias()
    goes_on = exists().where(later.c.conversation_id == turns.c.conversation_id, later.c.started_at >= at)
    # Joined with nothing, the id is in no index: SQLite would walk along the index of conversations to find each once,
    # past all that are not old, instead of going to the old turns.
    return select(turns.c.conversation_id + "").where(turns.c.started_at < at, ~goes_on).distinct()


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
