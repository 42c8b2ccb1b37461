"""A conversation of five turns, what the ledger must say of it, and clients set up as docs/clients.md shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.integration.started import ROOT

PAGE = (ROOT / "docs/clients.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
MODEL = "gatt-vs-repeat"
_SCRIPTS = [json.loads(line) for line in (ROOT / "benchmarks/scripts/miniature.jsonl").read_text().splitlines()]
TURNS = 5


def shown(client: str, language: str, url: str) -> str:
    """All that the page shows in `language` in a client's section, with `url` for the address."""
    section = PAGE.split(f"\n## {client}\n")[1].split("\n## ")[0]
    text = "".join(re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL))
    assert ADDRESS in text, f"docs/clients.md shows no {language} for {client}"
    return text.replace(ADDRESS, url)


def set_up(client: str, url: str) -> dict[str, Any]:
    """The names that a client's Python lines define."""
    names: dict[str, Any] = {}
    exec(shown(client, "python", url), names)
    return names


def script(number: int) -> tuple[str, list[str]]:
    """An instruction and five questions; each client has a script of its own."""
    chosen = _SCRIPTS[number]
    return chosen["instruction"], [turn["user"] for turn in chosen["turns"][:TURNS]]


def messages(*texts: str) -> list[Any]:
    """An instruction, then questions and answers in turn, as chat messages."""
    roles = ["system", *["user", "assistant"] * len(texts)]
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


class Held:
    """What a client saw of a conversation, and what the ledger says once it is over.

    `pieces` has for every turn the text as it arrived; `rows` is filled at the end.
    """

    def __init__(self) -> None:
        self.pieces: list[list[str]] = []
        self.rows: list[dict[str, Any]] = []

    def answered(self, pieces: list[str]) -> str:
        """Note a turn's answer; gives it as a whole."""
        self.pieces.append([piece for piece in pieces if piece])
        return "".join(pieces)


@contextmanager
def held(url: str, *, source: str = "history") -> Iterator[Held]:
    """Hold a conversation inside: it must come out as five streamed turns of one conversation with one arm."""
    before = _ids(url)
    conversation = Held()
    yield conversation
    (identity,) = _ids(url) - before
    rows = conversation.rows = httpx.get(f"{url}/api/conversations/{identity}").json()["turns"]
    assert [row["turn"] for row in rows] == [1, 2, 3, 4, 5]
    assert {(row["status"], row["finish_reason"], row["usage_source"]) for row in rows} == {("ok", "stop", "upstream")}
    assert {row["experiment"] for row in rows} == {MODEL}
    assert len({row["arm"] for row in rows} & {"gatt", "repeat"}) == len({row["arm"] for row in rows}) == 1
    assert [row["parent_request_id"] for row in rows] == [None, *[row["request_id"] for row in rows[:-1]]]
    assert [row["identity_source"] for row in rows] == ["new" if source == "history" else source, *[source] * 4]
    assert [len(pieces) > 1 for pieces in conversation.pieces] == [True] * TURNS, conversation.pieces


def _ids(url: str) -> set[str]:
    page = httpx.get(f"{url}/api/conversations", params={"limit": 1000}).json()
    assert not page["has_more"]
    return {conversation["id"] for conversation in page["data"]}
