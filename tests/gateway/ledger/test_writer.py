"""Rows get to the disk, or are kept until they can."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, text

from gateway.errors import ConfigError, LedgerError
from gateway.ledger import clock
from gateway.ledger import writer as ledger_writer
from gateway.ledger.database import Durability, open_database
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


async def test_a_commit_waits_for_those_under_way_while_the_loop_goes_round_and_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "ROUNDS", 10**9)
    monkeypatch.setattr(ledger_writer, "LINGER_S", 600.0)
    commits: list[int] = []
    writer = Writer(open_database(tmp_path / "l.db"), on_commit=lambda: commits.append(writer.pending))
    async with asyncio.timeout(120):
        writer.begin(row("1"))
        await writer.write(row("1"))  # nobody else is under way
        for request_id in ("2", "3"):
            writer.begin(row(request_id))
        waiting = asyncio.create_task(writer.write(row("2")))
        await asyncio.sleep(0.05)
        assert (writer.pending, len(commits)) == (1, 1)
        await asyncio.gather(waiting, writer.write(row("3")))
        assert len(commits) == 2
    writer.close()


async def test_a_row_does_not_wait_for_an_answer_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "LINGER_S", 600.0)
    writer = Writer(open_database(tmp_path / "l.db"))
    writer.begin(row("long"))
    writer.begin(row("short"))
    async with asyncio.timeout(120):
        await writer.write(row("short"))
    assert writer.pending == 0
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


async def test_a_read_only_database_refuses_rows_and_heals_by_itself(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "l.db")
    read_only = threading.Event()

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA query_only = {int(read_only.is_set())}")

    event.listen(engine, "connect", prepare)
    read_only.set()
    writer = Writer(engine)
    with pytest.raises(LedgerError, match="attempt to write a readonly database"):
        await writer.write(row("1"))
    assert writer.problem
    read_only.clear()
    await writer.write(row("2"))
    assert [one["request_id"] for one in Store(engine).turns("c")] == ["1", "2"]
    assert writer.problem is None
    writer.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("relaxed", 1)])
def test_durability_says_for_whom_a_commit_waits(tmp_path: Path, durability: Durability, synchronous: int) -> None:
    with open_database(tmp_path / "l.db", durability).connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == synchronous
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


async def test_a_clock_that_goes_back_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(tmp_path / "l.db")
    writer = Writer(engine)
    now = time.time()
    monkeypatch.setattr(clock.time, "time", lambda: now - 3600)
    await writer.write(row("1"))
    await writer.write(replace(row("2"), started_at="2999-01-01T00:00:00.000000+00:00"))
    writer.close()
    assert caplog.text.count("the clock went back by 3600 s") == 1
    clock.warn_of_later_rows(engine)
    assert "the newest row of the ledger is of 2999-01-01" in caplog.text
