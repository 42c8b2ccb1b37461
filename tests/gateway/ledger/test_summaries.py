"""A report's sums are those of the rows, whatever happens to them, and cost what is new."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, insert, select, text, update

from gateway.experiments import upkeep
from gateway.experiments.report import PAIRS, make
from gateway.ledger import summaries
from gateway.ledger.aggregates import Aggregates, summaries_of
from gateway.ledger.database import open_database
from gateway.ledger.erasing import delete_conversations
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.records import Assignment, Turn
from gateway.ledger.schema import assignments, report_segments, turns
from gateway.ledger.shared import open_shared
from gateway.sections.ledger import LedgerSettings
from tests.gateway.ledger.from_rows import FromRows
from tests.gateway.ledger.test_writer import row
from tests.gateway.postgres import Postgres

CONVERSATIONS = 60


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(summaries.Summaries.__init__, "__defaults__", (7,))
    if request.param == "sqlite":
        engine = open_database(tmp_path / "l.db")
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        engine = open_shared(postgres.database(), pooled=True)
        upgrade_shared(engine)
    fill(engine, random.Random(11))
    yield engine
    engine.dispose()


def turn_of(rng: random.Random, index: int, turn: int) -> Turn:
    return replace(
        row(f"{index}-{turn}-{rng.random()}"),
        conversation_id=f"c{index}",
        key_name=[None, "k"][index % 2],
        experiment="e",
        arm="ab"[index % 3 == 0],
        turn=turn,
        status=rng.choice(["ok", "ok", "ok", "error"]),
        adherent=rng.choice([True, False, None]),
        prompt_tokens=rng.choice([None, rng.randrange(500)]),
        cost_usd=rng.choice([None, rng.random() / 100]),
        ttft_ms=rng.choice([None, 100 * rng.random()]),
        duration_ms=500 * rng.random(),
        context_used=rng.choice([None, rng.randrange(1000)]),
        context_window=rng.choice([1000, None]),
        excluded=rng.choice([None] * 9 + ["forced"]),
        auxiliary=rng.choice([None] * 9 + ["title"]),
    )


def dealt(rng: random.Random, index: int) -> Assignment:
    policy = ["fixed", "thompson"][index % 5 == 0]
    outside = "coverage" if index % 11 == 0 else None
    at = f"2026-01-01T00:{index // 2:02}:00"  # two at each moment
    share = None if outside else rng.choice([0.25, 0.5])
    weights = '{"a": 0.5, "b": 0.5}'
    own = [None, "k"][index % 2] or ""
    return Assignment(
        f"c{index}", "e", "ab"[index % 3 == 0], at, own, policy, share, weights, outside, 1, 20, rng.randrange(900)
    )


def fill(engine: Engine, rng: random.Random) -> None:
    rows = [turn_of(rng, i, turn) for i in range(CONVERSATIONS) for turn in range(1, rng.randrange(2, 26))]
    rows += [turn_of(rng, 3, 2) for _ in range(3)]  # answered again
    moved = turn_of(rng, 4, 3)
    moved.arm, moved.excluded, moved.auxiliary = "b", None, None
    with engine.begin() as connection:
        connection.execute(insert(turns), [one.as_dict() for one in [*rows, moved]])
        connection.execute(insert(assignments), [asdict(dealt(rng, i)) for i in range(CONVERSATIONS)])


def figures(books: Any, moments: Any) -> dict[str, Any]:
    return {
        "exposures": sorted(map(str, books.exposures())),
        "crossovers": books.crossovers(),
        "reached": {policy: books.reached(policy) for policy in ("fixed", "thompson")},
        "curves": {policy: books.curves(policy) for policy in ("fixed", "thompson")},
        "moments": {
            (policy, horizon): {arm: asdict(one) for arm, one in moments(horizon, policy).items()}
            for policy in ("fixed", "thompson")
            for horizon in (1, 3, 20)
        },
        "weighted": {horizon: books.weighted(horizon) for horizon in (1, 4, 30)},
    }


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, one in value.items() for k, v in flat(one, f"{path}/{key}").items()}
    if isinstance(value, (tuple, list)):
        return {k: v for i, one in enumerate(value) for k, v in flat(one, f"{path}/{i}").items()}
    return {path: value}


def assert_the_same(engine: Engine) -> None:
    books, rows = Aggregates(engine, "e", PAIRS), FromRows(engine, "e")
    seen = flat(figures(books, books.moments))
    wanted = flat(figures(rows, lambda horizon, policy: rows.moments(horizon, PAIRS, policy)))
    assert seen.keys() == wanted.keys()
    for path, value in wanted.items():
        assert seen[path] == (pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value), path


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        query = select(func.count()).where(report_segments.c.summary.is_not(None))
        return connection.execute(query).scalar_one()


def test_the_sums_are_those_of_the_rows(engine: Engine) -> None:
    assert_the_same(engine)  # from the turns
    assert stored(engine) == 7  # of 8 conversations, since two are dealt at a moment; the last ones are none
    assert_the_same(engine)  # from the segments


def test_a_change_outdates_the_segment_of_its_conversation_alone(engine: Engine) -> None:
    assert_the_same(engine)
    rng = random.Random(5)
    late = turn_of(rng, 30, 40)
    late.excluded, late.auxiliary = None, None
    own = turns.c.conversation_id
    changes = (
        insert(turns).values(late.as_dict()),
        update(turns).where(own == "c20", turns.c.turn == 1).values(adherent=False, excluded=None, auxiliary=None),
        delete(turns).where(own == "c10", turns.c.excluded.is_(None), turns.c.auxiliary.is_(None)),
        update(assignments).where(assignments.c.conversation_id == "c2").values(excluded="audience"),
        insert(assignments).values({**asdict(dealt(rng, 1)), "conversation_id": "new"}),
    )
    for change in changes:
        with engine.begin() as connection:
            connection.execute(change)
        assert stored(engine) == 6
        assert_the_same(engine)
        assert stored(engine) == 7
    with engine.begin() as connection:
        delete_conversations(connection, ["c0", "c40"])
    assert stored(engine) == 5
    assert_the_same(engine)


def test_turns_that_no_report_counts_outdate_nothing(engine: Engine) -> None:
    assert_the_same(engine)
    shadow = turn_of(random.Random(1), 8, 1)
    shadow.excluded = "shadow"
    with engine.begin() as connection:
        connection.execute(insert(turns).values(shadow.as_dict()))
    assert stored(engine) == 7


def test_a_turn_that_comes_while_a_segment_is_made_is_in_the_next_report(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = turn_of(random.Random(2), 5, 9)
    late.excluded, late.auxiliary = None, None
    added_up = summaries.Summaries._added_up
    come = []

    def with_a_late_turn(self: summaries.Summaries, begins_at: str, before: str | None) -> dict[str, Any]:
        part = added_up(self, begins_at, before)
        if not come:
            come.append(late)
            with engine.begin() as connection:
                connection.execute(insert(turns).values(late.as_dict()))
        return part

    with monkeypatch.context() as patch:
        patch.setattr(summaries.Summaries, "_added_up", with_a_late_turn)
        assert Aggregates(engine, "e", PAIRS).crossovers() == 1
    assert stored(engine) == 6
    assert_the_same(engine)


def test_a_turn_of_a_transaction_that_is_open_is_in_the_next_report(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries.Summaries.__init__, "__defaults__", (7,))
    engine = open_shared(postgres.database(), pooled=True)
    upgrade_shared(engine)
    fill(engine, random.Random(3))
    late = turn_of(random.Random(2), 5, 9)
    late.excluded, late.auxiliary = None, None
    with engine.begin() as writer:
        writer.execute(insert(turns).values(late.as_dict()))
        reading = threading.Thread(target=summaries_of(engine, "e", PAIRS).read)
        reading.start()
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
            waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            while not watching.execute(waits).scalar_one():
                assert reading.is_alive()
    reading.join(timeout=30)
    assert stored(engine) == 7
    assert_the_same(engine)
    engine.dispose()


def test_a_ledger_that_cannot_be_written_is_reported_on_all_the_same(engine: Engine) -> None:
    refuse = {
        "sqlite": "CREATE TRIGGER no BEFORE INSERT ON report_segments BEGIN SELECT raise(FAIL, 'no'); END",
        "postgresql": "ALTER TABLE report_segments ADD CHECK (false)",
    }
    with engine.begin() as connection:
        connection.execute(text(refuse[engine.dialect.name]))
    assert_the_same(engine)
    assert stored(engine) == 0


def test_segments_of_another_version_are_made_again(engine: Engine) -> None:
    assert_the_same(engine)
    with engine.begin() as connection:
        connection.execute(update(report_segments).values(version="0", summary=b"?"))
    assert_the_same(engine)
    assert stored(engine) == 7


def test_what_is_added_up_beforehand_no_report_has_to_add_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert upkeep.missing(engine) == CONVERSATIONS - 7  # the newest ones are no segment
    for _ in zip(range(2), upkeep.fill(engine), strict=False):
        pass  # stopped in the middle
    assert 0 < stored(engine) < 7
    assert sum(upkeep.fill(engine)) == (7 - stored(engine)) * 8 or stored(engine) == 7
    assert (upkeep.missing(engine), stored(engine), list(upkeep.fill(engine))) == (0, 7, [])
    read = []
    added_up = summaries.Summaries._added_up
    with monkeypatch.context() as patch:
        patch.setattr(summaries.Summaries, "_added_up", lambda *args: read.append(args[1:]) or added_up(*args))
        assert_the_same(engine)
    assert [before for _, before in read] == [None]  # the newest alone


def test_one_process_adds_up_at_a_time(engine: Engine) -> None:
    with upkeep._alone(engine) as alone:
        assert alone
        assert list(upkeep.fill(engine)) == []
    assert len(list(upkeep.fill(engine))) == 7


def test_a_gateway_has_a_process_of_its_own_add_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries.Summaries.__init__, "__defaults__", (1000,))  # what the process goes by
    monkeypatch.setattr(upkeep, "FIRST_LOOK_S", 0.0)
    monkeypatch.setattr(upkeep, "BEHIND", 0)
    late = [replace(dealt(random.Random(1), index), conversation_id=f"late-{index}") for index in range(1500)]
    with engine.begin() as connection:
        connection.execute(insert(assignments), [asdict(one) for one in late])
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    where = {"path": engine.url.database} if engine.dialect.name == "sqlite" else {"url": url}
    looking = upkeep.Upkeep(LedgerSettings(**where), engine)  # type: ignore[arg-type]
    looking.start()
    try:
        deadline = time.monotonic() + 120
        while upkeep.missing(engine) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        looking.close()
    assert stored(engine) >= 1
    assert_the_same(engine)


def test_conversations_of_which_no_turn_counts_are_reported_on(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(turns).values(excluded="forced"))
    report = make(engine, "e")
    assert (report["arms"], report["checks"]["crossover"]["conversations"]) == ({}, 0)
