"""The seam between the gateway and whoever runs a model.

Every upstream speaks OpenAI's bytes: a JSON body, or whole server-sent events. So the gateway relays and
accounts for all of them in one way, and an upstream that already speaks them is relayed untouched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from strategies import Message


@dataclass(slots=True)
class Reply:
    """What came back, unread.

    `chunks` yields for a stream whole server-sent events (one or more a chunk), else the JSON body. `aclose`
    lets go of everything behind it, cancelling an answer that is still being made; it may be called twice.
    """

    status: int
    headers: dict[str, str]
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]


class Upstream(Protocol):
    """Whoever answers chat completions."""

    kind: ClassVar[str]

    async def send(self, body: dict[str, Any], *, stream: bool, headers: Mapping[str, str]) -> Reply:
        """Send one chat completion.

        Args:
            body: OpenAI's request body; `model` is the upstream's own name for the model.
            stream: whether server-sent events are wanted.
            headers: headers to hand on (request id, conversation id).

        Raises:
            RequestError: the upstream cannot do what a field asks.
            UpstreamError: it refused, could not be reached, or failed before its first byte.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


class Counter(Protocol):
    """Counts tokens as one model does."""

    def messages(self, messages: list[Message]) -> int:
        """Prompt tokens of a message list, template included. Raises BadRequest if it cannot be rendered."""
        ...

    def text(self, text: str) -> int:
        """Tokens of bare text."""
        ...
