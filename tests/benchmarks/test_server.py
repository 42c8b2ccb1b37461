"""Whatever becomes of a benchmark, its gateway does not outlive it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import httpx
import pytest

from benchmarks.server import Server, ServerFailed, serve

# Answers every GET with its own process id and the environment variable that names the ledger.
STAND_IN = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        env = os.environ
        self.wfile.write(f"{os.getpid()} {env.get('GATTWAY_LEDGER__PATH')} {env.get('GATTWAY_X')}".encode())
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""
COMMAND = (sys.executable, "-c", STAND_IN)


def answer(server: Server) -> list[str]:
    return httpx.get(f"{server.url}/x", trust_env=False).text.split()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_ready_inside_the_block_and_gone_after_it() -> None:
    with serve(COMMAND) as server:
        pid = int(answer(server)[0])
        assert server.log_tail().startswith("listening")
    assert not is_running(pid)


def test_it_keeps_its_ledger_to_itself_and_ignores_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATTWAY_X", "the user's")
    with serve(COMMAND) as server:
        _, ledger, setting = answer(server)
    assert ledger.endswith("ledger.db")
    assert setting == "None"


def raise_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def terminate_this_process() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("ending", "error"), [(raise_keyboard_interrupt, KeyboardInterrupt), (terminate_this_process, SystemExit)]
)
def test_it_is_stopped_when_the_benchmark_is(ending: Callable[[], None], error: type[BaseException]) -> None:
    pids: list[int] = []

    def benchmark() -> None:
        with serve(COMMAND) as server:
            pids.append(int(answer(server)[0]))
            ending()

    with pytest.raises(error):
        benchmark()
    assert not is_running(pids[0])


def test_one_that_does_not_start_is_reported_with_its_last_words() -> None:
    with (
        pytest.raises(ServerFailed, match=r"exit code 2:\nno such model"),
        serve((sys.executable, "-c", "import sys; print('no such model'); sys.exit(2)")),
    ):
        pass
