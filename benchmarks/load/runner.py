"""The whole run: candidates made ready, rounds that alternate over them, figures written."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import results
from benchmarks.load import summary
from benchmarks.load.bench import Bench
from benchmarks.load.candidates import CANDIDATES, Ready
from benchmarks.load.effort import CONNECTIONS, PACE_PER_S, Effort
from benchmarks.load.installed import Unavailable
from benchmarks.load.processes import Cores, pinned
from benchmarks.load.sections import SECTIONS, Figures, Point, Section
from benchmarks.load.upstreams import serving, tool
from benchmarks.load.wrk import Wrk
from benchmarks.server import ServerFailed, exit_on_sigterm

OnStep = Callable[[str], object]
"""Is told what is measured next; called `steps` times."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure's round; `failed` says why there are no figures."""

    section: str
    round: int
    candidate: str
    point: Point
    figures: Figures
    failed: str | None = None


def run(
    effort: Effort, candidates: Sequence[str], sections: Sequence[str], out: Path, on_step: OnStep = lambda _: None
) -> dict[str, Any]:
    """Measure, and write `load.json`, `load.md` and the pictures into the folder `out`, after every section what there
    is: a run that is broken off leaves the sections that it finished.

    Raises:
        MissingTool: nginx or wrk is not on this machine.
        ServerFailed: an upstream did not start.
    """
    began, load_average = time.perf_counter(), os.getloadavg()
    tools = {"nginx": _said([tool("nginx"), "-v"]), "wrk": _said([tool("wrk"), "-v"])}
    on_step("installing the candidates")
    ready, skipped = make_ready(candidates)
    cores = Cores.choose()
    set_up = {
        **results.header(),
        "load_average_before": [round(one, 2) for one in load_average],
        "cores": None if cores is None else {"server": cores.server, "second": cores.second, "load": cores.load},
        "tools": tools,
        "connections": CONNECTIONS,
        "tokens_per_s": PACE_PER_S,
        "rounds": effort.rounds,
        "skipped": skipped,
    }
    versions = {one.name: one.version for one in ready}
    result: dict[str, Any] = {}
    rows: list[Row] = []
    with closing(measure(effort, ready, [SECTIONS[name] for name in sections], cores, on_step)) as measured:
        for more in measured:
            rows += more
            seconds = round(time.perf_counter() - began, 1)
            result = {**set_up, "seconds": seconds, **summary.summarize(rows, versions)}
            _write(result, out)
    return result


def _write(result: dict[str, Any], out: Path) -> None:
    from benchmarks.load import pictures, report

    results.write(out / "load.json", result)
    results.write_text(out / "load.md", report.markdown(result))
    pictures.draw(result, out)


def make_ready(names: Sequence[str]) -> tuple[list[Ready], dict[str, str]]:
    """The candidates that can be had, and for the others why not."""
    ready, skipped = [], {}
    for name in names:
        try:
            ready.append(CANDIDATES[name]())
        except Unavailable as error:
            skipped[name] = str(error)
    return ready, skipped


def steps(effort: Effort, candidates: Sequence[str], sections: Sequence[str]) -> int:
    """How many figures a run takes."""
    chosen = [SECTIONS[name] for name in sections]
    return sum(
        one.rounds(effort) * len(one.points(effort)) * sum(one.applies_to(name) for name in candidates)
        for one in chosen
    )


def measure(
    effort: Effort, ready: Sequence[Ready], sections: Sequence[Section], cores: Cores | None, on_step: OnStep
) -> Generator[list[Row], None, None]:
    """Each section's rows; every round is the candidates in turn, and the next one's order is the other way round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gattway-load-")))
        stack.enter_context(exit_on_sigterm())
        load = None if cores is None else {cores.load}
        stack.enter_context(pinned(load))
        upstreams = stack.enter_context(serving(folder, load))
        bench = stack.enter_context(Bench(effort, folder, upstreams, cores, Wrk(folder, load)))
        for section in sections:
            rows: list[Row] = []
            for round_ in range(section.rounds(effort)):
                for point in section.points(effort):
                    for one in ready if round_ % 2 == 0 else reversed(ready):
                        if section.applies_to(one.name):
                            at = "" if point is None else f" {point}"
                            on_step(f"{section.name}{at}: {one.name}")
                            rows.append(_measured(bench, section, round_, one, point))
            yield rows


def _measured(bench: Bench, section: Section, round_: int, ready: Ready, point: Point) -> Row:
    """One figure; a candidate that fails at it is started anew for the next."""
    try:
        return Row(section.name, round_, ready.name, point, section.measure(bench, ready, point))
    except (ServerFailed, subprocess.TimeoutExpired, OSError) as error:
        bench.drop(ready.name)
        return Row(section.name, round_, ready.name, point, {}, f"{type(error).__name__}: {error}")


def _said(argv: Sequence[str]) -> str:
    """The version that a program prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"
