"""Other gateways, installed from their registries into folders of their own; a broken-off installation goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

LITELLM = "1.106.2"
PORTKEY = "1.15.2"
HONO_NODE_SERVER = "1.13.8"
"""npm left to itself takes a newer one, with which Portkey answers streams with 500 (its issue 1389; 1.14.2 too)."""
INSTALL_WITHIN_S = 900.0
DONE = "installed.json"


class Unavailable(Exception):
    """A candidate that cannot be had here; the message says why and what would help."""


def litellm(folder: Path) -> Path:
    """LiteLLM's proxy in a virtual environment; gives its command.

    Raises:
        Unavailable: pip could not install it.
    """
    wanted = {"litellm[proxy]": LITELLM}
    if not _is_done(folder, wanted):
        _run("LiteLLM", [sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        _run("LiteLLM", [*pip, "install", "--quiet", "--retries", "1", f"litellm[proxy]=={LITELLM}"])
        _done(folder, wanted)
    return folder / "bin" / "litellm"


def portkey(folder: Path) -> list[str]:
    """Portkey's gateway as a package of Node's; gives the command that starts it, without its options.

    Raises:
        Unavailable: Node or npm is missing, or npm could not install it.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("Portkey's gateway needs Node and npm on the PATH (Debian: apt-get install nodejs npm)")
    wanted = {"@portkey-ai/gateway": PORTKEY, "@hono/node-server": HONO_NODE_SERVER}
    if not _is_done(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        package = {
            "private": True,
            "dependencies": {"@portkey-ai/gateway": PORTKEY},
            "overrides": {"@hono/node-server": HONO_NODE_SERVER},
        }
        (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
        _run("Portkey's gateway", [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        _done(folder, wanted)
    return [node, str(folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js")]


def _is_done(folder: Path, wanted: dict[str, str]) -> bool:
    done = folder / DONE
    return done.exists() and json.loads(done.read_text(encoding="utf-8")) == wanted


def _done(folder: Path, wanted: dict[str, str]) -> None:
    (folder / DONE).write_text(json.dumps(wanted), encoding="utf-8")


def _run(what: str, argv: list[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what} was not installed within {INSTALL_WITHIN_S:.0f} s; run again to go on") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no message"]
        raise Unavailable(
            f"{what} could not be installed; is the registry within reach? {argv[0]} said: {said[-1].strip()}"
        )
