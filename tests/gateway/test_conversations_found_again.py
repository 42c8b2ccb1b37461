"""A conversation without an id is found again: after edits, forks, restarts, and at another gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.build import build
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.shared import open_shared
from gateway.settings import load
from tests.gateway.postgres import Postgres
from tests.gateway.scripted import Script, scripted
from tests.gateway.servers import FakeUpstream, serving

CONFIG = """
[ledger]
path = "{folder}/ledger.db"
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.echo]
upstream = "fake"
[experiments.ab.arms.once]
strategy = "once"
model = "echo"
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "echo"
"""
NAMES = ("conversation-id", "arm", "turn")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def ask(url: str, messages: list[dict[str, Any]], model: str = "ab") -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json={"model": model, "messages": messages}, timeout=20)


def place(answer: httpx.Response) -> tuple[str, ...]:
    return tuple(answer.headers[f"x-gattway-{name}"] for name in NAMES)


def rows(url: str, conversation_id: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = httpx.get(f"{url}/api/conversations/{conversation_id}", timeout=20).json()["turns"]
    return turns


@contextmanager
def gateway(folder: Path, upstream: str, **environment: str) -> Iterator[str]:
    path = folder / "gattway.toml"
    path.write_text(CONFIG.format(folder=folder, upstream=upstream))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = load(path)
    with serving(create_app(settings, build(settings))) as url:
        yield url


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serving(FakeUpstream().app) as url:
        yield url


def said(answer: httpx.Response) -> dict[str, str]:
    return assistant(answer.json()["choices"][0]["message"]["content"])


def test_an_edited_message_forks_its_conversation_and_each_branch_keeps_its_parents(
    upstream: str, tmp_path: Path
) -> None:
    with gateway(tmp_path, upstream) as url:
        first = ask(url, [user("one")])
        trunk = [user("one"), said(first)]
        left = ask(url, [*trunk, user("left")])
        right = ask(url, [*trunk, user("right")])  # the second message, edited
        left_again = ask(url, [*trunk, user("left"), said(left), user("more left")])
        right_again = ask(url, [*trunk, user("right"), said(right), user("more right")])
        answers = [first, left, right, left_again, right_again]
        assert len({place(answer)[:2] for answer in answers}) == 1
        assert [answer.headers["x-gattway-turn"] for answer in answers] == ["1", "2", "2", "3", "3"]
        ids = [answer.headers["x-request-id"] for answer in answers]
        parents = {row["request_id"]: row["parent_request_id"] for row in rows(url, place(first)[0])}
        assert [parents[one] for one in ids] == [None, ids[0], ids[0], ids[1], ids[2]]


def test_a_restarted_gateway_knows_conversations_and_strangers_stay_apart(upstream: str, tmp_path: Path) -> None:
    with gateway(tmp_path, upstream) as url:
        before = ask(url, [user("hi")])
    with gateway(tmp_path, upstream) as url:
        stranger = ask(url, [user("hi")])
        history = [user("hi"), said(before)]
        later = [ask(url, [*history, user(text)]) for text in ("cats", "dogs")]
        assert {place(answer)[0] for answer in later} == {place(before)[0], place(stranger)[0]}
        assert {answer.headers["x-gattway-turn"] for answer in later} == {"2"}
        again = ask(url, [*history, user("cats"), said(later[0]), user("more")])
        assert place(again)[:2] == place(later[0])[:2]


def test_reasoning_that_a_front_end_drops_or_sends_back_changes_nothing(tmp_path: Path) -> None:
    with scripted(tmp_path) as model:
        model.upstream.script = reasoned()
        first = model.post("/v1/chat/completions", {"model": "ab", "messages": [user("one")]})
        for answer in (assistant("Hello"), {**assistant(" Hello\n"), "reasoning_content": "Hm."}):
            again = model.post("/v1/chat/completions", {"model": "ab", "messages": [user("one"), answer, user("two")]})
            assert place(again) == (*place(first)[:2], "2")


def reasoned() -> Script:
    return Script(message={"role": "assistant", "content": "Hello", "refusal": None, "reasoning_content": "Hm."})


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, upstream: str, postgres: Postgres) -> Iterator[tuple[str, str]]:
    url = postgres.database()
    engine = open_shared(url)
    upgrade_shared(engine)
    engine.dispose()
    folders = [tmp_path_factory.mktemp(f"replica{index}") for index in range(2)]
    with (
        gateway(folders[0], upstream, GATTWAY_LEDGER__URL=url) as one,
        gateway(folders[1], upstream, GATTWAY_LEDGER__URL=url) as other,
    ):
        yield one, other


def shipped(url: str, answer: httpx.Response) -> httpx.Response:
    """The answer, once PostgreSQL has its row, which `GET /api/conversations` reads."""
    deadline = time.monotonic() + 20
    path = f"{url}/api/conversations/{place(answer)[0]}"
    while answer.headers["x-request-id"] not in httpx.get(path, timeout=20).text:
        assert time.monotonic() < deadline, "the row was not shipped"
        time.sleep(0.02)
    return answer


def test_a_conversation_goes_on_at_another_gateway(replicas: tuple[str, str]) -> None:
    messages: list[dict[str, Any]] = [user("over two gateways")]
    seen = []
    for turn in range(1, 5):
        url = replicas[turn % 2]
        answer = shipped(url, ask(url, messages))
        seen.append(place(answer)[:2])
        assert answer.headers["x-gattway-turn"] == str(turn)
        messages += [said(answer), user(f"more {turn}")]
    assert len(set(seen)) == 1
    turns = rows(replicas[0], seen[0][0])
    assert [row["parent_request_id"] for row in turns] == [None, *(row["request_id"] for row in turns[:-1])]


def test_strangers_with_one_opening_stay_apart_over_gateways(replicas: tuple[str, str]) -> None:
    one, other = replicas
    openings = [shipped(url, ask(url, [user("hi")])) for url in replicas]
    history = [user("hi"), said(openings[0])]
    second = [shipped(one, ask(one, [*history, user(text)])) for text in ("cats", "dogs")]
    assert {place(answer)[0] for answer in second} == {place(answer)[0] for answer in openings}
    third = shipped(other, ask(other, [*history, user("cats"), said(second[0]), user("more")]))
    assert place(third) == (*place(second[0])[:2], "3")
    assert place(ask(other, [*history, user("dogs")]))[0] == place(second[1])[0]  # regenerated elsewhere
