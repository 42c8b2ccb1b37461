"""A streamed answer as an HTTP response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

KEEP_ALIVE_S = 15


def event_stream(events: AsyncIterator[bytes], headers: Mapping[str, str]) -> Response:
    """Server-sent events as they come, with a comment every `KEEP_ALIVE_S` seconds; ends when the client leaves."""
    return EventSourceResponse(
        events,
        headers=headers,
        ping=KEEP_ALIVE_S,
        ping_message_factory=lambda: ServerSentEvent(comment="keep-alive", sep="\n"),
        sep="\n",
    )
