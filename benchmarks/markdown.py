"""Pieces of the Markdown reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Lines of a table; its first `left` columns are words, the rest figures."""
    rule = ["---" if i < left else "---:" for i in range(len(headings))]
    return [f"| {' | '.join(line)} |" for line in (headings, rule, *lines)]


def made_by(result: dict[str, Any]) -> str:
    """By which command, when and on what a result was made, from its header."""
    machine = result["machine"]
    return (
        f"Made by `{result['command']}` on {result['created_at'][:10]} "
        f"({machine['processor']}, {machine['cores']} cores, Python {machine['python']})."
    )
