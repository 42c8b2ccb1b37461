"""Strategies by name: gattway's own, and those of other packages through the entry point group `gattway.strategies`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from strategies.base import Strategy
from strategies.every_k import EveryK
from strategies.every_turn import EveryTurn
from strategies.last_turn import LastTurn
from strategies.on_drift import OnDrift
from strategies.once import Once
from strategies.pass_through import PassThrough
from strategies.short_reminder import ShortReminder

GROUP = "gattway.strategies"
Factory = Callable[..., Strategy]


def _drop_oldest(max_chars: int, keep: float = 0.5, then: str = "once", parameters: Any = None) -> Strategy:
    from strategies.drop_oldest import DropOldest  # it makes strategies itself

    return DropOldest(max_chars, keep, then, parameters)


def _condense(max_chars: int, keep: float = 0.5, then: str = "once", parameters: Any = None) -> Strategy:
    from strategies.condense import Condense  # it makes strategies itself

    return Condense(max_chars, keep, then, parameters)


def _few_shot(examples: Any, n: int = 3, by: str = "first", embeddings: Any = None) -> Strategy:
    from strategies.few_shot import FewShot

    return FewShot(examples, n, by, embeddings)


def _within_budget(adherence: float, candidates: Any, shape: Any = None) -> Strategy:
    from strategies.within_budget import WithinBudget  # it makes strategies itself

    return WithinBudget(adherence, candidates, shape)


FACTORIES: dict[str, Factory] = {
    "once": Once,
    "every-turn": EveryTurn,
    "every-k": EveryK,
    "last-turn": LastTurn,
    "short-reminder": ShortReminder,
    "on-drift": OnDrift,
    "drop-oldest": _drop_oldest,
    "condense": _condense,
    "few-shot": _few_shot,
    "within-budget": _within_budget,
    "pass-through": PassThrough,
}
"""Strategy name, as written in an arm, to what builds it: gattway's own."""


@functools.cache
def others() -> Mapping[str, EntryPoint]:
    """Strategies that installed packages bring, by name; gattway's own names cannot be taken."""
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in FACTORIES}


def factory(name: str) -> Factory:
    """What builds a strategy.

    Raises:
        ValueError: nobody has the name, or the package that has it cannot be loaded.
    """
    if name in FACTORIES:
        return FACTORIES[name]
    entry = others().get(name)
    if entry is None:
        known = ", ".join(sorted([*FACTORIES, *others()]))
        raise ValueError(f"unknown strategy {name!r}; choose one of {known}")
    try:
        loaded: Factory = entry.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"strategy {name!r} of {entry.value!r} cannot be loaded: {error}") from None
    return loaded


def takes(name: str, parameter: str) -> bool:
    """Whether a strategy has a parameter. Raises ValueError as `factory` does."""
    return parameter in inspect.signature(factory(name)).parameters


def make(name: str, **parameters: Any) -> Strategy:
    """Build a strategy by name.

    Raises:
        ValueError: the name is unknown, or a parameter is unknown, missing or unfit; the message says what is possible.
    """
    build = factory(name)
    known = inspect.signature(build).parameters
    for parameter in parameters:
        if parameter not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise ValueError(f"strategy {name!r} has no parameter {parameter!r}; it takes: {allowed}")
    for parameter, declared in known.items():
        if declared.default is declared.empty and parameter not in parameters:
            raise ValueError(f"strategy {name!r} needs the parameter {parameter!r}")
    return build(**parameters)
