"""What a gateway finds of turns that another one is about to ship."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import insert

from gateway.ledger.database import open_database
from gateway.ledger.lookup import PAUSES_S, Lookup
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.schema import turns
from gateway.ledger.shared import Shared
from gateway.ledger.store import Store
from tests.gateway.ledger.test_writer import row
from tests.gateway.postgres import Postgres


@pytest.fixture
async def lookup(tmp_path: Path, postgres: Postgres) -> AsyncIterator[tuple[Lookup, Shared]]:
    shared = Shared(postgres.database())
    upgrade_shared(shared.engine)
    lookup = Lookup(Store(open_database(tmp_path / "l.db")), shared, timeout_s=20)
    yield lookup, shared
    lookup.close()
    shared.close()


async def test_a_turn_that_is_being_shipped_is_waited_for(lookup: tuple[Lookup, Shared]) -> None:
    asked, shared = lookup
    answered = asdict(row("req_1")) | {"answered_hash": "b", "history_hash": "a"}

    async def ship() -> None:
        await asyncio.sleep(PAUSES_S[0] / 2)
        await shared.run(lambda connection: connection.execute(insert(turns), [answered]), timeout_s=20)

    found, _ = await asyncio.gather(asked.answered(["a", "b"]), ship())
    assert [one.request_id for one in found] == ["req_1"]


async def test_a_history_that_nobody_knows_is_waited_for_once(lookup: tuple[Lookup, Shared]) -> None:
    asked, _ = lookup
    took_s = []
    for _ in range(2):  # examples in a prompt come with every request
        began = time.perf_counter()
        assert await asked.answered(["an example's answer"]) == []
        took_s.append(time.perf_counter() - began)
    assert took_s[0] >= sum(PAUSES_S)
    assert took_s[1] < took_s[0]
