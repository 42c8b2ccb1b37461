"""What is lost when the gateway is killed under load: kill -9, start again, and look every answered turn up.

A turn counts as answered when the client has read the end of it: `data: [DONE]`, or the whole of a JSON body.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from benchmarks.server import READY_WITHIN_S, ServerFailed, free_port
from benchmarks.stub import ARMS, stub

CLIENTS = 16
LOAD_S = (0.6, 1.6)
CONFIG = f"""
[ledger]
path = "{{ledger}}"
{ARMS}"""


def run(folder: Path, rounds: int, seed: int = 0) -> dict[str, Any]:
    """Kill the gateway `rounds` times; gives each round's answered, lost and interrupted turns, and their sums."""
    dice = random.Random(seed)
    with stub(pause_s=0.02) as upstream:
        config = folder / "gattway.toml"
        config.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream), encoding="utf-8")
        seen: list[dict[str, int]] = []
        interrupted: set[str] = set()
        for _ in range(rounds):
            with gateway(config, folder) as (url, process):
                answered = asyncio.run(_load(url, process, dice.uniform(*LOAD_S)))
            with gateway(config, folder) as (url, _):
                seen.append(_compare(url, answered, interrupted))
    return {"rounds": seen, **{name: sum(one[name] for one in seen) for name in ("answered", "lost", "interrupted")}}


@contextmanager
def gateway(
    config: Path, folder: Path, command: Sequence[str] = (sys.executable, "-m", "gateway")
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A gateway with this config on a free port; killed when the block ends."""
    port = free_port()
    command = [*command, "serve", "--config", str(config), "--port", str(port)]
    with (folder / "gattway.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed((folder / "gattway.log").read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.05)
        yield url, process
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


async def _load(url: str, process: subprocess.Popen[bytes], seconds: float) -> set[str]:
    """Ask without a pause until the gateway is killed; gives the conversations whose one turn was answered."""
    answered: set[str] = set()
    async with aiohttp.ClientSession() as session:
        clients = [asyncio.ensure_future(_client(session, url, answered, stream=i % 2 == 0)) for i in range(CLIENTS)]
        await asyncio.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.gather(*clients)
    return answered


async def _client(session: aiohttp.ClientSession, url: str, answered: set[str], *, stream: bool) -> None:
    body = {"model": "ab", "stream": stream, "messages": [{"role": "user", "content": "Are you there?"}]}
    while True:
        conversation = uuid.uuid4().hex
        headers = {"x-gattway-conversation-id": conversation}
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
                text = await response.read()
        except aiohttp.ClientError:
            return  # killed
        if response.status == 200 and (not stream or text.endswith(b"data: [DONE]\n\n")):
            answered.add(conversation)


def _compare(url: str, answered: set[str], interrupted: set[str]) -> dict[str, int]:
    """Look all conversations up; `interrupted` holds those of the rounds before, and gets those of this one."""
    kept: set[str] = set()
    before = len(interrupted)
    after: dict[str, str] = {}
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        while True:
            page = client.get("/api/conversations", params={"limit": "1000", **after}).raise_for_status().json()
            kept.update(one["id"] for one in page["data"] if not one["failed"])
            interrupted.update(one["id"] for one in page["data"] if one["failed"])
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
    return {"answered": len(answered), "lost": len(answered - kept), "interrupted": len(interrupted) - before}
