"""docs/adding-a-strategy.md, done as a new user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from strategies.registry import FACTORIES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/adding-a-strategy.md").read_text(encoding="utf-8")

CONFIG = """
[upstreams.u]
kind = "openai"
base_url = "http://127.0.0.1:1/v1"
[models.m]
upstream = "u"
"""
PLACE = (
    "import strategies; messages = [{'role': 'system', 'content': 'Be odd'}, {'role': 'user', 'content': 'Hi'}]; "
    "print(strategies.make('shouted').place(messages))"
)


def block(language: str, index: int = 0) -> str:
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", PAGE, re.DOTALL)[index]


@pytest.mark.slow
def test_a_strategy_of_ones_own_is_installed_named_in_a_config_and_places(tmp_path: Path) -> None:
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "shouted.py").write_text(block("python"), encoding="utf-8")
    (package / "pyproject.toml").write_text(block("toml"), encoding="utf-8")
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
        str(package),
    ]
    subprocess.run([sys.executable, *install], check=True, timeout=100)
    env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    placed = subprocess.run([sys.executable, "-c", PLACE], env=env, capture_output=True, text=True, check=True)
    assert placed.stdout.strip() == "[{'role': 'user', 'content': 'Hi\\n\\nBE ODD!'}]"
    config = tmp_path / "gattway.toml"
    config.write_text(CONFIG + block("toml", 1), encoding="utf-8")
    command = [sys.executable, "-m", "gateway", "check", "--config", str(config), "--json"]
    checked = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert '"strategy": "shouted"' in checked.stdout


def test_the_class_is_under_forty_lines() -> None:
    assert len(block("python").splitlines()) < 40


@pytest.mark.parametrize("name", FACTORIES)
def test_every_strategy_has_a_page_with_its_drawing_cost_and_use(name: str) -> None:
    page = (ROOT / f"docs/strategies/{name}.md").read_text(encoding="utf-8")
    for heading in ("\n    ", "## What it costs", "## When to take it", "## Parameters"):
        assert heading in page
    assert f"[`{name}`]({name}.md)" in (ROOT / "docs/strategies/README.md").read_text(encoding="utf-8")
