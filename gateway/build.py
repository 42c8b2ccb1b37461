"""From settings to what they name: upstreams, models, arms, experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strategies
from gateway.accounting.prices import price_of, table_row
from gateway.accounting.tokens import TiktokenCounter
from gateway.catalogue import Arm, Catalogue, Experiment, Model
from gateway.errors import ConfigError
from gateway.keys import Keyring
from gateway.settings import ArmSettings, ExperimentSettings, ModelSettings, Settings
from gateway.upstream_settings import LiteLLMUpstreamSettings, LocalUpstreamSettings, OpenAIUpstreamSettings
from gateway.upstreams.base import Counter, Upstream
from gateway.upstreams.local import LocalModel, LocalUpstream
from gateway.upstreams.passthrough import PassthroughUpstream
from strategies import Message


def build(settings: Settings) -> Catalogue:
    """Everything that a client may name, ready to serve. Loading local models takes seconds.

    Raises:
        ConfigError: something in the settings cannot be had: a folder, an extra, an encoding.
    """
    shared = {
        name: _shared_upstream(upstream)
        for name, upstream in settings.upstreams.items()
        if not isinstance(upstream, LocalUpstreamSettings)
    }
    models = {name: _model(name, model, settings, shared) for name, model in settings.models.items()}
    direct = {name: Arm("", strategies.make("pass-through"), model) for name, model in models.items()}
    experiments = {name: _experiment(name, one, models) for name, one in settings.experiments.items()}
    catalogue = Catalogue(direct, experiments)
    _check_budgets(settings, catalogue)
    return catalogue


def _check_budgets(settings: Settings, catalogue: Catalogue) -> None:
    """A limit in US dollars holds only where every answer has a price."""
    for key in Keyring(settings.keys).with_budget():
        for name in catalogue.names(key):
            target = catalogue.resolve(name, key)
            arms = [target.arm] if target.arm else list(target.experiment.arms.values() if target.experiment else ())
            for model in (model for arm in arms for model in (arm.model, *arm.fallbacks)):
                if model.price is None:
                    raise ConfigError(
                        f"keys.{key.name}.usd_per_day: the price of the model {model.name!r} is unknown; add "
                        f"models.{model.name}.price, or list the key's models without it"
                    )


def _shared_upstream(settings: OpenAIUpstreamSettings | LiteLLMUpstreamSettings) -> Upstream:
    if isinstance(settings, OpenAIUpstreamSettings):
        return PassthroughUpstream(settings)
    from gateway.upstreams.via_litellm import LiteLLMUpstream

    return LiteLLMUpstream(settings)


def _model(name: str, settings: ModelSettings, tree: Settings, shared: Mapping[str, Upstream]) -> Model:
    upstream_model = settings.name or name
    upstream_settings = tree.upstreams[settings.upstream]
    upstream: Upstream
    counter: Counter
    window: int | None
    if isinstance(upstream_settings, LocalUpstreamSettings):
        upstream, counter, window = _local(settings, upstream_settings)
    else:
        upstream, counter = shared[settings.upstream], _tiktoken_counter(name, upstream_model, settings)
        window = (table_row(upstream_model) or {}).get("max_input_tokens")
    return Model(
        name=name,
        upstream_name=settings.upstream,
        upstream=upstream,
        upstream_model=upstream_model,
        counter=counter,
        window=settings.context_window or window,
        price=price_of(settings, upstream_model),
    )


def _local(settings: ModelSettings, upstream: LocalUpstreamSettings) -> tuple[Upstream, Counter, int]:
    assert settings.folder is not None, "the settings see to it that a local model has a folder"
    model = LocalModel.load(settings.folder, max_batch=upstream.max_batch, cache_bytes=upstream.cache_mb * 2**20)
    return LocalUpstream(model), _LocalCounter(model), model.context_window


def _tiktoken_counter(name: str, upstream_model: str, settings: ModelSettings) -> Counter:
    try:
        return TiktokenCounter(upstream_model, settings.encoding)
    except ValueError:
        raise ConfigError(
            f"models.{name}.encoding: tiktoken has no encoding {settings.encoding!r}; "
            "try o200k_base or cl100k_base, or leave it out"
        ) from None


class _LocalCounter:
    """Counts with the model's own tokenizer and chat template."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model

    def messages(self, messages: list[Message]) -> int:
        return len(self._model.render(messages))

    def text(self, text: str) -> int:
        return self._model.count_text(text)


def _experiment(name: str, settings: ExperimentSettings, models: Mapping[str, Model]) -> Experiment:
    arms = {arm_name: _arm(arm_name, arm, models) for arm_name, arm in settings.arms.items()}
    return Experiment(name, settings.salt or name, arms)


def _arm(name: str, settings: ArmSettings, models: Mapping[str, Model]) -> Arm:
    parameters: dict[str, Any] = settings.parameters
    strategy = strategies.make(settings.strategy, **parameters)
    fallbacks = tuple(models[fallback] for fallback in settings.fallbacks)
    return Arm(name, strategy, models[settings.model], settings.weight, settings.instruction, fallbacks)
