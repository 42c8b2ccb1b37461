"""The parts of the settings that say who may do what: keys, and requests that are no turn of a conversation."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from gateway.sections.base import Name, Section

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def _hash(value: Any) -> Any:
    """Refuses without repeating the value: whoever pasted the key itself must not find it in a log."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise ValueError("must be 'sha256:' and 64 hex digits; 'gattway keys new NAME' makes a key and prints its hash")
    return value


def _origin(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/?#\s]+", value):
        raise ValueError(
            f"{value!r} is no origin; write scheme, host and port, as in 'https://chat.example.com', or '*'"
        )
    return value


Origin = Annotated[str, BeforeValidator(_origin)]


class KeySettings(Section):
    """Someone who may use the gateway."""

    hash: Annotated[SecretStr, BeforeValidator(_hash)] = Field(
        description="`sha256:` and the key's SHA-256 in hex, as `gattway keys new` prints it; never the key itself."
    )
    models: list[str] | None = Field(
        default=None, description="Names that it may send as `model`, as `GET /v1/models` lists them; all when absent."
    )
    requests_per_minute: int | None = Field(default=None, ge=1, description="Requests in any minute.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Prompt and completion tokens in any minute, charged when an answer has ended."
    )
    usd_per_day: float | None = Field(
        default=None, gt=0, description="US dollars in any 24 hours, charged when an answer has ended."
    )
    max_concurrent_streams: int | None = Field(default=None, ge=1, description="Streamed answers under way at once.")
    admin: bool = Field(default=False, description="Whether it opens `/api`, `/ui` and `/metrics` too.")


class BoundsSettings(Section):
    """How large a request may be, besides `server.max_body_bytes`."""

    max_messages: int = Field(default=10_000, ge=1, description="Most messages in a request.")
    max_nesting: int = Field(
        default=64, ge=8, le=200, description="Deepest nesting of lists and objects in a request body."
    )
    max_id_chars: int = Field(default=256, ge=1, description="Longest conversation id that a client may give.")
    max_header_bytes: int = Field(
        default=32 * 2**10, ge=1024, description="Largest request headers taken, names and values together, in bytes."
    )


class AuxiliaryRuleSettings(Section):
    """How one kind of auxiliary request is recognised; every condition that is given must hold."""

    user: re.Pattern[str] | None = Field(
        default=None,
        description="Regular expression that the last message begins with, where it is the user's.",
    )
    system: re.Pattern[str] | None = Field(
        default=None, description="Regular expression that the first system or developer message begins with."
    )
    fields: dict[str, re.Pattern[str]] = Field(
        default_factory=dict,
        description="Body field (dots lead inwards: `metadata.task`) to a regular expression for its whole value.",
    )

    @model_validator(mode="after")
    def _some_condition(self) -> AuxiliaryRuleSettings:
        if self.user is None and self.system is None and not self.fields:
            raise ValueError("the rule has no condition; give it 'user', 'system' or 'fields'")
        return self


class AuxiliarySettings(Section):
    """Requests that a chat front end makes for itself: titles, tags, follow-ups, search queries."""

    built_in: bool = Field(
        default=True, description="Whether the rules for Open WebUI, LibreChat and LobeChat apply, besides `rules`."
    )
    rules: dict[Name, AuxiliaryRuleSettings] = Field(
        default_factory=dict, description="Further rules by name; one with a built-in rule's name takes its place."
    )


def mistakes(keys: Mapping[str, KeySettings], models: Collection[str]) -> str | None:
    """What is wrong with the keys as a whole, or None; `models` is all that a client may name."""
    owners: dict[str, str] = {}
    for name, key in keys.items():
        owner = owners.setdefault(key.hash.get_secret_value(), name)
        if owner != name:
            return (
                f"keys.{name}.hash: keys.{owner} has the same one; make a key of its own with: gattway keys new {name}"
            )
        for model in key.models or ():
            if model not in models:
                return f"keys.{name}.models: {model!r} is not defined; known: {', '.join(models)}"
    return None
