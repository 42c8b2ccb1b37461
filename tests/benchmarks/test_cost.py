"""`python -m benchmarks cost`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks.__main__ import main


def ran(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["cost", "--out", str(out), *arguments])


def test_a_price_pair_by_figures_gives_table_plot_and_rows(tmp_path: Path) -> None:
    pair = ("--base", "input=1,cached=0.1,output=4", "--surcharge", "1.2", "--instruction", "500", "--turns", "12")
    done = ran(tmp_path, *pair)
    assert done.exit_code == 0, done.output
    assert "Tuning pays from" in done.output
    result: dict[str, Any] = json.loads((tmp_path / "cost.json").read_text())
    assert {"schema_version", "created_at", "command", "machine", "packages"} <= result.keys()
    arms = {row["arm"] for row in result["rows"]}
    assert arms == {"gatt", "repeat", "repeat-every-4", "repeat-last-turn", "untreated"}
    repeat = [row for row in result["rows"] if row["arm"] == "repeat"]
    assert [row["turn"] for row in repeat] == list(range(1, 13))
    assert repeat[-1]["cost_so_far_usd"] == pytest.approx(sum(row["cost_usd"] for row in repeat))
    assert result["models"]["tuned"]["usd_per_million_tokens"]["output"] == 4.8
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert "| gatt | once |" in (tmp_path / "cost.md").read_text()


def test_a_price_pair_by_name_comes_from_litellms_table_with_the_providers_cache(tmp_path: Path) -> None:
    done = ran(tmp_path, "--base", "gpt-4.1-mini", "--tuned", "ft:gpt-4.1-mini-2025-04-14", "--json")
    assert done.exit_code == 0, done.output
    models = json.loads(done.output)["models"]
    assert models["base"]["usd_per_million_tokens"]["input"] == 0.4
    assert models["tuned"]["usd_per_million_tokens"]["input"] == 0.8
    assert models["base"]["cache_rule"] == models["tuned"]["cache_rule"] == "steps-1024-128"
    done = ran(tmp_path, "--base", "claude-sonnet-4-6", "--json")
    assert json.loads(done.output)["models"]["base"]["cache_rule"] == "breakpoints-1024-automatic"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--base", "gpt-99"), "litellm's table has no price for 'gpt-99'"),
        (("--base", "input=1,cachd=2"), "'cachd' in 'input=1,cachd=2' is no kind of price"),
        (("--base", "input=1"), "lacks output"),
        (("--base", "input=cheap,output=1"), "'cheap' in"),
        (("--base", "input=-1,output=1"), "'input=-1'"),
        (("--turns", "0"), "--turns"),
        (("--surcharge", "0"), "--surcharge"),
    ],
)
def test_bad_input_is_named_with_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = ran(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert not list(tmp_path.iterdir())
