"""`python -m benchmarks`: what the gateway and its arms do, measured over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import script
from benchmarks.server import Server, ServerFailed, serve

GATEWAY = click.option(
    "--gateway", metavar="URL", help="Measure a gateway that already runs (without /v1) instead of starting one."
)
SCRIPTS = click.option(
    "--scripts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=script.MINIATURE,
    show_default="the embedded models' own",
    help="Scripted conversations, JSON lines.",
)
CONCURRENCY = click.option(
    "--concurrency", type=click.IntRange(1, 256), default=16, show_default=True, help="Conversations at a time."
)
OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmarks/results"),
    show_default=True,
    help="Folder for the figures as JSON and the report as Markdown.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of tables.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What the gateway and its arms do, measured over HTTP with the official openai client."""


@main.command()
@click.option(
    "--conversations", type=click.IntRange(1), default=24, show_default=True, help="Scripts, each with every arm."
)
@click.option(
    "--to-the-end",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How many go on until the window is full.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".demo"),
    show_default=True,
    help="Folder for result.json and plot.png.",
)
@GATEWAY
@SCRIPTS
@CONCURRENCY
@JSON
def demo(
    conversations: int, to_the_end: int, out: Path, gateway: str | None, scripts: Path, concurrency: int, as_json: bool
) -> None:
    """Hold the same 20-turn conversations with every arm of gatt-vs-repeat and compare them."""
    from benchmarks import demo, plots, show

    chosen = _load(scripts, demo.SPLIT)[:conversations]
    with _gateway(gateway) as server, _progress(len(chosen) * len(demo.ARMS) * demo.TURNS) as on_answer, _told(server):
        result = demo.run(server.url, chosen, out, to_the_end=to_the_end, concurrency=concurrency, on_answer=on_answer)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    console = _console()
    console.print(show.demo(result))
    if sys.stdout.isatty() and (picture := plots.inline(out / "plot.png")):
        click.echo(picture)
    click.echo(f"\nFigures: {out / 'result.json'}   Plot: {out / 'plot.png'}   ({result['seconds']:.0f} s)")


@main.command()
@click.option("--limit", type=click.IntRange(1), help="At most so many scripts of each split; all when absent.")
@click.option("--turns", type=click.IntRange(1), default=20, show_default=True, help="Turns of each conversation.")
@OUT
@GATEWAY
@SCRIPTS
@CONCURRENCY
@JSON
def adherence(
    limit: int | None, turns: int, out: Path, gateway: str | None, scripts: Path, concurrency: int, as_json: bool
) -> None:
    """Adherence, tokens and cost by arm and turn, over all scripts: unseen attributes, unseen families, plain ones."""
    from benchmarks import adherence, demo

    chosen = adherence.at_most(_load(scripts), limit)
    with _gateway(gateway) as server, _progress(len(chosen) * len(demo.ARMS) * turns) as on_answer, _told(server):
        result = adherence.run(server.url, chosen, out, turns=turns, concurrency=concurrency, on_answer=on_answer)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    console = _console()
    console.print(adherence.table(result))
    click.echo(f"Figures: {out / 'adherence.json'}   Report: {out / 'adherence.md'}   ({result['seconds']:.0f} s)")


@main.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("gateway/embedded/mini-gatt"),
    show_default=True,
    help="Model folder to serve.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Alternations of the candidates.")
@OUT
@JSON
def engine(folder: Path, rounds: int, out: Path, as_json: bool) -> None:
    """Tokens a second of a model in process against transformers' generate, and time to first token by turn."""
    from rich.markdown import Markdown

    from benchmarks import engine

    try:
        with Console(stderr=True).status("measuring (about a minute)"):
            result = engine.run(folder, out, rounds)
    except engine.EngineFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    _console().print(Markdown(engine.markdown(result)))
    click.echo(f"Figures: {out / 'engine.json'}   Report: {out / 'engine.md'}")


def _load(path: Path, split: str | None = None) -> list[script.Script]:
    try:
        found = script.load(path, split)
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if not found:
        raise click.UsageError(f"{path} holds no scripts{f' of the split {split}' if split else ''}")
    return found


@contextmanager
def _gateway(url: str | None) -> Iterator[Server]:
    """The gateway to measure: the one at `url`, or one that lives as long as the block."""
    if url is not None:
        yield Server(url.rstrip("/").removesuffix("/v1"), log=None)
        return
    with ExitStack() as until_done:
        try:
            with Console(stderr=True).status("starting the gateway"):
                server = until_done.enter_context(serve())
        except ServerFailed as error:
            raise click.ClickException(str(error)) from error
        yield server


@contextmanager
def _told(server: Server) -> Iterator[None]:
    """Tell of a failed request in one line, with the end of the server's log below it; exit 1."""
    import httpx
    import openai

    from benchmarks.client import UnexpectedArm

    try:
        yield
    except (openai.OpenAIError, httpx.HTTPError, UnexpectedArm) as error:
        raise click.ClickException(f"{type(error).__name__}: {error}\n{server.log_tail()}".rstrip()) from error


@contextmanager
def _progress(answers: int) -> Iterator[Callable[[object], None]]:
    """A bar over `answers` answers on standard error, where that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("answers", total=answers)
        yield lambda _: progress.advance(task)


def _console() -> Console:
    """Standard output; at least wide enough for the tables where it is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=100)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
