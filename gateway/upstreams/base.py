"""The seam between the gateway and whoever runs a model.

Every upstream speaks OpenAI's bytes: a JSON body, or whole server-sent events. So the gateway relays and
accounts for all of them in one way, and an upstream that already speaks them is relayed untouched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
    headers: Mapping[str, str]
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

    async def relay(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post bytes to another route than chat completions, and get bytes back.

        Args:
            path: what stands behind `/v1/`, with its query.
            headers: headers to hand on; the content type is among them.

        Raises:
            RequestError: there are no other routes here.
            UpstreamError: it refused, could not be reached, or failed before its first byte.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


class Prompt(Protocol):
    """A message list as one model reads it."""

    @property
    def tokens(self) -> int:
        """All of it, template and the opening of the answer included."""
        ...

    @property
    def exact(self) -> bool:
        """Whether it holds nothing whose tokens are unknown (pictures, tool calls …)."""
        ...

    def head(self, count: int) -> Prompt:
        """The prompt of its first `count` messages."""
        ...

    def until(self, count: int) -> int:
        """Tokens of its first `count` messages."""
        ...

    def shared(self, before: Any) -> tuple[int, int]:
        """Tokens at its beginning that it shares with another prompt of the same model; and with the answer to that
        one behind it, where it has that answer."""
        ...


class Counter(Protocol):
    """Counts tokens as one model does."""

    def prompt(self, messages: Sequence[Message], known: Mapping[int, int] = ...) -> Prompt:
        """The prompt that a message list makes. Raises BadRequest if it cannot be rendered.

        `known` has the keys of messages by their id, where the caller has them already.
        """
        ...

    def text(self, text: str) -> int:
        """Tokens of bare text."""
        ...

    def fixed(self, text: str) -> int:
        """The same, remembered: for a text that comes again with every turn."""
        ...

    def keys(self, messages: Sequence[Message]) -> list[int]:
        """What each message is remembered by; empty where messages are not counted one by one."""
        ...

    def new_chars(self, messages: Sequence[Message], limit: int) -> int:
        """Characters that counting a message list has to read; exact only where they are more than `limit`."""
        ...
