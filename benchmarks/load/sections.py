"""What is measured, a section each: its points, and one point of one candidate in one round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.load import streams
from benchmarks.load.bench import Bench, Serving
from benchmarks.load.candidates import Ready
from benchmarks.load.effort import CONNECTIONS, PACE_PER_S, Effort
from benchmarks.load.wrk import Window
from benchmarks.server import ServerFailed

Figures = dict[str, float | None]
"""Name, with its unit, → what was measured; None where nothing was."""
Point = int | None
STARTS_PER_S = 200
"""How quickly concurrent streams are begun."""
CHECKPOINTS = 10
"""Times that memory is looked at."""


@dataclass(frozen=True, slots=True)
class Section:
    """`points` are None where there is but one. `against_direct` names the figures of which the upstream's own are
    taken off, as `added_…`."""

    name: str
    title: str
    points: Callable[[Effort], Sequence[Point]]
    measure: Callable[[Bench, Ready, Any], Figures]
    leaves_out: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    repeated: bool = True
    against_direct: tuple[str, ...] = ()

    def applies_to(self, name: str) -> bool:
        """Whether a candidate is measured here."""
        return name not in self.leaves_out and (not self.only or name in self.only)

    def rounds(self, effort: Effort) -> int:
        """How many times; memory takes too long for more than one."""
        return effort.rounds if self.repeated else 1


def _whole(bench: Bench, ready: Ready, _: None) -> Figures:
    return _closed_loop(bench, bench.serving(ready), 0)


def _history(bench: Bench, ready: Ready, messages: int) -> Figures:
    return _closed_loop(bench, bench.serving(ready), messages)


def _closed_loop(bench: Bench, serving: Serving, history: int) -> Figures:
    serving.settle()
    request = serving.request("whole", history=history)
    window = bench.wrk.window(request, bench.effort.window_s, serving.process)
    return {
        "requests_per_s": window.per_s,
        "requests_per_processor_s": window.per_processor_s,
        **_latency(window),
        "request_bytes": request.size,
    }


def _streamed(bench: Bench, ready: Ready, _: None) -> Figures:
    serving = bench.serving(ready)
    serving.settle()
    request = serving.request("streamed")
    status, body = request.ask()
    if status != 200 or not body.rstrip().endswith(b"data: [DONE]"):
        raise ServerFailed(f"no stream, but status {status}: {body[:300]!r}")
    events = body.count(b"data: {")
    window = bench.wrk.window(request, bench.effort.window_s, serving.process)
    return {
        "streams_per_s": window.per_s,
        "streams_per_processor_s": window.per_processor_s,
        "events_per_s": window.per_s * events,
        "events_per_stream": events,
        **_latency(window),
    }


def _latency(window: Window) -> Figures:
    return {"p50_ms": window.p50_ms, "p99_ms": window.p99_ms, "errors": window.errors}


def _open_loop(bench: Bench, ready: Ready, rate_per_s: int) -> Figures:
    effort = bench.effort
    starts = [index / rate_per_s for index in range(int(rate_per_s * effort.open_loop_s))]
    return _paced(bench, ready, starts, effort.open_loop_tokens)


def _concurrent(bench: Bench, ready: Ready, count: int) -> Figures:
    starts = [index / max(STARTS_PER_S, count) for index in range(count)]
    return _paced(bench, ready, starts, bench.effort.concurrent_tokens)


def _paced(bench: Bench, ready: Ready, starts: Sequence[float], tokens: int) -> Figures:
    serving = bench.serving(ready)
    serving.settle()
    lasts = starts[-1] + tokens / PACE_PER_S
    request = serving.request("paced", tokens=tokens)
    seen = streams.run(request, starts, 2.0 + lasts * bench.effort.patience, bench.load_cores)
    figures: Figures = {
        f"{what}_{name}_ms": value for what in ("ttft", "gap") for name, value in seen[f"{what}_ms"].items()
    }
    if seen["failed"]:
        bench.drop(ready.name)  # it may still be busy with what was given up
    return {**figures, "load_late_p99_ms": seen["late_ms"], "finished": seen["finished"], "failed": seen["failed"]}


def _memory(bench: Bench, ready: Ready, _: None) -> Figures:
    """Resident memory of a fresh server at first, and after as many requests as it is given time for."""
    effort = bench.effort
    with bench.fresh(ready) as serving:
        assert serving.process is not None
        request = serving.request("whole")
        seen = [(0, serving.process.rss_mb())]
        spent = 0.0
        while seen[-1][0] < effort.memory_requests and spent < effort.memory_s:
            rate = max(1.0, seen[-1][0] / spent) if spent else 1.0
            left_s = min((effort.memory_requests - seen[-1][0]) / rate, effort.memory_s - spent)
            window = bench.wrk.run(request, min(max(1.0, left_s), effort.memory_s / CHECKPOINTS))
            spent += window.seconds
            seen.append((seen[-1][0] + window.answers, serving.process.rss_mb()))
        settled = [mb for requests, mb in seen if requests >= seen[-1][0] / 5]
        return {
            "requests": seen[-1][0],
            "start_mb": seen[0][1],
            "after_mb": seen[-1][1],
            "peak_mb": max(mb for _, mb in seen),
            "growth_since_a_fifth_mb": settled[-1] - settled[0],
        }


def _start(bench: Bench, ready: Ready, _: None) -> Figures:
    with bench.fresh(ready) as serving:
        return {"first_answer_s": serving.start_s}


def _workers(bench: Bench, ready: Ready, workers: int) -> Figures:
    """The closed loop with so many workers, and what a request costs them in processor time."""
    with bench.fresh(ready, workers) as serving:
        assert serving.process is not None
        window = bench.wrk.window(serving.request("whole"), bench.effort.window_s, serving.process)
        return {
            "requests_per_s": window.per_s,
            "requests_per_processor_s": window.per_processor_s,
            **_latency(window),
        }


def _one(_: Effort) -> Sequence[Point]:
    return (None,)


SECTIONS: dict[str, Section] = {
    section.name: section
    for section in (
        Section("whole", f"Not streamed, {CONNECTIONS} connections", _one, _whole),
        Section("streamed", f"Streamed at once, {CONNECTIONS} connections", _one, _streamed),
        Section("history", "Messages of history", lambda effort: effort.histories, _history),
        Section(
            "open_loop",
            "Open loop, streams a second",
            lambda effort: effort.rates_per_s,
            _open_loop,
            against_direct=("ttft", "gap"),
        ),
        Section(
            "concurrent",
            "Paced streams at a time",
            lambda effort: effort.concurrent,
            _concurrent,
            against_direct=("ttft", "gap"),
        ),
        Section("start", "Start to first answer", _one, _start, leaves_out=("direct",)),
        Section("workers", "Workers", lambda _: (1, 2), _workers, only=("gattway",)),
        Section("memory", "Memory", _one, _memory, leaves_out=("direct",), repeated=False),
    )
}
