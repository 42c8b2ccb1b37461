"""What a gateway had begun when it died is closed by the next one, and by nobody while it lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import Engine, select

from gateway.ledger.database import open_database
from gateway.ledger.interrupted import Owner
from gateway.ledger.schema import begun
from gateway.ledger.store import Store
from gateway.ledger.writer import LINGER_S, Writer
from tests.gateway.ledger.test_writer import row


def notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(begun.c.request_id)).scalars())


def locks(folder: Path) -> list[Path]:
    return list(folder.glob("*-gateway-*"))


async def until_noted(engine: Engine, expected: list[str]) -> None:
    async with asyncio.timeout(20):
        while notes(engine) != expected:  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.01)


async def test_a_request_under_way_is_noted_and_the_note_goes_with_its_row(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "l.db")
    writer = Writer(engine, "me")
    slow, quick = row("1"), row("2")
    writer.begin(slow)
    await until_noted(engine, ["1"])
    writer.begin(quick)
    await writer.write(quick)
    await asyncio.sleep(2 * LINGER_S)
    assert notes(engine) == ["1"]  # whoever ends at once is never noted
    await writer.write(slow)
    assert notes(engine) == []
    writer.close()


async def test_the_next_gateway_closes_what_a_dead_one_had_begun_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    engine = open_database(path)
    dead, alive, third = Owner(path), Owner(path), Owner(path)
    writers = {owner: Writer(engine, owner.name) for owner in (dead, alive)}
    for request_id, owner in (("1", dead), ("2", alive)):
        writers[owner].begin(row(request_id))
        await until_noted(engine, ["1", "2"][: int(request_id)])
    assert third.close_orphans(engine) == 0
    dead._lock.release(force=True)  # what the operating system does for a process that is gone
    assert third.close_orphans(engine) == 1
    assert third.close_orphans(engine) == 0
    (closed,) = Store(engine).turns("c")
    assert (closed["request_id"], closed["status"], closed["duration_ms"]) == ("1", "interrupted", None)
    assert notes(engine) == ["2"]
    for owner in (alive, third):
        owner.release()
    for writer in writers.values():
        writer.close()
    assert locks(tmp_path) == []
