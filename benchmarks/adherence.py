"""`make bench`: adherence, tokens and cost by split, arm and turn, over every script."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from adherence.judges import Agreement
from benchmarks import plots, results, show, summary
from benchmarks.client import Answer, Client, Conversation, together
from benchmarks.demo import ARMS, EXPERIMENT
from benchmarks.journal import Journal
from benchmarks.markdown import made_by
from benchmarks.markdown import table as markdown_table
from benchmarks.script import Script

PER_FAMILY_TURNS = (2, 6, 20)
JUDGE_SAMPLE = 0.1
"""Share of the scripts that checks decide which a judge reads too, so that both can be compared."""
DEFAULT_ARMS = tuple(f"{EXPERIMENT}:{arm}" for arm in ARMS)


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
    arms: Sequence[str] = DEFAULT_ARMS,
    judge: str | None = None,
    judge_sample: float = JUDGE_SAMPLE,
    on_answer: Callable[[Conversation], None] = lambda _: None,
) -> dict[str, Any]:
    """Hold every script with every arm (`EXPERIMENT:ARM` or a model); write `adherence.json`, `.md` and `.png`."""
    started = time.perf_counter()
    same = [url, turns, judge, judge_sample, [script.id for script in scripts]]
    journal = Journal(folder / "adherence.journal.jsonl", same)
    client = Client(url, concurrency=concurrency, judge=judge, judge_sample=judge_sample, on_answer=on_answer)
    held = asyncio.run(_converse(client, scripts, turns, arms, journal, on_answer))
    result = report(held, turns, time.perf_counter() - started, judge)
    results.write(folder / "adherence.json", result)
    results.write_text(folder / "adherence.md", markdown(result))
    plots.curves({arm: curve(held, arm, turns) for arm in dict.fromkeys(c.arm for c in held)}, folder / "adherence.png")
    journal.done()
    return result


def curve(held: Sequence[Conversation], arm: str, turns: int) -> dict[str, Any]:
    """An arm's adherence by turn with its intervals, over all splits."""
    at = [summary.at_turn([one for one in held if one.arm == arm], turn) for turn in range(1, turns + 1)]
    return {
        "adherence_by_turn": [one["adherence"] for one in at],
        "adherence_interval_by_turn": [one["adherence_interval"] for one in at],
    }


async def _converse(
    client: Client,
    scripts: Sequence[Script],
    turns: int,
    arms: Sequence[str],
    journal: Journal,
    on_answer: Callable[[Conversation], None],
) -> list[Conversation]:
    run_id = uuid.uuid4().hex[:8]
    async with client:

        async def hold(script: Script, arm: str) -> Conversation:
            if known := journal.get(script, arm):
                for _ in known.answers:
                    on_answer(known)
                return known
            name = arm.rpartition(":")[2]
            conversation = await client.hold(script, arm, f"bench-{run_id}-{script.id}-{name}", turns=turns)
            conversation.arm = conversation.arm or name
            journal.add(conversation)
            return conversation

        return await together(hold(script, arm) for script in scripts for arm in arms)


def report(held: Sequence[Conversation], turns: int, seconds: float, judge: str | None = None) -> dict[str, Any]:
    """The whole of `adherence.json`: a row per split, arm and turn, and the same by family, at a few turns."""
    groups = _grouped(held, lambda c: c.script.split)
    families = _grouped(held, lambda c: "+".join(c.script.families) or "none")
    return {
        **results.header(),
        "turns": turns,
        "seconds": round(seconds, 1),
        "price_usd_per_million": summary.price_usd_per_million(held),
        "judge": judge and _judge(judge, [answer for one in held for answer in one.answers if answer.was_judged]),
        "rows": [row for (split, arm), of in groups.items() for row in _rows(split, arm, of, turns)],
        "families": [_family(family, arm, of, turns) for (family, arm), of in sorted(families.items())],
    }


def _judge(model: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """What a judge was asked, how often it gave no verdict, and how it agrees with the checks where both decided."""
    pairs = [(one.judged, bool(one.adherent)) for one in answers if one.by_checks and one.judged is not None]
    return {
        "model": model,
        "asked": len(answers),
        "unknown": sum(one.judged is None for one in answers),
        "decided": sum(one.judged is not None and not one.by_checks for one in answers),
        "agreement_with_checks": asdict(Agreement.of(pairs)),
    }


def judge_in_words(result: dict[str, Any]) -> list[str]:
    """How far the judge can be believed, as a sentence; none without a judge."""
    judge = result["judge"]
    if judge is None:
        return []
    agreement = judge["agreement_with_checks"]
    agrees = "no answer was decided by both the checks and the judge, so nothing says how far to believe it"
    if agreement["n"]:
        kappa = "unknown: one side always said the same" if agreement["kappa"] is None else f"{agreement['kappa']:.2f}"
        agrees = f"it agrees with the checks on {show.percent(agreement['share'])} of {agreement['n']} (κ {kappa})"
    return [
        f"The judge {judge['model']} was asked about {judge['asked']:,} answers and gave no verdict on "
        f"{judge['unknown']:,}, which count as unknown; it decided {judge['decided']:,} that no check could; {agrees}."
    ]


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


def _shown(result: dict[str, Any], adherence: Callable[[dict[str, Any]], str]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the report, a line per split and arm; `adherence` words one row's."""
    turns = [turn for turn in show.TURNS_SHOWN if turn <= result["turns"]]
    lines: dict[Group, list[dict[str, Any]]] = defaultdict(list)
    for row in result["rows"]:
        lines[row["split"], row["arm"]].append(row)
    headings = ["split", "arm", "n", *(f"t{turn}" for turn in turns), "facts", "prompt tokens", "cost USD"]
    cells = [
        [
            split,
            arm,
            str(rows[0]["conversations"]),
            *(adherence(rows[turn - 1]) for turn in turns),
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
    """The report for a terminal, without intervals."""
    headings, cells = _shown(result, lambda row: show.percent(row["adherence"]))
    drawn = Table(title="Answers that follow the instruction", box=box.SIMPLE_HEAD, padding=0)
    for i, heading in enumerate(headings):
        drawn.add_column(heading.replace(" ", "\n"), justify="left" if i < 2 else "right")
    for line in cells:
        drawn.add_row(*line)
    return drawn


def markdown(result: dict[str, Any]) -> str:
    """The report as Markdown: by split with intervals, then by family."""
    headings, cells = _shown(result, _with_interval)
    return "\n".join(
        [
            "# Adherence by arm and turn",
            "",
            made_by(result),
            f"`n` conversations of {result['turns']} turns each. t1, t2 …: share of the answers at that turn that "
            "follow the instruction (that stay plain, where there is none), with its 95 % Wilson interval. "
            "Tokens and cost are means per conversation.",
            "",
            *markdown_table(headings, cells, left=2),
            "",
            *(line for sentence in judge_in_words(result) for line in (sentence, "")),
            "## By family",
            "",
            *_family_table(result),
            "",
        ]
    )


def _family_table(result: dict[str, Any]) -> list[str]:
    """A line per family, with every arm's adherence at a few turns beside each other."""
    turns = [turn for turn in PER_FAMILY_TURNS if turn <= result["turns"]]
    names = list(dict.fromkeys(row["arm"] for row in result["families"]))
    families: dict[Group, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in result["families"]:
        families[", ".join(row["splits"]), row["family"]][row["arm"]] = row
    lines = [
        [
            split,
            family,
            str(next(iter(arms.values()))["conversations"]),
            *(show.percent(arms.get(arm, {}).get(f"turn_{turn}")) for arm in names for turn in turns),
        ]
        for (split, family), arms in sorted(families.items())
    ]
    return markdown_table(
        ["split", "family", "n", *(f"{arm} t{turn}" for arm in names for turn in turns)], lines, left=2
    )
