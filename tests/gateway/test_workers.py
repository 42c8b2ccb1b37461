"""`gattway serve --workers 2`, as a person starts it: several processes that are one gateway to everybody else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.access.keys import hash_of, new
from tests.gateway.servers import FakeUpstream, serving
from tests.gateway.test_cli import gattway
from tests.gateway.test_settings import GOOD

pytestmark = pytest.mark.slow

CONFIG = """
[ledger]
path = "ledger.db"
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.echo]
upstream = "fake"
[models.slow]
upstream = "fake"
[experiments.ab.arms.once]
strategy = "once"
model = "echo"
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "echo"
"""


class Gateway:
    """A running gateway with two workers."""

    def __init__(self, url: str, process: subprocess.Popen[str], upstream: FakeUpstream, folder: Path) -> None:
        self.url = url
        self.process = process
        self.upstream = upstream
        self.folder = folder

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers, the oldest first; Python's own helper process is none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let one worker alone answer."""
        others = [pid for pid in self.workers if pid != worker]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def ask(self, messages: list[dict[str, str]], model: str = "ab") -> httpx.Response:
        return httpx.post(f"{self.url}/v1/chat/completions", json={"model": model, "messages": messages}, timeout=20)

    def series(self, start: str) -> dict[str, float]:
        lines = httpx.get(f"{self.url}/metrics", timeout=20).text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith(start)}


@contextmanager
def served(folder: Path, *more: str, config: str = "") -> Iterator[Gateway]:
    fake = FakeUpstream()
    with serving(fake.app) as upstream:
        (folder / "gattway.toml").write_text(CONFIG.format(upstream=upstream) + config)
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--workers", "2", *(more or ("--port", "0"))],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                found = re.search(r"serves on (http://[^/]+)/v1 \(ledger: ledger.db, 2 workers\)", line)
                assert found, line + process.stderr.read()
                yield Gateway(found[1], process, fake, folder)
            finally:
                process.terminate()
                try:
                    process.wait(20)
                finally:
                    process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with served(tmp_path_factory.mktemp("workers")) as gateway:
        yield gateway


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_conversation_without_id_keeps_its_arm_and_turn_whichever_worker_answers(running: Gateway) -> None:
    first, second = running.workers
    for opening in ("one", "two", "three"):
        messages: list[dict[str, str]] = [user(opening)]
        seen = []
        for turn in range(1, 5):
            with running.only((first, second)[turn % 2]):
                answer = running.ask(messages)
            headers = answer.headers
            seen.append((headers["x-gattway-conversation-id"], headers["x-gattway-arm"]))
            assert headers["x-gattway-turn"] == str(turn)
            messages += [answer.json()["choices"][0]["message"], user(f"more {turn}")]
        assert len(set(seen)) == 1


def test_two_strangers_with_one_opening_stay_apart_whichever_worker_answers(running: Gateway) -> None:
    first, second = running.workers

    def turn(worker: int, messages: list[dict[str, str]]) -> str:
        with running.only(worker):
            return running.ask(messages, "echo").headers["x-gattway-conversation-id"]

    opening = [user("hi")]
    history = [*opening, {"role": "assistant", "content": "You said: hi"}]
    one, other = turn(first, opening), turn(second, opening)
    assert turn(second, [*history, user("cats")]) in (one, other)
    later = {turn(first, [*history, user("cats")]), turn(first, [*history, user("dogs")])}
    assert later == {one, other}


def test_metrics_are_the_sum_over_all_workers_whichever_is_asked(running: Gateway) -> None:
    name = 'gattway_requests_total{arm="",experiment="",model="echo",outcome="ok",strategy="pass-through"}'
    assert name in running.series(name)
    before = running.series(name)[name]
    for worker in running.workers:
        with running.only(worker):
            running.ask([user("x")], "echo")
    for worker in running.workers:
        with running.only(worker):
            found = running.series("gattway_")
            assert found[name] == before + 2
            assert found["gattway_in_flight_requests"] == 0
    deadline = time.monotonic() + 10
    while running.series("gattway_ledger_pending_rows") != {"gattway_ledger_pending_rows": 0}:  # told once a second
        assert time.monotonic() < deadline
    folder = running.folder / "ledger.db.metrics"
    assert [path.name for path in folder.iterdir()] == [f"127.0.0.1-{httpx.URL(running.url).port}"]


def test_a_port_that_is_taken_is_one_line_and_two_gateways_are_apart(running: Gateway, tmp_path: Path) -> None:
    port = str(httpx.URL(running.url).port)
    (tmp_path / "gattway.toml").write_text(GOOD)
    done = gattway("serve", "--workers", "2", "--port", port, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "Address already in use); choose another with --host and --port" in done.stderr
    with served(tmp_path) as beside:
        assert sum(beside.series("gattway_requests_total").values()) == 0
        beside.ask([user("x")], "echo")
        assert sum(beside.series("gattway_requests_total").values()) == 1
    assert not list((tmp_path / "ledger.db.metrics").iterdir())


def test_a_worker_that_dies_is_replaced_and_nothing_that_was_counted_is_lost(running: Gateway) -> None:
    running.ask([user("x")], "echo")
    counted = running.series("gattway_requests_total")
    before = running.workers
    with httpx.stream(
        "POST",
        f"{running.url}/v1/chat/completions",
        json={"model": "slow", "messages": [user("one two")], "stream": True},
        timeout=20,
    ) as streamed:
        reads = streamed.iter_raw()
        next(reads)
        assert running.series("gattway_in_flight_requests") == {"gattway_in_flight_requests": 1}
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            list(reads)
    assert httpx.get(f"{running.url}/health/ready", timeout=30).status_code == 200  # waits in the socket for a worker
    deadline = time.monotonic() + 30
    while len(running.workers) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not set(before) & set(running.workers)
    assert running.series("gattway_requests_total") == counted
    assert running.series("gattway_in_flight_requests").get("gattway_in_flight_requests", 0) == 0
    assert running.ask([user("x")]).status_code == 200


def test_asked_to_stop_all_workers_finish_their_streams_and_it_ends_with_0(tmp_path: Path) -> None:
    body = {"model": "slow", "messages": [user("one two")], "stream": True}
    with served(tmp_path) as gateway:
        with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, timeout=20) as running:
            reads = running.iter_text()
            text = next(reads)
            workers = gateway.workers
            gateway.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 20
            while len(gateway.workers) == 2:  # the one that has nothing to answer goes first
                assert time.monotonic() < deadline
                time.sleep(0.02)
            gateway.upstream.go_on.set()
            text += "".join(reads)
        assert text.endswith("data: [DONE]\n\n")
        assert gateway.process.wait(20) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_workers_stop_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        workers = gateway.workers
        gateway.process.kill()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_with_keys_the_page_is_not_among_the_workers_and_says_where_it_is(tmp_path: Path) -> None:
    """Its sessions live in one process: whoever logged in at one worker would be a stranger to the next."""
    secret = new()
    boss = f'[keys.boss]\nhash = "{hash_of(secret)}"\nadmin = true\n'
    with served(tmp_path, config=boss) as gateway:
        for path in ("/ui/", "/ui/js/main.js", "/ui/session"):
            answer = httpx.get(f"{gateway.url}{path}", timeout=20)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (404, "invalid_request_error")
            assert error["code"] == "page_not_served"
            assert "gattway ui --gateway URL" in error["message"]
            assert answer.headers["x-request-id"]


def test_a_mistake_that_only_workers_find_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "gattway.toml").write_text(GOOD.replace("[models.m]", "[models.m]\nencoding = 'o99'"))
    done = gattway("serve", "--workers", "2", "--port", "0", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "models.m.encoding: tiktoken has no encoding 'o99'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
