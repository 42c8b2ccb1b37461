"""`python -m benchmarks`: what the gateway and its arms do, measured over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import datasets, script
from benchmarks.capacity_command import capacity
from benchmarks.fleet_command import fleet
from benchmarks.load.command import load
from benchmarks.output import JSON, OUT, markdown, report
from benchmarks.page_commands import maps, screenshots
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
PRICE_HELP = (
    "The untuned model's price: its name in litellm's table, or USD per million tokens as input=1,cached=0.1,output=4."
)
STARTS_WITHIN_S = 300.0
"""A frontier has a model for each of its arms."""


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
    from benchmarks import demo, show

    chosen = _load(scripts, demo.SPLIT)[:conversations]
    with _gateway(gateway) as server, _progress(len(chosen) * len(demo.ARMS) * demo.TURNS) as on_answer, _told(server):
        result = demo.run(server.url, chosen, out, to_the_end=to_the_end, concurrency=concurrency, on_answer=on_answer)
    files = {"Figures": out / "result.json", "Plot": out / "plot.png"}
    report(result, show.demo, files, as_json=as_json, picture=out / "plot.png")


@main.command()
@click.option("--limit", type=click.IntRange(1), help="At most so many scripts of each split; all when absent.")
@click.option("--turns", type=click.IntRange(1), default=20, show_default=True, help="Turns of each conversation.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME",
    help="EXPERIMENT:ARM or a model of the gateway; may be given again. The embedded experiment's arms when absent.",
)
@click.option("--judge", metavar="MODEL", help="Model of the gateway that judges what no check decides.")
@click.option(
    "--judge-sample",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of the scripts that checks decide which the judge reads too, to see how far both agree.",
)
@OUT
@GATEWAY
@SCRIPTS
@CONCURRENCY
@JSON
def adherence(
    limit: int | None,
    turns: int,
    arms: tuple[str, ...],
    judge: str | None,
    judge_sample: float,
    out: Path,
    gateway: str | None,
    scripts: Path,
    concurrency: int,
    as_json: bool,
) -> None:
    """Adherence, tokens and cost by arm and turn, over all scripts of a file.

    The file is of gattway's own format, Multi-IF's (CSV), MultiChallenge's (JSON lines), SysBench's (JSON) or a JSON
    list of prompts and probes. A run that was broken off goes on where it stopped, when it is given the same gateway.
    """
    from benchmarks import adherence

    chosen = adherence.at_most(_load(scripts), limit)
    asked = arms or adherence.DEFAULT_ARMS
    answers = sum(one.length(turns) for one in chosen) * len(asked)
    with _gateway(gateway) as server, _progress(answers) as on_answer, _told(server):
        result = adherence.run(
            server.url,
            chosen,
            out,
            turns=turns,
            concurrency=concurrency,
            arms=asked,
            judge=judge,
            judge_sample=judge_sample,
            on_answer=on_answer,
        )
    files = {"Figures": out / "adherence.json", "Report": out / "adherence.md"}
    shown = Group(adherence.table(result), *adherence.judge_in_words(result))
    report(result, lambda _: shown, files, as_json=as_json)


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
    """Tokens a second of a model in process against transformers' generate and server; first token by turn."""
    from benchmarks import engine

    try:
        with Console(stderr=True).status("measuring (some minutes)"):
            result = engine.run(folder, out, rounds)
    except engine.EngineFailed as error:
        raise click.ClickException(str(error)) from error
    files = {"Figures": out / "engine.json", "Report": out / "engine.md"}
    report(result, markdown(engine.markdown), files, as_json=as_json)


@main.command()
@click.option("--experiments", type=click.IntRange(10), default=1000, show_default=True, help="Simulated experiments.")
@click.option("--days", type=click.IntRange(2), default=30, show_default=True, help="Daily looks at an A/A experiment.")
@click.option("--seed", type=int, default=1, show_default=True)
@OUT
@JSON
def statistics(experiments: int, days: int, seed: int, out: Path, as_json: bool) -> None:
    """Whether the report's intervals hold what they promise, over simulated A/A and A/B experiments."""
    from benchmarks import statistics

    with _progress(2 * experiments, "experiments") as on_experiment:
        result = statistics.run(out, experiments=experiments, days=days, seed=seed, on_experiment=on_experiment)
    files = {"Figures": out / "statistics.json", "Report": out / "statistics.md"}
    report(result, markdown(statistics.markdown), files, as_json=as_json)


@main.command()
@click.option("--base", default="gpt-4.1-mini", show_default=True, metavar="MODEL|FIGURES", help=PRICE_HELP)
@click.option(
    "--tuned", metavar="MODEL|FIGURES", help="The tuned model's price; the base price times --surcharge when absent."
)
@click.option(
    "--surcharge",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Tuned over base price.",
)
@click.option(
    "--training-usd", type=click.FloatRange(0), default=100.0, show_default=True, help="What the tuning costs."
)
@click.option("--turns", type=click.IntRange(1, 2000), default=20, show_default=True, help="Turns of a conversation.")
@click.option("--instruction", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Its tokens.")
@click.option(
    "--user", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Tokens of a user message."
)
@click.option("--answer", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Tokens of an answer.")
@click.option(
    "--cache",
    type=click.Choice(["blocks", "steps", "breakpoints", "none"]),
    help="How both prefix caches work; by the provider when absent.",
)
@OUT
@JSON
def cost(
    base: str,
    tuned: str | None,
    surcharge: float,
    training_usd: float,
    turns: int,
    instruction: int,
    user: int,
    answer: int,
    cache: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """From which conversation, instruction and price on tuning is cheaper than repeating in every turn."""
    from benchmarks import cost
    from gateway.accounting.breakeven import Shape

    try:
        cheap = cost.priced(base, cache)
        other = cost.priced(tuned, cache) if tuned else cost.priced(base, cache, surcharge)
    except cost.BadPrice as error:
        raise click.UsageError(str(error)) from error
    try:
        result = cost.run(cheap, other, Shape(turns, instruction, user, answer), training_usd, out)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written ({error.strerror})") from error
    files = {"Figures": out / "cost.json", "Report": out / "cost.md", "Plot": out / "cost.png"}
    report(result, cost.tables, files, as_json=as_json)


@main.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Repetitions.")
@OUT
@JSON
def counting(rounds: int, out: Path, as_json: bool) -> None:
    """What counting tokens costs: long histories against short ones, and very long bodies beside small requests."""
    from benchmarks import counting

    try:
        with Console(stderr=True).status("measuring (some seconds a round)"):
            result = counting.run(out, rounds)
    except ServerFailed as error:
        raise click.ClickException(str(error)) from error
    files = {"Figures": out / "counting.json", "Report": out / "counting.md"}
    report(result, markdown(counting.markdown), files, as_json=as_json)


@main.command()
@click.option(
    "--conversations", type=click.IntRange(1), default=12, show_default=True, help="Scripts, each with every arm."
)
@OUT
@SCRIPTS
@CONCURRENCY
@JSON
def frontier(conversations: int, out: Path, scripts: Path, concurrency: int, as_json: bool) -> None:
    """Adherence at turn 20 against the cost of a conversation, for every strategy on both embedded models."""
    from benchmarks import demo, frontier

    chosen = _load(scripts, demo.SPLIT)[:conversations]
    answers = len(chosen) * (len(frontier.arms()) + len(frontier.MODELS)) * frontier.TURNS
    with _progress(answers) as on_answer:
        result = frontier.run(_told_gateway, chosen, out, concurrency=concurrency, on_answer=on_answer)
    files = {"Figures": out / "frontier.json", "Plot": out / "frontier.png"}
    report(result, markdown(frontier.markdown), files, as_json=as_json, width=140)


@main.command()
@click.option("--windows", type=click.IntRange(1), default=5, show_default=True, help="Alternations of the candidates.")
@click.option("--clients", type=click.IntRange(1), default=64, show_default=True, help="How many ask without a pause.")
@click.option(
    "--rounds", type=click.IntRange(0), default=20, show_default=True, help="Kills under load; 0 leaves it out."
)
@click.option(
    "--rows", type=click.IntRange(0), default=1_000_000, show_default=True, help="Turns to fill a ledger with."
)
@click.option("--postgres", metavar="URL", help="Fill this empty PostgreSQL database too.")
@OUT
@JSON
def ledger(windows: int, clients: int, rounds: int, rows: int, postgres: str | None, out: Path, as_json: bool) -> None:
    """What the ledger costs, what kill -9 loses, and how long a page takes among millions of rows."""
    from benchmarks import ledger

    try:
        with Console(stderr=True).status("measuring (some minutes)"):
            result = ledger.run(out, windows, clients, rounds, rows, postgres)
    except ServerFailed as error:
        raise click.ClickException(str(error)) from error
    files = {"Figures": out / "ledger.json", "Report": out / "ledger.md"}
    report(result, markdown(ledger.markdown), files, as_json=as_json)


main.add_command(capacity)
main.add_command(fleet)
main.add_command(load)
main.add_command(screenshots)
main.add_command(maps)


def _load(path: Path, split: str | None = None) -> list[script.Script]:
    try:
        found = [one for one in datasets.load(path) if split in (None, one.split)]
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if not found:
        raise click.UsageError(f"{path} holds no scripts{f' of the split {split}' if split else ''}")
    return found


@contextmanager
def _gateway(url: str | None, config: str | None = None) -> Iterator[Server]:
    """The gateway to measure: the one at `url`, or one that lives as long as the block; with the embedded config, or
    with the text of another."""
    if url is not None:
        yield Server(url.rstrip("/").removesuffix("/v1"), log=None)
        return
    with ExitStack() as until_done:
        try:
            with Console(stderr=True).status("starting the gateway"):
                server = until_done.enter_context(serve(config=config, ready_within_s=STARTS_WITHIN_S))
        except ServerFailed as error:
            raise click.ClickException(str(error)) from error
        yield server


@contextmanager
def _told_gateway(config: str) -> Iterator[Server]:
    """One that lives as long as the block, whose failures are told as `_told` does."""
    with _gateway(None, config) as server, _told(server):
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
def _progress(answers: int, what: str = "answers") -> Iterator[Callable[[object], None]]:
    """A bar over so many answers (or `what` they are) on standard error, where that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=answers)
        yield lambda _: progress.advance(task)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
