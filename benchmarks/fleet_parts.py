"""A fleet on one machine: gateways on loopback addresses of their own, links that can be cut, HAProxy."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
from sqlalchemy import make_url

from benchmarks.server import ServerFailed

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 40.0
ROOT = Path(__file__).parents[1]
HAPROXY_CONFIG = ROOT / "deploy/haproxy/conversations.cfg"


class Link:
    """The way from one gateway to the database: a TCP port of its own, through which nothing goes while it is cut.

    Cut, it behaves as a network does: connections stay open, new ones seem to come about, and nothing comes through.
    """

    def __init__(self, url: str, host: str) -> None:
        """`url`: of the PostgreSQL database; `host`: the loopback address to listen on."""
        self._target = make_url(url)
        self._listening = socket.create_server((host, 0))
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    @property
    def url(self) -> str:
        """The database as the gateway is told of it."""
        host, port = self._listening.getsockname()
        through = self._target.set(host=host, port=port, query={"sslmode": "disable", "gssencmode": "disable"})
        return through.render_as_string(hide_password=False)

    def cut(self) -> None:
        """Let nothing through from now on."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Let everything through again; connections that were open meanwhile are reset."""

        def mend() -> None:
            for task in self._tasks:
                task.cancel()
            self._whole.set()

        self._loop.call_soon_threadsafe(mend)

    def close(self) -> None:
        """Take it away."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, sock=self._listening)

    async def _hang_up(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            await self._whole.wait()
            far_reader, far_writer = await self._dial()
            ends.append(far_writer)
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._target.port or 5432
        folder = self._target.query.get("host")
        if isinstance(folder, str) and folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._target.host or "localhost", port)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # the other end has gone, and so does this one


class Gateway:
    """One gateway of the fleet: a process, the folder with its config and ledger, its link, and which release it is."""

    def __init__(self, name: str, host: str, folder: Path, config: str, database: str) -> None:
        self.name = name
        self.folder = folder
        self.link = Link(database, host)
        self.address = f"{host}:{_free_port(host)}"
        self.url = f"http://{self.address}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gattway.toml").write_text(config, encoding="utf-8")

    @property
    def ledger(self) -> Path:
        """Its own file."""
        return self.folder / "ledger.db"

    @property
    def pid(self) -> int:
        """Of its process, which has been started."""
        assert self._process is not None
        return self._process.pid

    def start(self, release: Path = ROOT) -> None:
        """Start the release whose source is in the folder `release`; does not wait for it."""
        host, _, port = self.address.partition(":")
        command = [sys.executable, "-m", "gateway", "serve", "--host", host, "--port", port]
        with (self.folder / "gattway.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(release), stdout=log, stderr=log, start_new_session=True
            )

    def environment(self, release: Path = ROOT) -> dict[str, str]:
        """What its process and its commands are given."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GATTWAY_")}
        more = {"PYTHONPATH": str(release), "GATTWAY_LEDGER__URL": self.link.url, "GATTWAY_LEDGER__PATH": "ledger.db"}
        return {**kept, **more}

    def wait_until_ready(self) -> None:
        """Return once it takes requests.

        Raises:
            ServerFailed: it stopped, or did not become ready.
        """
        assert self._process is not None
        process = self._process

        def is_ready() -> bool:
            if process.poll() is not None:
                raise ServerFailed(f"{self.name} stopped with exit code {process.returncode}:\n{self.log_tail()}")
            with suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/health/ready", timeout=5, trust_env=False).is_success
            return False

        if not until(is_ready, READY_WITHIN_S):
            raise ServerFailed(f"{self.name} was not ready within {READY_WITHIN_S:.0f} s:\n{self.log_tail()}")

    def drain(self) -> int:
        """Ask it to stop; gives its exit code once it has."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOPPED_WITHIN_S)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Kill it and take its link away."""
        self.kill()
        self.link.close()

    def command(self, *arguments: str, release: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run `gattway …` as this gateway's administrator does."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.folder,
            env=self.environment(release),
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_WITHIN_S,
        )

    def waiting(self) -> int:
        """Rows of its file that the database lacks."""
        with closing(sqlite3.connect(f"{self.ledger.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows: int = connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
            return rows

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it printed."""
        text = (self.folder / "gattway.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


@contextmanager
def balancer(gateways: Sequence[Gateway], folder: Path) -> Iterator[tuple[str, str]]:
    """HAProxy before the gateways; yields two URLs.

    At the first, with `deploy/haproxy/conversations.cfg`, a conversation stays where it is; at the second each request
    goes to the next gateway, whoever knows its conversation.

    Raises:
        ServerFailed: HAProxy is not installed, or does not start.
    """
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerFailed("haproxy is not installed (Debian: apt-get install haproxy)")
    staying, going_round = (f"127.0.0.1:{_free_port('127.0.0.1')}" for _ in range(2))
    second = folder / "going_round.cfg"
    second.write_text(_going_round(going_round, gateways), encoding="utf-8")
    log = folder / "haproxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [found, "-db", "-f", str(HAPROXY_CONFIG), "-f", str(second)],
            env={**os.environ, "GATTWAY_LISTEN": staying, **_addresses(gateways)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        if not until(lambda: _accepts(staying) or process.poll() is not None, 20) or process.poll() is not None:
            raise ServerFailed(f"haproxy did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")
        yield f"http://{staying}", f"http://{going_round}"
    finally:
        process.kill()
        process.wait()


def until(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether `holds` became true in time; looks twenty times a second."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _addresses(gateways: Sequence[Gateway]) -> Mapping[str, str]:
    return {f"GATTWAY_{number}": gateway.address for number, gateway in enumerate(gateways, start=1)}


def _going_round(listen: str, gateways: Sequence[Gateway]) -> str:
    """The worst that a balancer can do to conversations: no turn is answered where the one before was."""
    servers = [
        f"    server gateway{number} {gateway.address} track gateways/gateway{number}"
        for number, gateway in enumerate(gateways, start=1)
    ]
    head = ["frontend going_round", f"    bind {listen}", "    default_backend in_turn", "backend in_turn"]
    return "\n".join([*head, "    balance roundrobin", "    http-response set-header x-served-by %s", *servers, ""])


def _accepts(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
