"""How fast a folder is served: tokens a second against transformers' batched `generate`, and time to first token.

Both candidates read the same prompts and make the same number of tokens, in turn, several times over, so that
what else the machine does falls on both; read the ratio before the absolute figures.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from gateway.upstreams.local.loading import few_threads, no_progress_bars
from gateway.upstreams.local.model import LocalModel
from gateway.upstreams.local.sampling import Sampling

STREAMS = (1, 4, 16)


async def measure(folder: Path, *, rounds: int, prompt_tokens: int, new_tokens: int, turns: int) -> dict[str, Any]:
    """Every figure of the table; `folder` is loaded twice, once for each candidate."""
    model = LocalModel.load(folder, max_batch=max(STREAMS))
    with no_progress_bars():
        raw: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    raw = raw.to(model.device, model.dtype).eval()
    prompt_tokens = min(prompt_tokens, model.context_window - new_tokens)
    try:
        throughput = [await _throughput(model, raw, streams, rounds, prompt_tokens, new_tokens) for streams in STREAMS]
        first_token = await _first_token(model, turns)
    finally:
        await model.close()
    return {
        "schema_version": 1,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": f"python -m gateway.upstreams.local --folder {folder}",
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "device": str(model.device),
        },
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "throughput": throughput,
        "first_token": first_token,
    }


async def _throughput(
    model: LocalModel, raw: Any, streams: int, rounds: int, prompt_tokens: int, new_tokens: int
) -> dict[str, Any]:
    served, generated = [], []
    for round_ in range(rounds + 1):
        prompts = [_prompt(raw, prompt_tokens, 1000 * streams + 100 * round_ + place) for place in range(streams)]
        started = time.perf_counter()
        await asyncio.gather(*(_answer(model, prompt, new_tokens) for prompt in prompts))
        served.append(streams * new_tokens / (time.perf_counter() - started))
        started = time.perf_counter()
        await asyncio.to_thread(_generate, raw, prompts, new_tokens)
        generated.append(streams * new_tokens / (time.perf_counter() - started))
    ratios = [ours / theirs for ours, theirs in zip(served[1:], generated[1:], strict=True)]  # the first warms up
    return {
        "streams": streams,
        "tokens_per_second": statistics.median(served[1:]),
        "generate_tokens_per_second": statistics.median(generated[1:]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def _prompt(raw: Any, length: int, seed: int) -> list[int]:
    """Tokens that no other prompt begins with, so that nothing is reused."""
    source = torch.Generator().manual_seed(seed)
    tokens: list[int] = torch.randint(raw.config.get_text_config().vocab_size, (length,), generator=source).tolist()
    return tokens


async def _answer(model: LocalModel, prompt: list[int], new_tokens: int) -> tuple[str, float]:
    """The text, and the milliseconds to its first token."""
    started = time.perf_counter()
    text, first = "", 0.0
    async for piece in model.generate(prompt, Sampling(temperature=0, max_tokens=new_tokens, ignore_end=True)):
        first = first or 1000 * (time.perf_counter() - started)
        text += piece.text
    return text, first


def _generate(raw: Any, prompts: Sequence[list[int]], new_tokens: int) -> None:
    with few_threads(raw), torch.inference_mode():
        tokens = torch.tensor(prompts, device=raw.device)
        raw.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=0,
        )


async def _first_token(model: LocalModel, turns: int) -> list[dict[str, Any]]:
    """One conversation, its history resent each turn as chat clients do, until `turns` or the window's end.

    Beside each turn's time stands that of a prompt as long of which nothing is held.
    """
    messages: list[dict[str, Any]] = []
    figures = []
    for turn in range(1, turns + 1):
        messages.append({"role": "user", "content": f"Question {turn}: what is the capital of Peru?"})
        prompt = model.render(messages)
        if len(prompt) + 16 > model.context_window:
            break
        stranger = model.render([{**messages[0], "content": f"{turn} {messages[0]['content']}"}, *messages[1:]])
        _, cold = await _answer(model, stranger[: len(prompt)], 16)
        text, first = await _answer(model, prompt, 16)
        messages.append({"role": "assistant", "content": text})
        figures.append({"turn": turn, "prompt_tokens": len(prompt), "ttft_ms": first, "ttft_without_reuse_ms": cold})
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    machine = figures["machine"]
    lines = [
        f"{machine['cores']} cores, {machine['device']}, load average {machine['load_average']:.1f}; "
        f"{figures['prompt_tokens']} prompt tokens, {figures['new_tokens']} new ones",
        "",
        "streams   tokens/s   generate   ratio (spread)",
    ]
    for row in figures["throughput"]:
        lines.append(
            f"{row['streams']:7d}   {row['tokens_per_second']:8.0f}   {row['generate_tokens_per_second']:8.0f}"
            f"   {row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        )
    lines += ["", "turn   prompt tokens   first token ms   without reuse ms"]
    shown = figures["first_token"]
    for row in [row for row in shown if row["turn"] in (1, 2, 5, 10) or row is shown[-1]]:
        lines.append(
            f"{row['turn']:4d}   {row['prompt_tokens']:13d}"
            f"   {row['ttft_ms']:14.1f}   {row['ttft_without_reuse_ms']:16.1f}"
        )
    return "\n".join(lines)
