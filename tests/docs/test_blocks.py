"""Every command and every config of README.md and docs/ is one that works."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from gateway.__main__ import main
from gateway.settings import Settings
from strategies.once import Once
from strategies.registry import FACTORIES
from tests.docs.blocks import PAGES, Block, blocks, inline_code, of_page
from tests.docs.commands import Wrong, check, command_lines

OURS = ("gattway ", "gatt ", "python -m benchmarks ", "make ", "pip install ")
AROUND = tomllib.loads((Path(__file__).parent / "around.toml").read_text(encoding="utf-8"))
CONFIGS = [block for block in blocks("toml") if block.title in ("", "gattway.toml")]
WHOLE = [block for block in CONFIGS if "upstreams" in tomllib.loads(block.text)]


@pytest.fixture
def paths_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)


@pytest.mark.usefixtures("paths_need_not_be_there")
@pytest.mark.parametrize("block", blocks("sh", "bash", "console", "shell", ""), ids=str)
def test_a_command_can_be_given_as_it_stands(block: Block) -> None:
    wrong = []
    for line in command_lines(block):
        try:
            check(line)
        except Wrong as error:
            wrong.append(f"{line}: {error}")
    assert wrong == []


@pytest.mark.usefixtures("paths_need_not_be_there")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_within_a_sentence_can_be_given_too(page: Path) -> None:
    wrong = []
    for line, code in inline_code(page):
        if code.startswith(OURS) and not re.search(r"[|…*]", code):
            try:
                check(re.sub(r" N\b", " 1", code), whole=False)
            except Wrong as error:
                wrong.append(f"{page.name}:{line}: {code}: {error}")
    assert wrong == []


def set_variables_of(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in re.findall(r'_env = "(\w+)"', block.text):
        monkeypatch.setenv(variable, "unused=unused-unused-unused-unused")


@pytest.mark.parametrize("block", WHOLE, ids=str)
def test_gattway_check_passes_a_whole_config(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables_of(block, monkeypatch)
    path = tmp_path / "gattway.toml"
    path.write_text(block.text, encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "--config", str(path)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("block", [block for block in CONFIGS if block not in WHOLE], ids=str)
def test_an_excerpt_of_a_config_is_good_in_one(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables_of(block, monkeypatch)
    monkeypatch.setitem(FACTORIES, "shouted", lambda mark: Once())  # the page's own; tests/strategies installs it
    Settings(**put_into(AROUND, tomllib.loads(block.text)))


def put_into(around: dict[str, Any], excerpt: dict[str, Any]) -> dict[str, Any]:
    """The excerpt's keys over those around it, table by table."""
    both = {key: (around[key], excerpt[key]) for key in around.keys() & excerpt.keys()}
    merged = {key: put_into(*pair) if isinstance(pair[1], dict) else pair[1] for key, pair in both.items()}
    return {**around, **excerpt, **merged}


@pytest.mark.parametrize("block", [block for block in blocks("toml") if block not in CONFIGS], ids=str)
def test_a_file_of_another_tool_can_be_read(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", blocks("json", "yaml"), ids=str)
def test_json_and_yaml_can_be_read(block: Block) -> None:
    text = re.sub(r", …(?=[,\]}])", "", block.text)  # … stands for more of the same
    assert (json.loads if block.language == "json" else yaml.safe_load)(text)


def test_no_language_is_one_that_nobody_looks_at() -> None:
    """`js` is run by tests/integration/clients, `sql` by tests/gateway/ledger; `text` is what a command printed."""
    looked_at = {"", "sh", "bash", "console", "shell", "toml", "python", "json", "yaml", "js", "sql", "text"}
    odd = [str(block) for page in PAGES for block in of_page(page) if block.language not in looked_at]
    assert odd == []


@pytest.mark.usefixtures("paths_need_not_be_there")
def test_the_checks_find_what_is_wrong() -> None:
    bad = [
        "gattway serve --prot 8000",
        "gattway sreve",
        "make srve",
        "pip install 'gattway[moon]'",
        "python -m benchmarks adherance",
        "python docs/nowhere.py",
        "gatt run gatt/recipes/nowhere.toml",
        "curl http://127.0.0.1:8000/api/feedback -d '{\"a\": }'",
        "export GATTWAY_SEVER__PORT=1",
        "unheard-of --x",
        "echo 'never closed",
    ]
    for line in bad:
        with pytest.raises(Wrong):
            check(line)
