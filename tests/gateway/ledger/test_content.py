"""Content is kept only when switched on, encrypted, and read back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from gateway.errors import ConfigError, LedgerError
from gateway.ledger.content import ContentStore
from gateway.ledger.database import open_database
from gateway.ledger.difference import applied, difference
from gateway.ledger.sealing import Vault
from gateway.settings import load
from tests.gateway.conftest import Gateway
from tests.gateway.test_settings import GOOD

KEY = "0123456789abcdef0123456789abcdef"

words = st.text("ab \n", max_size=6)
histories = st.lists(words, min_size=1, max_size=6).map(
    lambda texts: [
        {"role": "system", "content": "Always act as Napoleon."},
        *({"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)),
    ]
)


STRATEGIES = [strategies.make(name) for name in ("once", "every-turn", "every-k", "last-turn", "short-reminder")]
STRATEGIES.append(strategies.make("drop-oldest", max_chars=30))


@given(messages=histories, strategy=st.sampled_from(STRATEGIES))
def test_what_a_strategy_sent_comes_back_from_its_difference(
    messages: list[dict[str, Any]], strategy: strategies.Strategy
) -> None:
    sent = strategy.place(messages)
    again, spans = applied(messages, difference(messages, sent))
    assert again == sent
    for index, start, end, _ in spans:
        assert "Napoleon" in sent[index]["content"][start:end]


def test_sealed_content_opens_with_a_former_key_and_for_its_own_request_only() -> None:
    sealed = Vault([KEY]).seal("req_1", {"text": "Josephine"})
    assert b"Josephine" not in sealed
    assert Vault(["f" * 32, KEY]).open("req_1", sealed) == {"text": "Josephine"}
    for vault, request_id in ((Vault([KEY]), "req_2"), (Vault(["f" * 32]), "req_1")):
        with pytest.raises(LedgerError, match="cannot be opened with the ledger's key"):
            vault.open(request_id, sealed)


def test_a_user_is_known_by_a_keyed_hash() -> None:
    one, other = Vault([KEY]), Vault(["f" * 32])
    assert one.user_hash("alice@example.com") == one.user_hash("alice@example.com")
    assert one.user_hash("alice@example.com") != other.user_hash("alice@example.com")
    assert Vault(["f" * 32, KEY]).user_hashes("alice@example.com")[1] == one.user_hash("alice@example.com")


@pytest.fixture
def keeping_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATTWAY_LEDGER__STORE_CONTENT", "true")
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", KEY)


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("ledger.db*"))


async def test_a_turn_is_read_back_with_what_the_gateway_put_in(
    keeping_content: None, gateway: Gateway, tmp_path: Path
) -> None:
    messages = [{"role": "system", "content": "Speak as Josephine."}, {"role": "user", "content": "Bonjour."}]
    for text in ("Et toi?", "Adieu."):
        answer = gateway.post({"model": "ab:repeat", "user": "alice@example.com", "messages": messages})
        messages += [answer.json()["choices"][0]["message"], {"role": "user", "content": text}]
    last = gateway.post({"model": "ab:repeat", "messages": messages})
    engine = open_database(tmp_path / "ledger.db")
    content = await ContentStore(engine, Vault([KEY])).read(last.headers["x-request-id"])
    assert content is not None
    assert [one["content"] for one in content.messages] == [one["content"] for one in messages]
    assert content.new == 1
    sent = gateway.upstream.bodies[-1]["messages"]
    assert [(one["role"], one["content"]) for one in content.sent] == [(one["role"], one["content"]) for one in sent]
    inserted = {content.sent[one.message]["content"][one.start : one.end].strip() for one in content.placed}
    assert inserted == {"Speak as Josephine."}
    assert len(content.placed) == 3
    assert content.answer is not None
    assert content.answer["content"] == last.json()["choices"][0]["message"]["content"]
    everything = on_disk(tmp_path)
    for secret in (b"Josephine", b"Adieu", b"alice@example.com", KEY.encode()):
        assert secret not in everything
    assert gateway.rows(last.headers["x-gattway-conversation-id"])[0]["user_hash"] == Vault([KEY]).user_hash(
        "alice@example.com"
    )


def test_nothing_that_was_said_is_kept_unless_it_is_switched_on(gateway: Gateway, tmp_path: Path) -> None:
    body = {"model": "ab", "user": "alice@example.com", "messages": [{"role": "user", "content": "Bonjour."}]}
    row = gateway.rows(gateway.post(body).headers["x-gattway-conversation-id"])[0]
    assert row["user_hash"] is None
    everything = on_disk(tmp_path)
    assert b"Bonjour" not in everything
    assert b"alice" not in everything


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"GATTWAY_LEDGER__STORE_CONTENT": "true"}, "store_content needs the ledger's key"),
        ({"GATTWAY_LEDGER_KEY": "short"}, "GATTWAY_LEDGER_KEY holds a key of fewer than 32 characters"),
        ({"GATTWAY_LEDGER__KEY_FILE": "nowhere"}, "ledger.key_file: nowhere cannot be read (No such file"),
        ({"GATTWAY_LEDGER__URL": "mysql://u:hunter2@h/d"}, "must be the URL of a PostgreSQL database"),
        ({"GATTWAY_LEDGER__URL": "postgresql://u:hunter2@h:x/d"}, "is no URL that can be read"),
        ({"GATTWAY_LEDGER__URL": "postgresql:///d"}, "names no host"),
    ],
)
def test_a_wrong_setting_is_one_line_without_the_secret(
    environment: dict[str, str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "gattway.toml").write_text(GOOD)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "gattway.toml")
    assert line in refused.value.message
    assert "\n" not in refused.value.message
    assert "hunter2" not in refused.value.message
