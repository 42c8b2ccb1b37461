"""Rows get to the disk, or are kept until they can."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.errors import ConfigError, LedgerError
from gateway.ledger.database import open_database
from gateway.ledger.records import COLUMNS, Turn
from gateway.ledger.schema import turns
from gateway.ledger.store import Store
from gateway.ledger.writer import Writer


def row(request_id: str, conversation_id: str = "c") -> Turn:
    return Turn(
        request_id=request_id,
        conversation_id=conversation_id,
        identity_source="new",
        parent_request_id=None,
        experiment=None,
        arm=None,
        forced=False,
        strategy="once",
        model="m",
        upstream="u",
        turn=1,
        started_at=f"2026-01-01T00:00:00.{request_id:0>6}+00:00",
    )


async def test_a_row_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    writer = Writer(open_database(tmp_path / "l.db"))
    await asyncio.gather(*(writer.write(row(str(index))) for index in range(50)))
    other = sqlite3.connect(tmp_path / "l.db")
    assert other.execute("SELECT count(*) FROM turns").fetchone() == (50,)
    other.close()
    assert writer.pending == 0
    writer.close()


async def test_the_same_request_written_twice_is_one_row(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "l.db")
    writer = Writer(engine)
    await writer.write(row("1"))
    await writer.write(row("1"))
    assert len(Store(engine).turns("c")) == 1
    writer.close()


async def test_while_the_database_refuses_rows_are_kept_and_written_when_it_heals(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    engine = open_database(path)
    writer = Writer(engine)
    await writer.write(row("1"))
    other = sqlite3.connect(path)
    other.execute("ALTER TABLE turns RENAME TO away")
    with pytest.raises(LedgerError, match="cannot be written"):
        await writer.write(row("2"))
    assert writer.problem is not None
    assert writer.pending == 1
    other.execute("ALTER TABLE away RENAME TO turns")
    other.close()
    await writer.write(row("3"))
    assert writer.problem is None
    assert [one["request_id"] for one in Store(engine).turns("c")] == ["1", "2", "3"]
    writer.close()


def test_the_table_has_the_columns_of_the_record_and_no_others() -> None:
    assert tuple(column.name for column in turns.columns) == COLUMNS


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look like one" * 100, None])
def test_a_ledger_that_cannot_be_opened_is_one_clear_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / ("l.db" if content else "missing/l.db")
    if content:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^ledger\.path: .*(cannot be used as a ledger|does not exist)"):
        open_database(path)


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ConfigError, match="schema version 99, this gattway knows 1; upgrade gattway"):
        open_database(path)
