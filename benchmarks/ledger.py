"""What the ledger costs, what it keeps when the gateway is killed, and how it answers with millions of rows."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from benchmarks import crash, results, scale
from benchmarks.markdown import made_by, table
from benchmarks.stub import stub

WINDOW_S = 2.0
WITHOUT_LEDGER = """
from gateway.ledger.writer import Writer
async def write(self, row, assignment=None, sealed=None): pass
Writer.write = write
Writer.begin = lambda self, row: None
from gateway.__main__ import main
main()
"""
"""The same gateway, whose writer is given nothing."""

LEDGERS = {
    "off": [sys.executable, "-c", WITHOUT_LEDGER],
    "full": [sys.executable, "-m", "gateway"],
    "relaxed": [sys.executable, "-m", "gateway"],
}


def run(out: Path, windows: int, clients: int, rounds: int, rows: int, postgres: str | None) -> dict[str, Any]:
    """Measure, and write `ledger.json` and `ledger.md` into the folder `out`."""
    with TemporaryDirectory(prefix="gattway-bench-") as folder:
        result = {
            **results.header(),
            "clients": clients,
            "throughput": throughput(Path(folder), windows, clients),
            "kill_9": crash.run(Path(folder), rounds) if rounds else None,
            "scale": filled(Path(folder), rows, postgres) if rows else None,
        }
    results.write(out / "ledger.json", result)
    results.write_text(out / "ledger.md", markdown(result))
    return result


def throughput(folder: Path, windows: int, clients: int) -> dict[str, Any]:
    """Requests a second and milliseconds of the gateway's processor time a request, the candidates by turns.

    Args:
        clients: how many ask without a pause. Rows of answers that end together share a commit, so the more there
            are, the less a row costs.

    Of the processor time the least of the windows counts, for other work on the machine only ever adds to it.
    """
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in LEDGERS}
    with stub() as upstream, ExitStack() as running:
        gateways = {}
        for name, command in LEDGERS.items():
            config = folder / f"{name}.toml"
            text = crash.CONFIG.format(ledger=folder / f"{name}.db", upstream=upstream)
            durability = "relaxed" if name == "relaxed" else "full"
            config.write_text(text.replace("[ledger]", f'[ledger]\ndurability = "{durability}"'), encoding="utf-8")
            gateways[name] = running.enter_context(crash.gateway(config, folder, command))
        for url, _ in gateways.values():
            asyncio.run(_ask(url, clients, 1.0))
        for _ in range(windows):
            for name, (url, process) in gateways.items():
                before = _cpu_s(process.pid)
                asked, seconds = asyncio.run(_ask(url, clients, WINDOW_S))
                seen[name].append((asked / seconds, (_cpu_s(process.pid) - before) / asked * 1e3))
    found = {name: _figures(pairs) for name, pairs in seen.items()}
    off = found["off"]
    for one in found.values():
        one["throughput_vs_off"] = round(one["requests_per_s"] / off["requests_per_s"], 3)
        one["cpu_vs_off"] = round(one["cpu_ms_per_request"] / off["cpu_ms_per_request"], 3)
    return found


def filled(folder: Path, rows: int, postgres: str | None) -> dict[str, Any]:
    """Median milliseconds by question, on SQLite and, with a URL of an empty database, on PostgreSQL."""
    from gateway.ledger.database import open_database
    from gateway.ledger.migrate import upgrade_shared
    from gateway.ledger.shared import open_shared

    engines = {"sqlite": open_database(folder / "scale.db")}
    if postgres is not None:
        engines["postgresql"] = open_shared(postgres, pooled=True)
        upgrade_shared(engines["postgresql"])
    found: dict[str, Any] = {"rows": rows}
    for name, engine in engines.items():
        began = time.perf_counter()
        scale.fill(engine, rows, unlogged=True)
        found[name] = {
            "fill_s": round(time.perf_counter() - began, 1),
            **scale.pages(engine, rows),
            "added_up_s": scale.added_up_s(engine),
            **scale.reports(engine),
        }
        engine.dispose()
    return found


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    lines = ["# Ledger", "", made_by(result), "", f"## What it costs, {result['clients']} clients", ""]
    names = ("requests_per_s", "throughput_vs_off", "cpu_ms_per_request", "cpu_vs_off")
    body = [[ledger, *(str(one[name]) for name in names)] for ledger, one in result["throughput"].items()]
    lines += table(["ledger", "requests/s", "of off", "processor ms/request", "of off"], body, left=1)
    if crashes := result["kill_9"]:
        lines += ["", "## kill -9 under load", ""]
        lines.append(
            f"{len(crashes['rounds'])} rounds: {crashes['answered']} turns answered, {crashes['lost']} lost, "
            f"{crashes['interrupted']} that were under way closed as interrupted."
        )
    if result["scale"]:
        lines += _scaled(result["scale"])
    return "\n".join(lines) + "\n"


def _scaled(scaled: dict[str, Any]) -> list[str]:
    databases = [name for name in scaled if name != "rows"]

    def rows(figure: str, other: str) -> list[list[str]]:
        names = scaled[databases[0]][figure]
        pairs = {name: [(scaled[one][figure][name], scaled[one][other][name]) for one in databases] for name in names}
        return [[name, *(f"{first:,} ({second:,})" for first, second in some)] for name, some in pairs.items()]

    added_up = ", ".join(f"{scaled[database]['added_up_s']} s ({database})" for database in databases)
    return [
        *("", f"## {scaled['rows']:,} turns, median (best) ms", ""),
        *table(["question", *databases], rows("median_ms", "best_ms"), left=1),
        *("", "A report, ms (of the processor, without the database's own process):", ""),
        *table(["report", *databases], rows("report_ms", "report_processor_ms"), left=1),
        *("", f"Added up beforehand, as by `gattway db upgrade`: {added_up}."),
    ]


async def _ask(url: str, clients: int, seconds: float) -> tuple[int, float]:
    """Ask from several connections without a pause; gives the answers and the seconds that they took."""
    body = {"model": "ab", "messages": [{"role": "user", "content": "Are you there?"}]}
    began = time.perf_counter()

    async def client(session: aiohttp.ClientSession) -> int:
        count = 0
        while time.perf_counter() - began < seconds:
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                await response.read()
                response.raise_for_status()
            count += 1
        return count

    async with aiohttp.ClientSession() as session:
        counts = await asyncio.gather(*(client(session) for _ in range(clients)))
    return sum(counts), time.perf_counter() - began


def _cpu_s(pid: int) -> float:
    """Processor seconds of all threads so far, by the scheduler's own count (Linux)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _figures(pairs: list[tuple[float, float]]) -> dict[str, float]:
    rates, costs = zip(*pairs, strict=True)
    return {
        "requests_per_s": round(statistics.median(rates), 1),
        "requests_per_s_spread": round(max(rates) - min(rates), 1),
        "cpu_ms_per_request": round(min(costs), 3),
    }
