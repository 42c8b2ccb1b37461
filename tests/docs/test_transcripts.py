"""Commands of the docs that a gateway answers, given to one that was started for them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from benchmarks.server import Server, serve
from tests.docs.blocks import ROOT, Block, blocks, of_page
from tests.docs.commands import command_lines, requests_to

pytestmark = pytest.mark.slow
FEWER = {"traffic.py 0 24": "traffic.py 0 3", "traffic.py 24 160": "traffic.py 3 5"}
"""A test is no experiment: how many conversations the walk-through holds here."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as started:
        yield started


@pytest.fixture(scope="module")
def transcripts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("transcripts", ROOT / "docs/transcripts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_in(text: str) -> set[str]:
    """What the rows and columns of printed tables are called: words, no figures."""
    cells = (cell.strip() for line in text.splitlines() for cell in re.split(r"[│┃]|\s{2,}", line))
    return {cell for cell in cells if re.fullmatch(r"[A-Za-z][A-Za-z -]*", cell) and cell not in ("gatt", "repeat")}


@pytest.mark.timeout(400)  # a dozen commands, one after the other
@pytest.mark.parametrize("name", ["quickstart.md", "ab-test.md"])
def test_what_a_page_shows_is_what_its_commands_print(
    name: str, server: Server, transcripts: ModuleType, tmp_path: Path
) -> None:
    assert name in transcripts.PAGES
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for many, few in FEWER.items():
        page = page.replace(many, few)
    pairs = list(transcripts.transcripts(page, server, tmp_path))
    assert pairs
    for shown, printed in pairs:
        assert shown.strip(), "python docs/transcripts.py fills the page in"
        assert names_in(shown) - names_in(printed) == set()


REQUESTS = [
    (block, line)
    for block in blocks("sh", "bash", "console", "shell", "")
    for line in command_lines(block)
    if "curl " in line
]


@pytest.mark.parametrize(("block", "line"), REQUESTS, ids=lambda one: str(one)[:60])
def test_a_request_with_curl_is_answered(block: Block, line: str, server: Server) -> None:
    """One that holds a placeholder may find nothing, but its route and its fields are there."""
    for asked in requests_to(line, "http://127.0.0.1:8000"):
        url = asked.url.replace("http://127.0.0.1:8000", server.url)
        answer = httpx.request(asked.method, url, headers=asked.headers, json=asked.body, timeout=60, trust_env=False)
        if "…" in line:
            assert answer.status_code in (200, 404), answer.text
            assert "Unknown request URL" not in answer.text
        else:
            assert answer.status_code == 200, answer.text


PYTHON = [block for block in of_page(ROOT / "README.md") if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_the_python_of_the_readme_runs(block: Block, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    exec(block.text.replace("http://127.0.0.1:8000", server.url), {})
    assert "Peru" in capsys.readouterr().out
