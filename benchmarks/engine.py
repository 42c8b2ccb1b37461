"""`python -m benchmarks engine`: how fast the embedded models are served in process.

Against transformers' `generate` as the engine measures itself, and over HTTP against `transformers serve`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import engine_serving, results
from benchmarks.markdown import made_by
from benchmarks.markdown import table as markdown_table
from benchmarks.server import ServerFailed

SHOWN_TURNS = (1, 2, 5, 10, 20)
PROMPT_WORDS = 75
"""Of four letters each, about 300 tokens of the embedded models."""


class EngineFailed(Exception):
    """A measurement ended with an error; the message is what it printed."""


def run(model_folder: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Measure in processes of their own and write `engine.json` and `engine.md` into `folder`.

    Raises:
        EngineFailed: the model could not be loaded or measured.
    """
    command = [sys.executable, "-m", "gateway.upstreams.local", "--json"]
    done = subprocess.run(
        [*command, "--folder", str(model_folder), "--rounds", str(rounds)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineFailed(done.stderr.strip())
    measured = json.loads(done.stdout)
    try:
        serving = engine_serving.compare(model_folder, rounds, PROMPT_WORDS, measured["new_tokens"])
    except ServerFailed as error:
        raise EngineFailed(str(error)) from error
    result = {
        **results.header(),
        "model": model_folder.name,
        **{name: measured[name] for name in ("prompt_tokens", "new_tokens", "throughput", "first_token")},
        "serving": serving,
    }
    results.write(folder / "engine.json", result)
    results.write_text(folder / "engine.md", markdown(result))
    return result


def markdown(result: dict[str, Any]) -> str:
    """Throughput against transformers' batched `generate` and its server, and time to first token by turn."""
    throughput = [
        [
            str(row["streams"]),
            f"{row['tokens_per_second']:,.0f}",
            f"{row['generate_tokens_per_second']:,.0f}",
            f"{row['ratio']:.2f} [{row['ratio_min']:.2f}, {row['ratio_max']:.2f}]",
        ]
        for row in result["throughput"]
    ]
    serving = [
        [
            str(row["streams"]),
            f"{row['gateway_tokens_per_second']:,.0f}",
            f"{row['transformers_serve_tokens_per_second']:,.0f}",
            f"{row['ratio']:.2f} [{row['ratio_min']:.2f}, {row['ratio_max']:.2f}]",
        ]
        for row in result["serving"]
    ]
    first_token = [
        [str(row["turn"]), str(row["prompt_tokens"]), f"{row['ttft_ms']:.0f}", f"{row['ttft_without_reuse_ms']:.0f}"]
        for row in result["first_token"]
        if row["turn"] in SHOWN_TURNS
    ]
    return "\n".join(
        [
            f"# {result['model']} in process",
            "",
            made_by(result),
            f"Prompts of {result['prompt_tokens']} tokens, {result['new_tokens']} new ones each; "
            "`generate` is transformers' own, on the same prompts as one batch.",
            "",
            *markdown_table(["streams", "tokens/s", "generate tokens/s", "ratio [spread]"], throughput),
            "",
            "Over HTTP, the whole gateway against `transformers serve`:",
            "",
            *markdown_table(["streams", "gattway tokens/s", "transformers serve tokens/s", "ratio [spread]"], serving),
            "",
            "One conversation, its whole history resent every turn:",
            "",
            *markdown_table(["turn", "prompt tokens", "first token, ms", "without prefix reuse, ms"], first_token),
            "",
        ]
    )
