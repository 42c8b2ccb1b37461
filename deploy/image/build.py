"""Make the environment that the image holds, in an empty folder: `python deploy/image/build.py DEST [--extras A,B]`.

Both the Dockerfile and `make image-env` call this, so what the tests build and serve from is what the image holds. It
needs Python 3.11+ with pip and venv. Packages come by version and hash from locks/; extras that have no lock (local,
gatt, …) by version from constraints.txt. DEST becomes a virtual environment without pip: nothing is installed later.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from prune import prune

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCKS = HERE / "locks"
SOURCES = ("adherence", "benchmarks", "gateway", "gatt", "strategies")
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info", "results")
WITHOUT_DEPENDENCIES = ("ui",)
"""Extras that name nothing to install."""


def pip(python: Path, *arguments: str, folder: Path | None = None) -> None:
    """This interpreter's pip, at work on another environment."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-input"]
    subprocess.run([*command, *arguments], cwd=folder, check=True)


def install(python: Path, *arguments: str) -> None:
    pip(python, "install", "--quiet", "--no-compile", "--no-warn-script-location", *arguments)


def environment(folder: Path) -> Path:
    """An empty virtual environment; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def wheel(folder: Path) -> Path:
    """The project's wheel, built in `folder` so that nothing is left in the checkout."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_SOURCE)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    builder = environment(folder / "builder")
    install(builder, "--require-hashes", "--requirement", str(LOCKS / "build.txt"))
    pip(builder, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".", folder=folder)
    (built,) = (folder / "dist").glob("gattway-*.whl")
    return built


def build(destination: Path, extras: Sequence[str]) -> Path:
    """Install, take out what the core never uses, compile what it imports. Returns site-packages.

    Raises:
        subprocess.CalledProcessError: a step failed; it has said why.
    """
    locked = ["core", *(extra for extra in extras if (LOCKS / f"{extra}.txt").exists())]
    unlocked = [extra for extra in extras if extra not in (*locked, *WITHOUT_DEPENDENCIES)]
    python = environment(destination)
    # The locks are whole: nothing is left to resolve.
    requirements = _each("--requirement", (str(LOCKS / f"{name}.txt") for name in locked))
    install(python, "--no-deps", "--require-hashes", *requirements)
    with tempfile.TemporaryDirectory(prefix="gattway-image-") as temporary:
        built = wheel(Path(temporary))
        if unlocked:
            print(f"without hashes, by constraints.txt: {', '.join(unlocked)}", flush=True)
            install(python, "--constraint", str(ROOT / "constraints.txt"), f"{built}[{','.join(unlocked)}]")
        else:
            install(python, "--no-deps", str(built))
    (packages,) = (destination / "lib").glob("python3.*/site-packages")
    prune(packages)
    # Bytecode of what is imported, and of nothing else: the folder is read-only later. -I: whatever this shell's
    # PYTHONPATH and PYTHONDONTWRITEBYTECODE say.
    subprocess.run([python, "-I", "-m", "compileall", "-qq", *(packages / name for name in SOURCES)], check=True)
    subprocess.run([python, "-I", HERE / "warm_up.py"], cwd=destination, check=True)
    return packages


def _each(option: str, values: Iterator[str]) -> list[str]:
    return [argument for value in values for argument in (option, value)]


def megabytes(folder: Path) -> float:
    """Size of the files in `folder` together, which is what a layer of an image takes, in MB."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environment that the image holds, in an empty folder.")
    parser.add_argument("destination", type=Path, help="folder to make; empty or not there yet")
    parser.add_argument("--extras", default="", help="extras of the project, as in local,postgres")
    arguments = parser.parse_args()
    destination: Path = arguments.destination.absolute()
    if destination.exists() and any(destination.iterdir()):
        parser.error(f"{destination} is not empty; name a folder that is, or is not there yet")
    try:
        packages = build(destination, [extra for extra in arguments.extras.replace(" ", "").split(",") if extra])
    except subprocess.CalledProcessError as error:
        sys.exit(f"could not make {destination}: {' '.join(map(str, error.cmd[:6]))} … ended with {error.returncode}")
    print(f"{destination}: {megabytes(packages):.0f} MB of site-packages")


if __name__ == "__main__":
    main()
