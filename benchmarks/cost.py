"""When tuning pays: the instruction in every turn of an untuned model, against said once to a tuned one.

No model runs: tokens follow from the lengths of the conversation, cached ones from the provider's rule, and prices
from litellm's table or the command line. `gateway.accounting.breakeven` has the formulas.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks import cost_plot, results, show
from benchmarks.markdown import made_by
from benchmarks.markdown import table as markdown_table
from gateway.accounting.breakeven import Comparison, Model, Shape, turns
from gateway.accounting.cache_table import rule_for
from gateway.accounting.caching import Blocks, Breakpoints, CacheRule, NoCache, Steps
from gateway.accounting.prices import Rates, litellm_version, table_price, table_row

CACHES: dict[str, CacheRule] = {
    "blocks": Blocks(16),
    "steps": Steps(),
    "breakpoints": Breakpoints(1024, automatic=True),
    "none": NoCache(),
}
ARMS = (
    ("gatt", "once", "tuned"),
    ("repeat", "every-turn", "base"),
    ("repeat-every-4", "every-4", "base"),
    ("repeat-last-turn", "last-turn", "base"),
    ("untreated", "once", "base"),
)
"""Arm, placement, and which of the two models answers."""
INSTRUCTIONS = (20, 50, 100, 200, 500, 1000, 2000)
LENGTHS = (5, 10, 20, 50, 100)


class BadPrice(ValueError):
    """A price that is neither a model of litellm's table nor figures; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A model by the name it was given, with its price and its prefix cache."""

    name: str
    source: str
    model: Model

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "price_source": self.source,
            "usd_per_million_tokens": self.model.rates.as_dict(),
            "cache_rule": self.model.rule.name,
        }


def priced(given: str, cache: str | None, factor: float = 1.0) -> Priced:
    """A price by a model's name in litellm's table, or by figures such as `input=1,cached=0.1,output=4`.

    Args:
        cache: one of `CACHES`; None: the provider's rule, and `blocks` for figures.
        factor: what every rate is multiplied by.

    Raises:
        BadPrice: nothing is known by that name, or the figures are not what they should be.
    """
    if "=" in given:
        rates, source, rule = _figures(given), "given", CACHES["blocks"]
    else:
        row = table_row(given)
        price = table_price(row) if row else None
        if row is None or price is None:
            raise BadPrice(
                f"litellm's table has no price for {given!r}; take a model's name as litellm writes it, "
                "or figures in USD per million tokens: input=1,cached=0.1,output=4"
            )
        rates, source, rule = price.rates, litellm_version(), rule_for(str(row.get("litellm_provider")), given)
    if isinstance(rule, Breakpoints):
        rule = replace(rule, automatic=True)  # who cares for cost marks the last message
    name = given if factor == 1 else f"{given} × {factor:g}"
    return Priced(name, source, Model(rates.times(factor), CACHES[cache] if cache else rule))


def _figures(given: str) -> Rates:
    known = ("input", "cached", "cache_write", "output", "reasoning")
    found: dict[str, float] = {}
    for part in given.split(","):
        name, _, figure = part.partition("=")
        if name.strip() not in known:
            raise BadPrice(f"{name.strip()!r} in {given!r} is no kind of price; the kinds are: {', '.join(known)}")
        try:
            found[name.strip()] = float(figure)
        except ValueError:
            raise BadPrice(f"{figure!r} in {given!r} is no number of USD per million tokens") from None
        if not 0 <= found[name.strip()] < 1e6:
            raise BadPrice(f"{part!r} in {given!r}: a price is 0 or more USD per million tokens")
    if missing := {"input", "output"} - found.keys():
        raise BadPrice(f"{given!r} lacks {' and '.join(sorted(missing))}; write: input=1,cached=0.1,output=4")
    fresh, output = found["input"], found["output"]
    written = found.get("cache_write", fresh)
    return Rates(fresh, found.get("cached", fresh), written, written, output, found.get("reasoning", output))


def run(base: Priced, tuned: Priced, shape: Shape, training_usd: float, folder: Path) -> dict[str, Any]:
    """Work everything out, and write `cost.json`, `cost.md` and `cost.png` into `folder`."""
    result = report(base, tuned, shape, training_usd)
    results.write(folder / "cost.json", result)
    results.write_text(folder / "cost.md", markdown(result))
    cost_plot.plot(result, folder / "cost.png")
    return result


def report(base: Priced, tuned: Priced, shape: Shape, training_usd: float) -> dict[str, Any]:
    """The whole of `benchmarks/results/cost.json`."""
    compared = Comparison(base.model, tuned.model, shape)
    models = {"base": base, "tuned": tuned}
    return {
        **results.header(),
        "shape": asdict(shape),
        "training_usd": training_usd,
        "models": {name: one.as_dict() for name, one in models.items()},
        "rows": [row for arm, placement, which in ARMS for row in _rows(arm, placement, models[which], shape)],
        "break_even": {
            "saving_usd_per_conversation": compared.saving_usd(),
            "saving_share": compared.saving_usd() / compared.repeated_usd(),
            "turns": compared.least_turns(),
            "instruction_tokens": compared.least_instruction(),
            "surcharge": compared.most_surcharge(),
            "conversations_to_recover_training": compared.conversations_to_recover(training_usd),
        },
        "grid": [
            _cell(base.model, tuned.model, replace(shape, turns=t, instruction=i), training_usd)
            for i in INSTRUCTIONS
            for t in LENGTHS
        ],
    }


def _rows(arm: str, placement: str, priced: Priced, shape: Shape) -> list[dict[str, Any]]:
    """A row a turn, the costs of the turns so far beside its own."""
    rows, so_far = [], 0.0
    for turn in turns(placement, shape, priced.model.rule, priced.model.rates):
        so_far += turn.cost_usd
        rows.append(
            {"arm": arm, "strategy": placement, "model": priced.name, **asdict(turn), "cost_so_far_usd": so_far}
        )
    return rows


def _cell(base: Model, tuned: Model, shape: Shape, training_usd: float) -> dict[str, Any]:
    compared = Comparison(base, tuned, shape)
    return {
        "instruction": shape.instruction,
        "turns": shape.turns,
        "saving_share": compared.saving_usd() / compared.repeated_usd(),
        "surcharge": compared.most_surcharge(),
        "conversations_to_recover_training": compared.conversations_to_recover(training_usd),
    }


def conclusion(result: dict[str, Any]) -> str:
    """The answer in words."""
    found, shape = result["break_even"], result["shape"]
    tuned, base = result["models"]["tuned"]["name"], result["models"]["base"]["name"]
    saving = found["saving_usd_per_conversation"]
    of = f"a conversation of {shape['turns']} turns with an instruction of {shape['instruction']} tokens"
    if saving <= 0:
        said = f"Said once to {tuned}, {of} costs {_usd(-saving)} more than repeated in every turn to {base}. "
        return said + _when(found)
    less = f"{_usd(saving)} ({found['saving_share']:.0%}) less than repeated in every turn to {base}"
    said = f"Said once to {tuned}, {of} costs {less}. "
    recovered = found["conversations_to_recover_training"]
    paid = f"A training of {_usd(result['training_usd'])} is paid for after {recovered:,.0f} conversations. "
    return said + (paid if result["training_usd"] else "") + _when(found)


def _when(found: dict[str, Any]) -> str:
    turns_needed, tokens = found["turns"], found["instruction_tokens"]
    length = "at no length of conversation" if turns_needed is None else f"from {turns_needed} turns on"
    words = "at no length of instruction" if tokens is None else f"from {tokens:,} tokens of instruction on"
    most = f"up to {found['surcharge']:.2f} times the base price"
    return f"Tuning pays {length} at this instruction, {words} at this length, and {most}."


def tables(result: dict[str, Any]) -> RenderableType:
    """Everything for the terminal."""
    arms = Table(title="A conversation with each arm", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings, lines = _arm_lines(result)
    for heading in headings:
        arms.add_column(heading, justify="left" if heading in headings[:3] else "right")
    for line in lines:
        arms.add_row(*line)
    grid = Table(title=GRID_TITLE, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings, lines = _grid_lines(result)
    for heading in headings:
        grid.add_column(heading, justify="right")
    for line in lines:
        grid.add_row(*line)
    return Group(arms, grid, Text(conclusion(result), style="bold"))


GRID_TITLE = "What tuning saves of repeating in every turn, and up to which surcharge it does"


def _arm_lines(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for arm, placement, which in ARMS:
        rows = [row for row in result["rows"] if row["arm"] == arm]
        prompt, cached = (sum(row[name] for row in rows) for name in ("prompt_tokens", "cached_tokens"))
        cost = rows[-1]["cost_so_far_usd"]
        lines.append(
            [arm, placement, result["models"][which]["name"], f"{prompt:,}", show.percent(cached / prompt), _usd(cost)]
        )
    return ["arm", "strategy", "model", "prompt tokens", "cached", "cost"], lines


def _grid_lines(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    cells = {(cell["instruction"], cell["turns"]): cell for cell in result["grid"]}
    headings = ["instruction", *(f"{turns} turns" for turns in LENGTHS)]
    lines = [[f"{i:,} tokens", *(_cell_text(cells[i, t]) for t in LENGTHS)] for i in INSTRUCTIONS]
    return headings, lines


def _cell_text(cell: dict[str, Any]) -> str:
    return f"{cell['saving_share']:+.0%} (×{cell['surcharge']:.2f})"


def _usd(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 else f"${value:.6f}"


def markdown(result: dict[str, Any]) -> str:
    """The report as Markdown."""
    shape = result["shape"]
    prices = [
        f"- {which}: {one['name']} ({one['price_source']}; prefix cache {one['cache_rule']}), USD per million tokens: "
        + ", ".join(f"{kind} {rate:g}" for kind, rate in one["usd_per_million_tokens"].items())
        for which, one in result["models"].items()
    ]
    return "\n".join(
        [
            "# When tuning pays",
            "",
            made_by(result),
            "No model was run: tokens follow from the lengths, cached ones from the provider's rule.",
            "",
            conclusion(result),
            "",
            f"{shape['turns']} turns, instruction {shape['instruction']}, user {shape['user']}, "
            f"answer {shape['answer']} tokens.",
            "",
            *prices,
            "",
            *markdown_table(*_arm_lines(result), left=3),
            "",
            f"{GRID_TITLE}:",
            "",
            *markdown_table(*_grid_lines(result), left=1),
            "",
        ]
    )
