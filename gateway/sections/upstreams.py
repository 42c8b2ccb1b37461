"""Settings of the model servers, by kind. Secrets are named, never written."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.sections.base import Section as _Section


class LocalUpstreamSettings(_Section):
    """Models in this process (`pip install 'gattway[local]'`)."""

    kind: Literal["local"]
    max_batch: int = Field(default=16, ge=1, le=256, description="Conversations decoded together.")
    cache_mb: int = Field(default=512, ge=0, description="Memory for the prefix cache of each model, in MiB.")


class OpenAIUpstreamSettings(_Section):
    """Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, OpenAI itself."""

    kind: Literal["openai"]
    base_url: str = Field(pattern=r"^https?://", description="Address up to and with `/v1`.")
    api_key_env: str | None = Field(default=None, description="Name of the environment variable that holds the key.")
    connect_s: float = Field(default=5.0, gt=0, description="Seconds to wait for a connection.")

    def api_key(self) -> SecretStr | None:
        """The key, read from the environment."""
        return _secret(self.api_key_env)


class LiteLLMUpstreamSettings(_Section):
    """Every other provider, through litellm; a model's `name` is litellm's, such as `anthropic/claude-…`."""

    kind: Literal["litellm"]
    api_key_env: str | None = Field(
        default=None,
        description="Name of the environment variable that holds the key; litellm's own default when absent.",
    )
    base_url: str | None = Field(
        default=None, description="Address of the provider, where it is not litellm's default."
    )

    def api_key(self) -> SecretStr | None:
        """The key, read from the environment."""
        return _secret(self.api_key_env)


UpstreamSettings = Annotated[
    LocalUpstreamSettings | OpenAIUpstreamSettings | LiteLLMUpstreamSettings, Field(discriminator="kind")
]


def _secret(variable: str | None) -> SecretStr | None:
    value = os.environ.get(variable) if variable else None
    return SecretStr(value) if value else None
