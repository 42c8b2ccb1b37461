"""`gattway serve` as a user starts it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def started(folder: Path, *options: str) -> Iterator[str]:
    """Serve from `folder`, by its gattway.toml if there is one; yields the base URL. Stops with exit code 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        yield next(line for line in lines if "serves on" in line).split("serves on ")[1].split("/v1")[0]
        process.terminate()
        assert process.wait(30) == 0
