"""The arithmetic of a comparison; tea-tasting and scipy do it (extra `report`).

Conversations are independent, turns in one are not: every metric is a ratio of sums over conversations, its variance
by the delta method (Deng, Knoblich & Lu 2018), adjusted by what was known before the arm could act (CUPED: Deng, Xu,
Kohavi & Walker 2013).

The always-valid interval may be looked at every day: it is the asymptotic confidence sequence that a normal mixture
gives (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49:1055, section 3.1; Johari et al.
2022 as the mixture sequential probability ratio test). With s the standard error and τ the mixture's scale, fixed
beforehand, the difference lies at all times together with probability 1 − α within

    d ± sqrt( s²·(s² + τ²)/τ² · (2·log(1/α) + log((s² + τ²)/s²)) )
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gateway.errors import ConfigError
from gateway.ledger.aggregates import COVARIATE, Moments

if TYPE_CHECKING:
    from tea_tasting.aggr import Aggregates

ALPHA = 0.05
LEAST_CONVERSATIONS = 20
"""In each arm; with fewer the normal approximation is not worth an interval."""
_LARGEST_LOG = math.log(sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Metric:
    """A ratio of sums over conversations; `denominator` None is the conversation itself.

    `tau` is the scale of differences that the always-valid interval is tightest for: absolute for a `share` (0.05 is 5
    points), relative to the baseline otherwise. `less_is_better` says which way is up.
    """

    name: str
    numerator: str
    denominator: str | None
    label: str
    share: bool = False
    less_is_better: bool = True

    @property
    def tau(self) -> float:
        """See above."""
        return 0.05 if self.share else 0.2

    def pairs(self) -> list[tuple[str, str]]:
        """The products of columns that its variance needs."""
        columns = [self.numerator, *([self.denominator] if self.denominator else []), COVARIATE]
        return [(a, b) for i, a in enumerate(columns) for b in columns[i:]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Treatment minus baseline: for a share in points of 1 (0.02 is 2 points), else relative (−0.31 is 31 % less).

    `interval` is for one look planned beforehand, `always_valid` for as many as one likes; both hold 95 %. None where
    there are too few conversations.
    """

    baseline: float
    treatment: float
    difference: float
    standard_error: float
    interval: tuple[float, float]
    always_valid: tuple[float, float]


def value(moments: Moments, metric: Metric) -> float | None:
    """The metric of an arm; None where its denominator is 0."""
    below = moments.n if metric.denominator is None else moments.sums[metric.denominator]
    return moments.sums[metric.numerator] / below if below else None


def compare(baseline: Moments, treatment: Moments, metric: Metric, *, cuped: bool = True) -> Difference | None:
    """The difference of two arms; None where it cannot be told.

    Shares get an imaginary adherent and an imaginary drifted conversation in each arm (Agresti & Caffo 2000, American
    Statistician 54:280), so that arms which never failed are not held to be perfect for certain.
    """
    from scipy.stats import norm
    from tea_tasting.metrics import RatioOfMeans

    if min(baseline.n, treatment.n) < LEAST_CONVERSATIONS or None in (
        value(baseline, metric),
        value(treatment, metric),
    ):
        return None
    covariate = COVARIATE if cuped else None
    control, treated = (_aggregates(moments, metric) for moments in (baseline, treatment))
    if not any(one.ratio_var(metric.numerator, metric.denominator) > 0 for one in (control, treated)):
        return None
    test = RatioOfMeans(metric.numerator, metric.denominator, covariate, use_t=True, equal_var=False)
    found = test.analyze_aggregates(control, treated)
    width = norm.isf(ALPHA / 2)
    if metric.share:
        difference, interval = found.effect_size, (found.effect_size_ci_lower, found.effect_size_ci_upper)
        error = (interval[1] - interval[0]) / 2 / width
        anytime = always_valid(difference, error, metric.tau)
    else:
        difference, interval = found.rel_effect_size, (found.rel_effect_size_ci_lower, found.rel_effect_size_ci_upper)
        on_logs = relative(difference, interval, metric.tau, width)
        if on_logs is None:
            return None
        error, anytime = on_logs
    if not all(map(math.isfinite, (difference, *interval, *anytime))):
        return None
    return Difference(
        baseline=value(baseline, metric) or 0.0,
        treatment=value(treatment, metric) or 0.0,
        difference=float(difference),
        standard_error=float(error),
        interval=(float(interval[0]), float(interval[1])),
        always_valid=(float(anytime[0]), float(anytime[1])),
    )


def relative(
    difference: float, interval: tuple[float, float], tau: float, width: float
) -> tuple[float, tuple[float, float]] | None:
    """Standard error and always-valid interval of a relative difference; None where they have no end.

    A ratio of two positive means is more nearly normal on the log scale: the error and the interval are made there.

    Args:
        interval: at a single look, `width` standard errors to each side.
    """
    if not (math.isfinite(difference) and interval[0] > -1 and interval[1] < math.inf):
        return None
    error = (math.log1p(interval[1]) - math.log1p(interval[0])) / 2 / width
    low, high = always_valid(math.log1p(difference), error, tau)
    return None if high > _LARGEST_LOG else (error, (math.expm1(low), math.expm1(high)))


def always_valid(difference: float, standard_error: float, tau: float, alpha: float = ALPHA) -> tuple[float, float]:
    """The interval above."""
    half = always_valid_half(standard_error, tau, alpha)
    return difference - half, difference + half


def always_valid_half(standard_error: float, tau: float, alpha: float = ALPHA) -> float:
    """Half its width; 0 for a standard error of 0."""
    if standard_error == 0:
        return 0.0
    s2, t2 = standard_error**2, tau**2
    return math.sqrt(s2 * (s2 + t2) / t2 * (2 * math.log(1 / alpha) + math.log((s2 + t2) / s2)))


def more_conversations(found: Difference, conversations: int, half: float, tau: float) -> int:
    """How many more conversations, dealt as so far, bring the always-valid interval to ± `half`."""
    low, high = conversations, conversations
    while always_valid_half(found.standard_error * math.sqrt(conversations / high), tau) > half:
        low, high = high, high * 2
    while high - low > max(1, conversations // 1000):
        middle = (low + high) // 2
        wide = always_valid_half(found.standard_error * math.sqrt(conversations / middle), tau) > half
        low, high = (middle, high) if wide else (low, middle)
    return max(0, high - conversations)


def planned_conversations(pooled: Moments, metric: Metric, difference: float, power: float = 0.8) -> int:
    """Conversations in two equal arms together that a test at one planned look needs to find `difference` (absolute)
    with `power`, when conversations vary as in `pooled`."""
    from tea_tasting.metrics import RatioOfMeans

    test = RatioOfMeans(
        metric.numerator,
        metric.denominator,
        COVARIATE,
        use_t=False,
        equal_var=False,
        power=power,
        effect_size=difference,
    )
    planned: float
    ((_, _, _, planned),) = test.solve_power_from_aggregates(_aggregates(pooled, metric, imaginary=False), "n_obs")
    return math.ceil(planned)


def sample_ratio_p(observed: dict[str, int], expected: dict[str, float]) -> float | None:
    """The chance of a split at least as uneven, were conversations dealt as meant (chi-square); None with one arm."""
    from scipy.stats import chisquare

    arms = [arm for arm, count in expected.items() if count > 0]
    if len(arms) < 2:
        return None
    counts = [observed.get(arm, 0) for arm in arms]
    total, meant = sum(counts), sum(expected[arm] for arm in arms)
    return float(chisquare(counts, [expected[arm] * total / meant for arm in arms]).pvalue) if total else None


def _aggregates(moments: Moments, metric: Metric, *, imaginary: bool = True) -> Aggregates:
    from tea_tasting.aggr import Aggregates

    columns = list(dict.fromkeys(column for pair in metric.pairs() for column in pair))
    n, sums = moments.n, {column: moments.sums[column] for column in columns}
    products = {pair: moments.products[pair] for pair in metric.pairs()}
    if metric.share and imaginary and metric.denominator:
        means = {column: total / n for column, total in sums.items()}
        for adherent in (means[metric.denominator], 0.0):
            one = {**means, metric.numerator: adherent}
            n += 1
            sums = {column: total + one[column] for column, total in sums.items()}
            products = {(a, b): total + one[a] * one[b] for (a, b), total in products.items()}
    means = {column: total / n for column, total in sums.items()}
    spread = {(a, b): (total - n * means[a] * means[b]) / (n - 1) for (a, b), total in products.items()}
    variances = {column: max(0.0, spread[column, column]) for column in columns}
    return Aggregates(n, means, variances, {pair: c for pair, c in spread.items() if pair[0] != pair[1]})


def has_extra() -> bool:
    """Whether reports can be made."""
    return find_spec("scipy") is not None and find_spec("tea_tasting") is not None


def require_extra() -> None:
    """Raises ConfigError when the extra is not installed."""
    if not has_extra():
        raise ConfigError("a report needs scipy and tea-tasting: pip install 'gattway[report]'")
