"""A model folder served over HTTP: by the gateway in its own process, and by `transformers serve`, asked in turn."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.load.processes import Command, Process, running
from benchmarks.server import READY_WITHIN_S, ServerFailed, free_port, serve

STREAMS = (1, 4, 16)
MODEL = "measured"
TIMEOUT_S = 300.0
Body = dict[str, Any]
_CONFIG = """
[upstreams.here]
kind = "local"
[models.{name}]
upstream = "here"
folder = {folder}
"""


def compare(model_folder: Path, rounds: int, prompt_words: int, new_tokens: int) -> list[dict[str, Any]]:
    """Tokens a second of both at `STREAMS` requests at a time, the first round being for warming up.

    Prompts are of random words, none of which begins like another; every answer has `new_tokens`.

    Raises:
        ServerFailed: one of them did not start.
    """
    folder = model_folder.resolve()
    config = _CONFIG.format(name=MODEL, folder=json.dumps(str(folder)))
    with TemporaryDirectory(prefix="gattway-bench-") as scratch, serve(config=config) as gateway:
        port = free_port()
        with running(_transformers_serve(folder, port), Path(scratch), "transformers-serve", None) as process:
            other = f"http://127.0.0.1:{port}"
            _wait_until_healthy(process, other)
            asked: dict[str, tuple[str, Callable[[Body], Body]]] = {
                "gateway": (gateway.url, lambda body: {**body, "model": MODEL, "ignore_eos": True}),
                "transformers_serve": (
                    other,
                    lambda body: {**body, "model": str(folder), "generation_config": _exactly(new_tokens)},
                ),
            }
            return [_at(streams, asked, rounds, prompt_words, new_tokens) for streams in STREAMS]


def _at(
    streams: int,
    asked: dict[str, tuple[str, Callable[[Body], Body]]],
    rounds: int,
    prompt_words: int,
    new_tokens: int,
) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(rounds + 1):
        bodies = [_body(prompt_words, new_tokens, f"{streams}/{number}/{place}") for place in range(streams)]
        for name, (url, shaped) in asked.items():
            rates[name].append(asyncio.run(tokens_per_second(url, [shaped(body) for body in bodies])))
    ours, theirs = rates["gateway"][1:], rates["transformers_serve"][1:]
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        "streams": streams,
        "gateway_tokens_per_second": statistics.median(ours),
        "transformers_serve_tokens_per_second": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


async def tokens_per_second(url: str, bodies: Sequence[Body]) -> float:
    """All requests at once; the tokens of their answers, as the server counts them, over the seconds to the last."""
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
        began = time.perf_counter()
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))
        seconds = time.perf_counter() - began
    for answer in answers:
        if not answer.is_success:
            raise ServerFailed(f"status {answer.status_code}: {answer.text[:500]}")
    tokens: int = sum(answer.json()["usage"]["completion_tokens"] for answer in answers)
    return tokens / seconds


def _body(words: int, new_tokens: int, seed: str) -> Body:
    pick = random.Random(seed)
    text = " ".join("".join(pick.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _ in range(words))
    return {"messages": [{"role": "user", "content": text}], "max_tokens": new_tokens, "temperature": 0}


def _exactly(new_tokens: int) -> str:
    """transformers' own settings for an answer that neither ends early nor goes on."""
    return json.dumps({"min_new_tokens": new_tokens, "max_new_tokens": new_tokens, "do_sample": False})


def _transformers_serve(folder: Path, port: int) -> Command:
    program = Path(sys.executable).with_name("transformers")
    return Command([str(program), "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)], {})


def _wait_until_healthy(process: Process, url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        process.check()
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    raise ServerFailed(f"transformers serve was not ready within {READY_WITHIN_S:.0f} s: {process.log_tail()}")
