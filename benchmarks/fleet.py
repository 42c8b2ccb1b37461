"""A drill: three gateways, one PostgreSQL and HAProxy under load, while everything happens that happens to a fleet.

One gateway is killed and comes back; one is drained and comes back as the next release, after its administrator has
expanded the schema under the others; one is cut off from the database for a while; the next release is rolled back.
Then the clients' own records are held against the database: every answered turn once, every conversation one, limits
held over all, and the report that of a single gateway with the same rows.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, insert, select, text

from benchmarks import results
from benchmarks.fleet_crowd import Answer, Crowd
from benchmarks.fleet_parts import Gateway, balancer, until
from benchmarks.fleet_release import COLUMN, next_release
from benchmarks.markdown import made_by, table
from benchmarks.server import ServerFailed
from benchmarks.stub import ARMS, stub
from gateway.ledger.shared import REST_S

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CLIENTS = 8
LIMIT = 120
PRESSED = 60
CAUGHT_UP_WITHIN_S = 60.0
LOOKUP_TIMEOUT_S = 2.0
KEYS = ("crowd", "limited", "root")
CONFIG = f"""
[server]
notice_s = 1.5
grace_s = 20
[ledger]
path = "ledger.db"
lookup_timeout_s = {LOOKUP_TIMEOUT_S}
{ARMS}[keys.crowd]
hash = "{{crowd}}"
[keys.limited]
hash = "{{limited}}"
requests_per_minute = {LIMIT}
[keys.root]
hash = "{{root}}"
admin = true
"""
ARRIVED = "ALTER TABLE turns ADD COLUMN arrived_at double precision DEFAULT extract(epoch FROM clock_timestamp())"
SHARED_TABLES = ("turns", "assignments", "verdicts", "feedback", "allocations")


@dataclass
class Log:
    """What happened when; times are seconds since 1970."""

    events: list[dict[str, Any]] = field(default_factory=list)
    cut_off: tuple[str, float, float] = ("", 0.0, 0.0)
    """Which gateway was, from when to when: until its last question that came to nothing has been rested from."""
    killed_at: str = ""
    """Whatever had begun before may have been answered and never examined."""

    @contextmanager
    def event(self, name: str, crowd: Crowd) -> Iterator[None]:
        """Note an event, with what the clients saw of it."""
        began, answers, failures = time.time(), len(crowd.answers), len(crowd.failures)
        yield
        self.events.append(
            {
                "event": name,
                "seconds": round(time.time() - began, 1),
                "answers": len(crowd.answers) - answers,
                "failures": len(crowd.failures) - failures,
            }
        )


def run(folder: Path, postgres: str, *, answers: int = 30, clients: int = CLIENTS, seed: int = 1) -> dict[str, Any]:
    """Hold the drill in `folder`, with the empty PostgreSQL database at `postgres`.

    Args:
        answers: how many the clients get between two events, at least.

    Raises:
        ServerFailed: something did not start, stop or catch up.
    """
    from gateway.ledger.migrate import upgrade_shared
    from gateway.ledger.shared import open_shared

    began = time.time()
    with ExitStack() as stack:
        upstream = stack.enter_context(stub(pause_s=0.03))
        hashes = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in KEYS}
        config = CONFIG.format(upstream=upstream, **hashes)
        fleet = []
        for number, host in enumerate(HOSTS, start=1):
            gateway = Gateway(f"gateway{number}", host, folder / f"gateway{number}", config, postgres)
            stack.callback(gateway.close)
            fleet.append(gateway)
        engine = open_shared(postgres)
        stack.callback(engine.dispose)
        upgrade_shared(engine)
        with engine.begin() as connection:
            connection.execute(text(ARRIVED))
        _start(fleet)
        staying, going = stack.enter_context(balancer(fleet, folder))
        crowd = Crowd((staying, going), "ab", "crowd", clients, seed)
        crowd.goes_on(answers)
        log = Log()
        limits = _events(log, crowd, fleet, going, answers, folder)
        crowd.end()
        _catch_up(fleet, engine, log.killed_at)
        told = _findings(log, crowd, fleet, engine, folder)
    return {"clients": clients, **told, "limits": limits, "seconds": round(time.time() - began, 1)}


def _events(log: Log, crowd: Crowd, fleet: list[Gateway], going: str, answers: int, folder: Path) -> dict[str, int]:
    """Everything that happens, one thing after the other; gives what the limited key was granted."""
    first, second, third = fleet
    later = next_release(folder / "next")
    with log.event("killed", crowd):
        first.kill()
        log.killed_at = datetime.now(UTC).isoformat(timespec="microseconds")
        crowd.goes_on(answers)
    with log.event("back again", crowd):
        _start([first])
        crowd.goes_on(answers // 2)
    with log.event("schema expanded", crowd):
        _command(second, "db", "upgrade", release=later)
        crowd.goes_on(answers // 2)
    with log.event("drained, back as the next release", crowd):
        _drain(second)
        second.start(later)
        second.wait_until_ready()
        crowd.goes_on(answers)
    limits = _pressed(going)
    with log.event("cut off from the database", crowd):
        began = time.time()
        third.link.cut()
        crowd.goes_on(2 * answers)
        third.link.mend()
        asks_again_at = time.time() + LOOKUP_TIMEOUT_S + REST_S + 0.5
        crowd.goes_on(answers // 2)
        _shipped([third])
        log.cut_off = (third.name, began, max(asks_again_at, time.time()))
    with log.event("rolled back", crowd):
        _drain(second)
        _start([second])
        crowd.goes_on(answers)
    return limits


def _start(gateways: list[Gateway]) -> None:
    for gateway in gateways:
        gateway.start()
    for gateway in gateways:
        gateway.wait_until_ready()


def _drain(gateway: Gateway) -> None:
    if code := gateway.drain():
        raise ServerFailed(f"{gateway.name}, asked to stop, ended with exit code {code}:\n{gateway.log_tail()}")


def _command(gateway: Gateway, *arguments: str, **more: Any) -> None:
    done = gateway.command(*arguments, **more)
    if done.returncode:
        raise ServerFailed(f"gattway {' '.join(arguments)}: {done.stderr}")


def _pressed(url: str) -> dict[str, int]:
    """What a key gets over all gateways that asks for half as much again as its limit, and for some more after that."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Are you there?"}]}
    headers = {"authorization": "Bearer limited"}
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:

        def ask(_: int) -> int:
            return client.post("/v1/chat/completions", json=body).status_code

        with ThreadPoolExecutor(6) as threads:
            statuses = list(threads.map(ask, range(LIMIT + PRESSED)))
    if others := set(statuses) - {200, 429}:
        raise ServerFailed(f"asked beyond its limit, a key got {sorted(others)}")
    return {"requests_per_minute": LIMIT, "asked": len(statuses), "granted": statuses.count(200)}


def _catch_up(fleet: list[Gateway], engine: Engine, since: str) -> None:
    """Wait until the database has every row, and every verdict on those that began after `since`."""
    _shipped(fleet)
    unjudged = text(
        "SELECT count(*) FROM turns WHERE experiment = 'ab' AND status = 'ok' AND adherent IS NULL "
        "AND started_at > :since"
    )

    def judged() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(unjudged, {"since": since}).scalar_one() == 0)

    if not until(judged, CAUGHT_UP_WITHIN_S):
        raise ServerFailed("not every answer was judged")
    _shipped(fleet)


def _shipped(gateways: list[Gateway]) -> None:
    if not until(lambda: not any(gateway.waiting() for gateway in gateways), CAUGHT_UP_WITHIN_S):
        left = {gateway.name: gateway.waiting() for gateway in gateways}
        raise ServerFailed(f"the database did not get everything; rows that it lacks: {left}")


def _findings(log: Log, crowd: Crowd, fleet: list[Gateway], engine: Engine, folder: Path) -> dict[str, Any]:
    with engine.connect() as connection:
        query = f"SELECT request_id, conversation_id, arm, turn, status, arrived_at, {COLUMN} FROM turns"
        rows = {row["request_id"]: dict(row) for row in connection.execute(text(query)).mappings()}
    splits = _splits(crowd.answers)
    took_s = [rows[one.request_id]["arrived_at"] - one.ended_at for one in crowd.answers if one.request_id in rows]
    return {
        "answered": len(crowd.answers),
        "failures": [reason for _, reason in crowd.failures],
        "events": log.events,
        "lost": [one.request_id for one in crowd.answers if rows.get(one.request_id, {}).get("status") != "ok"],
        "told_otherwise": [one.request_id for one in crowd.answers if not _agree(one, rows.get(one.request_id, {}))],
        "conversations": len({one.conversation for one in crowd.answers}),
        "moved": sum(before.gateway != after.gateway for before, after in _pairs(crowd.answers)),
        "moved_where_they_should_stay": sum(
            before.gateway != after.gateway for before, after in _pairs(crowd.answers) if before.stays
        ),
        "split": [asdict(answer) for answer, _ in splits],
        "split_without_a_reason": [
            asdict(one) for one, earlier in splits if not _excused(one, [rows[name] for name in earlier], log.cut_off)
        ],
        "median_s_until_the_others_know": round(statistics.median(took_s), 3),
        "rows_of_the_next_release": sum(row[COLUMN] == "yes" for row in rows.values()),
        "report_differs": _report_differs(fleet, engine, folder),
    }


def _excused(answer: Answer, earlier: list[dict[str, Any]], cut_off: tuple[str, float, float]) -> bool:
    """Whether nobody could know the conversation: the gateway asked was cut off and got what others had begun, or no
    earlier turn had reached the database, for who had answered them was killed or cut off."""
    name, since, until_then = cut_off
    if answer.gateway == name and since <= answer.ended_at and answer.asked_at <= until_then:
        return not answer.stays
    return all(row["arrived_at"] > answer.asked_at for row in earlier)


def _agree(answer: Answer, row: Mapping[str, Any]) -> bool:
    said = (answer.conversation_id, answer.arm, answer.said_turn)
    return said == tuple(row.get(name) for name in ("conversation_id", "arm", "turn"))


def _pairs(answers: list[Answer]) -> Iterator[tuple[Answer, Answer]]:
    """Turns and the next ones of the same conversations."""
    ordered = sorted(answers, key=lambda one: (one.conversation, one.turn))
    for before, after in pairwise(ordered):
        if before.conversation == after.conversation:
            yield before, after


def _splits(answers: list[Answer]) -> list[tuple[Answer, list[str]]]:
    """Turns that were not taken for their conversation's, in identity, arm or number, and the requests of the turns
    before."""
    found = []
    ordered = sorted(answers, key=lambda one: (one.conversation, one.turn))
    for _, group in groupby(ordered, key=lambda one: one.conversation):
        so_far: list[Answer] = []
        for answer in group:
            first = so_far[0] if so_far else answer
            same = (answer.conversation_id, answer.arm, answer.said_turn)
            if same != (first.conversation_id, first.arm, answer.turn):
                found.append((answer, [one.request_id for one in so_far]))
                break  # what comes after follows from it
            so_far.append(answer)
    return found


def _report_differs(fleet: list[Gateway], engine: Engine, folder: Path) -> list[str]:
    """Where the report of any gateway is not that of a ledger of one gateway with the same rows."""
    from gateway.experiments.report import make
    from gateway.ledger.database import open_database
    from gateway.ledger.schema import metadata

    single = open_database(folder / "single.db")
    with engine.connect() as source, single.begin() as target:
        for name in SHARED_TABLES:
            of = metadata.tables[name]
            if rows := [dict(row) for row in source.execute(select(of)).mappings()]:
                target.execute(insert(of), rows)
    wanted = make(single, "ab")
    single.dispose()
    found = []
    for gateway in fleet:
        headers = {"authorization": "Bearer root"}
        answer = httpx.get(f"{gateway.url}/api/report", params={"experiment": "ab"}, headers=headers, timeout=60)
        found += [f"{gateway.name}: {place}" for place in differences(answer.raise_for_status().json(), wanted)]
    return found


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two JSON values differ, sums' last digits and the time of making aside."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = (one.keys() | other.keys()) - {"created_at"}
        return [
            found for name in sorted(names) for found in differences(one.get(name), other.get(name), f"{place}.{name}")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for at, (a, b) in pairs for found in differences(a, b, f"{place}[{at}]")]
    if isinstance(one, float) and isinstance(other, float | int):
        return [] if abs(one - other) <= 1e-9 * max(1.0, abs(one), abs(other)) else [place]
    return [] if one == other else [place]


def report(out: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Write `fleet.json` and `fleet.md` into the folder `out`."""
    result = {**results.header(), **found}
    results.write(out / "fleet.json", result)
    results.write_text(out / "fleet.md", markdown(result))
    return result


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    limits = result["limits"]
    body = [
        [one["event"], *(str(one[name]) for name in ("seconds", "answers", "failures"))] for one in result["events"]
    ]
    lines = [
        "# A fleet's drill",
        "",
        made_by(result),
        "",
        *table(["what happened", "seconds", "answers meanwhile", "that failed"], body, left=1),
        "",
        f"{result['answered']} turns answered in {result['conversations']} conversations without ids, "
        f"{len(result['lost'])} of them missing in the database. {result['moved']} turns were answered by another "
        f"gateway than the one before; {len(result['split'])} conversations were taken for two, "
        f"{len(result['split_without_a_reason'])} of them although the database knew them. A row was known to the "
        f"other gateways {result['median_s_until_the_others_know']:.2f} s after its answer (median).",
        "",
        f"A key of {limits['requests_per_minute']} requests a minute got {limits['granted']} of {limits['asked']} over "
        "all gateways.",
        "",
        f"Report against that of a single gateway: {', '.join(result['report_differs']) or 'the same'}.",
        "",
    ]
    return "\n".join(lines)


def holds(result: dict[str, Any]) -> bool:
    """Whether the fleet kept what it promises."""
    limits = result["limits"]
    nothing = ("lost", "told_otherwise", "split_without_a_reason", "report_differs")
    return not any(result[name] for name in nothing) and (
        0.95 * limits["requests_per_minute"] <= limits["granted"] <= limits["requests_per_minute"]
    )
