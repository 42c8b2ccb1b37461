"""What one gateway and one PostgreSQL take for a turn, measured on this machine for `python -m benchmarks capacity`.

Processor time, not the clock: it stays the same when others use the machine too. The gateway is a real process before a
stub that paces its events, and ships to a real PostgreSQL; rows are the gateway's own, multiplied.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from aiohttp import web
from sqlalchemy import Connection, Engine, insert, select, text

from benchmarks.fleet_parts import Gateway, until
from benchmarks.server import ServerFailed
from benchmarks.stub import ARMS, serving

CLIENTS = 16
TURNS = 5
FEW_EVENTS, EVENTS = 10, 160
PACE_S = 0.02
ROWS = 20_000
CONFIG = f"""
[server]
port = 8000
[ledger]
path = "ledger.db"
{ARMS}"""
_KEYS = ("request_id", "conversation_id", "parent_request_id", "completion_id", "history_hash", "answered_hash")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a turn takes.

    `turn_ms` is the gateway's processor time for a turn but for its events, in ms; `event_us` for each event, in µs;
    `stream_kib` its memory for an answer under way, in KiB; `idle_mib` without any, in MiB. `row_ms` is PostgreSQL's
    processor time for a turn's row with everything that hangs on it, in ms; `row_bytes` what that takes on its disk,
    indices and its share of other tables included; `wal_bytes` what it writes to the log.
    """

    turn_ms: float
    event_us: float
    stream_kib: float
    idle_mib: float
    row_ms: float
    row_bytes: float
    wal_bytes: float


def measure(postgres: str, rounds: int = 5) -> Measured:
    """Measure, with the empty database at `postgres`; about a minute.

    Raises:
        ServerFailed: the gateway did not start.
    """
    with TemporaryDirectory(prefix="gattway-bench-") as folder, ExitStack() as stack:
        upstream = stack.enter_context(serving(_paced()))
        engine = _opened(postgres)
        stack.callback(engine.dispose)
        gateway = Gateway("gateway", "127.0.0.1", Path(folder), CONFIG.format(upstream=upstream), postgres)
        stack.callback(gateway.close)
        gateway.start()
        gateway.wait_until_ready()
        turn_ms, event_us, stream_kib, idle_mib = asyncio.run(_gateway(gateway, rounds))
        if not until(lambda: not gateway.waiting(), 60):
            raise ServerFailed("the database did not get every row")
        gateway.kill()
        return Measured(turn_ms, event_us, stream_kib, idle_mib, *_database(gateway.ledger, Path(folder), engine))


def _opened(postgres: str) -> Engine:
    from gateway.ledger.migrate import upgrade_shared
    from gateway.ledger.shared import open_shared

    engine = open_shared(postgres, pooled=True)
    upgrade_shared(engine)
    return engine


async def _gateway(gateway: Gateway, rounds: int) -> tuple[float, float, float, float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _conversations(session, gateway.url)  # to warm up
        turn_ms = await _turn_ms(session, gateway, rounds)
        idle_kib = _rss_kib(gateway.pid)
        few_ms, many_ms = [await _stream_ms(session, gateway, events, rounds) for events in (FEW_EVENTS, EVENTS)]
        count = CLIENTS * 32
        asking = [asyncio.ensure_future(_ask(session, gateway.url, [_user("Go on.")], EVENTS)) for _ in range(count)]
        held_kib = 0
        while not all(one.done() for one in asking):
            held_kib = max(held_kib, _rss_kib(gateway.pid))
            await asyncio.sleep(0.05)
        await asyncio.gather(*asking)
    event_us = max(0.0, many_ms - few_ms) * 1e3 / (EVENTS - FEW_EVENTS)
    return turn_ms, event_us, max(0, held_kib - idle_kib) / count, idle_kib / 1024


async def _stream_ms(session: aiohttp.ClientSession, gateway: Gateway, events: int, rounds: int) -> float:
    """Processor time of the gateway for a stream of so many events."""
    streams = CLIENTS * 4
    before = _cpu_s(gateway.pid)
    for _ in range(rounds):
        await asyncio.gather(*(_ask(session, gateway.url, [_user("Go on.")], events) for _ in range(streams)))
    return (_cpu_s(gateway.pid) - before) * 1e3 / (rounds * streams)


async def _turn_ms(session: aiohttp.ClientSession, gateway: Gateway, rounds: int) -> float:
    before = _cpu_s(gateway.pid)
    for _ in range(rounds):
        await _conversations(session, gateway.url)
    return (_cpu_s(gateway.pid) - before) * 1e3 / (rounds * CLIENTS * TURNS)


async def _conversations(session: aiohttp.ClientSession, url: str) -> None:
    await asyncio.gather(*(_conversation(session, url) for _ in range(CLIENTS)))


async def _conversation(session: aiohttp.ClientSession, url: str) -> None:
    messages = [{"role": "system", "content": "Answer in French, and be brief. " * 8}]
    for turn in range(TURNS):
        messages.append(_user(f"{uuid.uuid4().hex}: what about question {turn}? " * 4))
        messages.append({"role": "assistant", "content": await _ask(session, url, messages)})


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


async def _ask(session: aiohttp.ClientSession, url: str, messages: list[dict[str, str]], events: int = 0) -> str:
    """The answer; streamed, in so many events, where there are any."""
    body = {"model": "ab", "messages": messages, "stream": events > 0, "max_tokens": max(events, 1)}
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        if events:
            await response.read()
            return ""
        answer: str = (await response.json())["choices"][0]["message"]["content"]
        return answer


def _paced() -> web.Application:
    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 400, "completion_tokens": 200, "total_tokens": 600}
        if not body.get("stream"):
            message = {"role": "assistant", "content": f"Oui, {uuid.uuid4().hex}." * 20, "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        head["object"] = "chat.completion.chunk"
        for number in range(body["max_tokens"]):
            await response.write(_event({**head, "choices": [_said({"content": f" word{number}"}, None)]}))
            await asyncio.sleep(PACE_S)
        await response.write(_event({**head, "choices": [_said({}, "stop")]}))
        await response.write(_event({**head, "choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return response

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", complete)
    return app


def _said(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(chunk: dict[str, Any]) -> bytes:
    import json

    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _database(made: Path, folder: Path, engine: Engine) -> tuple[float, float, float]:
    """PostgreSQL's ms, bytes on disk and bytes of log for a row: the gateway's own rows, multiplied and shipped."""
    from gateway.ledger.database import open_database
    from gateway.ledger.outbox import switch_on
    from gateway.ledger.shipper import Shipper

    path = folder / "many.db"
    file = open_database(path, "relaxed")
    rows = _multiply(open_database(made), file)
    switch_on(file)
    with engine.connect() as connection:
        bytes_before, log_before = _bytes(connection), _log_bytes(connection)
        with _postgres_cpu(connection) as took_s:
            shipper = Shipper(path, file, engine, keep_days=7)
            shipper.start()
            done = until(lambda: shipper.waiting() == (0, 0.0) and _count(connection) >= rows, 300)
            shipper.close()
        if not done:
            raise ServerFailed(f"the rows could not be shipped: {shipper.problem}")
        connection.execute(text("CHECKPOINT"))
        taken = _bytes(connection) - bytes_before
        log = _log_bytes(connection) - log_before
    file.dispose()
    return took_s[0] * 1e3 / rows, taken / rows, log / rows


def _multiply(made: Engine, file: Engine) -> int:
    """Fill `file` with copies of the turns and assignments made, under new ids, `ROWS` or so; gives how many turns."""
    from gateway.ledger.schema import assignments, turns

    with made.connect() as connection:
        known = [dict(row) for row in connection.execute(select(turns)).mappings()]
        dealt = [dict(row) for row in connection.execute(select(assignments)).mappings()]
    copies = max(1, ROWS // len(known))
    for _ in range(copies):
        salt = uuid.uuid4().hex
        with file.begin() as connection:
            connection.execute(insert(turns), [{**row, **_renamed(row, salt, _KEYS)} for row in known])
            connection.execute(insert(assignments), [{**row, **_renamed(row, salt, _KEYS[1:2])} for row in dealt])
    made.dispose()
    return copies * len(known)


def _renamed(row: dict[str, Any], salt: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The row's ids under names of the same length, as far from each other as ids are."""
    return {name: _other(row[name], salt) for name in names}


def _other(value: str | None, salt: str) -> str | None:
    if value is None:
        return None
    head, mark, body = value.rpartition("_") if "_" in value else value.rpartition("-")
    new = uuid.uuid5(uuid.UUID(salt), body).hex
    return f"{head}{mark}{new}"


def _count(connection: Connection) -> int:
    connection.rollback()
    return int(connection.execute(text("SELECT count(*) FROM turns")).scalar_one())


def _bytes(connection: Connection) -> int:
    connection.rollback()
    tables = ("turns", "assignments", "conversations", "verdicts")
    return sum(
        int(connection.execute(text(f"SELECT pg_total_relation_size('{name}')")).scalar_one()) for name in tables
    )


def _log_bytes(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())


@contextmanager
def _postgres_cpu(connection: Connection) -> Iterator[list[float]]:
    """Processor seconds of the whole server while the block runs; its processes have to be this machine's."""
    lines = connection.execute(text("SELECT pg_read_file('postmaster.pid')")).scalar_one()
    pid = int(str(lines).splitlines()[0])
    took = [0.0]
    before = _tree_cpu_s(pid)
    yield took
    took[0] = _tree_cpu_s(pid) - before


def _tree_cpu_s(pid: int) -> float:
    """Of a process and its children, those that have ended included."""
    total = _cpu_s(pid, with_ended_children=True)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1]) == pid:
                total += _cpu_s(int(stat.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def _cpu_s(pid: int, *, with_ended_children: bool = False) -> float:
    """User and system time so far (/proc/PID/stat, in clock ticks)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = sum(int(one) for one in fields[11 : 15 if with_ended_children else 13])
    return ticks / os.sysconf("SC_CLK_TCK")


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
