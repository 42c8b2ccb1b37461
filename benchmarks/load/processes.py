"""Server processes on cores of their own: started, waited for on a condition, looked at, stopped whatever happens."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.request import Request
from benchmarks.server import ServerFailed

READY_WITHIN_S = 300.0
STOP_WITHIN_S = 5.0
SETTLE_WITHIN_S = 5.0
IDLE_SHARE = 0.1
"""Of a core: below it, a process counts as idle."""
LOG_TAIL_CHARACTERS = 1500


@dataclass(frozen=True, slots=True)
class Command:
    """What is started, and the environment that it gets on top of this process's."""

    argv: Sequence[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cores:
    """Where servers run, where a second worker does, and where the load and the upstreams do.

    With two cores the second worker shares the load's, with one all share it.
    """

    server: int
    second: int
    load: int

    @classmethod
    def choose(cls) -> Cores | None:
        """From the cores that this process may use; None where the system cannot pin processes."""
        if not hasattr(os, "sched_setaffinity"):
            return None
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[min(1, len(usable) - 1)], usable[-1])


@contextmanager
def pinned(cores: set[int] | None) -> Iterator[None]:
    """Run this thread, and what it starts, on these cores while the block lasts; None leaves it where it is."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Process:
    """A running server and the file that its output goes to."""

    popen: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise `ServerFailed` if it has stopped by itself."""
        if self.popen.poll() is not None:
            raise ServerFailed(f"stopped with exit code {self.popen.returncode}: {self.log_tail()}")

    def log_tail(self) -> str:
        """The last of what it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:].strip()

    def tree(self) -> list[int]:
        """Its process id and those of all that it started."""
        found = [self.popen.pid]
        for pid in found:
            for thread in _tasks(pid):
                with suppress(OSError):
                    found += map(int, (thread / "children").read_text(encoding="ascii").split())
        return found

    def rss_mb(self) -> float:
        """Resident memory of the tree in MB (10^6 bytes); pages that its processes share count for each."""
        pages = 0
        for pid in self.tree():
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_s(self) -> float:
        """Processor seconds of the tree so far."""
        ticks = 0
        for pid in self.tree():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def settle(self) -> None:
        """Wait until it has nothing left to do, for a bounded time."""
        deadline = time.monotonic() + SETTLE_WITHIN_S
        before = self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(0.2)
            now = self.cpu_s()
            if now - before < 0.2 * IDLE_SHARE:
                return
            before = now


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


@contextmanager
def running(command: Command, folder: Path, name: str, cores: set[int] | None) -> Iterator[Process]:
    """Start it in `folder`, in a session of its own; it and all that it started are gone after the block."""
    log = folder / f"{name}.log"
    # The user's own settings may not colour the figures, nor may a server be compiled anew at every start.
    usual = {key: value for key, value in os.environ.items() if not key.startswith("GATTWAY_")}
    usual.pop("PYTHONDONTWRITEBYTECODE", None)
    env = usual | dict(command.env)
    with log.open("wb") as output, pinned(cores):
        popen = subprocess.Popen(
            command.argv,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Process(popen, log)
    finally:
        _stop(popen)


def _stop(popen: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, then end the whole session."""
    with suppress(ProcessLookupError):
        popen.terminate()
    with suppress(subprocess.TimeoutExpired):
        popen.wait(STOP_WITHIN_S)
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


def wait_until_answering(process: Process, request: Request) -> float:
    """Ask until an answer with status 200 comes; gives the seconds that it took.

    Raises:
        ServerFailed: it stopped, or did not answer in time.
    """
    began = time.perf_counter()
    last = "nobody listens"
    while (waited := time.perf_counter() - began) < READY_WITHIN_S:
        process.check()
        try:
            status, body = request.ask()
        except (OSError, http.client.HTTPException) as error:
            last = f"{type(error).__name__}: {error}"
            time.sleep(0.005)
            continue
        if status == 200:
            return time.perf_counter() - began
        last = f"status {status}: {body[:300]!r}"
        time.sleep(0.05)
    raise ServerFailed(f"no answer within {waited:.0f} s ({last}): {process.log_tail()}")
