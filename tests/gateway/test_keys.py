"""Who gets in, to what, and that no secret is shown."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner

from gateway.__main__ import main
from gateway.access.keys import hash_of
from gateway.errors import ConfigError
from gateway.settings import load
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import Secrets, bearer, keyed
from tests.gateway.test_settings import GOOD

ROOT = Path(__file__).parents[2]
KEYS = {
    "alice": 'models = ["echo", "ab"]',
    "bob": "",
    "root": "admin = true",
}
BODY: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[tuple[Gateway, Secrets]]:
    origins = '[server]\ncors_origins = ["https://chat.example.com"]\n'
    with keyed(folder, KEYS, origins) as both:
        yield both


def get(gateway: Gateway, path: str, secret: str | None = None, **headers: str) -> httpx.Response:
    return httpx.get(gateway.url + path, headers={**(bearer(secret) if secret else {}), **headers}, timeout=20)


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer gw-nobodys", "Basic Zzo=", "gw-nobodys"])
@pytest.mark.parametrize("path", ["/v1/models", "/api/conversations", "/metrics", "/nowhere", "/docs"])
def test_without_a_known_key_nothing_is_told(
    running: tuple[Gateway, Secrets], path: str, authorization: str | None
) -> None:
    answer = httpx.get(running[0].url + path, headers={"authorization": authorization} if authorization else {})
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert "nobodys" not in answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_openais_client_gets_in_with_its_api_key_and_an_authentication_error_without(
    running: tuple[Gateway, Secrets],
) -> None:
    gateway, secrets = running
    answer = gateway.client.with_options(api_key=secrets["alice"]).chat.completions.create(**BODY)
    assert answer.choices[0].message.content == "You said: Hi"
    with pytest.raises(openai.AuthenticationError):
        gateway.client.chat.completions.create(**BODY)
    assert get(gateway, "/health/ready").status_code == 200


def test_a_model_that_the_key_may_not_use_is_forbidden_and_hidden(running: tuple[Gateway, Secrets]) -> None:
    gateway, secrets = running
    alice = gateway.client.with_options(api_key=secrets["alice"])
    assert [model.id for model in alice.models.list()] == ["ab", "echo"]
    for model in ("priced", "ab:once"):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            alice.chat.completions.create(**{**BODY, "model": model})
        assert refused.value.code == "model_not_found"
        assert "It may use: ab, echo." in refused.value.message
    for model in ("minted", "ab:nope"):
        answer = gateway.post({**BODY, "model": model}, **bearer(secrets["alice"]))
        assert answer.status_code == 404
        assert "priced" not in answer.text
    assert get(gateway, "/v1/models/priced", secrets["alice"]).status_code == 403
    assert len(list(gateway.client.with_options(api_key=secrets["bob"]).models.list())) > 10


def test_the_books_and_the_metrics_are_for_admins(running: tuple[Gateway, Secrets]) -> None:
    gateway, secrets = running
    for path in ("/api/conversations", "/metrics"):
        refused = get(gateway, path, secrets["bob"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_key_required")
    assert get(gateway, "/api/conversations", secrets["root"]).status_code == 200
    assert get(gateway, "/metrics", secrets["root"]).status_code == 200


def test_two_keys_never_meet_in_a_conversation(running: tuple[Gateway, Secrets]) -> None:
    """Neither by the same history and answer, nor by the same id."""
    gateway, secrets = running
    first = {**BODY, "model": "ab", "messages": [{"role": "user", "content": "first words"}]}
    second = {
        **first,
        "messages": [
            *first["messages"],
            {"role": "assistant", "content": "You said: first words"},
            {"role": "user", "content": "more"},
        ],
    }
    alices = gateway.post(first, **bearer(secrets["alice"])).headers
    bobs = gateway.post(second, **bearer(secrets["bob"])).headers
    again = gateway.post(second, **bearer(secrets["alice"])).headers
    assert bobs["x-gattway-conversation-id"] != alices["x-gattway-conversation-id"]
    assert again["x-gattway-conversation-id"] == alices["x-gattway-conversation-id"]

    for name in ("alice", "bob"):
        answer = gateway.post(first, **bearer(secrets[name]), x_session_id="mine")
        assert answer.headers["x-gattway-conversation-id"] == "mine"
        rows = get(gateway, f"/api/conversations/mine?key={name}", secrets["root"]).json()
        assert [row["key_name"] for row in rows["turns"]] == [name]
        assert (rows["turn_count"], rows["requests"]) == (1, 1)
    both = get(gateway, "/api/conversations/mine", secrets["root"])
    assert (both.status_code, both.json()["error"]["param"]) == (400, "key")
    listed = get(gateway, "/api/conversations?limit=1000", secrets["root"]).json()["data"]
    assert sorted(one["key_name"] for one in listed if one["id"] == "mine") == ["alice", "bob"]
    only = get(gateway, "/api/conversations?key=bob", secrets["root"]).json()["data"]
    assert {one["key_name"] for one in only} == {"bob"}


def test_no_secret_is_in_logs_errors_metrics_or_books(
    running: tuple[Gateway, Secrets], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway, secrets = running
    caplog.set_level(logging.DEBUG)
    texts = [gateway.post({**BODY, "model": model}, **bearer(secrets["bob"])).text for model in ("status-401", "cut")]
    texts.append(gateway.post(BODY, authorization="Bearer gw-wrong-and-secret").text)
    texts += [get(gateway, path, secrets["root"]).text for path in ("/metrics", "/api/conversations", "/openapi.json")]
    assert [one["authorization"] for one in gateway.upstream.headers if secrets["bob"] in one["authorization"]] == []
    texts += [caplog.text, *(path.read_bytes().decode("latin-1") for path in folder.glob("ledger.db*"))]
    for secret in ("gw-wrong-and-secret", *secrets.values()):
        for text in texts:
            assert secret not in text
            assert hash_of(secret).removeprefix("sha256:") not in text


def test_cors_is_closed_but_for_the_origins_of_the_config(running: tuple[Gateway, Secrets]) -> None:
    gateway, secrets = running
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    for origin, allowed in (("https://chat.example.com", "https://chat.example.com"), ("https://evil.example", None)):
        url = f"{gateway.url}/v1/chat/completions"
        before = httpx.options(url, headers={"origin": origin, **ask})
        assert before.headers.get("access-control-allow-origin") == allowed
        answer = gateway.post(BODY, **bearer(secrets["bob"]), origin=origin)
        assert answer.headers.get("access-control-allow-origin") == allowed
        refused = gateway.post(BODY, origin=origin)
        assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (401, allowed)
        if allowed:
            assert "x-gattway-conversation-id" in answer.headers["access-control-expose-headers"]
            assert "x-request-id" in answer.headers["access-control-expose-headers"]


def test_without_keys_no_web_page_from_elsewhere_gets_in(gateway: Gateway) -> None:
    refused = gateway.post(BODY, origin="https://evil.example", content_type="text/plain")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert "server.cors_origins" in refused.json()["error"]["message"]
    assert "access-control-allow-origin" not in refused.headers
    assert gateway.post(BODY, origin=gateway.url).status_code == 200
    assert gateway.post(BODY).status_code == 200
    assert gateway.upstream.bodies[1:] == gateway.upstream.bodies[:1]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('hash = "gw-the-key-itself"', "keys.k.hash: must be 'sha256:' and 64 hex digits"),
        ("hash = 5", "keys.k.hash: must be 'sha256:'"),
        ("admin = true", "keys.k.hash: missing; add it"),
        (f'hash = "{hash_of("x")}"\nmodels = ["mm"]', "keys.k.models: 'mm' is not defined; known: e, e:a, m"),
        (f'hash = "{hash_of("x")}"\nusd_per_day = 0', "keys.k.usd_per_day: 0"),
        (f'hash = "{hash_of("x")}"\n[keys.l]\nhash = "{hash_of("x")}"', "keys.l.hash: keys.k has the same one"),
        (f'hash = "{hash_of("x")}"\n[server]\ncors_origins = ["example.com"]', "'example.com' is no origin"),
    ],
)
def test_a_mistake_in_a_key_is_named_without_showing_it(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(f"{GOOD}\n[keys.k]\n{lines}\n")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert words in str(refused.value)
    assert "the-key-itself" not in str(refused.value)
    assert hash_of("x") not in str(refused.value)


def test_keys_new_prints_a_key_once_and_lines_that_hold_its_hash_only(tmp_path: Path) -> None:
    options = ["--model", "m", "--requests-per-minute", "60", "--usd-per-day", "2.5", "--admin"]
    printed = CliRunner().invoke(main, ["keys", "new", "team.a", *options])
    assert printed.exit_code == 0
    (key,) = re.findall(r"gw-\S{43}", printed.output)
    toml = printed.output.split("For gattway.toml:\n\n")[1]
    assert key not in toml
    assert tomllib.loads(toml) == {
        "keys": {
            "team.a": {
                "hash": hash_of(key),
                "models": ["m"],
                "requests_per_minute": 60,
                "usd_per_day": 2.5,
                "admin": True,
            }
        }
    }
    (tmp_path / "gattway.toml").write_text(GOOD + toml)
    assert load(tmp_path / "gattway.toml").keys["team.a"].requests_per_minute == 60
    printed = CliRunner().invoke(main, ["keys", "new", "b", "--json"])
    made = json.loads(printed.output)
    assert tomllib.loads(made["toml"]) == {"keys": {"b": {"hash": hash_of(made["key"])}}}
    assert CliRunner().invoke(main, ["keys", "new", "a b"]).exit_code == 2
    assert CliRunner().invoke(main, ["keys", "new", "a", "--usd-per-day", "0"]).exit_code == 2


def test_where_other_machines_reach_it_the_gateway_starts_only_with_keys_or_when_told_so(tmp_path: Path) -> None:
    from gateway.access.hosts import is_loopback
    from gateway.commands.serve import _refuse_to_stand_open

    (tmp_path / "gattway.toml").write_text(GOOD)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--host", "0.0.0.0", "--port", "0"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    assert "gattway keys new NAME" in done.stderr
    assert "--open or server.open = true" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    for more in ("[server]\nhost = '0.0.0.0'\nopen = true\n", f"[keys.a]\nhash = '{hash_of('x')}'\n", ""):
        (tmp_path / "gattway.toml").write_text(f"{GOOD}\n{more}")
        _refuse_to_stand_open(load(tmp_path / "gattway.toml"))
    hosts = ("127.0.0.1", "127.8.8.8", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "gateway.example")
    assert [host for host in hosts if is_loopback(host)] == ["127.0.0.1", "127.8.8.8", "::1", "localhost"]
