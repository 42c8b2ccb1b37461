"""docs/cost.md says what the code does: its config passes, its commands run, its figures are those of the formulas."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main as benchmarks
from gateway.__main__ import main as gattway
from gateway.accounting.breakeven import Shape, conversation
from gateway.accounting.cache_table import TABLE
from gateway.accounting.caching import Blocks
from gateway.accounting.prices import MILLION, Rates

PAGE = (Path(__file__).parents[3] / "docs" / "cost.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def test_its_config_is_one_that_gattway_check_passes(tmp_path: Path) -> None:
    (config,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "gattway.toml"
    path.write_text(config)
    done = CliRunner().invoke(gattway, ["check", "--config", str(path)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_there(command: str, tmp_path: Path) -> None:
    """The cost model is run; what would need a ledger or minutes is asked for its help."""
    program, *arguments = shlex.split(command.removeprefix("python -m "))
    main = {"gattway": gattway, "benchmarks": benchmarks}[program]
    runs = arguments[0] == "cost"
    more = ["--out", str(tmp_path)] if runs else ["--help"]
    done = CliRunner().invoke(main, [*arguments, *more])
    assert done.exit_code == 0, done.output
    if not runs:
        assert all(argument.split("=")[0] in done.output for argument in arguments if argument.startswith("--"))


def test_its_table_of_twenty_turns_is_what_the_formulas_give() -> None:
    rates = Rates(1, 0.1, 1, 1, 0, 0)
    for instruction, figures in re.findall(r"\| I = (\d+) \| (.*) \|", PAGE):
        stated = [int(figure.replace(",", "")) for figure in figures.split(" | ")]
        placements = ("once", "every-turn", "last-turn", "every-4")
        shape = Shape(instruction=int(instruction))
        assert stated == [round(conversation(name, shape, Blocks(16), rates) * MILLION) for name in placements]


def test_it_names_every_kind_of_rule_and_source() -> None:
    for entry in TABLE:
        assert f"| `{entry.rule.name.split('-')[0]}`" in PAGE
        if entry.source.startswith("https"):
            assert entry.source in PAGE
