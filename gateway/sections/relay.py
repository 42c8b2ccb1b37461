"""How answers are relayed: other routes than those that the gateway knows, and what follows when a client leaves."""

from __future__ import annotations

from pydantic import Field

from gateway.sections.base import Section

ACCOUNT_ROUTES = [
    *("assistants*", "batches*", "chat/*", "containers*", "conversations*", "evals*", "files*", "fine_tuning/*"),
    *("load_lora_adapter", "models*", "organization*", "realtime*", "responses/*", "threads*", "unload_lora_adapter"),
    *("uploads*", "vector_stores*"),
]
"""Routes that act on the account behind the upstream's key, change the server, or hand out keys of their own."""


class RelaySettings(Section):
    """Which other `/v1/…` routes are relayed to the upstream of the model that a request names."""

    routes: list[str] = Field(
        default_factory=lambda: ["*"],
        description="Routes behind `/v1/` that are relayed; `*` stands for anything, and an empty list for none.",
    )
    refused: list[str] = Field(
        default_factory=lambda: list(ACCOUNT_ROUTES),
        description="Routes that are not, whatever `routes` says: those that act on the upstream's account.",
    )


class StreamingSettings(Section):
    """What follows when a client leaves in the middle of its answer."""

    drain: bool = Field(
        default=False,
        description="Read the upstream's answer to its end when the client has left, for an exact bill; else the "
        "upstream is let go at once, and what had come is counted.",
    )
    drain_s: float = Field(default=60.0, gt=0, description="Longest that an answer is read on for nobody, in seconds.")
