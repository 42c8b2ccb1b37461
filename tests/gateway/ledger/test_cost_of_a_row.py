"""What a row costs the disk, in pages: that can be counted, where time cannot be trusted."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, event

from gateway.access.request_id import new_id
from gateway.ids import timed
from gateway.ledger.commit import Group, Item
from gateway.ledger.database import open_database
from gateway.ledger.records import Assignment
from gateway.ledger.writer import Writer
from tests.gateway.ledger.test_writer import row

FRAME = 4096 + 24
"""Bytes of a page in the write-ahead log."""
TOGETHER = 8
GROUPS = 40


def ended() -> Item:
    """A new conversation's turn with whatever is looked up by: its hashes are in no order, its ids begin with the
    time."""
    request, conversation = new_id(), f"conv_{timed()}"
    turn = replace(
        row(request, conversation),
        experiment="e",
        arm="a",
        started_at=f"2026-01-01T{request}",
        completion_id=uuid.uuid4().hex,
        answered_hash=hashlib.sha256(request.encode()).hexdigest(),
    )
    return Item(turn, Assignment(conversation, "e", "a", turn.started_at), None, None, None)  # type: ignore[arg-type]


def commit_groups(connection: Connection) -> None:
    for _ in range(GROUPS):
        Group([ended() for _ in range(TOGETHER)], [], [], "").commit(connection)


def test_a_row_takes_few_pages_when_several_share_a_commit(tmp_path: Path) -> None:
    """Most indices grow at one end, so the rows of a commit share their pages: with ids in no order and the indices
    that nobody asked it was 10 pages a row."""
    engine = open_database(tmp_path / "l.db", "relaxed")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA wal_autocheckpoint = 0"))
    log = tmp_path / "l.db-wal"
    with engine.connect() as connection:
        commit_groups(connection)
        before = log.stat().st_size
        commit_groups(connection)
        pages = (log.stat().st_size - before) / FRAME / (TOGETHER * GROUPS)
    engine.dispose()
    assert pages < 8


async def test_the_writer_makes_no_temporary_files(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "l.db")
    seen: list[int] = []

    def look(connection: sqlite3.Connection, _record: object) -> None:
        seen.append(connection.execute("PRAGMA temp_store").fetchone()[0])

    event.listen(engine, "close", look)
    writer = Writer(engine)
    await writer.write(row("1"))
    writer.close()
    assert seen[-1] == 2  # in memory
