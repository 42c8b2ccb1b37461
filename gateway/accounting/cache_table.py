"""Which rule a provider's prefix cache goes by: a dated table.

`since` is when the provider began to work so (as far as it says), `checked` when the source was last read.
Provider `vllm` stands for every OpenAI-compatible server that is not known by its host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.accounting.caching import Blocks, Breakpoints, CacheRule, NoCache, Observed, Steps
from gateway.sections.accounting import PrefixCacheSettings

OPENAI_GUIDE = "https://developers.openai.com/api/docs/guides/prompt-caching"
ANTHROPIC_GUIDE = "https://platform.claude.com/docs/en/build-with-claude/prompt-caching"
LITELLM_TABLE = "litellm's model_prices_and_context_window_backup.json, prompt_cache_min_tokens"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: the rule for a provider's models whose names `models` matches."""

    provider: str
    models: str
    rule: CacheRule
    since: str
    checked: str
    source: str


TABLE: tuple[Entry, ...] = (
    Entry("local", r"", Blocks(16), "2026-11", "2026-11-21", "gateway/upstreams/local/kv.py"),
    Entry("vllm", r"", Blocks(16), "2025-01", "2026-11-21", "https://docs.vllm.ai/en/latest/design/prefix_caching/"),
    Entry("openai", r"gpt-(5\.[6-9]|[6-9])", Breakpoints(1024, True), "2026-07", "2026-11-21", OPENAI_GUIDE),
    Entry("openai", r"gpt-4o-2024-05-13|gpt-4(-|$)|gpt-3", NoCache(), "2023-03", "2026-11-21", OPENAI_GUIDE),
    Entry("openai", r"", Steps(1024, 128), "2024-10", "2026-11-21", OPENAI_GUIDE),
    Entry(
        "anthropic",
        r"(opus|fable|haiku)-5|mythos|sonnet-5-5",
        Breakpoints(512, False),
        "2026-06",
        "2026-11-21",
        LITELLM_TABLE,
    ),
    Entry("anthropic", r"opus-4-7", Breakpoints(2048, False), "2026-04", "2026-11-21", ANTHROPIC_GUIDE),
    Entry("anthropic", r"opus-4-[56]|haiku-4-5", Breakpoints(4096, False), "2025-10", "2026-11-21", LITELLM_TABLE),
    Entry("anthropic", r"haiku", Breakpoints(2048, False), "2024-08", "2026-11-21", ANTHROPIC_GUIDE),
    Entry("anthropic", r"", Breakpoints(1024, False), "2024-08", "2026-11-21", ANTHROPIC_GUIDE),
)
"""First match wins, from the top."""

HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
}
"""OpenAI-compatible servers whose provider is known by the host of their address."""


def rule_for(provider: str, model: str) -> CacheRule:
    """The rule for a provider's model; `Observed` where the table has none.

    Args:
        provider: `local`, `vllm`, `openai`, `anthropic`, or any other name that litellm knows.
        model: the provider's own name for it, with or without a prefix that names the provider.
    """
    for entry in TABLE:
        if entry.provider == provider and re.search(entry.models, model):
            return entry.rule
    return Observed()


def provider_of_host(base_url: str) -> str:
    """The provider behind an OpenAI-compatible address: by its host, else `vllm`."""
    return HOSTS.get(urlsplit(base_url).hostname or "", "vllm")


def provider_of_name(model: str) -> str:
    """The provider of a model by litellm's name for it; Claude is Anthropic's wherever it is served."""
    return "anthropic" if "claude" in model else model.split("/", 1)[0] if "/" in model else "openai"


def stated_rule(settings: PrefixCacheSettings) -> CacheRule:
    """The rule that a config states."""
    rules: dict[str, CacheRule] = {
        "blocks": Blocks(settings.block_tokens),
        "steps": Steps(settings.minimum_tokens, settings.step_tokens),
        "breakpoints": Breakpoints(settings.minimum_tokens, settings.automatic),
        "observed": Observed(),
        "none": NoCache(),
    }
    return rules[settings.rule]
