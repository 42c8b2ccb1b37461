"""From settings to what they name: upstreams, models, arms, experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strategies
from adherence import Finder
from gateway.access.keys import Keyring
from gateway.accounting.cache_table import provider_of_host, provider_of_name, rule_for, stated_rule
from gateway.accounting.caching import CacheRule
from gateway.accounting.prices import Price, price_of, table_price, table_row
from gateway.accounting.template_tokens import TemplateCounter
from gateway.accounting.tokens import TiktokenCounter
from gateway.catalogue import Arm, Catalogue, Examination, Experiment, Model
from gateway.errors import ConfigError
from gateway.experiments.split import Audience, Split
from gateway.sections.experiments import ArmSettings, ExperimentSettings
from gateway.sections.upstreams import LiteLLMUpstreamSettings, LocalUpstreamSettings, OpenAIUpstreamSettings
from gateway.settings import ModelSettings, Settings
from gateway.upstreams.base import Counter, Upstream
from gateway.upstreams.local import LocalModel, LocalUpstream
from gateway.upstreams.passthrough import PassthroughUpstream


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
        price=_price(name, upstream_model, settings),
        cache_rule=_cache_rule(upstream_model, settings, upstream_settings),
    )


def _price(name: str, upstream_model: str, settings: ModelSettings) -> Price | None:
    if settings.price_as is not None:
        if settings.price is not None:
            raise ConfigError(f"models.{name}.price_as: the model has a price of its own; leave one of them out")
        row = table_row(settings.price_as)
        if row is None or table_price(row) is None:
            raise ConfigError(
                f"models.{name}.price_as: litellm's table has no price for {settings.price_as!r}; "
                "take a model's name as litellm writes it, or state a price"
            )
    return price_of(settings, upstream_model)


def _cache_rule(
    upstream_model: str,
    settings: ModelSettings,
    upstream: LocalUpstreamSettings | OpenAIUpstreamSettings | LiteLLMUpstreamSettings,
) -> CacheRule:
    if settings.prefix_cache is not None:
        return stated_rule(settings.prefix_cache)
    if isinstance(upstream, LocalUpstreamSettings):
        return rule_for("local", upstream_model)
    if isinstance(upstream, OpenAIUpstreamSettings):
        return rule_for(provider_of_host(upstream.base_url), upstream_model)
    return rule_for(provider_of_name(upstream_model), upstream_model)


def _local(settings: ModelSettings, upstream: LocalUpstreamSettings) -> tuple[Upstream, Counter, int]:
    assert settings.folder is not None, "the settings see to it that a local model has a folder"
    model = LocalModel.load(settings.folder, max_batch=upstream.max_batch, cache_bytes=upstream.cache_mb * 2**20)
    return LocalUpstream(model), TemplateCounter(model.render_text, model.fast_tokenizer), model.context_window


def _tiktoken_counter(name: str, upstream_model: str, settings: ModelSettings) -> Counter:
    try:
        return TiktokenCounter(upstream_model, settings.encoding)
    except ValueError:
        raise ConfigError(
            f"models.{name}.encoding: tiktoken has no encoding {settings.encoding!r}; "
            "try o200k_base or cl100k_base, or leave it out"
        ) from None


def _experiment(name: str, settings: ExperimentSettings, models: Mapping[str, Model]) -> Experiment:
    try:
        rules = settings.rules()
        finder = Finder(rules, detect=settings.adherence.detect)
    except ValueError as error:
        raise ConfigError(f"experiments.{name}.{error}") from None
    judge = settings.adherence.judge
    return Experiment(
        split=Split(
            name=name,
            salt=settings.salt or name,
            weights={arm_name: arm.weight for arm_name, arm in settings.arms.items()},
            coverage=settings.coverage,
            outside=settings.outside or next(iter(settings.arms)),
            audience=Audience(frozenset(settings.audience.keys), tuple(settings.audience.headers.items())),
            policy=settings.allocation,
            floor=settings.floor,
        ),
        arms={arm_name: _arm(arm_name, arm, models, rules, settings.arms) for arm_name, arm in settings.arms.items()},
        shadow=settings.shadow,
        examination=Examination(
            finder, settings.adherence.sample, models[judge] if judge else None, settings.adherence.judge_sample
        ),
    )


def _arm(
    name: str,
    settings: ArmSettings,
    models: Mapping[str, Model],
    rules: list[dict[str, Any]],
    arms: Mapping[str, ArmSettings],
) -> Arm:
    strategy = settings.build(rules, arms)
    fallbacks = tuple(models[fallback] for fallback in settings.fallbacks)
    condenser = models[settings.condenser] if settings.condenser else None
    return Arm(name, strategy, models[settings.model], settings.weight, settings.instruction, fallbacks, condenser)
