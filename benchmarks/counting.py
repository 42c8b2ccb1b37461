"""What counting costs: a turn with a long history against one with a short, and what a very long body does to others.

The first is measured in this process on the counter and the placements that the gateway uses, the second over HTTP:
small requests are timed while a body of 100,000 tokens is under way, and while none is.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import results
from benchmarks.markdown import made_by
from benchmarks.markdown import table as markdown_table
from benchmarks.server import GATTWAY_SERVE, serve
from gateway.accounting.placement import MEMORY_LIMIT, Memory, Turn, comparable, count_placement
from gateway.accounting.remembered import Recent
from gateway.accounting.tokens import TiktokenCounter
from strategies import Message, make

ENCODING_OF = "gpt-4o"
HISTORIES = (4, 400)
"""Messages ahead of the new one; field notes' lengths: 40 tokens a question, 200 an answer."""
USER_WORDS, ANSWER_WORDS, SYSTEM_WORDS = 30, 155, 60
BODY_WORDS = 76_000
PROBES_EVERY_S = 0.002
_KNOWN = ["the", "a", "of", "model", "answer", "instruction", "token", "turn", "window", "cost", "history", "to", "is"]


def run(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure, and write `counting.json` and `counting.md` into `folder`."""
    counted = {"two": history(rounds, ("once", "every-turn")), "all": history(rounds, None)}
    result = {**results.header(), "rounds": rounds, "history": counted, "event_loop": event_loop(rounds)}
    results.write(folder / "counting.json", result)
    results.write_text(folder / "counting.md", markdown(result))
    return result


def words(count: int, pick: random.Random) -> str:
    """Text of so many words, four in five of them common ones."""
    return " ".join(pick.choice(_KNOWN) if pick.random() < 0.8 else f"w{pick.randrange(10**5)}" for _ in range(count))


def history(rounds: int, compare: Sequence[str] | None) -> dict[str, Any]:
    """Milliseconds to count one turn, whose history the turn before has counted, by messages of history.

    Every round is another conversation, counted for the strategies to compare (all when None); the lengths take turns.
    The ratio is of the quickest rounds: what other processes do to the rest is not what is measured.
    """
    counter, strategy = TiktokenCounter(ENCODING_OF), make("every-turn")
    others = comparable(compare, None)
    times: dict[int, list[float]] = {length: [] for length in HISTORIES}
    memory: Memory = Recent(MEMORY_LIMIT)
    for number in range(rounds * 20):
        for length in HISTORIES:
            messages = _conversation(length + 1, random.Random(f"{number}/{length}"))
            before = messages[:-2]
            count_placement(counter, Turn(before, strategy.place(before), strategy, continues=True), others, memory)
            messages = json.loads(json.dumps(messages))  # as a client's next request has them
            placed = strategy.place(messages)
            began = time.perf_counter()
            count_placement(counter, Turn(messages, placed, strategy, continues=True), others, memory)
            times[length].append((time.perf_counter() - began) * 1e3)
    short, long = (min(times[length]) for length in HISTORIES)
    return {
        "strategies": ["every-turn", *(name for name in others if name != "every-turn")],
        "ms_by_history": {str(length): _spread(times[length]) for length in HISTORIES},
        "ratio": long / short,
    }


def _conversation(count: int, pick: random.Random) -> list[Message]:
    """A system message and `count` more, a question last."""
    messages: list[Message] = [{"role": "system", "content": words(SYSTEM_WORDS, pick)}]
    for index in range(count):
        is_user = (count - index) % 2 == 1
        role, length = ("user", USER_WORDS) if is_user else ("assistant", ANSWER_WORDS)
        messages.append({"role": role, "content": words(length, pick)})
    return messages


def event_loop(rounds: int) -> dict[str, Any]:
    """Milliseconds that a small request takes beside a body of 100,000 tokens, and by itself.

    Raises:
        ServerFailed: the gateway did not start.
    """
    return asyncio.run(_probed(rounds))


async def _probed(rounds: int) -> dict[str, Any]:
    alone: list[float] = []
    beside: list[float] = []
    upstream = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=2**24)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gattway.toml"
        config.write_text(CONFIG.format(port=upstream.sockets[0].getsockname()[1]), encoding="utf-8")
        with serve([*GATTWAY_SERVE, "--config", str(config)]) as server:
            async with httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client:
                await _ask(client, "hello")
                for number in range(rounds):
                    text = words(BODY_WORDS, random.Random(number))
                    async with _probes(client, alone):
                        await asyncio.sleep(0.5)
                    async with _probes(client, beside):
                        await _ask(client, text)
    upstream.close()
    tokens = TiktokenCounter(ENCODING_OF).prompt([{"role": "user", "content": text}]).tokens
    added = statistics.median(beside) - statistics.median(alone)
    return {"body_tokens": tokens, "alone_ms": _spread(alone), "beside_ms": _spread(beside), "added_p50_ms": added}


CONFIG = """
[upstreams.stub]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
[models.{model}]
upstream = "stub"
[experiments.e.arms.repeat]
strategy = "every-turn"
model = "{model}"
""".replace("{model}", ENCODING_OF)
_COMPLETION = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"Yes."}}]}'
)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An upstream that answers every request with the same words, and no usage: the gateway has to count."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            size = b"content-length: %d\r\n\r\n" % len(_COMPLETION)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + size + _COMPLETION)
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError):
        writer.close()  # the gateway has let the connection go, or the measurement is over


async def _ask(client: httpx.AsyncClient, text: str) -> None:
    messages = [{"role": "system", "content": "Speak French."}, {"role": "user", "content": text}]
    answer = await client.post("/v1/chat/completions", json={"model": "e", "messages": messages})
    answer.raise_for_status()


@asynccontextmanager
async def _probes(client: httpx.AsyncClient, took_ms: list[float]) -> AsyncIterator[None]:
    """Small requests, one after the other, while the block lasts; their times go into `took_ms`."""

    async def probe() -> None:
        while True:
            began = time.perf_counter()
            (await client.get("/health/live")).raise_for_status()
            took_ms.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(PROBES_EVERY_S)

    task = asyncio.create_task(probe())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _spread(values: list[float]) -> dict[str, Any]:
    """Count, median and the ends of a list of milliseconds."""
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "min": ordered[0],
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


def markdown(result: dict[str, Any]) -> str:
    """The report as Markdown."""
    counted, loop = result["history"], result["event_loop"]
    lines = [
        *(
            [f"count a turn, {n} messages of history, {len(of['strategies'])} strategies", one]
            for of in counted.values()
            for n, one in of["ms_by_history"].items()
        ),
        ["a small request by itself", loop["alone_ms"]],
        [f"the same beside a body of {loop['body_tokens']:,} tokens", loop["beside_ms"]],
    ]
    cells = [
        [what, str(one["n"]), *(f"{one[name]:.2f}" for name in ("min", "p50", "p99", "max"))] for what, one in lines
    ]
    return "\n".join(
        [
            "# What counting costs",
            "",
            made_by(result),
            *(
                f"400 messages of history against 4, quickest rounds, for {', '.join(of['strategies'])}: "
                f"{of['ratio']:.2f} times."
                for of in counted.values()
            ),
            "",
            *markdown_table(["milliseconds", "n", "min", "p50", "p99", "max"], cells, left=1),
            "",
        ]
    )
