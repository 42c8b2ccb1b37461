"""What a person installs: every package and data file in the wheel, every version pinned, both commands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("adherence", "benchmarks", "gateway", "gatt", "strategies")
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info", "results")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel, built from a copy so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=NOT_SOURCE)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "out",
        ".",
    ]
    subprocess.run(command, cwd=folder, check=True, timeout=100)
    (built,) = (folder / "out").glob("gattway-*.whl")
    return zipfile.ZipFile(built).namelist()


@pytest.mark.slow
def test_the_wheel_holds_every_source_and_data_file(wheel: list[str]) -> None:
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)
    expected = {name for name in tracked.stdout.splitlines() if not name.startswith("benchmarks/results/")}
    assert expected - set(wheel) == set()


@pytest.mark.slow
def test_the_wheel_holds_nothing_but_its_packages(wheel: list[str]) -> None:
    assert {name.partition("/")[0] for name in wheel} - set(PACKAGES) == {"gattway-0.1.0.dist-info"}


def test_every_direct_dependency_is_pinned(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {re.split(r"[^A-Za-z0-9_-]", requirement)[0].lower() for requirement in wanted} - {"gattway"}
    assert names - pinned == set()


def test_constraints_name_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[a-z0-9.-]+==[0-9][0-9a-z.]*", line)] == []
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("arguments", [["-m", "gateway"], ["-m", "gatt"], ["-m", "benchmarks"]])
def test_every_command_has_help(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_make_alone_lists_its_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    for target in ("setup", "serve", "demo", "test", "lint", "bench", "clean"):
        assert re.search(rf"^  make {target} ", done.stdout, re.MULTILINE)


def test_a_python_that_is_too_old_is_named_with_the_remedy(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.8.1; else exit 1; fi\n', encoding="utf-8")
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for file in ("pyproject.toml", "constraints.txt"):
        (tmp_path / file).touch()
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert "3.8.1" in done.stderr
    assert not (tmp_path / ".venv").exists()
