"""`python -m benchmarks.load.streams`: streams that start at given times, whatever has become of those before.

A job comes as JSON on standard input, its figures leave as JSON on standard output. A process of its own with plain
sockets, since the time of every event counts here, and a busy event loop would be measured along.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.processes import pinned
from benchmarks.load.request import Request
from benchmarks.server import ServerFailed

_READ = 262144
_EVENT = b"data: {"
_DONE = b"[DONE]"
_LAST_CHUNK = b"0\r\n\r\n"
_KEPT = 16
"""Bytes of a read that are kept, for marks that two reads share."""
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


def run(request: Request, starts_s: Sequence[float], within_s: float, cores: set[int] | None) -> dict[str, Any]:
    """Start a stream at each of these seconds, on `cores`, and give up what has not ended `within_s`.

    Gives `ttft_ms` and `gap_ms` by percentile, `late_ms` (p99 of how much later than they should requests left; the
    load's own fault) and the numbers of streams that `finished` and `failed`.

    Raises:
        ServerFailed: no stream came to its end.
    """
    job = {
        "port": request.port,
        "head": request.head().decode(),
        "before": request.before.decode(),
        "after": request.after.decode(),
        "starts_s": list(starts_s),
        "within_s": within_s,
    }
    with pinned(cores):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load.streams"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s + 60,
        )
    if done.returncode:
        raise ServerFailed(f"the load's client failed: {done.stderr.strip()[-500:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    if not figures["finished"]:
        raise ServerFailed(f"none of {len(starts_s)} streams came to its end: {figures['said']}")
    return figures


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    sent: float = 0.0
    last: float = 0.0
    tail: bytes = b""
    busy: bool = False
    done: bool = False


@dataclass(slots=True)
class _Load:
    """One run; times of the monotonic clock in seconds."""

    port: int
    head: bytes
    before: bytes
    after: bytes
    number: int
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    idle: list[_Connection] = field(default_factory=list)
    open: int = 0
    finished: int = 0
    failed: int = 0
    said: str = ""
    ttft: array[float] = field(default_factory=lambda: array("d"))
    gaps: array[float] = field(default_factory=lambda: array("d"))
    late: array[float] = field(default_factory=lambda: array("d"))

    def run(self, starts_s: Sequence[float], within_s: float) -> None:
        """All streams, from the first start to the last end or the time limit."""
        began = time.perf_counter()
        pending = deque(sorted(starts_s))
        while pending or self.open:
            now = time.perf_counter() - began
            if now > within_s:
                break
            while pending and pending[0] <= now:
                self.late.append(max(0.0, time.perf_counter() - began - pending.popleft()))
                self._start()
            until = pending[0] if pending else within_s
            for key, _ in self.selector.select(max(0.0, until - (time.perf_counter() - began))):
                self._read(key.data)
        self.failed += len(pending) + self.open

    def _start(self) -> None:
        try:
            connection = self.idle.pop() if self.idle else self._connect()
            connection.busy, connection.done, connection.tail, connection.last = True, False, b"", 0.0
            self.number += 1
            connection.sent = time.perf_counter()
            connection.socket.send(self.head + self.before + b"%09d" % self.number + self.after)
        except OSError as error:
            self.failed += 1
            self.said = str(error)
            return
        self.open += 1

    def _connect(self) -> _Connection:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        connection = _Connection(made)
        self.selector.register(made, selectors.EVENT_READ, connection)
        return connection

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = time.perf_counter()
        if not data:
            self._closed(connection)
            return
        if not connection.tail and not data.startswith(b"HTTP/1.1 200"):
            self.said = data[:300].decode(errors="replace")
            self._closed(connection)
            return
        seen = connection.tail[1 - len(_EVENT) :] + data
        if count := seen.count(_EVENT):
            self._note(connection, now, count)
        both = connection.tail + data
        connection.done = connection.done or _DONE in both
        connection.tail = both[-_KEPT:]
        if connection.done and connection.tail.endswith(_LAST_CHUNK):
            connection.busy = False
            self.open -= 1
            self.finished += 1
            self.idle.append(connection)

    def _note(self, connection: _Connection, now: float, count: int) -> None:
        """Events that came in one read came at one time."""
        if connection.last:
            self.gaps.append(now - connection.last)
        else:
            self.ttft.append(now - connection.sent)
        self.gaps.extend([0.0] * (count - 1))
        connection.last = now

    def _closed(self, connection: _Connection) -> None:
        self.selector.unregister(connection.socket)
        connection.socket.close()
        if not connection.busy:
            self.idle.remove(connection)
            return
        self.open -= 1
        if connection.done:
            self.finished += 1
        else:
            self.failed += 1


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Milliseconds by name of percentile; None of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return dict.fromkeys(PERCENTILES)
    return {
        name: 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in PERCENTILES.items()
    }


def main() -> None:
    """Do the job of standard input."""
    job = json.load(sys.stdin)
    head, before, after = (job[name].encode() for name in ("head", "before", "after"))
    load = _Load(job["port"], head, before, after, number=time.time_ns() // 1000 % 10**8)
    load.run(job["starts_s"], job["within_s"])
    figures = {
        "ttft_ms": percentiles(load.ttft),
        "gap_ms": percentiles(load.gaps),
        "late_ms": percentiles(load.late)["p99"],
        "finished": load.finished,
        "failed": load.failed,
        "said": load.said,
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
