"""`python -m benchmarks capacity`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.fleet_command import POSTGRES
from benchmarks.output import JSON, OUT, markdown, report

if TYPE_CHECKING:
    from benchmarks.capacity_measure import Measured

_POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.option(
    "--conversations",
    type=click.IntRange(1),
    multiple=True,
    help="Open conversations at the busiest hour; may be given again. 1,000 to 1,000,000 in steps of ten when absent.",
)
@click.option("--think", type=_POSITIVE, default=30.0, show_default=True, help="Median s from answer to next question.")
@click.option("--answer", type=_POSITIVE, default=200.0, show_default=True, help="Median tokens of an answer.")
@click.option("--speed", type=_POSITIVE, default=50.0, show_default=True, help="Median tokens/s of a stream.")
@click.option("--ttft", type=_POSITIVE, default=0.6, show_default=True, help="Median s to the first token.")
@click.option(
    "--peak", type=click.FloatRange(1), default=2.5, show_default=True, help="Busiest hour over the day's mean."
)
@click.option("--turn-ms", type=_POSITIVE, help="Core time of a gateway for a turn; as measured when absent.")
@click.option("--event-us", type=_POSITIVE, help="… for an event of its stream.")
@click.option("--row-ms", type=_POSITIVE, help="PostgreSQL's processor time for a row.")
@click.option("--row-bytes", type=_POSITIVE, help="Its bytes on PostgreSQL's disk, indices included.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--measure", is_flag=True, help="Measure turns, events and rows on this machine first (some minutes).")
@click.option(
    "--load",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("benchmarks/results/load.json"),
    show_default=True,
    help="Result of the load benchmark, set beside where it is there.",
)
@POSTGRES
@OUT
@JSON
def capacity(
    conversations: tuple[int, ...],
    think: float,
    answer: float,
    speed: float,
    ttft: float,
    peak: float,
    turn_ms: float | None,
    event_us: float | None,
    row_ms: float | None,
    row_bytes: float | None,
    seed: int,
    measure: bool,
    load: Path,
    postgres: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Gateways, PostgreSQL and gigabytes a day for so many people at once: a simulation from measured figures."""
    from benchmarks import capacity, capacity_report

    cost = _measure(postgres, out) if measure else capacity.measured()
    given = {"turn_ms": turn_ms, "event_us": event_us, "row_ms": row_ms, "row_bytes": row_bytes}
    cost = replace(cost, **{name: value for name, value in given.items() if value is not None})
    traffic = capacity.Traffic(think_s=think, answer_tokens=answer, tokens_per_s=speed, ttft_s=ttft, peak=peak)
    sizes = conversations or capacity.SIZES
    result = capacity.run(out, cost, traffic, capacity.Plan(), sizes, seed, load)
    files = {name: out / f"capacity.{end}" for name, end in (("Figures", "json"), ("Report", "md"), ("Plot", "png"))}
    shown = markdown(capacity_report.markdown)
    report(result, shown, files, as_json=as_json, width=110, picture=out / "capacity.png")


def _measure(postgres: str | None, out: Path) -> Measured:
    from rich.console import Console

    from benchmarks import capacity_measure, results
    from benchmarks.postgres import given_or_started
    from benchmarks.server import ServerFailed

    try:
        with Console(stderr=True).status("measuring (some minutes)"), given_or_started(postgres) as url:
            cost = capacity_measure.measure(url)
    except ServerFailed as error:
        raise click.ClickException(str(error)) from error
    results.write(out / "capacity_measured.json", {**results.header(), "measured": asdict(cost)})
    return cost
