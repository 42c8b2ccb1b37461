"""Conversations by the page, and what of them is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from gateway.errors import BadRequest, NotFound
from gateway.ledger.pages import Filter, moment, summary
from gateway.ledger.schema import turns
from gateway.ledger.store import Store
from tests.gateway.ledger.test_rollups import engine
from tests.gateway.ledger.test_writer import row

assert engine  # a fixture: SQLite and PostgreSQL by turns


@pytest.fixture
def store(engine: Engine) -> Store:
    """Twelve conversations of 1 to 4 turns, two of them begun at the same moment."""
    rows = []
    for number in range(12):
        for turn in range(1, 2 + number % 4):
            at = f"2026-01-{1 + max(number, 1):02}T00:00:0{turn}.000000+00:00"
            one = replace(
                row(f"{number}-{turn}", f"c{number:02}"),
                turn=turn,
                started_at=at,
                experiment="e",
                arm="ab"[number % 2],
                model="m" if number < 6 else "n",
                cost_usd=0.5,
                adherent=[None, True, False][number % 3],
            )
            rows.append(one.as_dict())
    with engine.begin() as connection:
        connection.execute(insert(turns), rows)
    return Store(engine)


def all_pages(store: Store, limit: int, chosen: Filter | None = None) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = store.conversations(limit, after, chosen)
        found += [one["conversation_id"] for one in page.rows]
        if not page.has_more:
            return found
        after = found[-1]


def test_pages_of_any_size_hold_every_conversation_once_and_in_order(store: Store) -> None:
    newest_first = [f"c{number:02}" for number in range(11, -1, -1)]
    assert [all_pages(store, limit) for limit in (1, 5, 12)] == [newest_first] * 3


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"experiment": "e", "arm": "b"}, [11, 9, 7, 5, 3, 1]),
    ({"experiment": "other"}, []),
    ({"model": "n", "max_turns": 1}, [8]),
    ({"min_turns": 4}, [11, 7, 3]),
    ({"min_cost_usd": 1.5, "max_cost_usd": 1.5}, [10, 6, 2]),
    ({"drifted": True}, [11, 8, 5, 2]),
    ({"drifted": False, "min_adherence": 0.9}, [10, 7, 4, 1]),
    ({"max_adherence": 0.5}, [11, 8, 5, 2]),
    ({"since": moment("2026-01-11"), "until": moment("2026-01-12T00:00:00+00:00")}, [10]),
    ({"prefix": "c1"}, [11, 10]),
    ({"prefix": "C%"}, []),
    ({"key_name": "alice"}, []),
    ({"key_name": "", "prefix": "c0", "arm": "a", "min_turns": 3}, [6, 2]),
]


def test_a_filter_leaves_what_fits_it(store: Store) -> None:
    for chosen, numbers in FILTERS:
        expected = [f"c{number:02}" for number in numbers]
        assert all_pages(store, 2, Filter(**chosen)) == expected, chosen
        exported = {one["conversation_id"] for batch in store.export(Filter(**chosen)) for one in batch}
        assert exported == set(expected), chosen


def test_the_sums_of_a_page_are_those_of_the_rows(store: Store) -> None:
    for one in store.conversations(12).rows:
        assert one == summary(store.turns(one["conversation_id"]))


def test_going_on_after_what_is_unknown_or_ambiguous_is_said(store: Store) -> None:
    with pytest.raises(NotFound, match="no conversation 'nowhere' to go on after"):
        store.conversations(5, "nowhere")
    with store.engine.begin() as connection:
        twin = replace(row("twin", "c03"), key_name="alice")
        connection.execute(insert(turns), [twin.as_dict()])
    with pytest.raises(BadRequest, match="after_key"):
        store.conversations(5, "c03")
    assert [one["conversation_id"] for one in store.conversations(5, "c03", after_key="alice").rows] == ["c00"][:0]
    assert store.conversations(1, "c03", Filter(key_name="")).rows[0]["conversation_id"] == "c02"
