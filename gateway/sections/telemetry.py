"""The part of the settings that says how a running gateway is seen."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from gateway.sections.base import Section


class LoggingSettings(Section):
    """What goes to standard error; never what anybody said, and no key."""

    format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for one JSON object a line."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning",
        description="The least that is logged; from `info` on a line for every request, else for those that failed.",
    )


class TelemetrySettings(Section):
    """OpenTelemetry (`pip install 'gattway[otlp]'`), beside the series at `/metrics`."""

    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Collector that takes OTLP over HTTP, such as `http://localhost:4318`; none when absent.",
    )
    otlp_headers_env: str | None = Field(
        default=None,
        description="Name of the environment variable that holds headers for it, as `name=value,name=value`.",
    )
    interval_s: float = Field(default=10.0, gt=0, description="Seconds between two exports.")
    trace_share: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests that leave a trace; metrics count all."
    )

    @model_validator(mode="after")
    def _can_be_exported(self) -> TelemetrySettings:
        if self.otlp_endpoint is not None and not _has_otlp():
            raise ValueError("otlp_endpoint: needs the extra 'otlp'; pip install 'gattway[otlp]'")
        if self.otlp_headers_env is not None and self.otlp_headers() is None:
            raise ValueError(
                f"otlp_headers_env: the environment variable {self.otlp_headers_env} is not set; export it with the "
                "headers, or leave otlp_headers_env out"
            )
        return self

    def otlp_headers(self) -> SecretStr | None:
        """The headers, read from the environment."""
        value = os.environ.get(self.otlp_headers_env) if self.otlp_headers_env else None
        return SecretStr(value) if value else None


def _has_otlp() -> bool:
    try:
        return (
            find_spec("opentelemetry.sdk") is not None
            and find_spec("opentelemetry.exporter.otlp.proto.http") is not None
        )
    except ModuleNotFoundError:
        return False
