"""`gattway report`: what an experiment has shown, as plain data.

Survivorship: answers that drift end conversations early, so late turns are those of the survivors. The comparison is
therefore made at a fixed horizon, the last turn that at least `REACHED` of the conversations of every arm get to, and
what each arm's conversations reach is compared beside it; bands and curves over all turns describe, they do not decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import Engine

from adherence import wilson
from adherence.judges import Agreement
from gateway.errors import NotFound
from gateway.experiments import statistics, words
from gateway.experiments.statistics import Difference, Metric
from gateway.ledger.aggregates import BANDS, Aggregates, Moments, experiments_in

SCHEMA_VERSION = 1
REACHED = 0.8
MISMATCH_P = 0.001
MARGIN = 0.02
"""Arms whose adherence differs by less than this for certain are called the same."""

ADHERENCE = Metric("adherence", "adherent", "judged", "adherence", share=True, less_is_better=False)
COST = Metric("cost_per_conversation", "cost_usd", None, "cost per conversation")
METRICS = (
    ADHERENCE,
    COST,
    Metric("cost_per_adherent_turn", "cost_usd", "adherent", "cost per adherent turn"),
    Metric("prompt_tokens_per_conversation", "prompt_tokens", None, "prompt tokens per conversation"),
    Metric("completion_tokens_per_conversation", "completion_tokens", None, "completion tokens per conversation"),
    Metric("repeated_instruction_tokens_per_conversation", "repeated_instruction_tokens", None, "repeated tokens"),
    Metric("prompt_tokens_per_adherent_turn", "prompt_tokens", "adherent", "prompt tokens per adherent turn"),
    Metric("window_used", "window_used", None, "window used at most"),
    Metric("ttft_ms", "ttft_ms", "streamed", "time to first token"),
    Metric("duration_ms", "duration_ms", "turns", "duration of a turn"),
)
BAND_METRICS = tuple(
    Metric(name, f"adherent_{name}", f"judged_{name}", f"adherence at turns {name}", share=True, less_is_better=False)
    for _, _, name in BANDS
)
PAIRS = [pair for metric in (*METRICS, *BAND_METRICS) for pair in metric.pairs()]
"""Products of columns that a report needs summed over conversations."""
UNKNOWN_AS_ZERO = {"cost_usd": "priced", "ttft_ms": "streamed"}
"""Columns that are summed as 0 where unknown, and the column that says how many are known."""


def make(engine: Engine, experiment: str | None, baseline: str | None = None) -> dict[str, Any]:
    """The report on an experiment, or on the only one that there is.

    Raises:
        NotFound: no such experiment or baseline, or several and none named; the message lists them.
        ConfigError: the extra `report` is not installed.
    """
    statistics.require_extra()
    name = _named(engine, experiment)
    books = _aggregates(engine, name)
    exposures = books.exposures()
    reached = books.reached("fixed")
    horizon = _horizon(reached)
    moments = books.moments(horizon)
    curves = books.curves("fixed")
    arms = {arm: _arm(moments[arm], reached.get(arm, {}), curves.get(arm, {})) for arm in sorted(moments)}
    against = _baseline(baseline, list(arms), moments)
    checks = _checks(exposures, books.crossovers())
    comparisons = [_comparison(arm, against, moments, reached) for arm in arms if against and arm != against]
    result = {
        "schema_version": SCHEMA_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": name,
        "baseline": against,
        "horizon_turns": horizon,
        "horizon_reason": f"the last turn that at least {REACHED:.0%} of the conversations of every arm reach",
        "arms": arms,
        "comparisons": comparisons,
        "checks": checks,
        "left_out": books.left_out(),
        "shadows": books.shadows(),
        "judges": {judge: asdict(Agreement.counted(counts)) for judge, counts in books.agreement().items()},
        "bandit": _bandit(books, exposures),
    }
    return {**result, "verdict": words.verdict(result)}


def curves(engine: Engine, experiment: str) -> dict[str, dict[int, tuple[int, int]]]:
    """Arm → turn → (adherent, judged) answers; of a bandit's where no conversation was dealt by fixed weights."""
    books = _aggregates(engine, experiment)
    return {**books.curves("thompson"), **books.curves("fixed")}


def _aggregates(engine: Engine, experiment: str) -> Aggregates:
    return Aggregates(engine, experiment, PAIRS)


def _named(engine: Engine, experiment: str | None) -> str:
    known = experiments_in(engine)
    if experiment is None and len(known) == 1:
        return known[0]
    if experiment is None or experiment not in known:
        listed = ", ".join(known) or "none"
        asked = f"no conversation has been dealt in an experiment '{experiment[:128]}'" if experiment else "name one"
        raise NotFound(f"Which experiment? {asked}; the ledger knows: {listed}.", param="experiment")
    return experiment


def _horizon(reached: Mapping[str, Mapping[int, int]]) -> int:
    """The last turn that enough conversations of every arm get to; at least 1."""
    horizons = []
    for lasts in reached.values():
        total = sum(lasts.values())
        ending = sorted(lasts)
        before = dict(zip(ending, accumulate((lasts[turn] for turn in ending), initial=0), strict=False))
        horizons.append(max((turn for turn in ending if total - before[turn] >= REACHED * total), default=1))
    return max(1, min(horizons, default=1))


def _baseline(asked: str | None, arms: Sequence[str], moments: Mapping[str, Moments]) -> str | None:
    """The arm that the others are held against: the one asked for, else the one that repeats most."""
    if asked is not None and asked not in arms:
        raise NotFound(
            f"There is no arm '{asked[:128]}' with conversations; the arms are: {', '.join(arms) or 'none'}."
        )
    if asked is not None or not arms:
        return asked
    return max(arms, key=lambda arm: moments[arm].sums["repeated_instruction_tokens"] / moments[arm].n)


def _arm(moments: Moments, lasts: Mapping[int, int], curve: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    by_turn = [
        {"turn": turn, "adherent": held, "judged": n, "share": held / n, "interval": list(wilson(held, n))}
        for turn, (held, n) in sorted(curve.items())
    ]
    bands = {}
    for metric in BAND_METRICS:
        share = statistics.value(moments, metric)
        bands[metric.name] = {"share": share, "judged": int(moments.sums[f"judged_{metric.name}"])}
    return {
        "conversations": moments.n,
        "turns": int(moments.sums["turns"]),
        "judged_turns": int(moments.sums["judged"]),
        "mean_last_turn": sum(turn * n for turn, n in lasts.items()) / max(1, sum(lasts.values())),
        "metrics": {metric.name: _known(moments, metric) for metric in METRICS},
        "adherence_by_band": bands,
        "adherence_by_turn": by_turn,
    }


def _known(moments: Moments, metric: Metric) -> float | None:
    known_by = UNKNOWN_AS_ZERO.get(metric.numerator)
    if known_by is not None and not moments.sums[known_by]:
        return None
    return statistics.value(moments, metric)


def _comparison(
    arm: str, baseline: str, moments: Mapping[str, Moments], reached: Mapping[str, Mapping[int, int]]
) -> dict[str, Any]:
    a, b = moments[baseline], moments[arm]
    found = {metric.name: _difference(a, b, metric) for metric in METRICS}
    adherence = found[ADHERENCE.name]
    more = None
    if adherence is not None:
        more = statistics.more_conversations(Difference(**adherence), a.n + b.n, MARGIN, ADHERENCE.tau)
    return {
        "arm": arm,
        "baseline": baseline,
        "conversations": a.n + b.n,
        "differences": {name: one for name, one in found.items() if one is not None},
        "bands": {
            metric.name: one for metric in BAND_METRICS if (one := _difference(a, b, metric, cuped=False)) is not None
        },
        "survival_differs": _survival_differs(reached[baseline], reached[arm]),
        "margin": MARGIN,
        "more_conversations_for_margin": more,
    }


def _difference(a: Moments, b: Moments, metric: Metric, *, cuped: bool = True) -> dict[str, Any] | None:
    if _known(a, metric) is None or _known(b, metric) is None:
        return None
    found = statistics.compare(a, b, metric, cuped=cuped)
    return asdict(found) if found else None


def _survival_differs(a: Mapping[int, int], b: Mapping[int, int]) -> bool:
    """Whether one arm's conversations get longer: a rank test over their last turns (Mann & Whitney), at 1 %."""
    from scipy.stats import mannwhitneyu

    lists = [[turn for turn, n in lasts.items() for _ in range(n)] for lasts in (a, b)]
    if min(map(len, lists)) < statistics.LEAST_CONVERSATIONS or len({*lists[0], *lists[1]}) == 1:
        return False
    return bool(mannwhitneyu(*lists).pvalue < 0.01)


def _checks(exposures: Sequence[Mapping[str, Any]], crossovers: int) -> dict[str, Any]:
    dealt = [row for row in exposures if row["excluded"] is None and row["policy"] == "fixed" and row["weights"]]
    observed: dict[str, int] = {}
    expected: dict[str, float] = {}
    for row in dealt:
        observed[row["arm"]] = observed.get(row["arm"], 0) + row["conversations"]
        for arm, share in json.loads(row["weights"]).items():
            expected[arm] = expected.get(arm, 0.0) + share * row["conversations"]
    p = statistics.sample_ratio_p(observed, expected)
    excluded: dict[str, int] = {}
    for row in exposures:
        if row["excluded"]:
            excluded[row["excluded"]] = excluded.get(row["excluded"], 0) + row["conversations"]
    total = sum(observed.values())
    return {
        "sample_ratio": {
            "observed": observed,
            "expected": {arm: round(count, 1) for arm, count in expected.items() if count},
            "p": p,
            "ok": p is None or p >= MISMATCH_P,
        },
        "crossover": {"conversations": crossovers, "ok": crossovers <= 0.01 * total},
        "outside": excluded,
    }


def _bandit(books: Aggregates, exposures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a bandit dealt, weighted by 1/propensity (Hájek's estimator), apart from the fixed-weight statistics."""
    if not any(row["policy"] == "thompson" for row in exposures):
        return None
    horizon = _horizon(books.reached("thompson"))
    arms = {}
    for arm, (n, w, wy, w2, w2y, w2y2) in books.weighted(horizon).items():
        mean = wy / w
        error = max(0.0, w2y2 - 2 * mean * w2y + mean * mean * w2) ** 0.5 / w
        low, high = statistics.always_valid(mean, error, ADHERENCE.tau)
        arms[arm] = {"conversations": n, "adherence": mean, "always_valid": [max(0.0, low), min(1.0, high)]}
    return {"horizon_turns": horizon, "arms": arms}
