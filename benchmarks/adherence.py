"""`make bench`: adherence, tokens and cost by split, arm and turn, over every script."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks import results, show, summary
from benchmarks.client import Client, Conversation, together
from benchmarks.demo import ARMS, EXPERIMENT
from benchmarks.script import Script

PER_FAMILY_TURNS = (1, 2, 6, 20)


def at_most(scripts: Sequence[Script], limit: int | None) -> list[Script]:
    """The first `limit` scripts of each split."""
    seen: dict[str, int] = defaultdict(int)
    kept = []
    for script in scripts:
        seen[script.split] += 1
        if limit is None or seen[script.split] <= limit:
            kept.append(script)
    return kept


def run(
    url: str,
    scripts: Sequence[Script],
    folder: Path,
    *,
    turns: int,
    concurrency: int,
    on_answer: Callable[[Conversation], None] = lambda _: None,
) -> dict[str, Any]:
    """Hold every script with every arm and write `adherence.json` and `adherence.md` into `folder`."""
    started = time.perf_counter()
    held = asyncio.run(_converse(url, scripts, turns, concurrency, on_answer))
    result = report(held, turns, time.perf_counter() - started)
    results.write(folder / "adherence.json", result)
    results.write_text(folder / "adherence.md", markdown(result))
    return result


async def _converse(
    url: str,
    scripts: Sequence[Script],
    turns: int,
    concurrency: int,
    on_answer: Callable[[Conversation], None],
) -> list[Conversation]:
    run_id = uuid.uuid4().hex[:8]
    async with Client(url, concurrency=concurrency, on_answer=on_answer) as client:
        return await together(
            client.hold(script, f"{EXPERIMENT}:{arm}", f"bench-{run_id}-{script.id}-{arm}", turns=turns)
            for script in scripts
            for arm in ARMS
        )


def report(held: Sequence[Conversation], turns: int, seconds: float) -> dict[str, Any]:
    """The whole of `adherence.json`: a row per split, arm and turn, and the same by family, at a few turns."""
    groups = _grouped(held, lambda c: c.script.split)
    families = _grouped(held, lambda c: "+".join(c.script.families) or "none")
    return {
        **results.header(),
        "turns": turns,
        "seconds": round(seconds, 1),
        "price_usd_per_million": summary.price_usd_per_million(held),
        "rows": [row for (split, arm), of in groups.items() for row in _rows(split, arm, of, turns)],
        "families": [_family(family, arm, of, turns) for (family, arm), of in sorted(families.items())],
    }


Group = tuple[str, str]


def _grouped(held: Sequence[Conversation], key: Callable[[Conversation], str]) -> dict[Group, list[Conversation]]:
    """(key, arm) → conversations, in the order first seen."""
    groups: dict[Group, list[Conversation]] = defaultdict(list)
    for conversation in held:
        groups[key(conversation), conversation.arm].append(conversation)
    return groups


def _rows(split: str, arm: str, conversations: Sequence[Conversation], turns: int) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "arm": arm,
            "strategy": conversations[0].rows[0]["strategy"],
            "model": conversations[0].rows[0]["model"],
            "conversations": len(conversations),
            **summary.at_turn(conversations, turn),
        }
        for turn in range(1, turns + 1)
    ]


def _family(family: str, arm: str, conversations: Sequence[Conversation], turns: int) -> dict[str, Any]:
    at = {f"turn_{t}": summary.at_turn(conversations, t)["adherence"] for t in PER_FAMILY_TURNS if t <= turns}
    splits = sorted({c.script.split for c in conversations})
    return {"family": family, "splits": splits, "arm": arm, "conversations": len(conversations), **at}


def _shown(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the report: a line per split and arm."""
    turns = [turn for turn in show.TURNS_SHOWN if turn <= result["turns"]]
    lines: dict[Group, list[dict[str, Any]]] = defaultdict(list)
    for row in result["rows"]:
        lines[row["split"], row["arm"]].append(row)
    headings = ["split", "arm", "conversations", *(f"t{turn}" for turn in turns), "facts", "prompt tokens", "cost USD"]
    cells = [
        [
            split,
            arm,
            str(rows[0]["conversations"]),
            *(_with_interval(rows[turn - 1]) for turn in turns),
            show.percent(summary.mean(row["facts"] for row in rows if row["facts"] is not None)),
            show.number(summary.total([row["prompt_tokens"] for row in rows])),
            show.usd(summary.total([row["cost_usd"] for row in rows])),
        ]
        for (split, arm), rows in lines.items()
    ]
    return headings, cells


def _with_interval(row: dict[str, Any]) -> str:
    if row["adherence"] is None:
        return show.UNKNOWN
    low, high = row["adherence_interval"]
    return f"{show.percent(row['adherence'])} [{100 * low:.0f}, {100 * high:.0f}]"


def table(result: dict[str, Any]) -> Table:
    """The report for a terminal."""
    headings, cells = _shown(result)
    drawn = Table(
        title="Answers that follow the instruction [95 % Wilson interval]", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for i, heading in enumerate(headings):
        drawn.add_column(heading, justify="left" if i < 2 else "right")
    for line in cells:
        drawn.add_row(*line)
    return drawn


def markdown(result: dict[str, Any]) -> str:
    """The report as Markdown: by split, then by family."""
    headings, cells = _shown(result)
    machine = result["machine"]
    at = [name for name in result["families"][0] if name.startswith("turn_")]
    return "\n".join(
        [
            "# Adherence by arm and turn",
            "",
            f"Made by `{result['command']}` on {result['created_at']}, in {result['seconds']:.0f} s: "
            f"{machine['processor']}, {machine['cores']} cores.",
            "Share of answers that follow the instruction [95 % Wilson interval]; tokens and cost are means per "
            f"conversation of {result['turns']} turns.",
            "",
            *_markdown_table(headings, cells, left=2),
            "",
            "## By family",
            "",
            *_markdown_table(
                ["family", "split", "arm", "conversations", *(name.replace("turn_", "t") for name in at)],
                [
                    [
                        row["family"],
                        ", ".join(row["splits"]),
                        row["arm"],
                        str(row["conversations"]),
                        *(show.percent(row[name]) for name in at),
                    ]
                    for row in result["families"]
                ],
                left=3,
            ),
            "",
        ]
    )


def _markdown_table(headings: Sequence[str], cells: Sequence[Sequence[str]], left: int) -> list[str]:
    rule = ["---" if i < left else "---:" for i in range(len(headings))]
    return [f"| {' | '.join(line)} |" for line in (headings, rule, *cells)]
