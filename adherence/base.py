"""What a check is."""

from __future__ import annotations

from collections.abc import Callable

Check = Callable[[str], "bool | None"]
"""Whether a reply holds to one thing; None where that cannot be told from this reply."""


class CheckError(ValueError):
    """A spec that cannot be read; the message names what is wrong and what would be right."""
