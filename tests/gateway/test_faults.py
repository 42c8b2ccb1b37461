"""Every row of the table in docs/streaming.md, at the wire."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.faults import FAULTS, faulty_upstream
from tests.gateway.servers import serving

CONFIG = """
[ledger]
path = "{ledger}"
[retries]
attempts = 1
[timeouts]
first_token_s = 1.0
between_tokens_s = 1.0
[upstreams.faulty]
kind = "openai"
base_url = "{upstream}"
"""
WORDS = "Hello wörld 🌍"
PAGE = (Path(__file__).parents[2] / "docs/streaming.md").read_text()
TABLE: list[tuple[str, str, str]] = re.findall(r"^\| `([a-z0-9-]+)` \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("faults")
    with faulty_upstream() as upstream:
        path = folder / "gattway.toml"
        models = "".join(f'[models.{name}]\nupstream = "faulty"\n' for name in FAULTS)
        path.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream) + models)
        settings = load(path)
        with serving(create_app(settings, build(settings))) as url:
            yield url


def ask(gateway: str, fault: str) -> tuple[httpx.Response, dict[str, Any]]:
    """The answer, read to its end, and the row."""
    body = {
        "model": fault,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": not fault.startswith("whole-"),
    }
    headers = {"x-gattway-conversation-id": fault}
    answer = httpx.post(f"{gateway}/v1/chat/completions", json=body, headers=headers, timeout=20)
    (row,) = httpx.get(f"{gateway}/api/conversations/{fault}").json()["turns"]
    return answer, row


def read(answer: httpx.Response) -> tuple[str, str | None, bool]:
    """(text, code of an error event or None, whether the stream ended with [DONE]) of a stream."""
    text, code, done = "", None, False
    for line in answer.text.splitlines():
        assert line == "" or line.startswith(("data: ", ":")), line
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            assert not done
            done = True
        elif line.startswith("data: "):
            assert not done
            assert code is None
            event = orjson.loads(data)
            if "error" in event:
                assert set(event["error"]) == {"message", "type", "param", "code"}
                code = event["error"]["code"]
            else:
                assert event.get("usage") is None
                text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    return text, code, done


def test_the_table_and_the_faults_are_the_same_list() -> None:
    assert [name for name, _, _ in TABLE] == list(FAULTS)
    assert len(FAULTS) >= 25


@pytest.mark.parametrize(("fault", "client", "row"), TABLE, ids=[name for name, _, _ in TABLE])
def test_what_the_client_sees_and_what_the_row_says(gateway: str, fault: str, client: str, row: str) -> None:
    answer, written = ask(gateway, fault)
    code = re.search(r"(?:\d|error) `(\w+)`", client)
    if client[:3].isdigit():
        assert answer.status_code == int(client[:3])
        assert answer.json()["error"]["code"] == (code.group(1) if code else None)
    else:
        text, seen_code, done = read(answer)
        assert answer.status_code == 200
        assert text.removeprefix("x" * 1_000_000) == ("Hello" if client.startswith("`Hello`") else WORDS)
        assert seen_code == (code.group(1) if code else None)
        assert done == client.endswith("whole")
    status, _, source = row.partition(", ")
    assert written["status"] == status
    assert written["usage_source"] == (source or None)
    if source == "upstream":
        assert (written["prompt_tokens"], written["completion_tokens"]) == (7, 3)
    elif source:
        assert written["completion_tokens"] >= 1


def test_retry_after_of_a_refusal_reaches_the_client(gateway: str) -> None:
    body = {"model": "refused-429", "messages": [{"role": "user", "content": "Hi"}]}
    assert httpx.post(f"{gateway}/v1/chat/completions", json=body).headers["retry-after"] == "3"


def test_an_upstream_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    path = tmp_path / "gattway.toml"
    config = CONFIG.format(ledger=tmp_path / "ledger.db", upstream="http://127.0.0.1:9")
    path.write_text(config + '[models.m]\nupstream = "faulty"\n')
    settings = load(path)
    with serving(create_app(settings, build(settings))) as url:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unavailable"
    assert "could not be reached" in answer.json()["error"]["message"]
