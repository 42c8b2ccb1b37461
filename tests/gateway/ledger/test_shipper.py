"""Rows get to the shared database, once each, however long it was away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, insert, select, text, update

from gateway.ledger import shipper as module
from gateway.ledger.amendments import Amendment
from gateway.ledger.books import Books, open_books
from gateway.ledger.content import Said
from gateway.ledger.database import open_database
from gateway.ledger.erasing import erase
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.outbox import switch_on
from gateway.ledger.pages import moment
from gateway.ledger.records import Assignment, Feedback, Verdict
from gateway.ledger.schema import assignments, conversations, feedback, outbox, turns
from gateway.ledger.shared import open_shared
from gateway.ledger.store import Store
from gateway.sections.ledger import LedgerSettings
from tests.gateway.ledger.test_writer import row
from tests.gateway.postgres import Postgres


@pytest.fixture
def database(postgres: Postgres) -> str:
    url = postgres.database()
    engine = open_shared(url)
    upgrade_shared(engine)
    engine.dispose()
    return url


@contextmanager
def books_at(path: Path, url: str | None, **more: object) -> Iterator[Books]:
    settings = {"path": path, "url": SecretStr(url) if url else None, "keep_local_days": 36_500, **more}
    books = open_books(LedgerSettings(**settings))  # type: ignore[arg-type]
    books.start()
    try:
        yield books
    finally:
        books.close()


@contextmanager
def looking(url: str) -> Iterator[Engine]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        yield engine
    finally:
        engine.dispose()


def ids(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(turns.c.request_id).order_by(turns.c.request_id)).scalars())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - another thread ships
            await asyncio.sleep(0.02)


def said(given_at: str, adherent: bool, request_id: str | None = "1") -> Amendment:
    """Feedback on a request, or on the whole conversation."""
    given = Feedback(f"fb-{given_at}", "c", request_id, None, moment(given_at), adherent=adherent)
    return Amendment(feedback=[given])


def ruling(engine: Engine) -> list[tuple[object, object]]:
    return [(one["adherent"], one["adherence_source"]) for one in Store(engine).turns("c")]


async def test_rows_arrive_with_their_assignments_and_later_changes(tmp_path: Path, database: str) -> None:
    dealt = Assignment("c", "e", "a", "2026-01-01T00:00:00+00:00")
    nul = replace(row("1"), error_code="a\0b", counterfactual_prompt_tokens={"once": 3}, cost_usd=0.1)
    with books_at(tmp_path / "l.db", database) as books, looking(database) as shared:
        await books.writer.write(nul, dealt, b"\x00\xff")
        await until(lambda: ids(shared) == ["1"])
        with books.local.engine.begin() as connection:
            connection.execute(update(turns).values(adherent=True))
        await until(lambda: Store(shared).turns("c")[0]["adherent"] is True)
        assert Store(shared).turns("c")[0] == {**books.local.turns("c")[0], "error_code": "a\ufffdb"}
        with shared.connect() as connection:
            assert connection.execute(select(assignments.c.arm)).scalars().all() == ["a"]
            assert connection.execute(text("SELECT sealed FROM contents")).scalar_one() == b"\x00\xff"
            assert connection.execute(select(conversations.c.judged, conversations.c.requests)).one() == (1, 1)
        await until(lambda: (books.pending, books.lag_s) == (0, 0.0))


async def test_with_the_database_away_nothing_waits_and_nothing_is_lost(
    tmp_path: Path, postgres: Postgres, database: str
) -> None:
    shipped = "000000"
    amendments = [
        said("2026-01-03", False, shipped),
        Amendment([Verdict(shipped, "checks", "e", "a", False, moment("2026-01-04"))]),
        said("2026-01-05", True, shipped),
    ]
    with books_at(tmp_path / "l.db", database) as books:
        await books.writer.write(row(shipped))
        await until(lambda: (books.pending, books.lag_s) == (0, 0.0))
        postgres.stop()
        try:
            began = time.perf_counter()
            for index in range(1, 700):
                await books.writer.write(row(f"{index:06}"))
            assert time.perf_counter() - began < 30
            pending, lag_s = books.pending, books.lag_s
            assert pending == 699
            assert lag_s > 0
            assert await books.lookup.answered(["unknown"]) == []
            for amendment in amendments:
                await books.writer.amend(amendment)
        finally:
            postgres.start()
        await until(lambda: (books.pending, books.lag_s) == (0, 0.0))
    with looking(database) as shared:
        assert ids(shared) == [f"{index:06}" for index in range(700)]
        assert ruling(shared)[:2] == [(True, "feedback"), (None, None)]
        with shared.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM feedback")).scalar_one() == 2
            assert connection.execute(text("SELECT source, adherent FROM verdicts")).all() == [("checks", False)]
            assert connection.execute(select(conversations.c.judged, conversations.c.adherent)).one() == (1, 1)


async def test_what_was_written_before_the_database_was_configured_is_shipped_too(
    tmp_path: Path, database: str
) -> None:
    with books_at(tmp_path / "l.db", None) as books:
        await books.writer.write(row("1"))
    for _ in range(2):
        with books_at(tmp_path / "l.db", database) as books:
            await until(lambda books=books: (books.pending, books.lag_s) == (0, 0.0))  # type: ignore[misc]
    with looking(database) as shared:
        assert ids(shared) == ["1"]
    with books_at(tmp_path / "l.db", None) as books:
        await books.writer.write(row("2"))
        with books.local.engine.connect() as connection:
            assert connection.execute(select(outbox)).all() == []


async def test_a_row_that_the_database_refuses_keeps_no_other_and_stays_in_the_file(
    tmp_path: Path, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with looking(database) as shared, shared.begin() as connection:
        connection.execute(text("ALTER TABLE turns ADD CONSTRAINT odd CHECK (request_id <> '2')"))
    with books_at(tmp_path / "l.db", database) as books, looking(database) as shared:
        await asyncio.gather(*(books.writer.write(row(str(index))) for index in range(5)))
        await until(lambda: ids(shared) == ["0", "1", "3", "4"])
        await until(lambda: books.pending == 1)
        assert len(books.local.turns("c")) == 5
    assert 'refuses ["2"] of turns, it stays here' in caplog.text


async def test_the_same_request_id_of_another_conversation_is_said_and_replaces_nothing(
    tmp_path: Path, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with looking(database) as shared, shared.begin() as connection:
        connection.execute(insert(turns), [row("1", "theirs").as_dict()])
    with books_at(tmp_path / "l.db", database) as books, looking(database) as shared:
        await books.writer.write(row("1", "mine"))
        await until(lambda: (books.pending, books.lag_s) == (0, 0.0))
        assert Store(shared).turns("mine") == []
        assert len(Store(shared).turns("theirs")) == 1
    assert "has a request 1 of another conversation already; the one of mine stays here only" in caplog.text


async def test_two_gateways_know_each_others_conversations(tmp_path: Path, database: str) -> None:
    answered = replace(row("1"), history_hash="h", answered_hash="ha")
    with books_at(tmp_path / "a.db", database) as a, books_at(tmp_path / "b.db", database) as b:
        await a.writer.write(answered, Assignment("c", "e", "a", "2026-01-01T00:00:00+00:00"))
        await until(lambda: a.pending == 0)
        assert [one.request_id for one in await b.lookup.answered(["ha"])] == ["1"]
        assert await b.lookup.assignment("c", "e", "") == ("a", None)
        assert [one["request_id"] for one in b.store.turns("c")] == ["1"]


async def test_feedback_given_at_another_gateway_rules_the_shared_row_for_good(tmp_path: Path, database: str) -> None:
    with (
        books_at(tmp_path / "a.db", database) as a,
        books_at(tmp_path / "b.db", database) as b,
        looking(database) as shared,
    ):
        await a.writer.write(row("1"))
        await until(lambda: a.pending == 0)
        await b.writer.amend(said("2026-01-03", False))
        await until(lambda: ruling(shared) == [(False, "feedback")])
        with shared.connect() as connection:
            assert connection.execute(select(conversations.c.judged, conversations.c.adherent)).one() == (1, 0)
        # What the gateway that answered finds out afterwards, and ships with the whole row.
        await a.writer.amend(Amendment([Verdict("1", "checks", "e", "a", True, moment("2026-01-04"))]))
        await until(lambda: a.pending == 0)
        assert ruling(shared) == [(False, "feedback")]
        # The newest counts, in whatever order they arrive.
        await b.writer.amend(said("2026-01-06", True))
        await until(lambda: ruling(shared) == [(True, "feedback")])
        await a.writer.amend(said("2026-01-05", False))
        await until(lambda: a.pending == 0)
        assert ruling(shared) == [(True, "feedback")]


async def test_feedback_that_arrives_before_its_rows_rules_those_that_it_is_about(
    tmp_path: Path, database: str
) -> None:
    title = replace(row("2"), auxiliary="title")
    later = replace(row("3"), started_at=moment("2026-02-01"))
    with (
        books_at(tmp_path / "a.db", database) as a,
        books_at(tmp_path / "b.db", database) as b,
        looking(database) as shared,
    ):
        await b.writer.amend(said("2026-01-03", False, None))
        await until(lambda: b.pending == 0)
        for one in (row("1"), title, later):
            await a.writer.write(one)
        await until(lambda: a.pending == 0)
        assert ruling(shared) == [(False, "feedback"), (None, None), (None, None)]


async def test_what_is_erased_is_erased_where_only_feedback_on_it_is_kept(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ERASURES_S", 0.0)
    monkeypatch.setattr(module, "TIDY_S", 0.0)
    with (
        books_at(tmp_path / "a.db", database) as a,
        books_at(tmp_path / "b.db", database, keep_local_days=7) as b,
        looking(database) as shared,
    ):

        def kept() -> list[str]:
            with b.local.engine.connect() as connection:
                return list(connection.execute(select(feedback.c.feedback_id)).scalars())

        await a.writer.write(replace(row("1"), user_hash="alice"))
        await until(lambda: a.pending == 0)
        await b.writer.amend(said("2999-01-01", True))
        await until(lambda: b.pending == 0)
        assert kept() == ["fb-2999-01-01"]
        assert erase(shared, "user", ["alice"]) == 1
        b.shipper.wake()  # type: ignore[union-attr]
        await until(lambda: kept() == [])
        await b.writer.amend(said("2020-01-01", True))  # older than the file keeps what is shipped
        await until(lambda: kept() == [])


async def test_the_file_lets_go_of_old_rows_once_the_database_has_them(tmp_path: Path, database: str) -> None:
    fresh = replace(row("2", "new"), started_at=datetime.now(UTC).isoformat(timespec="microseconds"))
    with books_at(tmp_path / "l.db", None) as books:
        await asyncio.gather(books.writer.write(row("1", "old")), books.writer.write(fresh))
    with books_at(tmp_path / "l.db", database, keep_local_days=7) as books, looking(database) as shared:
        await until(lambda: ids(books.local.engine) == ["2"])
        assert ids(shared) == ["1", "2"]


async def test_what_is_erased_in_the_database_is_erased_in_every_gateways_file(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ERASURES_S", 0.0)
    with books_at(tmp_path / "l.db", database) as books, looking(database) as shared:
        await books.writer.write(row("1", "gone"))
        await books.writer.write(row("2", "kept"))
        await until(lambda: (books.pending, books.lag_s) == (0, 0.0))
        assert erase(shared, "conversation", ["gone"]) == 1
        books.shipper.wake()  # type: ignore[union-attr]
        await until(lambda: ids(books.local.engine) == ["2"])
        assert ids(shared) == ["2"]


async def test_content_of_another_gateway_is_read_from_the_database(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", "0123456789abcdef0123456789abcdef")
    words = Said([{"role": "user", "content": "Bonjour"}], 0, [{"role": "user", "content": "Bonjour"}], None)
    with (
        books_at(tmp_path / "a.db", database, store_content=True) as a,
        books_at(tmp_path / "b.db", database, store_content=True) as b,
    ):
        assert a.content is not None
        assert b.content is not None
        await a.writer.write(row("1"), None, await a.content.sealed("1", None, words))
        await until(lambda: a.pending == 0)
        content = await b.content.read("1")
        assert content is not None
        assert content.messages == words.messages


async def test_a_database_that_is_behind_takes_no_rows_and_says_what_to_do(
    tmp_path: Path, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    url = postgres.database()
    postgres.stop()
    try:
        books = open_books(LedgerSettings(path=tmp_path / "l.db", url=SecretStr(url)))  # away: no reason not to start
    finally:
        postgres.start()
    books.start()
    await books.writer.write(row("1"))
    await until(lambda: books.shipper is not None and "gattway db upgrade" in (books.shipper.problem or ""))
    with looking(url) as shared:
        upgrade_shared(shared)
        await until(lambda: ids(shared) == ["1"])
    books.close()


async def test_workers_that_start_together_note_what_is_there_once(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "l.db")
    with engine.begin() as connection:
        connection.execute(insert(turns), [row("1").as_dict()])
    await asyncio.gather(*(asyncio.to_thread(switch_on, open_database(tmp_path / "l.db")) for _ in range(4)))
    with engine.connect() as connection:
        assert [one.key for one in connection.execute(select(outbox))] == ['["1"]']
