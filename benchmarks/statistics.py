"""`python -m benchmarks statistics`: does the report keep what it promises? Simulated experiments, thousands of them.

A/A: both arms alike, looked at every day; the always-valid interval may exclude 0 in at most 5 % of the experiments at
any look. A/B: a planted difference and as many conversations as the planner asks for; the planned look must find it as
often as the planner said. Conversations are drawn as in the wild: of geometric length, each with an adherence of its
own (so turns are clustered), which the covariate known beforehand partly foretells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.markdown import made_by
from gateway.experiments.statistics import Metric, compare, planned_conversations
from gateway.ledger.aggregates import COVARIATE, Moments

if TYPE_CHECKING:
    import numpy as np

ADHERENCE = Metric("adherence", "adherent", "judged", "adherence", share=True, less_is_better=False)
COLUMNS = ("adherent", "judged", COVARIATE)
MEAN, CONCENTRATION, MEAN_TURNS, HORIZON = 0.88, 6.0, 8, 10
PLANTED = 0.03
POWER = 0.8


def run(
    folder: Path,
    *,
    experiments: int = 1000,
    days: int = 30,
    per_day: int = 60,
    seed: int = 1,
    on_experiment: Callable[[object], None] = lambda _: None,
) -> dict[str, Any]:
    """Simulate, and write `statistics.json` and `statistics.md` into `folder`."""
    import numpy as np

    started = time.perf_counter()
    rng = np.random.default_rng(seed)
    result = {
        **results.header(),
        "experiments": experiments,
        "seed": seed,
        "aa": a_a(rng, experiments, days, per_day, on_experiment),
        "ab": a_b(rng, experiments, on_experiment),
    }
    result["seconds"] = round(time.perf_counter() - started, 1)
    results.write(folder / "statistics.json", result)
    results.write_text(folder / "statistics.md", markdown(result))
    return result


def a_a(
    rng: np.random.Generator, experiments: int, days: int, per_day: int, on_experiment: Callable[[object], None]
) -> dict[str, Any]:
    """How often two arms that are alike are told apart at any of the daily looks."""
    alarms = {"always_valid": 0, "fixed": 0}
    for _ in range(experiments):
        arms = [conversations(rng, days * per_day) for _ in range(2)]
        found = [
            compare(moments(arms[0][: day * per_day]), moments(arms[1][: day * per_day]), ADHERENCE)
            for day in range(1, days + 1)
        ]
        known = [one for one in found if one is not None]
        alarms["always_valid"] += any(not one.always_valid[0] <= 0 <= one.always_valid[1] for one in known)
        alarms["fixed"] += any(not one.interval[0] <= 0 <= one.interval[1] for one in known)
        on_experiment(None)
    return {
        "looks": days,
        "conversations_per_arm": days * per_day,
        "false_alarm_rate": alarms["always_valid"] / experiments,
        "false_alarm_rate_of_a_fixed_interval_looked_at_daily": alarms["fixed"] / experiments,
        "standard_error": math.sqrt(0.05 * 0.95 / experiments),
    }


def a_b(rng: np.random.Generator, experiments: int, on_experiment: Callable[[object], None]) -> dict[str, Any]:
    """How often a planted difference is found with as many conversations as the planner asks for."""
    pilot = moments(conversations(rng, 4000))
    planned = planned_conversations(pilot, ADHERENCE, PLANTED, POWER)
    per_arm = math.ceil(planned / 2)
    found = 0
    for _ in range(experiments):
        difference = compare(
            moments(conversations(rng, per_arm)), moments(conversations(rng, per_arm, PLANTED)), ADHERENCE
        )
        found += difference is not None and difference.interval[0] > 0
        on_experiment(None)
    return {
        "planted_difference": PLANTED,
        "planned_power": POWER,
        "planned_conversations": planned,
        "power": found / experiments,
        "standard_error": math.sqrt(POWER * (1 - POWER) / experiments),
    }


def conversations(rng: np.random.Generator, n: int, effect: float = 0.0) -> np.ndarray:
    """`n` conversations as rows of `COLUMNS`: adherent and judged turns up to the horizon, and the covariate.

    `effect` is what the arm adds to the mean adherence; the covariate knows nothing of it.
    """
    import numpy as np

    before = rng.beta(CONCENTRATION * MEAN, CONCENTRATION * (1 - MEAN), n)
    foretold = 200 + 300 * before + rng.normal(0, 60, n)
    own = before + effect * (1 - before) / (1 - MEAN)
    turns = np.minimum(rng.geometric(1 / MEAN_TURNS, n), HORIZON)
    return np.column_stack([rng.binomial(turns, own), turns, foretold]).astype(float)


def moments(rows: np.ndarray) -> Moments:
    """The sums that the ledger would give of these conversations."""
    sums = dict(zip(COLUMNS, rows.sum(axis=0).tolist(), strict=True))
    products = rows.T @ rows
    at = {column: index for index, column in enumerate(COLUMNS)}
    return Moments(len(rows), sums, {(a, b): float(products[at[a], at[b]]) for a, b in ADHERENCE.pairs()})


def markdown(result: dict[str, Any]) -> str:
    """The result in words."""
    aa, ab = result["aa"], result["ab"]
    return "\n".join(
        [
            "# Do the report's statistics hold?",
            "",
            made_by(result),
            "",
            f"**A/A**, {result['experiments']:,} experiments of {aa['conversations_per_arm']:,} conversations an arm, "
            f"looked at on each of {aa['looks']} days: the always-valid interval raised a false alarm in "
            f"{aa['false_alarm_rate']:.1%} of them (at most 5 % is promised; ± {2 * aa['standard_error']:.1%}). "
            "A fixed 95 % interval looked at as often would have in "
            f"{aa['false_alarm_rate_of_a_fixed_interval_looked_at_daily']:.0%}.",
            "",
            f"**A/B**, {result['experiments']:,} experiments with {100 * ab['planted_difference']:.0f} points planted "
            f"and the {ab['planned_conversations']:,} conversations that the planner asks for: found in "
            f"{ab['power']:.1%} (planned: {ab['planned_power']:.0%}; ± {2 * ab['standard_error']:.1%}).",
            "",
        ]
    )
