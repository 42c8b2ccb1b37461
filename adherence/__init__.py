"""Does a reply still follow its instruction: checks that code can decide, and adherence by turn."""

from __future__ import annotations

from adherence.checks import Check, CheckError, all_hold, parse
from adherence.curves import Curve, Rate, wilson

__all__ = ["Check", "CheckError", "Curve", "Rate", "all_hold", "parse", "wilson"]
