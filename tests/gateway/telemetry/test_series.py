"""The contract's series are there with the contract's labels, and clients cannot mint any."""

from __future__ import annotations

import random
import string

import httpx
import pytest

from gateway.metrics import Metrics
from tests.gateway.conftest import Gateway

ARM = ("experiment", "arm", "model")
CONTRACT = {
    "requests_total": ("experiment", "arm", "strategy", "model", "outcome"),
    "tokens_total": (*ARM, "kind"),
    "cost_usd_total": (*ARM, "kind"),
    "context_used_ratio": ARM,
    "context_overflow_total": (*ARM, "action"),
    "conversations_total": ("experiment", "arm"),
    "conversation_turn": ("experiment", "arm"),
    "adherence_total": ("experiment", "arm", "turn_bucket", "verdict"),
    "time_to_first_token_seconds": ARM,
    "time_per_output_token_seconds": ARM,
    "request_duration_seconds": ARM,
    "overhead_seconds": ARM,
    "in_flight_requests": (),
    "upstream_errors_total": ("model", "kind"),
    "streams_aborted_total": ("by",),
    "ledger_pending_rows": (),
    "ledger_lag_seconds": (),
    "usage_estimated_total": ("model",),
}
NAMES = 1000


@pytest.mark.parametrize(("name", "labels"), CONTRACT.items())
def test_a_series_of_the_contract_has_its_labels(name: str, labels: tuple[str, ...]) -> None:
    declared = {metric._name: metric._labelnames for metric in Metrics()._declared()}
    assert set(declared[f"gattway_{name.removesuffix('_total')}"]) == set(labels)


def test_a_thousand_names_of_models_experiments_and_arms_mint_no_series(gateway: Gateway) -> None:
    """Nor do conversation ids, users, metadata, and routes of a client's own."""
    seeded = random.Random(7)
    names = ["".join(seeded.choices(string.ascii_letters + string.digits + ":{}\"'", k=12)) for _ in range(NAMES)]
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        _send(client, "never-seen")
        _post(client, "/v1/files", {"model": "echo"}, 404)  # the other class of 404, whose name is a label
        before = _series(client)
        for number, name in enumerate(names):
            _send(client, name, only=number % 5)
        after = _series(client)
    assert after == before
    assert not any(name in line for name in names for line in after)


def _send(client: httpx.Client, name: str, only: int | None = None) -> None:
    """Requests that carry a client's own word wherever one can be; one of them by its number."""
    said = [{"role": "user", "content": "Hi"}]
    ways = [
        lambda: _post(client, "/v1/chat/completions", {"model": name, "messages": said}, 404),
        lambda: _post(client, "/v1/chat/completions", {"model": f"ab:{name}", "messages": said}, 404),
        lambda: _post(client, "/v1/chat/completions", {"model": f"{name}:once", "messages": said}, 404),
        lambda: _post(client, f"/v1/{name.strip(':')}", {"model": "echo", "input": "x"}, 404),
        lambda: _post(
            client,
            "/v1/chat/completions",
            {"model": "echo", "messages": said, "user": name, "metadata": {"session_id": name, name: name}},
            200,
        ),
    ]
    for way in ways if only is None else [ways[only]]:
        way()


def _post(client: httpx.Client, path: str, body: dict[str, object], status: int) -> None:
    assert client.post(path, json=body).status_code == status


def _series(client: httpx.Client) -> set[str]:
    """Names and labels of all samples."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}
