"""How many gateways, and how much PostgreSQL, so many people at once take.

A simulation of one gateway's core, seeded and re-run by the command: conversations come and go, people think, models
speak; what is measured is what a turn and an event take (`capacity_measure`), all else is an assumption that an option
changes. From it follow the streams under way, the load at which a core still answers in time, and with it gateways,
rows a second and gigabytes a day; `limits` says what gives out first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.capacity_measure import Measured

if TYPE_CHECKING:
    import numpy as np

MEASURED = Path(__file__).with_name("capacity_measured.json")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
LOADS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SECONDS = 120
BIN_S = 0.001
CATCHING_UP_S = 3600.0
"""An outage of the database that the outbox has to make good, within as long again."""
MONTH_DAYS = 30.4
MEMORY_GIB = 4.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What people and models do, as assumed.

    Args:
        turns: mean turns of a conversation; geometric.
        think_s: median seconds from the end of an answer to the next question; log-normal, as its spread.
        think_spread: standard deviation of the logarithm.
        answer_tokens: median tokens, each an event; log-normal.
        tokens_per_s: median of a stream's speed; log-normal with a spread of 0.3.
        ttft_s: median seconds to the first token; log-normal with a spread of 0.5.
        peak: the busiest hour over the mean of the day.
    """

    turns: float = 8.0
    think_s: float = 30.0
    think_spread: float = 1.0
    answer_tokens: float = 200.0
    answer_spread: float = 0.8
    tokens_per_s: float = 50.0
    ttft_s: float = 0.6
    peak: float = 2.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What is held against the loads: how late an event may be at p99, how full a core may be at most, how much of the
    fleet may be missing, how many rows a second the database takes at most of what it could."""

    late_ms: float = 20.0
    most_load: float = 0.6
    missing: float = 1 / 3
    database_load: float = 0.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """Turns of many conversations: when each began and had its first event, time between events (s), and events."""

    began: np.ndarray
    first: np.ndarray
    apart: np.ndarray
    events: np.ndarray

    @property
    def ended(self) -> np.ndarray:
        ended: np.ndarray = self.first + self.apart * self.events
        return ended


def measured(path: Path = MEASURED) -> Measured:
    """The committed measurement."""
    return Measured(**json.loads(path.read_text(encoding="utf-8"))["measured"])


def run(
    folder: Path,
    cost: Measured,
    traffic: Traffic,
    plan: Plan,
    sizes: Sequence[int] = SIZES,
    seed: int = 1,
    load: Path | None = None,
) -> dict[str, Any]:
    """Simulate, and write `capacity.json`, `capacity.md` and `capacity.png` into `folder`.

    Args:
        load: a result file of `python -m benchmarks load`, whose requests and streams a second are set beside.
    """
    from benchmarks import capacity_report

    core = simulate(cost, traffic, seed)
    allowed = allowed_load(core["loads"], plan)
    result = {
        **results.header(),
        "seed": seed,
        "assumed": {"traffic": asdict(traffic), "plan": asdict(plan)},
        "measured": asdict(cost),
        "core": {**core, "allowed_load": allowed},
        "sizes": [size(n, cost, traffic, plan, core, allowed) for n in sizes],
        "limits": limits(cost, traffic, plan, core, allowed),
        "load": beside(load),
    }
    results.write(folder / "capacity.json", result)
    results.write_text(folder / "capacity.md", capacity_report.markdown(result))
    capacity_report.plot(result, folder / "capacity.png")
    return result


def simulate(cost: Measured, traffic: Traffic, seed: int) -> dict[str, Any]:
    """One core: what a conversation takes of it, and how late its events are at several loads."""
    import numpy as np

    rng = np.random.default_rng(seed)
    few = draw(rng, traffic, 4_000, SECONDS)
    per_s = len(few.began) / SECONDS / 4_000
    events = float(few.events.mean())
    work_ms = cost.turn_ms + events * cost.event_us / 1e3
    streams = in_flight(few, SECONDS)
    full = 1e3 / (per_s * work_ms)
    loads = []
    for share in LOADS:
        drawn = draw(rng, traffic, max(1, round(full * share)), SECONDS)
        loads.append({"load": share, "conversations": round(full * share), **_late(drawn, cost)})
    return {
        "turns_per_conversation_s": per_s,
        "events_per_turn": events,
        "turn_s": float((few.ended - few.began).mean()),
        "work_ms_per_turn": work_ms,
        "streams_per_conversation": float(streams.mean()) / 4_000,
        "conversations_at_full_load": full,
        "loads": loads,
    }


def draw(rng: np.random.Generator, traffic: Traffic, conversations: int, seconds: float) -> Drawn:
    """The turns that begin within `seconds`, of so many conversations that are open at any time.

    One that ends is followed by another person's at once, so the number open stays; the time before is simulated too,
    so that nobody begins at the same moment.
    """
    import numpy as np

    def spread(median: float, sigma: float, n: int) -> np.ndarray:
        return median * np.exp(rng.normal(0.0, sigma, n))

    now = rng.uniform(-_warm_up_s(traffic), 0.0, conversations)
    turns: list[tuple[np.ndarray, ...]] = []
    while len(now):
        n = len(now)
        first = now + spread(traffic.ttft_s, 0.5, n)
        apart = 1.0 / spread(traffic.tokens_per_s, 0.3, n)
        events = np.maximum(1, np.minimum(4096, np.rint(spread(traffic.answer_tokens, traffic.answer_spread, n))))
        turns.append((now, first, apart, events))
        # The next question of this conversation, or the first of the one that takes its place: the same pause.
        now = first + apart * events + spread(traffic.think_s, traffic.think_spread, n)
        now = now[now < seconds]
    began, first, apart, events = (np.concatenate(column) for column in zip(*turns, strict=True))
    inside = (began >= 0) & (began < seconds)
    return Drawn(began[inside], first[inside], apart[inside], events[inside])


def _warm_up_s(traffic: Traffic) -> float:
    mean_think = traffic.think_s * math.exp(traffic.think_spread**2 / 2)
    return 3 * (mean_think + traffic.answer_tokens / traffic.tokens_per_s)


def in_flight(drawn: Drawn, seconds: float) -> np.ndarray:
    """Answers under way at every second of the second half (the first has those missing that began before it)."""
    import numpy as np

    at = np.arange(seconds / 2, seconds)
    return np.searchsorted(np.sort(drawn.began), at) - np.searchsorted(np.sort(drawn.ended), at)


def _late(drawn: Drawn, cost: Measured) -> dict[str, float]:
    """How long an event waits for the core: all work in the order in which it comes (Lindley's recursion), in bins of a
    millisecond. Half of what a turn takes is done when it comes, half at its end."""
    import numpy as np

    bins = int(SECONDS / BIN_S)
    work = np.zeros(bins)
    which = np.repeat(np.arange(len(drawn.began)), drawn.events.astype(int))
    number = np.arange(len(which)) - np.repeat(np.cumsum(drawn.events) - drawn.events, drawn.events.astype(int))
    at = drawn.first[which] + drawn.apart[which] * number
    for moments, took_ms in (
        (drawn.began, cost.turn_ms / 2),
        (drawn.ended, cost.turn_ms / 2),
        (at, cost.event_us / 1e3),
    ):
        places = (moments[moments < SECONDS] / BIN_S).astype(int)
        work += np.bincount(places, minlength=bins)[:bins] * took_ms
    ahead = np.cumsum(work - BIN_S * 1e3)
    waiting_ms = ahead - np.minimum.accumulate(np.minimum(ahead, 0.0))
    half = waiting_ms[bins // 2 :]
    return {
        "busy": float(work[bins // 2 :].sum() / (len(half) * BIN_S * 1e3)),
        "p50_ms": float(np.quantile(half, 0.5)),
        "p99_ms": float(np.quantile(half, 0.99)),
        "p999_ms": float(np.quantile(half, 0.999)),
    }


def allowed_load(loads: Sequence[dict[str, float]], plan: Plan) -> float:
    """The highest simulated load whose events are in time, at most the plan's."""
    fit = [one["load"] for one in loads if one["p99_ms"] <= plan.late_ms and one["load"] <= plan.most_load]
    return max(fit, default=min(LOADS))


def size(
    conversations: int, cost: Measured, traffic: Traffic, plan: Plan, core: dict[str, Any], allowed: float
) -> dict[str, Any]:
    """What so many open conversations take at the busiest hour; a core is one process of `gattway serve`."""
    per_s = conversations * core["turns_per_conversation_s"]
    streams = conversations * core["streams_per_conversation"]
    cores = math.ceil(conversations / (core["conversations_at_full_load"] * allowed))
    with_spare = max(2, math.ceil(cores / (1 - plan.missing)))
    rows_day = per_s / traffic.peak * 86_400
    cells = math.ceil(per_s / row_limit(cost, plan))
    return {
        "conversations": conversations,
        "begun_per_s": per_s / traffic.turns,
        "turns_per_s": per_s,
        "streams": streams,
        "streams_p999": streams + 3.09 * math.sqrt(streams),  # nearly Poisson: many that know nothing of each other
        "events_per_s": per_s * core["events_per_turn"],
        "cores_busy": cores,
        "gateways": with_spare,
        "memory_gib": (with_spare * cost.idle_mib + streams * cost.stream_kib / 1024) / 1024,
        "rows_per_s": per_s,
        "database_cores": per_s * cost.row_ms / 1e3,
        "databases": cells,
        "gb_per_day": rows_day * cost.row_bytes / 1e9,
        "log_gb_per_day": rows_day * cost.wal_bytes / 1e9,
        "tb_per_month": rows_day * cost.row_bytes * MONTH_DAYS / 1e12,
        "rows_per_month": rows_day * MONTH_DAYS,
        "outbox_gb_after_an_hour": per_s * CATCHING_UP_S * cost.row_bytes / 1e9 / with_spare,
    }


def row_limit(cost: Measured, plan: Plan) -> float:
    """Rows a second that one database shall take at most: batches go one after the other, so one core of it does them;
    the share that the plan leaves is there to catch up after an outage."""
    return 1e3 / cost.row_ms * plan.database_load


def limits(cost: Measured, traffic: Traffic, plan: Plan, core: dict[str, Any], allowed: float) -> list[dict[str, Any]]:
    """What gives out at how many open conversations, the first first."""
    per_core = core["conversations_at_full_load"] * allowed
    found = [
        ("one gateway process: a core", per_core),
        (
            f"one gateway process: {MEMORY_GIB:g} GiB",
            (MEMORY_GIB * 1024 - cost.idle_mib) * 1024 / cost.stream_kib / core["streams_per_conversation"],
        ),
        ("one PostgreSQL: rows a second", row_limit(cost, plan) / core["turns_per_conversation_s"]),
        (
            "one PostgreSQL: 1 TB a month",
            1e12 / (core["turns_per_conversation_s"] * 86_400 * MONTH_DAYS * cost.row_bytes / traffic.peak),
        ),
    ]
    return sorted(
        ({"what": what, "conversations": round(at)} for what, at in found), key=lambda one: one["conversations"]
    )


def beside(path: Path | None) -> dict[str, float] | None:
    """Requests and streams a second of one core, from `load.json`; None where there is none."""
    if path is None or not path.is_file():
        return None
    sections = json.loads(path.read_text(encoding="utf-8"))["candidates"].get("gattway", {})
    return {
        name: float(sections[section][name])
        for section, name in (("whole", "requests_per_s"), ("streamed", "streams_per_s"))
        if name in sections.get(section, {})
    }
