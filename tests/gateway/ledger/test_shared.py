"""The shared database is asked for a while and no longer."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from sqlalchemy import Connection, text

from gateway.errors import ConfigError, SharedAway
from gateway.ledger import shared as module
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.shared import Shared
from tests.gateway.postgres import Postgres


def one(connection: Connection) -> int:
    return connection.execute(text("SELECT 1")).scalar_one()


async def test_it_answers_again_by_itself_after_a_restart(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.0)
    shared = Shared(postgres.database())
    with pytest.raises(ConfigError, match="gattway db upgrade"):
        shared.check()
    upgrade_shared(shared.engine)
    assert shared.check() is None
    assert await shared.run(one, timeout_s=20) == 1
    postgres.stop()
    try:
        with pytest.raises(SharedAway, match="does not answer"):
            await shared.run(one, timeout_s=20)
        assert shared.problem
    finally:
        postgres.start()
    assert await shared.run(one, timeout_s=20) == 1
    assert shared.problem is None
    postgres.stop()
    postgres.start()
    assert await shared.run(one, timeout_s=20) == 1  # its idle connection is dead: nobody hears of it
    shared.close()


async def test_nobody_waits_for_a_database_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never says a word
        shared = Shared(f"postgresql://alice:secret@127.0.0.1:{silent.getsockname()[1]}/x")
        for _ in range(module.SLOW_IN_A_ROW):  # once may be a hiccup
            assert shared.problem is None
            with pytest.raises(SharedAway) as refused:
                await shared.run(one, timeout_s=0.2)
        assert "secret" not in refused.value.message
        began = time.perf_counter()
        for _ in range(20):
            with pytest.raises(SharedAway):
                await shared.run(one, timeout_s=0.2)
        assert time.perf_counter() - began < 0.2
        shared.close()


async def test_a_statement_that_takes_too_long_is_given_up_by_the_server_too(postgres: Postgres) -> None:
    shared = Shared(postgres.database())
    assert await shared.run(one, timeout_s=20) == 1
    with pytest.raises(SharedAway, match=r"no answer within|statement timeout"):
        await shared.run(lambda connection: connection.execute(text("SELECT pg_sleep(30)")).one(), timeout_s=0.2)
    with shared.engine.connect() as connection:
        busy = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
        until = time.monotonic() + 20
        while connection.execute(busy).scalar_one():
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
    assert shared.problem is None  # one slow answer is no outage
    assert await shared.run(one, timeout_s=20) == 1
    shared.close()
