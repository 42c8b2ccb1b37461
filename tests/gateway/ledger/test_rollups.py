"""The sums that the database keeps are those of its turns, whatever happens to them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update

from gateway.ledger.database import open_database
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.records import Turn
from gateway.ledger.rollups import rebuild
from gateway.ledger.schema import conversations, turns
from gateway.ledger.shared import open_shared
from tests.gateway.ledger.test_writer import row
from tests.gateway.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        yield open_database(tmp_path / "l.db")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    engine = open_shared(postgres.database())
    upgrade_shared(engine)
    yield engine
    engine.dispose()


def any_turn(dice: random.Random, request_id: int) -> Turn:
    return replace(
        row(str(request_id), f"c{dice.randrange(4)}"),
        key_name=dice.choice([None, "alice"]),
        experiment=dice.choice([None, "e"]),
        arm=dice.choice([None, "a", "b"]),
        turn=dice.randrange(1, 5),
        status=dice.choice(["ok", "error"]),
        auxiliary=dice.choice([None, None, None, "title"]),
        shadow_of=dice.choice([None, None, None, "1"]),
        excluded=dice.choice([None, "forced"]),
        prompt_tokens=dice.choice([None, 0, 7, 11]),
        cached_tokens=dice.choice([None, 3]),
        cost_usd=dice.choice([None, 0.25, 0.5]),
        adherent=dice.choice([None, True, False]),
    )


def sums(connection: Connection) -> list[Any]:
    query = select(conversations).order_by(*conversations.primary_key)
    return [tuple(one) for one in connection.execute(query)]


def test_the_sums_follow_every_insert_change_and_deletion(engine: Engine) -> None:
    dice = random.Random(5)
    with engine.begin() as connection:
        for step in range(40):
            rows = [any_turn(dice, 100 * step + index).as_dict() for index in range(dice.randrange(1, 4))]
            connection.execute(insert(turns), rows)
            some = turns.c.request_id.in_([str(dice.randrange(100 * step + 3)) for _ in range(60)])
            connection.execute(update(turns).where(some).values(adherent=dice.choice([None, True]), cost_usd=1.0))
            if step % 4 == 0:
                connection.execute(delete(turns).where(turns.c.request_id == rows[0]["request_id"]))
            if step % 10 == 9:
                kept = sums(connection)
                rebuild(connection)
                assert kept == sums(connection)
                assert kept
        connection.execute(delete(turns))
        assert sums(connection) == []
