"""No question that a client waits for looks at every row: what the planners do with a million turns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from benchmarks import scale
from gateway.experiments.report import PAIRS
from gateway.ledger import erasing, retention
from gateway.ledger.aggregates import summaries_of
from gateway.ledger.database import open_database
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.pages import Filter
from gateway.ledger.shared import open_shared
from gateway.ledger.store import Store
from tests.gateway.postgres import Postgres

ROWS = 1_000_000
MIDDLE = f"conv_{ROWS // scale.TURNS // 2}"


@pytest.fixture(scope="module")
def million(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    """A ledger of each kind, filled beside each other."""
    engines = {
        "sqlite": open_database(tmp_path_factory.mktemp("million") / "l.db"),
        "postgresql": open_shared(postgres.database(), pooled=True),
    }
    upgrade_shared(engines["postgresql"])
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(lambda engine: scale.fill(engine, ROWS, unlogged=True), engines.values()):
            pass
    yield engines
    for engine in engines.values():
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, million: dict[str, Engine]) -> Engine:
    return million[request.param]


def plans(engine: Engine, question: Callable[[], Any]) -> list[str]:
    """How the database finds what a question asks, a text for each of its statements."""
    found: list[str] = []

    def explain(asking: Connection, _cursor: Any, statement: str, values: Any, _context: Any, _many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            cursor = asking.connection.cursor()  # in the same transaction, whose settings count
            cursor.execute(f"{'EXPLAIN QUERY PLAN' if is_sqlite else 'EXPLAIN'} {statement}", values)
            found.append("\n".join(str(line[-1]) for line in cursor.fetchall()))
            cursor.close()

    is_sqlite = engine.dialect.name == "sqlite"
    event.listen(engine, "before_cursor_execute", explain)
    try:
        question()
    finally:
        event.remove(engine, "before_cursor_execute", explain)
    assert found
    return found


LARGE = r"(turns|assignments|conversations)\w*"
ALL_ROWS = re.compile(rf"SCAN {LARGE}$|Seq Scan on {LARGE}", re.MULTILINE)
NOT_SEARCHED = re.compile(rf"SCAN {LARGE}|Seq Scan on {LARGE}")
SORTED = re.compile(r"TEMP B-TREE|\bSort\b")


def test_a_page_is_read_off_an_index_in_its_order(engine: Engine) -> None:
    """The page's end ends the reading, so walking along an index is right here."""
    store = Store(engine)
    arm = Filter(experiment="e", arm="b")
    questions: dict[str, Callable[[], Any]] = {
        "newest": lambda: store.conversations(50),
        "from the middle": lambda: store.conversations(50, MIDDLE),
        "of an arm": lambda: store.conversations(50, None, arm),
        "of an arm, from the middle": lambda: store.conversations(50, MIDDLE, arm),
        "since": lambda: store.conversations(50, None, Filter(since="2026-01-03", until="2026-01-04")),
    }
    for name, question in questions.items():
        for plan in plans(engine, question):
            assert not ALL_ROWS.search(plan), (name, plan)
            assert not SORTED.search(plan), (name, plan)


def test_what_is_looked_up_is_searched_for(engine: Engine) -> None:
    store = Store(engine)
    questions: dict[str, Callable[[], Any]] = {
        "a conversation": lambda: store.turns(MIDDLE),
        "its windows": lambda: store.windows([MIDDLE, "conv_1"]),
        "whether it is there": lambda: store.has_conversation(MIDDLE, None),
        "by its history": lambda: store.answered(["a7", "a8"]),
        "what continues it": lambda: store.continuations(["req_7"]),
        "a request": lambda: store.turn("req_7"),
        "its arm": lambda: store.assignment(MIDDLE, "e", ""),
        "by the answer's id": lambda: store.request("c7", None),
        "the last minutes' spending": lambda: store.spent(60.0),
        "a user": lambda: erasing.erase(engine, erasing.USER, ["hash"]),
        "what is too old": lambda: list(retention.prune(engine, datetime(2025, 1, 1, tzinfo=UTC))),
    }
    for name, question in questions.items():
        for plan in plans(engine, question):
            assert not NOT_SEARCHED.search(plan), (name, plan)


def test_a_report_reads_the_turns_of_its_conversations(engine: Engine) -> None:
    """Of a thousand conversations at a time, found by when they were dealt."""
    summaries = summaries_of(engine, "e", PAIRS)
    for plan in plans(engine, lambda: next(summaries.fill())):
        assert not NOT_SEARCHED.search(plan), plan
