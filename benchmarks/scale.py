"""A ledger of millions of turns, and how long a page of conversations takes in it.

Filled by the database itself, faster than any client could: conversations of 20 turns, two arms.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text

from gateway.ledger.pages import Filter
from gateway.ledger.rollups import drop_triggers, rebuild, triggers
from gateway.ledger.ruling import drop_ruling_triggers, ruling_triggers
from gateway.ledger.schema import assignments, conversations, turns
from gateway.ledger.segments import drop_segment_triggers, segment_triggers
from gateway.ledger.store import Store

TURNS = 20
REPEATS = 9
_STEP_S = 0.5  # between two turns; conversations follow each other

_COLUMNS = {
    "request_id": "'req_' || i",
    "conversation_id": f"'conv_' || (i / {TURNS})",
    "identity_source": "'history'",
    "parent_request_id": f"CASE WHEN i % {TURNS} > 0 THEN 'req_' || (i - 1) END",
    "experiment": "'e'",
    "arm": f"CASE WHEN i / {TURNS} % 2 = 0 THEN 'a' ELSE 'b' END",
    "strategy": f"CASE WHEN i / {TURNS} % 2 = 0 THEN 'once' ELSE 'every-turn' END",
    "model": "'m'",
    "upstream": "'u'",
    "turn": f"i % {TURNS} + 1",
    "status": "'ok'",
    "attempts": "1",
    "prompt_tokens": f"100 + i % {TURNS} * 60",
    "completion_tokens": "40",
    "cached_tokens": f"i % {TURNS} * 60",
    "cost_usd": f"0.0001 * (i % {TURNS} + 1)",
    "duration_ms": "500.0",
    "completion_id": "'c' || i",
    "history_hash": "'h' || i",
    "answered_hash": "'a' || i",
}
_SQLITE = {
    "forced": "0",
    "adherent": "i % 7 <> 0",
    "started_at": f"strftime('%Y-%m-%dT%H:%M:%f000+00:00', 1767225600 + i * {_STEP_S}, 'unixepoch')",
}
_POSTGRESQL = {
    "forced": "false",
    "adherent": "i % 7 <> 0",
    "started_at": f"to_char(timestamp '2026-01-01' + i * interval '{_STEP_S} s', "
    '\'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"\')',
}
# What is known before turn 1 is made up from the conversation's number.
_DEALT = (
    "INSERT INTO assignments (conversation_id, experiment, key_name, arm, assigned_at, policy, propensity, weights, "
    "turn, prompt_chars) SELECT conversation_id, experiment, '', arm, started_at, 'fixed', 0.5, "
    """'{"a": 0.5, "b": 0.5}', 1, 50 + length(conversation_id) FROM turns WHERE turn = 1"""
)


def fill(engine: Engine, rows: int, *, unlogged: bool = False) -> None:
    """Put `rows` turns into an empty ledger.

    Args:
        unlogged: leave PostgreSQL's tables without a write-ahead log, which makes filling shorter and reading no other.
    """
    with _connection_to_fill(engine, unlogged) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        columns = {**_COLUMNS, **(_SQLITE if is_sqlite else _POSTGRESQL)}
        numbers = "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)"
        if not is_sqlite:
            numbers = "generate_series(0, {last}) AS i"
        with _without_upkeep(connection):
            connection.execute(
                text(
                    f"INSERT INTO turns ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
                    f"FROM {numbers.format(last=rows - 1)}"
                )
            )
            connection.execute(text(_DEALT))
            rebuild(connection)
    if not is_sqlite:  # as autovacuum does; nobody analyzes a gateway's file
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE turns, assignments, conversations"))


@contextmanager
def _connection_to_fill(engine: Engine, unlogged: bool) -> Iterator[Connection]:
    """One transaction. A file is written once and not through a log: it is empty, and who fills it may begin again."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
                connection.exec_driver_sql(f"PRAGMA {setting}")
            connection.commit()
        with connection.begin():
            if connection.dialect.name == "postgresql":
                for setting in ("maintenance_work_mem = '512MB'", "work_mem = '256MB'"):
                    connection.exec_driver_sql(f"SET LOCAL {setting}")
                for table in (turns, assignments, conversations) if unlogged else ():
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} SET UNLOGGED")
            yield connection


@contextmanager
def _without_upkeep(connection: Connection) -> Iterator[None]:
    """Indices and sums are made once, at the end."""
    dialect = connection.dialect.name
    for statement in (*drop_triggers(dialect), *drop_segment_triggers(dialect), *drop_ruling_triggers(dialect)):
        connection.execute(text(statement))
    indexes = [*turns.indexes, *assignments.indexes, *conversations.indexes]
    for index in indexes:
        index.drop(connection)
    yield
    for index in indexes:
        index.create(connection)
    for statement in (*triggers(dialect), *segment_triggers(dialect), *ruling_triggers(dialect)):
        connection.exec_driver_sql(statement)


def pages(engine: Engine, rows: int) -> dict[str, dict[str, float]]:
    """`median_ms` and `best_ms` → question → milliseconds; on a busy machine the best is nearer to the ledger's own."""
    store = Store(engine)
    middle = f"conv_{rows // TURNS // 2}"
    questions: dict[str, Callable[[], Any]] = {
        "newest_50": lambda: store.conversations(50),
        "50_from_the_middle": lambda: store.conversations(50, middle),
        "50_of_an_arm": lambda: store.conversations(50, middle, Filter(experiment="e", arm="b")),
        "50_by_cost_and_turns": lambda: store.conversations(50, None, Filter(min_cost_usd=0.001, min_turns=10)),
        "one_conversation": lambda: store.turns(middle),
        "a_conversation_by_its_history": lambda: store.answered([f"a{rows // 2}"]),
    }
    taken = {name: _taken_ms(question) for name, question in questions.items()}
    return {
        "median_ms": {name: round(statistics.median(ms), 2) for name, ms in taken.items()},
        "best_ms": {name: round(min(ms), 2) for name, ms in taken.items()},
    }


def reports(engine: Engine) -> dict[str, dict[str, float]]:
    """`report_ms` and `report_processor_ms` (this process alone) of reports when all is added up beforehand: the first
    one, which loads SciPy too, one after it, and one after a verdict has come for an old turn."""
    taken = {name: _report_ms(engine) for name in ("first", "again")}
    with engine.begin() as connection:
        connection.execute(text("UPDATE turns SET adherent = NOT adherent WHERE request_id = 'req_0'"))
    taken["after_a_verdict"] = _report_ms(engine)
    figures = ("report_ms", "report_processor_ms")
    return {figure: {name: ms[i] for name, ms in taken.items()} for i, figure in enumerate(figures)}


def added_up_s(engine: Engine) -> float:
    """Seconds to add up for the reports to come, as `gattway db upgrade` and gateways do."""
    from gateway.experiments import upkeep

    began = time.perf_counter()
    for _ in upkeep.fill(engine):
        pass
    return round(time.perf_counter() - began, 1)


def _report_ms(engine: Engine) -> tuple[float, float]:
    from gateway.experiments.report import make

    began, used = time.perf_counter(), time.process_time()
    make(engine, "e")
    return round((time.perf_counter() - began) * 1e3, 1), round((time.process_time() - used) * 1e3, 1)


def _taken_ms(question: Callable[[], Any]) -> list[float]:
    question()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        question()
        taken.append((time.perf_counter() - began) * 1e3)
    return taken
