"""What README.md and the pages under docs/ show as code.

A block's language says what is done with it:

- `toml` that names upstreams is a whole config, which `gattway check` must pass; other `toml` is an excerpt, which must
  be good within `around.toml`; `toml title="FILE"` with another name than gattway.toml belongs to another tool.
- `sh` and `console` hold commands and nothing else. Blocks without a language are shown text, whose lines that begin
  with the name of a program (`commands.PROGRAMS`) are commands too.
- `python` must compile, `json` and `yaml` must parse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("[A-Z]*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("README.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
_parser = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its page, the line where it begins, its language and title ("" where there is none)."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All blocks in one of the languages; "" is a block without one."""
    return [block for page in PAGES for block in of_page(page) if block.language in languages]


def of_page(page: Path) -> list[Block]:
    """A page's blocks, from top to bottom."""
    found = []
    for token in _parser.parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block") and token.map:
            language, _, rest = token.info.partition(" ")
            title = re.search(r'title="([^"]*)"', rest)
            name = page.relative_to(ROOT).as_posix()
            found.append(Block(name, token.map[0] + 1, language, title[1] if title else "", token.content))
    return found


def inline_code(page: Path) -> list[tuple[int, str]]:
    """Line and text of what stands in backticks within a page's sentences."""
    return [
        (token.map[0] + 1, child.content)
        for token in _parser.parse(page.read_text(encoding="utf-8"))
        if token.type == "inline" and token.map
        for child in token.children or ()
        if child.type == "code_inline"
    ]
