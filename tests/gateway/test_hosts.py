"""Under which names a gateway without keys answers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateway.access.hosts import Hosts
from gateway.errors import Forbidden
from gateway.settings import Settings, load
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import bearer, keyed
from tests.gateway.test_settings import GOOD


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8000",
        "127.0.0.1:1",
        "127.8.9.1",
        "[::1]:80",
        "chat.localhost",
        "localhost.:8000",
        "proxy.lan",
    ],
)
def test_this_machines_own_names_and_those_of_the_config_are_answered(tmp_path: Path, host: str) -> None:
    Hosts.of(_settings(tmp_path, 'allowed_hosts = ["Proxy.lan"]')).check(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        "[::1",
        "a b",
    ],
)
def test_any_other_name_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(Forbidden, match=r"server\.allowed_hosts"):
        Hosts.of(_settings(tmp_path, "")).check(host)


@pytest.mark.parametrize("server", ['allowed_hosts = ["*"]', 'host = "0.0.0.0"'])
def test_every_name_is_answered_where_that_is_meant(tmp_path: Path, server: str) -> None:
    Hosts.of(_settings(tmp_path, server)).check("evil.example")


def test_a_page_that_has_its_own_name_point_here_is_refused_on_the_wire(gateway: Gateway) -> None:
    rebound = {"host": "evil.example", "origin": "http://evil.example"}
    for path in ("/v1/models", "/api/conversations", "/metrics", "/nowhere"):
        answer = httpx.get(gateway.url + path, headers=rebound)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")
        assert answer.headers["x-request-id"].startswith("req_")
    assert httpx.get(f"{gateway.url}/health/live", headers=rebound).status_code == 200
    assert httpx.get(f"{gateway.url}/v1/models", headers={"host": "localhost:1"}).status_code == 200


def test_with_keys_the_name_says_nothing(tmp_path: Path) -> None:
    with keyed(tmp_path, {"alice": ""}) as (gateway, secrets):
        answer = httpx.get(f"{gateway.url}/v1/models", headers={"host": "proxy.lan", **bearer(secrets["alice"])})
        assert answer.status_code == 200


def _settings(tmp_path: Path, server: str) -> Settings:
    path = tmp_path / "gattway.toml"
    path.write_text(f"{GOOD}\n[server]\n{server}\n")
    return load(path)
