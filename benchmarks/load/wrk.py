"""The closed loop: wrk with a fixed number of connections, each asking again as soon as it has its answer."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load.effort import CONNECTIONS
from benchmarks.load.processes import Process, pinned
from benchmarks.load.request import DIGITS, Request
from benchmarks.load.upstreams import tool
from benchmarks.server import ServerFailed

LONGEST_S = 12.0
"""A window grows up to this, so that slow answers too fit into it more than once."""
ANSWERS_IN_A_WINDOW = 6
COUNTED = 50
"""Answers of a connection from which on they are simply counted."""
WARM_UP = 0.2
"""Of a window."""
ERRORS = 0.01
"""The most of the answers that may fail."""
TIMEOUT_S = 60

# Head and body are joined for each request: `wrk.format` would build the headers anew.
_SCRIPT = """
local function read(name) local f = io.open(name, "rb"); local text = f:read("*a"); f:close(); return text end
local head, before, after = read("%(folder)s/head"), read("%(folder)s/before"), read("%(folder)s/after")
local start, number = head .. before, %(first)d
function request() number = number + 1; return start .. string.format("%%0%(digits)dd", number) .. after end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"answers":%%d,"seconds":%%f,"bytes":%%d,"errors":%%d,"mean_ms":%%f,"p50_ms":%%f,"p99_ms":%%f}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
    latency.mean / 1e3, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True)
class Window:
    """What wrk counted: answers that came within the window, and their latency."""

    answers: int
    seconds: float
    bytes: int
    errors: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    processor_s: float | None = None
    """Of the server, where it is known."""

    @property
    def per_s(self) -> float:
        """Answers a second. Few long answers are miscounted where the window ends amid them: then it is connections
        over mean latency, which a closed loop gives too."""
        if self.answers < COUNTED * CONNECTIONS:
            return CONNECTIONS / (self.mean_ms / 1e3)
        return self.answers / self.seconds

    @property
    def per_processor_s(self) -> float | None:
        """Answers for a second of the server's processor time: what it would do with a core for itself."""
        return self.answers / self.processor_s if self.processor_s else None


class Wrk:
    """Runs wrk on the load's core. Numbers go on from window to window, so that no question is asked twice."""

    def __init__(self, folder: Path, cores: set[int] | None) -> None:
        self._program = tool("wrk")
        self._folder = folder
        self._cores = cores
        self._number = 0

    def window(self, request: Request, seconds: float, process: Process | None = None) -> Window:
        """Warm up until there are answers, then measure; `process` is the server.

        Raises:
            ServerFailed: nothing was answered, or too many without a status of success.
        """
        warm = self.run(request, seconds * WARM_UP, needs_answers=False)
        if not warm.answers:
            warm = self.run(request, LONGEST_S)
        wanted = ANSWERS_IN_A_WINDOW * warm.mean_ms / 1e3
        before = process.cpu_s() if process else 0.0
        window = self.run(request, min(max(seconds, wanted), LONGEST_S))
        return replace(window, processor_s=process.cpu_s() - before) if process else window

    def run(self, request: Request, seconds: float, *, needs_answers: bool = True) -> Window:
        """One run of so many seconds, which wrk takes whole; see `window`."""
        for name, content in (("head", request.head()), ("before", request.before), ("after", request.after)):
            (self._folder / name).write_bytes(content)
        script = self._folder / "load.lua"
        values = {"folder": self._folder, "first": self._number, "digits": DIGITS}
        script.write_text(_SCRIPT % values, encoding="utf-8")
        argv = [self._program, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_S}s"]
        with pinned(self._cores):
            done = subprocess.run(
                [*argv, "-s", str(script), f"http://127.0.0.1:{request.port}{request.path}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 2 * TIMEOUT_S,
            )
        if done.returncode:
            raise ServerFailed(f"wrk: {(done.stderr or done.stdout).strip()[-500:]}")
        window = Window(**json.loads(done.stdout.strip().splitlines()[-1]))
        self._number += window.answers + 10 * CONNECTIONS
        if (needs_answers and not window.answers) or window.errors > ERRORS * window.answers:
            raise ServerFailed(f"{window.errors} errors among {window.answers} answers in {window.seconds:.1f} s")
        return window
