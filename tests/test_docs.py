"""The docs say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_reference_is_in_step_with_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "docs/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_is_described() -> None:
    settings = (ROOT / "docs/reference.md").read_text().split("## Ledger")[0]
    assert "None |" not in settings


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("config", blocks("README.md", "toml"))
def test_every_config_in_the_readme_is_one_that_gattway_check_passes(config: str, tmp_path: Path) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "--config", str(path)],
        cwd=ROOT,
        env={**os.environ, "ANTHROPIC_API_KEY": "unused"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("[A-Z]*.md")])
def test_every_link_to_a_file_of_the_repository_leads_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_examples_of_other_tools_can_be_parsed() -> None:
    import ast

    import yaml

    (config,) = [yaml.safe_load(block) for block in blocks("docs/offline.md", "yaml")]
    assert [one["id"] for one in config["providers"]] == [
        f"openai:chat:gatt-vs-repeat:{arm}" for arm in ("gatt", "repeat")
    ]
    (code,) = blocks("docs/offline.md", "python")
    assert any(isinstance(node, ast.FunctionDef) and node.name == "keeps_french" for node in ast.parse(code).body)
