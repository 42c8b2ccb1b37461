"""The parts of the settings that say what is compared: experiments, their arms, and who judges the answers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

import strategies
from adherence import CheckError, Rule
from gateway.sections.base import Name, Section


class ArmSettings(Section):
    """One way of keeping the instruction alive."""

    strategy: str = Field(description="Where the instruction goes; docs/strategies/ lists the strategies.")
    model: str = Field(description="Name of the model that answers.")
    weight: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="Share of new conversations, relative to the other arms' weights.",
    )
    instruction: str | None = Field(
        default=None,
        description="An instruction that the arm sets; absent: the client's system message is the instruction.",
    )
    fallbacks: list[str] = Field(
        default_factory=list,
        description="Models that answer when the arm's own does not, in order; out of the statistics.",
    )
    condenser: str | None = Field(
        default=None,
        description="Model that condenses old turns for the strategy `condense`; the arm's own when absent.",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="The strategy's own parameters.")

    @model_validator(mode="after")
    def _strategy_exists(self) -> ArmSettings:
        if not self.chooses_among:  # whose experiment builds it
            self.build([]).place([{"role": "user", "content": ""}], self.instruction)
        return self

    @property
    def chooses_among(self) -> list[str]:
        """The arms of its experiment that its strategy chooses among; none where it chooses nothing."""
        named = self.parameters.get("arms") if strategies.takes(self.strategy, "candidates") else None
        if named is None:
            return []
        if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
            raise ValueError(f"parameters.arms must be a list of arms of this experiment, not {named!r}")
        return named

    def build(self, rules: list[dict[str, Any]], arms: Mapping[str, ArmSettings] | None = None) -> strategies.Strategy:
        """The arm's strategy; one that reads answers by `checks` gets the experiment's rules, unless it has its own,
        and one that chooses among `arms` gets these as its candidates.

        Raises:
            ValueError: it cannot be built.
        """
        parameters = dict(self.parameters)
        if strategies.takes(self.strategy, "checks"):
            parameters.setdefault("checks", rules)
        if self.chooses_among:
            parameters["candidates"] = [self._candidate(name, arms or {}) for name in parameters.pop("arms")]
        return strategies.make(self.strategy, **parameters)

    def _candidate(self, name: str, arms: Mapping[str, ArmSettings]) -> dict[str, Any]:
        arm = arms.get(name)
        if arm is None or arm is self:
            others = ", ".join(other for other, one in arms.items() if one is not self) or "none"
            raise ValueError(f"parameters.arms: there is no other arm {name!r}; there are: {others}")
        if (arm.model, arm.instruction) != (self.model, self.instruction):
            raise ValueError(
                f"parameters.arms: {name!r} has another model or instruction; what it has shown says nothing here"
            )
        return {"name": name, "strategy": arm.strategy, "parameters": arm.parameters}


class AdherenceSettings(Section):
    """Who decides whether answers follow their instruction, beside the traffic."""

    sample: float = Field(default=1.0, ge=0, le=1, description="Share of the conversations whose answers are checked.")
    detect: bool = Field(
        default=True, description="Look for gattway's own patterns in instructions that no check of the config is for."
    )
    judge: str | None = Field(default=None, description="Name of the model that judges what no check decides.")
    judge_sample: float = Field(
        default=0.1, ge=0, le=1, description="Share of the checked conversations that the judge reads too."
    )


class AudienceSettings(Section):
    """Whose conversations are in the experiment; everybody's when both are empty."""

    keys: list[str] = Field(default_factory=list, description="Names of keys; any of them.")
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Request headers and the regular expression that the whole value must match; all of them.",
    )

    @model_validator(mode="after")
    def _patterns_compile(self) -> AudienceSettings:
        for header, pattern in self.headers.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"headers.{header}: {pattern!r} is no regular expression ({error})") from None
        return self


class ExperimentSettings(Section):
    """A split of traffic between arms, sticky per conversation."""

    salt: str | None = Field(
        default=None,
        description="Seasons the assignment hash; the experiment's name when absent. A new salt deals anew.",
    )
    arms: dict[Name, ArmSettings] = Field(min_length=1, description="The arms by name.")
    coverage: float = Field(
        default=1.0, ge=0, le=1, description="Share of new conversations that are part of the experiment."
    )
    outside: str | None = Field(
        default=None,
        description="Arm that serves conversations outside of coverage and audience; the first arm when absent.",
    )
    audience: AudienceSettings = AudienceSettings()
    shadow: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of answered turns that another arm answers too, unseen, its cost booked apart.",
    )
    allocation: Literal["fixed", "thompson"] = Field(
        default="fixed",
        description="`fixed`: by weight. `thompson`: a bandit moves new conversations to the more adherent arms.",
    )
    floor: float = Field(
        default=0.1, ge=0, le=0.5, description="With `thompson`: the least share of any arm that has a weight."
    )
    checks: list[dict[str, Any]] = Field(
        default_factory=list, description="Checks of adherence, as docs/adherence.md lists them, each with its `when`."
    )
    checks_file: Path | None = Field(
        default=None, description="TOML file with more of them under `[[checks]]`, relative to the config file."
    )
    adherence: AdherenceSettings = AdherenceSettings()

    @model_validator(mode="after")
    def _some_weight(self) -> ExperimentSettings:
        if not any(arm.weight for arm in self.arms.values()):
            raise ValueError("every arm has weight 0; give at least one arm a weight above 0")
        weighted = sum(bool(arm.weight) for arm in self.arms.values())
        if self.allocation == "thompson" and self.floor * weighted > 1:
            raise ValueError(f"floor: {weighted} arms cannot all have a share of {self.floor}; lower it")
        for name, arm in self.arms.items():
            if arm.chooses_among:
                try:
                    arm.build([], self.arms)
                except ValueError as error:
                    raise ValueError(f"arms.{name}: {error}") from None
        if self.outside is not None and self.outside not in self.arms:
            raise ValueError(f"outside: there is no arm {self.outside!r}; the arms are: {', '.join(self.arms)}")
        return self

    @model_validator(mode="after")
    def _checks_can_be_read(self) -> ExperimentSettings:
        for index, rule in enumerate(self.checks):
            _read(rule, f"checks[{index}]")
        return self

    def rules(self) -> list[dict[str, Any]]:
        """All checks, the config's own first.

        Raises:
            ValueError: the file of checks cannot be read, or one of them cannot; the message names it.
        """
        return [*self.checks, *(_from(self.checks_file) if self.checks_file else ())]


def _from(path: Path) -> list[dict[str, Any]]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"checks_file: {path} cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"checks_file: {path} is not valid TOML: {error}") from None
    rules = found.get("checks")
    if not isinstance(rules, list) or set(found) != {"checks"}:
        raise ValueError(f"checks_file: {path} must hold [[checks]] tables and nothing else")
    for index, rule in enumerate(rules):
        _read(rule, f"checks_file: {path}: checks[{index}]")
    return rules


def _read(rule: Any, place: str) -> None:
    try:
        Rule.read(rule)
    except CheckError as error:
        raise ValueError(f"{place}: {error}") from None
