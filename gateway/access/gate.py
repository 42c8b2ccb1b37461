"""What a request must pass before anything is done for it: the bounds of its size, and the limits of its key."""

from __future__ import annotations

from typing import Any

from gateway.access.keys import Key
from gateway.access.limits import Limiter
from gateway.errors import BadRequest
from gateway.sections.access import BoundsSettings
from gateway.wire.request import ChatRequest


class Gate:
    """Lets requests in."""

    def __init__(self, limiter: Limiter, bounds: BoundsSettings) -> None:
        self._limiter = limiter
        self._bounds = bounds

    async def admit(self, request: ChatRequest, key: Key, request_id: str) -> None:
        """Let a request in and count it.

        Raises:
            BadRequest: too many messages, or nested too deeply.
            RateLimited: a limit of the key is reached.
        """
        most = self._bounds.max_messages
        if len(request.messages) > most:
            raise BadRequest(
                f"'messages' holds {len(request.messages)} messages; this gateway takes {most} (bounds.max_messages).",
                param="messages",
            )
        await self.admit_fields(request.body, key, request_id, stream=request.stream)

    async def admit_fields(self, fields: dict[str, Any], key: Key, request_id: str, *, stream: bool) -> None:
        """Let a request in of which nothing is known but its fields, and count it.

        Raises:
            BadRequest: nested too deeply.
            RateLimited: a limit of the key is reached.
        """
        deepest = self._bounds.max_nesting
        if _deeper_than(deepest, fields):
            raise BadRequest(
                f"The request body is nested more than {deepest} levels deep, which is as far as this gateway goes "
                "(bounds.max_nesting)."
            )
        await self._limiter.admit(key, request_id, stream=stream)


def _deeper_than(most: int, body: dict[str, Any]) -> bool:
    """Whether lists and objects lie in one another more than `most` times; the body itself is the first."""
    level: list[Any] = [body]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
