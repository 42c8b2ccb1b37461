"""Resting a model that keeps failing, and probing whether it is back (Nygard, Release It!, "Circuit Breaker")."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.settings import BreakerSettings


@dataclass(slots=True)
class _State:
    failures: int = 0
    rests_until: float | None = None
    probing: bool = False


class Breaker:
    """What is known of each model's health, by name."""

    def __init__(self, settings: BreakerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._states: dict[str, _State] = {}

    def rests_for(self, model: str) -> float:
        """Seconds that the model still rests; 0 when it may be asked.

        Once its rest is over, one request may ask it, the probe; the others go on as if it rested, until the probe
        has `succeeded` or `failed` or was `given_up`.
        """
        state = self._states.get(model)
        if state is None or state.rests_until is None:
            return 0.0
        left = state.rests_until - self._clock()
        if left > 0:
            return left
        if state.probing:
            return 1.0
        state.probing = True
        return 0.0

    def succeeded(self, model: str) -> None:
        """The model has answered."""
        self._states.pop(model, None)

    def failed(self, model: str) -> None:
        """The model could not be reached, or broke off, or answered with an error of its own."""
        state = self._states.setdefault(model, _State())
        state.failures += 1
        if state.probing or state.failures >= self._settings.failures:
            state.rests_until = self._clock() + self._settings.rest_s
        state.probing = False

    def given_up(self, model: str) -> None:
        """Nobody waits for the model's answer any more, and nothing is known of it: another may probe."""
        state = self._states.get(model)
        if state is not None:
            state.probing = False
