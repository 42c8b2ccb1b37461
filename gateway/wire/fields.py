"""Checks of single fields of a request body; each raises a BadRequest that names the field and what it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.errors import BadRequest

Check = Callable[[str, Any], None]


def check_fields(body: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Apply to each field its check; what is absent or null passes."""
    for name, value in body.items():
        if value is not None and name in checks:
            checks[name](name, value)


def number(low: float, high: float) -> Check:
    """A check that a field is a number from `low` to `high`."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f"'{name}' must be a number, not {named(value)}.", param=name)
        if not low <= value <= high:
            raise BadRequest(f"'{name}' must be between {low:g} and {high:g}, not {value}.", param=name)

    return check


def integer(name: str, value: Any) -> None:
    """Check that a field is an integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"'{name}' must be an integer, not {named(value)}.", param=name)


def at_least_one(name: str, value: Any) -> None:
    """Check that a field is an integer from 1."""
    integer(name, value)
    if value < 1:
        raise BadRequest(f"'{name}' must be at least 1, not {value}.", param=name)


def of(kind: type, words: str) -> Check:
    """A check that a field is of one type; `words` says which to the client."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            raise BadRequest(f"'{name}' must be {words}, not {named(value)}.", param=name)

    return check


def stop(name: str, value: Any) -> None:
    """Check that a field is a string or a list of strings."""
    if isinstance(value, str):
        return
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"'{name}' must be a string or a list of strings.", param=name)


def named(value: Any) -> str:
    """What kind of JSON value this is, in words."""
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
