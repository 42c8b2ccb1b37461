"""The `openai` package for Node: plain chunks, its stream helper, and the Responses API."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.clients.conversations import MODEL, held, script, shown
from tests.integration.started import ROOT

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent / "node"
MANIFESTS = ("package.json", "package-lock.json")


@pytest.fixture(scope="module")
def package() -> Path:
    """A folder with the pinned package installed, kept between runs for as long as the pins stay the same."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")
    pins = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MANIFESTS)).hexdigest()[:12]
    folder = ROOT / ".cache" / f"node-clients-{pins}"
    if not (folder / ".installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in MANIFESTS:
            shutil.copy(HERE / name, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install the client: {done.stderr.strip()[-300:]}")
        (folder / ".installed").touch()
    return folder


@pytest.mark.parametrize(("way", "number"), [("chunks", 9), ("helper", 10), ("responses", 11)])
def test_openai_for_node(package: Path, url: str, tmp_path: Path, way: str, number: int) -> None:
    (tmp_path / "client.mjs").write_text(shown("openai (Node)", "js", url) + "\nexport { client };\n")
    (tmp_path / "node_modules").symlink_to(package / "node_modules")
    shutil.copy(HERE / "converse.mjs", tmp_path)
    instruction, questions = script(number)
    with held(url) as conversation:
        done = subprocess.run(
            ["node", "converse.mjs", way, MODEL, instruction, *questions],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        turns = [json.loads(line) for line in done.stdout.splitlines()]
        for turn in turns:
            conversation.answered(turn["pieces"])
    rows = conversation.rows
    if way != "helper":
        assert [turn["usage"]["prompt_tokens"] for turn in turns] == [row["prompt_tokens"] for row in rows]
    if way == "chunks":
        assert [turn["arm"] for turn in turns] == [row["arm"] for row in rows]
