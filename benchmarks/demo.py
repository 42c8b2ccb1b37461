"""`make demo`: the same 20-turn conversations with every arm, over the OpenAI API, side by side."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, results, summary
from benchmarks.client import Client, Conversation, UnexpectedArm, together
from benchmarks.script import Script

EXPERIMENT = "gatt-vs-repeat"
DEALT_ARMS = ("gatt", "repeat")
ARMS = (*DEALT_ARMS, "untreated")
SPLIT = "unseen_attributes"
TURNS = 20
UNTIL_FULL_AT_MOST_TURNS = 300
"""Where a conversation is given up on as one that never fills its window."""


async def converse(
    url: str,
    scripts: Sequence[Script],
    *,
    to_the_end: int,
    turns: int = TURNS,
    concurrency: int = 16,
    on_answer: Callable[[Conversation], None] = lambda _: None,
) -> dict[str, list[Conversation]]:
    """Hold every script with every arm: first where the gateway deals it, then with the others by name.

    Args:
        url: the gateway, without `/v1`.
        to_the_end: how many scripts go on past `turns` until their window is full.

    Returns:
        Arm → its conversations, in the order of the scripts.
    """
    run = uuid.uuid4().hex[:8]
    async with Client(url, concurrency=concurrency, on_answer=on_answer) as client:

        async def hold(script: Script, arm: str | None, until_full: int) -> Conversation:
            model = f"{EXPERIMENT}:{arm}" if arm else EXPERIMENT
            conversation_id = f"demo-{run}-{script.id}-{arm or 'dealt'}"
            return await client.hold(script, model, conversation_id, turns=turns, until_full=until_full)

        async def dealt_and_other(script: Script, until_full: int) -> list[Conversation]:
            dealt = await hold(script, None, until_full)
            if dealt.arm not in DEALT_ARMS:
                raise UnexpectedArm(f"{EXPERIMENT} dealt the arm {dealt.arm!r}, not one of {', '.join(DEALT_ARMS)}")
            other = next(arm for arm in DEALT_ARMS if arm != dealt.arm)
            return [dealt, await hold(script, other, until_full)]

        async def single(script: Script, until_full: int) -> list[Conversation]:
            return [await hold(script, ARMS[-1], until_full)]

        async def all_arms(script: Script, until_full: int) -> list[Conversation]:
            pair, untreated = await together([dealt_and_other(script, until_full), single(script, until_full)])
            return [*pair, *untreated]

        per_script = await together(
            all_arms(script, UNTIL_FULL_AT_MOST_TURNS if i < to_the_end else 0) for i, script in enumerate(scripts)
        )
    return {arm: [c for held in per_script for c in held if c.arm == arm] for arm in ARMS}


def report(by_arm: dict[str, list[Conversation]], seconds: float, turns: int = TURNS) -> dict[str, Any]:
    """The whole of `.demo/result.json`."""
    conversations = [c for of_arm in by_arm.values() for c in of_arm]
    return {
        **results.header(),
        "split": SPLIT,
        "conversations": len(next(iter(by_arm.values()))),
        "turns": turns,
        "seconds": round(seconds, 1),
        "price_usd_per_million": summary.price_usd_per_million(conversations),
        "turns_until_full_measured_on": min(sum(c.window_full for c in of_arm) for of_arm in by_arm.values()),
        "context_window": next((row["context_window"] for c in conversations for row in c.rows), None),
        "arms": {arm: summary.arm(of_arm, turns) for arm, of_arm in by_arm.items()},
    }


def run(
    url: str,
    scripts: Sequence[Script],
    folder: Path,
    *,
    to_the_end: int,
    concurrency: int,
    on_answer: Callable[[Conversation], None] = lambda _: None,
) -> dict[str, Any]:
    """Hold the conversations and write `result.json` and `plot.png` into `folder`."""
    started = time.perf_counter()
    by_arm = asyncio.run(converse(url, scripts, to_the_end=to_the_end, concurrency=concurrency, on_answer=on_answer))
    result = report(by_arm, time.perf_counter() - started)
    results.write(folder / "result.json", result)
    plots.comparison(result["arms"], folder / "plot.png")
    return result
