"""The gateway as a real process, started for a benchmark and stopped after it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 10.0
LOG_TAIL_LINES = 20
GATTWAY_SERVE = (sys.executable, "-m", "gateway", "serve")


class ServerFailed(Exception):
    """The gateway did not start, or stopped by itself. The message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running gateway: its address without `/v1`, and the file that its output goes to, if it was started here."""

    url: str
    log: Path | None

    def log_tail(self) -> str:
        """The last lines that the gateway printed; nothing where its output goes elsewhere."""
        if self.log is None:
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:])


@contextmanager
def serve(
    command: Sequence[str] = GATTWAY_SERVE, config: str | None = None, ready_within_s: float = READY_WITHIN_S
) -> Iterator[Server]:
    """Run `command` with the embedded config and a ledger of its own on a free loopback port.

    It is stopped however the block ends: done, failed, interrupted or terminated.

    Args:
        command: what `--host` and `--port` are appended to.
        config: the text of a config to serve with.
        ready_within_s: how long it may take to start; many models take their time.

    Raises:
        ServerFailed: it was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="gattway-bench-") as folder, exit_on_sigterm():
        port = free_port()
        log = Path(folder) / "gattway.log"
        server = Server(f"http://127.0.0.1:{port}", log)
        if config is not None:
            (Path(folder) / "gattway.toml").write_text(config, encoding="utf-8")  # where the gateway looks for one
        process = _start([*command, "--host", "127.0.0.1", "--port", str(port)], Path(folder), log)
        try:
            _wait_until_ready(server, process, ready_within_s)
            yield server
        finally:
            _stop(process)


def _start(command: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    # Neither a gattway.toml in the working folder nor the user's own settings may colour the figures.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATTWAY_")}
    env["GATTWAY_LEDGER__PATH"] = str(folder / "ledger.db")
    with log.open("wb") as output:
        # In a session of its own, so that Ctrl-C reaches this process only, and this one stops the gateway in order.
        return subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], ready_within_s: float) -> None:
    deadline = time.monotonic() + ready_within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"the gateway stopped with exit code {process.returncode}:\n{server.log_tail()}")
        try:
            if httpx.get(f"{server.url}/health/ready", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    raise ServerFailed(f"the gateway was not ready within {ready_within_s:.0f} s:\n{server.log_tail()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that `finally` blocks run."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
