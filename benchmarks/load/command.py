"""`python -m benchmarks load`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.load.candidates import CANDIDATES
from benchmarks.load.effort import FULL, QUICK
from benchmarks.load.sections import SECTIONS
from benchmarks.output import JSON, OUT, markdown, report


class Names(click.ParamType[list[str]]):
    """Names out of a set, with commas between them."""

    name = "NAME,…"

    def __init__(self, known: list[str]) -> None:
        self._known = known

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The names in the set's order, each once."""
        asked = [one.strip() for one in str(value).split(",") if one.strip()]
        if not asked:
            self.fail(f"name at least one of {', '.join(self._known)}", param, ctx)
        for one in asked:
            if one not in self._known:
                self.fail(f"{one!r} is not one of {', '.join(self._known)}", param, ctx)
        return [one for one in self._known if one in asked]


@click.command()
@click.option("--quick", is_flag=True, help="A little of everything, in about a minute; its figures say little.")
@click.option("--candidates", type=Names(list(CANDIDATES)), default=",".join(CANDIDATES), show_default=True)
@click.option("--sections", type=Names(list(SECTIONS)), default=",".join(SECTIONS), show_default=True)
@click.option(
    "--rounds", type=click.IntRange(1), show_default=f"{FULL.rounds}, quick {QUICK.rounds}", help="Alternations."
)
@click.option(
    "--memory-requests",
    type=click.IntRange(1),
    show_default=f"{FULL.memory_requests:,}, quick {QUICK.memory_requests:,}",
    help="Requests before memory is looked at; slow candidates are given a minute for them.",
)
@OUT
@JSON
def load(
    quick: bool,
    candidates: list[str],
    sections: list[str],
    rounds: int | None,
    memory_requests: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """The gateway beside LiteLLM's proxy, Portkey's gateway, a bare relay and no gateway at all, under one load.

    Needs nginx and wrk. The other gateways are installed under .cache/benchmarks/ at first use; one that cannot be had
    is left out, and the report says so. Some minutes a section.
    """
    from benchmarks.load import report as load_report
    from benchmarks.load import runner
    from benchmarks.load.upstreams import MissingTool
    from benchmarks.server import ServerFailed

    effort = QUICK if quick else FULL
    effort = replace(effort, rounds=rounds or effort.rounds, memory_requests=memory_requests or effort.memory_requests)
    try:
        with _progress(runner.steps(effort, candidates, sections)) as on_step:
            result = runner.run(effort, candidates, sections, out, on_step)
    except (MissingTool, ServerFailed) as error:
        raise click.ClickException(str(error)) from error
    for name, why in result["skipped"].items():
        click.echo(f"Left out: {name} ({why})", err=True)
    files = {"Figures": out / "load.json", "Report": out / "load.md"}
    report(result, markdown(load_report.markdown), files, as_json=as_json, width=140)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error that names what is measured; a line for each where that is no terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=steps, completed=-2)

        def on_step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        yield on_step
