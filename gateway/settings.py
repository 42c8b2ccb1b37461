"""One typed tree of settings, from `gattway.toml` and the environment.

Every key can also come from the environment as `GATTWAY_` + its path with `__` between the parts
(`GATTWAY_SERVER__PORT=9000`), which wins over the file. Secrets are named, never written: `api_key_env`
is the name of the environment variable that holds the key.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.errors import ConfigError
from gateway.sections.access import AuxiliarySettings, BoundsSettings, KeySettings, Origin, mistakes
from gateway.sections.accounting import ComparisonSettings, PrefixCacheSettings, PriceSettings
from gateway.sections.base import Name
from gateway.sections.base import Section as _Section
from gateway.sections.complaints import explain
from gateway.sections.experiments import ExperimentSettings
from gateway.sections.ledger import LedgerSettings
from gateway.sections.relay import RelaySettings, StreamingSettings
from gateway.sections.telemetry import LoggingSettings, TelemetrySettings
from gateway.sections.ui import UiSettings
from gateway.sections.upstreams import UpstreamSettings

EMBEDDED_CONFIG = Path(__file__).parent / "embedded" / "gattway.toml"
"""The config that serves when there is no other: the miniature models and `gatt-vs-repeat`."""

IDENTITY_HEADERS = [
    "x-gattway-conversation-id",
    "x-conversation-id",
    "x-openwebui-chat-id",
    "x-litellm-session-id",
    "x-session-id",
    "helicone-session-id",
]


class ServerSettings(_Section):
    """Where the gateway listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        default=1, ge=1, le=256, description="Processes that serve together; each loads the embedded models for itself."
    )
    grace_s: float = Field(
        default=30.0, ge=0, description="Seconds that running answers get to finish when the gateway is asked to stop."
    )
    notice_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds for which a gateway that is asked to stop goes on taking requests, while `/health/ready` "
        "is 503 already; behind a balancer, as long as that takes to notice.",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        description="Seconds that a connection stays open without a request; longer than the balancer's own limit.",
    )
    max_body_bytes: int = Field(default=20 * 2**20, ge=1024, description="Largest request body taken, in bytes.")
    open: bool = Field(
        default=False, description="Serve without keys on an address that other machines reach; everybody may use it."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="Host names, besides this machine's own, under which a gateway without keys answers on a loopback "
        "address (a proxy's name, say); `*` for all.",
    )
    cors_origins: list[Origin] = Field(
        default_factory=list, description="Origins whose web pages may call the gateway; `*` for all, none when empty."
    )


class IdentitySettings(_Section):
    """How a conversation is recognised."""

    headers: list[str] = Field(
        default_factory=lambda: list(IDENTITY_HEADERS),
        description="Request headers that may carry a conversation id, first match wins.",
    )


class TimeoutSettings(_Section):
    """How long an upstream may keep a client waiting."""

    first_token_s: float = Field(
        default=120.0, gt=0, description="Seconds until an answer must have begun; for one that is not streamed, ended."
    )
    between_tokens_s: float = Field(default=60.0, gt=0, description="Seconds between two events of a stream.")


class RetrySettings(_Section):
    """Trying again before the first byte; never for a client that says it retries by itself."""

    attempts: int = Field(default=3, ge=1, le=10, description="How often a model is asked, the first time included.")
    first_wait_s: float = Field(default=0.25, gt=0, description="Longest wait before the second attempt, in seconds.")
    max_wait_s: float = Field(
        default=4.0, gt=0, description="Longest wait before any; a longer `retry-after` goes to the client."
    )


class BreakerSettings(_Section):
    """Resting a model that keeps failing."""

    failures: int = Field(default=5, ge=1, description="Failures in a row after which a model rests.")
    rest_s: float = Field(default=30.0, gt=0, description="Seconds of rest before one request probes it.")


class ModelSettings(_Section):
    """A model that clients and arms may name."""

    upstream: str = Field(description="Name of the upstream that runs it.")
    name: str | None = Field(
        default=None, description="The upstream's own name for it; this section's name when absent."
    )
    folder: Path | None = Field(
        default=None, description="For local upstreams: folder that transformers loads, relative to the config file."
    )
    context_window: int | None = Field(
        default=None, ge=1, description="Tokens; from the model folder or litellm's table when absent."
    )
    encoding: str | None = Field(
        default=None,
        description="tiktoken encoding to count with, such as `o200k_base`; by the model's name when absent.",
    )
    price: PriceSettings | None = Field(
        default=None, description="Price; from litellm's table when absent, else unknown."
    )
    price_as: str | None = Field(
        default=None,
        description="litellm's name of the model whose price it has, where its own is not in litellm's table.",
    )
    price_surcharge: float = Field(
        default=1.0, gt=0, description="Factor on every part of the price, as providers ask it for a tuned model."
    )
    prefix_cache: PrefixCacheSettings | None = Field(
        default=None, description="How its prefix cache works; by provider and model when absent."
    )


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="GATTWAY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = ServerSettings()
    ledger: LedgerSettings = LedgerSettings()
    identity: IdentitySettings = IdentitySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    upstreams: dict[Name, UpstreamSettings] = Field(min_length=1, description="Model servers by name.")
    models: dict[Name, ModelSettings] = Field(min_length=1, description="Models by the name that clients use.")
    experiments: dict[Name, ExperimentSettings] = Field(default_factory=dict, description="Experiments by name.")
    keys: dict[Name, KeySettings] = Field(default_factory=dict, description="Who may use the gateway, by name.")
    bounds: BoundsSettings = BoundsSettings()
    auxiliary: AuxiliarySettings = AuxiliarySettings()
    relay: RelaySettings = RelaySettings()
    ui: UiSettings = UiSettings()
    logging: LoggingSettings = LoggingSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    streaming: StreamingSettings = StreamingSettings()
    accounting: ComparisonSettings = ComparisonSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _servers_have_what_they_need(self) -> Settings:
        for name, server in self.upstreams.items():
            if server.kind != "local" and server.api_key_env is not None and server.api_key() is None:
                raise ValueError(
                    f"upstreams.{name}.api_key_env: the environment variable {server.api_key_env} is not set; "
                    "export it with the key, or leave api_key_env out"
                )
        for name, model in self.models.items():
            upstream = self.upstreams.get(model.upstream)
            if upstream is None:
                raise ValueError(_unknown(f"models.{name}.upstream", model.upstream, self.upstreams))
            if upstream.kind == "local" and model.folder is None:
                raise ValueError(f"models.{name}.folder: a model of a local upstream needs its folder")
        return self

    @model_validator(mode="after")
    def _arms_name_models(self) -> Settings:
        for name, experiment in self.experiments.items():
            if name in self.models:
                raise ValueError(f"experiments.{name}: a model has that name already; rename one of them")
            for arm_name, arm in experiment.arms.items():
                named = [("model", arm.model), *(("fallbacks", fallback) for fallback in arm.fallbacks)]
                for key, model in [*named, *([("condenser", arm.condenser)] if arm.condenser else [])]:
                    if model not in self.models:
                        raise ValueError(_unknown(f"experiments.{name}.arms.{arm_name}.{key}", model, self.models))
            judge = experiment.adherence.judge
            if judge is not None and judge not in self.models:
                raise ValueError(_unknown(f"experiments.{name}.adherence.judge", judge, self.models))
        return self

    @model_validator(mode="after")
    def _keys_name_what_there_is(self) -> Settings:
        arms = [f"{name}:{arm}" for name, experiment in self.experiments.items() for arm in experiment.arms]
        for name, experiment in self.experiments.items():
            for key in experiment.audience.keys:
                if key not in self.keys:
                    raise ValueError(_unknown(f"experiments.{name}.audience.keys", key, self.keys))
        if mistake := mistakes(self.keys, [*self.experiments, *arms, *self.models]):
            raise ValueError(mistake)
        return self


def config_path(given: Path | None) -> Path:
    """The config file: the given one, `$GATTWAY_CONFIG`, `./gattway.toml`, else the embedded one."""
    if given is not None:
        return given
    named = os.environ.get("GATTWAY_CONFIG")
    if named:
        return Path(named)
    local = Path("gattway.toml")
    return local if local.exists() else EMBEDDED_CONFIG


def load(path: Path) -> Settings:
    """Read the settings.

    Raises:
        ConfigError: one line per mistake, each with file, key, value and remedy.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give another with --config, or leave it out") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        settings = Settings(**data)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, path, Settings))) from None
    return _with_absolute_folders(settings, path.resolve().parent)


def _with_absolute_folders(settings: Settings, base: Path) -> Settings:
    models = {
        name: model.model_copy(update={"folder": base / model.folder}) if model.folder else model
        for name, model in settings.models.items()
    }
    experiments = {
        name: one.model_copy(update={"checks_file": base / one.checks_file}) if one.checks_file else one
        for name, one in settings.experiments.items()
    }
    return settings.model_copy(update={"models": models, "experiments": experiments})


def _unknown(key: str, value: str, known: dict[str, Any]) -> str:
    return f"{key}: {value!r} is not defined; known: {', '.join(sorted(known)) or 'none'}"
