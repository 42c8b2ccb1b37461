"""Asking the gateway's own file: one thread, one connection, and the driver without SQLAlchemy around it.

SQLite's answer takes some 10 µs; a pool's thread and connection for each question, and a statement put together anew,
took many times as long. Questions that come while the thread is at work are answered together, and each event loop is
woken once for them.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.sqlite import dialect

from gateway.ledger.records import Answered
from gateway.ledger.schema import turns
from gateway.ledger.store import answered_where, assignment_of

TOGETHER = 16
"""Questions that are answered before anybody hears of it."""


@dataclass(slots=True)
class _Question:
    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        """Let who asked go on; in the loop's own thread."""
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)


class Questions:
    """Answers questions to a SQLite ledger in the order in which they come.

    Each raises sqlite3.Error, or SQLAlchemyError, where the file cannot be read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._asked: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gattway-questions", daemon=True)
        self._thread.start()

    async def assignment(self, conversation_id: str, experiment: str, key_name: str) -> tuple[str, str | None] | None:
        """See `Store.assignment`."""
        statement, values = _assignment(), (conversation_id, experiment, key_name)
        found: tuple[str, str | None] | None = await self._ask(lambda raw: raw.execute(statement, values).fetchone())
        return found

    async def answered(self, hashes: Sequence[str]) -> list[Answered]:
        """See `Store.answered`."""
        return await self._turns("answered_hash", hashes)

    async def continuations(self, request_ids: Sequence[str]) -> list[Answered]:
        """See `Store.continuations`."""
        return await self._turns("parent_request_id", request_ids)

    def close(self) -> None:
        """Answer what was asked and stop; returns when the thread has ended."""
        self._asked.put(None)
        self._thread.join()

    async def _turns(self, column: str, values: Sequence[str]) -> list[Answered]:
        statement, limits = _answered(column, len(values))
        rows = await self._ask(lambda raw: raw.execute(statement, (*values, *limits)).fetchall())
        return [Answered(*row) for row in rows]

    async def _ask(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        loop = asyncio.get_running_loop()
        question = _Question(work, loop, loop.create_future())
        self._asked.put(question)
        return await question.answer

    def _run(self) -> None:
        stopping = False
        while not stopping:
            asked = [self._asked.get()]
            with suppress(queue.Empty):
                while len(asked) < TOGETHER:
                    asked.append(self._asked.get_nowait())
            questions = [question for question in asked if question is not None]
            stopping = len(questions) < len(asked)
            for question in questions:
                self._answer(question)
            for loop in {question.loop for question in questions}:
                loop.call_soon_threadsafe(_settle, [question for question in questions if question.loop is loop])
        self._disconnect()

    def _answer(self, question: _Question) -> None:
        try:
            question.result = question.work(self._connected())
        except Exception as error:  # whoever asked hears of it
            self._disconnect()
            question.error = error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        raw = self._connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _settle(questions: Sequence[_Question]) -> None:
    for question in questions:
        question.settle()


@cache
def _assignment() -> str:
    """For conversation, experiment and key."""
    return str(assignment_of("", "", "").compile(dialect=dialect()))


@cache
def _answered(column: str, values: int) -> tuple[str, list[Any]]:
    """For so many values of the column, and what is to be given behind them."""
    query = answered_where(turns.c[column].in_([""] * values))
    compiled = query.compile(dialect=dialect(), compile_kwargs={"render_postcompile": True})
    assert compiled.positiontup is not None
    return str(compiled), [compiled.params[name] for name in compiled.positiontup[values:]]
