"""Checks of what a config gives as a strategy's parameters."""

from __future__ import annotations

from typing import Any


def whole(name: str, value: Any, least: int) -> int:
    """`value` as a whole number from `least`. Raises ValueError when it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number from {least}, not {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """`value` as a boolean. Raises ValueError when it is none."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return value


def text(name: str, value: Any) -> str:
    """`value` as a string. Raises ValueError when it is none."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, not {value!r}")
    return value


def share(name: str, value: Any) -> float:
    """`value` as a number from 0 to below 1. Raises ValueError when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number from 0 to below 1, not {value!r}")
    return float(value)
