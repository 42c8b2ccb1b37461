"""A chat completion as the load sends it: always the same bytes but for a number in the last user message.

With the number every request is a conversation of its own, which no gateway can answer from memory.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DIGITS = 9
_PLACE = "@" * DIGITS
_USER = "And what do you know about the capital of the country that I named before?"
_ASSISTANT = (
    "It lies on a river, has about two million people, many old bridges, and a tower that was meant to stay for "
    "twenty years only."
)


@dataclass(frozen=True, slots=True)
class Request:
    """Where it goes, and the body around the number."""

    port: int
    path: str
    before: bytes
    after: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.before) + DIGITS + len(self.after)

    def head(self) -> bytes:
        """Request line and headers, with the empty line behind them."""
        given = {
            "host": f"127.0.0.1:{self.port}",
            "content-type": "application/json",
            "content-length": str(self.size),
            **self.headers,
        }
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def body(self, number: int) -> bytes:
        """The body with this number."""
        return self.before + b"%0*d" % (DIGITS, number) + self.after

    def ask(self, number: int = 0, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Send it once; status and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            headers = {"content-type": "application/json", **self.headers}
            connection.request("POST", self.path, self.body(number), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def chat(model: str, *, history: int = 0, stream: bool = False, tokens: int | None = None) -> tuple[bytes, bytes]:
    """The bodies before and after the number, with so many messages between instruction and last question."""
    messages = [{"role": "system", "content": "Always answer in French."}]
    for index in range(history):
        role, content = ("user", _USER) if index % 2 == 0 else ("assistant", _ASSISTANT)
        messages.append({"role": role, "content": content})
    messages.append({"role": "user", "content": f"This is question {_PLACE}: what is the capital of France?"})
    body: dict[str, Any] = {"model": model, "messages": messages}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if tokens is not None:
        body["max_tokens"] = tokens
    before, after = json.dumps(body).encode().split(_PLACE.encode())
    return before, after
