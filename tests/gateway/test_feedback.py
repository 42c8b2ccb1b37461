"""What users say of answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.experiment_config import Running, running

ARM = '[experiments.e.arms.a]\nstrategy = "once"\nmodel = "echo"\n'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("feedback"), ARM) as started:
        yield started


def give(gateway: Running, **body: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/api/feedback", json=body, timeout=20)


def test_feedback_on_an_answer_lands_in_its_row(gateway: Running) -> None:
    answer = gateway.ask("Hi", x_conversation_id="one")
    again = gateway.ask("Hi", x_conversation_id="other")
    given = give(gateway, completion_id=answer.headers["x-request-id"], adherent=False, score=0.25, comment="odd")
    assert given.status_code == 200
    assert given.json()["conversation_id"] == "one"
    row = gateway.rows("one")[0]
    assert (row["adherent"], row["adherence_source"]) == (False, "feedback")
    assert gateway.rows("other")[0]["adherent"] is None
    assert give(gateway, completion_id=again.json()["id"], adherent=True).json()["object"] == "feedback"


def test_feedback_on_a_conversation_is_about_all_its_answers(gateway: Running) -> None:
    first = gateway.ask("x", x_conversation_id="two").json()["choices"][0]["message"]
    gateway.ask([{"role": "user", "content": "x"}, first, {"role": "user", "content": "y"}], x_conversation_id="two")
    assert give(gateway, conversation_id="two", adherent=True).json()["request_id"] is None
    assert [row["adherent"] for row in gateway.rows("two")] == [True, True]
    assert gateway.metric('gattway_feedback_total{kind="adherent"}') >= 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "either 'completion_id' or 'conversation_id'"),
        ({"completion_id": "x", "conversation_id": "y", "score": 1}, 400, "either"),
        ({"conversation_id": "x"}, 400, "'adherent', 'score' or 'comment'"),
        ({"conversation_id": "x", "score": 2}, 400, "between 0 and 1"),
        ({"conversation_id": "x", "adherent": "yes"}, 400, "must be true or false"),
        ({"conversation_id": "x", "stars": 5}, 400, "Unknown field 'stars'"),
        ({"conversation_id": "x", "comment": "y" * 5000}, 400, "longer than 4000"),
        ({"conversation_id": "nobody's", "score": 1}, 404, "no conversation"),
        ({"completion_id": "nobody's", "score": 1}, 404, "no answer"),
    ],
)
def test_bad_feedback_is_refused_with_what_to_change(
    gateway: Running, body: dict[str, Any], status: int, words: str
) -> None:
    refused = give(gateway, **body)
    assert refused.status_code == status
    assert words in refused.json()["error"]["message"]
