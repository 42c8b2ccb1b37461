"""The part of the settings that says whether the web page is served."""

from __future__ import annotations

from pydantic import Field

from gateway.sections.base import Section


class UiSettings(Section):
    """The web page at `/ui/`."""

    enabled: bool = Field(default=True, description="Whether the gateway serves the web page at `/ui/`.")
