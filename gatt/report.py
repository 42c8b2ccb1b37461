"""Evaluation results as tables: for the terminal and for the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_TURNS = (1, 2, 4, 6, 10, 15, 20)
Line = tuple[str, Mapping[str, Any]]


def lines(results: Mapping[str, Any]) -> list[Line]:
    """(label, summary) of every figure in an evaluation's results, the tuned model first."""
    found = [(f"tuned, once, {split}", summary) for split, summary in results["splits"].items()]
    for strategy, splits in results["base"].items():
        found += [(f"base, {strategy}, {split}", summary) for split, summary in splits.items()]
    return found


def percent(share: float | None) -> str:
    """A share for people; a dash where nothing was observed."""
    return "–" if share is None else f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def at(summary: Mapping[str, Any], turn: int) -> float | None:
    """Adherence at a turn counted from 1; None beyond the end."""
    shares: Sequence[float | None] = summary["adherence_by_turn"]
    return shares[turn - 1] if turn <= len(shares) else None


def table(results: Mapping[str, Any]) -> Table:
    """The results as a table for the terminal."""
    from rich.table import Table

    made = Table(title="Adherence by turn", padding=(0, 0, 0, 1))
    for column in ("", "n", *(str(turn) for turn in SHOWN_TURNS), "lowest", "facts"):
        made.add_column(column, justify="right" if column else "left")
    for label, summary in lines(results):
        made.add_row(label, *cells(summary))
    return made


def cells(summary: Mapping[str, Any]) -> list[str]:
    """n, adherence at the shown turns, its lowest over all turns, and facts."""
    shares = [share for share in summary["adherence_by_turn"] if share is not None]
    shown = [percent(at(summary, turn)) for turn in SHOWN_TURNS]
    return [str(summary["n"]), *shown, percent(min(shares, default=None)), percent(summary["facts"])]


def markdown(results: Mapping[str, Any]) -> str:
    """The same table as Markdown."""
    head = ["", "n", *(f"turn {turn}" for turn in SHOWN_TURNS), "lowest turn", "facts"]
    rows = [[label, *cells(summary)] for label, summary in lines(results)]
    return table_markdown(head, rows)


def families_markdown(results: Mapping[str, Any], turns: Sequence[int] = (1, 2, 6, 10, 20)) -> str:
    """Families never tuned on, one a row: the tuned model told once, and the base told in every turn."""
    tuned = results["splits"]["unseen_families"]["families"]
    base = results["base"]["every-turn"]["unseen_families"]["families"]
    head = ["family", "n", *(f"turn {turn}" for turn in turns), "base, told in every turn, turn 6"]
    rows = []
    for name, summary in tuned.items():
        shares = [percent(at(summary, turn)) for turn in turns]
        rows.append([name, str(summary["n"]), *shares, percent(at(base[name], 6))])
    return table_markdown(head, rows)


def changes_markdown(results: Mapping[str, Any], turns: Sequence[int] = (1, 2, 5, 10)) -> str:
    """Answers after the user cancelled or replaced the instruction, by turns since then."""
    head = ["", "n", *(f"{turn} turn{'s' * (turn > 1)} after" for turn in turns), "all turns after"]
    rows = []
    for label, summary in lines(results):
        if "after_change" in summary:
            changed = summary["after_change"]
            rows.append([label, str(summary["n"]), *(percent(at(changed, turn)) for turn in turns)])
            rows[-1].append(percent(changed["share"]))
    return table_markdown(head, rows)


def table_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(row) for row in rows)])
