"""What docs/keys.md and docs/auxiliary-requests.md show is what gattway does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.__main__ import main
from gateway.auxiliary import BUILT_IN
from gateway.settings import EMBEDDED_CONFIG, load

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("keys.md", "auxiliary-requests.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "toml")])
def test_every_table_of_the_pages_is_good_in_a_config(block: str, tmp_path: Path) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(EMBEDDED_CONFIG.read_text() + block)
    load(path)


def test_the_command_that_makes_a_key_prints_what_the_page_shows() -> None:
    (command,) = [line[2:] for block in blocks("keys.md", "console") for line in block.splitlines()]
    printed = CliRunner().invoke(main, shlex.split(command)[1:])
    assert printed.exit_code == 0
    table = printed.output.split("For gattway.toml:\n\n")[1]
    without_hash = re.compile(r'hash = "sha256:[0-9a-f]{64}"')
    assert without_hash.sub("", table) in without_hash.sub("", blocks("keys.md", "toml")[0])


def test_the_page_names_every_shipped_rule() -> None:
    table = (DOCS / "auxiliary-requests.md").read_text()
    assert [name for name in BUILT_IN if f"`{name}`" not in table] == []
