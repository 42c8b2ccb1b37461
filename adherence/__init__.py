"""Does a reply still follow its instruction: checks that code can decide, judges for the rest, adherence by turn."""

from __future__ import annotations

from adherence.checks import Check, CheckError, all_hold, parse, verdict
from adherence.curves import Curve, Rate, wilson
from adherence.drift import DriftTest
from adherence.finding import Finder, Rule

__all__ = [
    "Check",
    "CheckError",
    "Curve",
    "DriftTest",
    "Finder",
    "Rate",
    "Rule",
    "all_hold",
    "parse",
    "verdict",
    "wilson",
]
