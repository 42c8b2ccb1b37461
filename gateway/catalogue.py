"""What a client may name: models, experiments, and `EXPERIMENT:ARM`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adherence import Finder
from gateway.access.keys import Key
from gateway.accounting.caching import CacheRule
from gateway.accounting.prices import Price
from gateway.errors import Forbidden, ModelNotFound
from gateway.experiments.split import Split
from gateway.upstreams.base import Counter, Upstream
from strategies import Strategy


@dataclass(frozen=True, slots=True)
class Model:
    """A model with everything that serving and accounting need to know of it.

    `window` is its context window in tokens, `price` its price, each None when unknown; `upstream_model` is the
    upstream's own name for it. `cache_rule` is what its prefix cache is taken to hold.
    """

    name: str
    upstream_name: str
    upstream: Upstream
    upstream_model: str
    counter: Counter
    window: int | None
    price: Price | None
    cache_rule: CacheRule


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of keeping the instruction alive; a model named directly is an arm without a name.

    `condenser` is the model that condenses old turns, None where that is `model`.
    """

    name: str
    strategy: Strategy
    model: Model
    weight: float = 1.0
    instruction: str | None = None
    fallbacks: tuple[Model, ...] = ()
    condenser: Model | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """Who decides on the adherence of an experiment's answers: checks on a share `sample` of the conversations, and the
    model `judge` on a share `judge_sample` of these."""

    finder: Finder
    sample: float
    judge: Model | None
    judge_sample: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """A split of conversations between arms.

    `shadow` is the share of answered turns that another arm answers too, unseen.
    """

    split: Split
    arms: Mapping[str, Arm]
    shadow: float
    examination: Examination

    @property
    def name(self) -> str:
        """Its name, as clients send it."""
        return self.split.name


@dataclass(frozen=True, slots=True)
class Target:
    """What a client named: an experiment, one arm of it (`forced`), or a model (no experiment, its own arm)."""

    experiment: Experiment | None
    arm: Arm | None

    @property
    def forced(self) -> bool:
        """Whether the client chose the arm itself, which keeps the conversation out of the statistics."""
        return self.experiment is not None and self.arm is not None


class Catalogue:
    """All that can be named."""

    def __init__(self, direct: Mapping[str, Arm], experiments: Mapping[str, Experiment]) -> None:
        self.direct = direct
        self.experiments = experiments

    def names(self, key: Key) -> list[str]:
        """Every id that `key` may send as `model`."""
        forced = [f"{name}:{arm}" for name, experiment in self.experiments.items() for arm in experiment.arms]
        return [name for name in (*self.experiments, *forced, *self.direct) if key.may_use(name)]

    def resolve(self, name: str, key: Key) -> Target:
        """What `name` stands for.

        Raises:
            ModelNotFound: nothing has that name; the message says what there is for this key.
            Forbidden: the key may not use it.
        """
        target = self._find(name, key)
        if not key.may_use(name):
            raise Forbidden(
                f"This key may not use the model '{name}'. It may use: {', '.join(self.names(key)) or 'none'}.",
                param="model",
                code="model_not_found",
            )
        return target

    def _find(self, name: str, key: Key) -> Target:
        if name in self.direct:
            return Target(None, self.direct[name])
        if name in self.experiments:
            return Target(self.experiments[name], None)
        experiment_name, _, arm_name = name.rpartition(":")
        experiment = self.experiments.get(experiment_name)
        if experiment is not None and arm_name in experiment.arms:
            return Target(experiment, experiment.arms[arm_name])
        if experiment is not None and key.may_use(experiment_name):
            raise ModelNotFound(
                f"The experiment '{experiment_name}' has no arm '{arm_name[:128]}'. "
                f"Its arms are: {', '.join(experiment.arms)}.",
                param="model",
            )
        raise ModelNotFound(
            f"The model '{name[:128]}' does not exist. Available: {', '.join(self.names(key))}.", param="model"
        )
