"""Turns by the month, on a real PostgreSQL: nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from benchmarks import scale
from benchmarks.fleet import differences
from gateway.access.request_id import new_id
from gateway.experiments.report import make
from gateway.ledger.backup import backup_shared, restore_shared
from gateway.ledger.migrate import require_shared, run_revisions, upgrade_shared
from gateway.ledger.partitions import Month, partition, partitions
from gateway.ledger.retention import prune
from gateway.ledger.schema import REVISION
from gateway.ledger.shared import open_shared
from gateway.ledger.store import Store
from tests.gateway.postgres import Postgres

ROWS = 400
NOW = datetime(2026, 3, 15, tzinfo=UTC)


@pytest.fixture
def filled(postgres: Postgres) -> Iterator[Engine]:
    engine = open_shared(postgres.database())
    upgrade_shared(engine)
    scale.fill(engine, ROWS)
    yield engine
    engine.dispose()


def told(engine: Engine) -> list[Any]:
    """What the ledger says of its turns."""
    store, report = Store(engine), make(engine, "e")
    del report["created_at"]
    return [store.conversations(500).rows, store.turns("conv_3"), list(store.export()), report]


def rows_in(engine: Engine, name: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())


def put(engine: Engine, request_id: str, conversation_id: str, started_at: str) -> None:
    """A copy of a turn under other names."""
    with engine.begin() as connection:
        columns = [row[0] for row in connection.execute(text(COLUMNS)) if row[0] not in OWN]
        connection.execute(
            text(
                f"INSERT INTO turns (request_id, conversation_id, started_at, {', '.join(columns)}) "
                f"SELECT :request, :conversation, :at, {', '.join(columns)} FROM turns WHERE request_id = 'req_0'"
            ),
            {"request": request_id, "conversation": conversation_id, "at": started_at},
        )


OWN = ("request_id", "conversation_id", "started_at")
COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = 'turns'::regclass AND attnum > 0 AND NOT attisdropped"


def test_ids_are_ranges_of_months() -> None:
    this, before = Month(2026, 12), datetime.now(UTC)
    assert this.partition == "turns_2026_12"
    assert this.high == Month(2027, 1).low
    now = Month(before.year, before.month)
    ids = [new_id() for _ in range(100)]
    assert all(now.low < one < now.later(1).high for one in ids)
    assert len(set(ids)) == 100
    assert {len(one) for one in ids} == {len("req_") + 32}


def test_a_divided_ledger_says_what_it_said_and_takes_turns_into_their_month(filled: Engine) -> None:
    early = f"{Month(2026, 3).low}{'0' * 20}"
    put(filled, early, "conv_new", "2026-03-02T00:00:00.000000+00:00")
    before = told(filled)
    assert partition(filled, 2, NOW) == (["turns_2026_03", "turns_2026_04", "turns_2026_05"], [])
    assert differences(told(filled), before) == []
    assert (rows_in(filled, "turns_2026_03"), rows_in(filled, "turns_others")) == (1, ROWS)
    assert partition(filled, 2, NOW) == ([], [])
    put(filled, f"{Month(2026, 4).low}{'f' * 20}", "conv_new", "2026-04-01T00:00:00.000000+00:00")
    assert rows_in(filled, "turns_2026_04") == 1
    with filled.connect() as connection:
        require_shared(connection)
        (found,) = [one for one in Store(filled).conversations(500).rows if one["conversation_id"] == "conv_new"]
        assert found["requests"] == 2  # the triggers work over partitions
        plan = connection.execute(text("EXPLAIN SELECT * FROM turns WHERE answered_hash = 'a7'")).scalars()
        assert "Index" in " ".join(plan)


def test_retention_empties_months_and_they_are_dropped(filled: Engine) -> None:
    partition(filled, 1, datetime(2026, 1, 10, tzinfo=UTC))
    put(filled, f"{Month(2026, 1).low}{'1' * 20}", "conv_old", "2026-01-10T00:00:00.000000+00:00")
    assert partition(filled, 1, NOW) == (["turns_2026_03", "turns_2026_04"], ["turns_2026_02"])
    assert sum(prune(filled, datetime(2026, 2, 1, tzinfo=UTC))) > 1
    assert partition(filled, 1, NOW) == ([], ["turns_2026_01"])


def test_an_upgrade_and_a_back_up_go_over_partitions(filled: Engine, postgres: Postgres, tmp_path: Path) -> None:
    old, empty = open_shared(postgres.database()), open_shared(postgres.database())
    with old.begin() as connection:
        run_revisions(connection, REVISION)
    partition(old, 1, NOW)
    with old.begin() as connection:  # what a later revision does
        connection.execute(text("ALTER TABLE turns ADD COLUMN later VARCHAR"))
        connection.execute(text("CREATE INDEX turns_by_later ON turns (later)"))
        assert len(partitions(connection)) == 2
    partition(filled, 1, NOW)
    before = told(filled)
    backup_shared(filled, tmp_path / "b")
    restore_shared(tmp_path / "b", empty)
    assert differences(told(empty), before) == []
    old.dispose()
    empty.dispose()
