"""Sampling from an endpoint over a real socket: bounded, tried again, never silently dropped, killed and taken up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gatt.samplers.base import Draw, Request, SamplerError
from gatt.samplers.endpoint import Endpoint, EndpointSampler
from tests.gateway.servers import serving
from tests.gatt.fake_endpoint import FakeEndpoint

HOW = Draw(candidates=3, temperature=0.9, max_new_tokens=16, seed="s")


def requests(n: int) -> list[Request]:
    return [Request(f"row-{at}", ({"role": "user", "content": f"Question {at}"},)) for at in range(n)]


def drawn(endpoint: Endpoint, n: int = 4) -> tuple[dict[int, list[str]], list[str]]:
    found: dict[int, list[str]] = {}
    failures = EndpointSampler(endpoint).draw(requests(n), HOW, found.__setitem__)
    return found, [f"{one.row}: {one.reason}" for one in failures]


def at(url: str, **settings: Any) -> Endpoint:
    return Endpoint(f"{url}/v1", "model", first_pause_s=0.001, **settings)


def test_candidates_come_with_temperature_seed_and_bounded_concurrency() -> None:
    fake = FakeEndpoint()
    fake.delay_s = 0.02
    with serving(fake.app) as url:
        found, failures = drawn(at(url, concurrency=3), 12)
        again, _ = drawn(at(url, concurrency=12), 12)
    assert failures == []
    assert sorted(found) == list(range(12))
    assert all(len(set(texts)) == 3 for texts in found.values())
    assert found == again
    assert fake.most_in_flight > 3
    assert {(body["n"], body["temperature"], body["max_tokens"]) for body in fake.bodies} == {(3, 0.9, 16)}
    assert len({body["seed"] for body in fake.bodies}) == 12


def test_no_more_requests_run_than_allowed() -> None:
    fake = FakeEndpoint()
    fake.delay_s = 0.02
    with serving(fake.app) as url:
        drawn(at(url, concurrency=3), 12)
    assert fake.most_in_flight == 3


def test_a_server_that_gives_one_choice_is_asked_for_the_rest() -> None:
    fake = FakeEndpoint(one_choice=True)
    with serving(fake.app) as url:
        found, _ = drawn(at(url), 1)
    assert len(set(found[0])) == 3
    assert [body["n"] for body in fake.bodies] == [3, 2, 1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    fake = FakeEndpoint(lambda number, body: (status, {"message": "Busy."}) if number <= 3 else None)
    with serving(fake.app) as url:
        found, failures = drawn(at(url, attempts=4), 1)
    assert (len(found), failures, len(fake.bodies)) == (1, [], 4)


def test_what_stays_wrong_is_reported_with_its_row() -> None:
    def refuse(number: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        text = body["messages"][-1]["content"]
        return (400, {"message": "No such thing."}) if text == "Question 1" else None

    fake = FakeEndpoint(refuse)
    with serving(fake.app) as url:
        found, failures = drawn(at(url))
    assert sorted(found) == [0, 2, 3]
    assert len(failures) == 1
    assert failures[0].startswith("row-1: status 400")
    assert "No such thing." in failures[0]


def test_a_full_window_ends_the_dialogue_and_is_no_failure() -> None:
    error = {"message": "This model's maximum context length is 4096 tokens.", "code": "context_length_exceeded"}
    with serving(FakeEndpoint(lambda number, body: (400, error)).app) as url:
        assert drawn(at(url), 1) == ({0: []}, [])


def test_an_endpoint_that_cannot_be_reached_is_named_with_the_first_row() -> None:
    with pytest.raises(SamplerError, match=r"127\.0\.0\.1:9/v1 cannot be reached .*row-0"):
        drawn(Endpoint("http://127.0.0.1:9/v1", "model", attempts=2, first_pause_s=0.001))


def test_a_key_that_is_not_set_is_named_and_one_that_is_set_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("http://127.0.0.1:9/v1", "model", api_key_env="GATT_TEST_KEY")
    with pytest.raises(SamplerError, match="GATT_TEST_KEY is not set"):
        drawn(endpoint)
    monkeypatch.setenv("GATT_TEST_KEY", "k")
    assert endpoint.key() == "k"


JOB = """
import sys
from pathlib import Path
from gatt import synthesize
from gatt.miniature import scripts
from gatt.samplers.endpoint import Endpoint, EndpointSampler
how = synthesize.Sampling(candidates=2, minimum_score=0.0, max_new_tokens=6, shard_dialogues=4)
told = scripts.draw("tuned", 8, 4, ("greeting",), "test")
sampler = EndpointSampler(Endpoint(sys.argv[1], "model", concurrency=1))
synthesize.synthesize(sampler, told, how, Path(sys.argv[2]), "0")
"""


@pytest.mark.slow
def test_killed_in_mid_run_and_started_again_it_repeats_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    def start(url: str, folder: Path) -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[3]
        command = [sys.executable, "-c", JOB, f"{url}/v1", str(folder)]
        return subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})

    fake = FakeEndpoint()
    with serving(fake.app) as url:
        assert start(url, tmp_path / "whole").wait(60) == 0
        fake.bodies.clear()
        fake.delay_s = 0.05
        cut = start(url, tmp_path / "cut")
        deadline = time.monotonic() + 60
        while len(fake.bodies) < 20 and time.monotonic() < deadline:
            time.sleep(0.005)
        cut.send_signal(signal.SIGKILL)
        cut.wait(20)
        before = [json.dumps(body, sort_keys=True) for body in fake.bodies]
        fake.bodies.clear()
        fake.delay_s = 0.0
        assert start(url, tmp_path / "cut").wait(60) == 0
    after = [json.dumps(body, sort_keys=True) for body in fake.bodies]
    # The one that was under way when the process died had not been answered yet.
    assert set(before) & set(after) <= {before[-1]}
    assert len(before) + len(after) - len(set(before) & set(after)) == 8 * 4
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "cut").iterdir()} == whole
