"""What of an upstream's events goes on to the client, and what the gateway learns from them on the way.

An OpenAI client wants `data:` lines and nothing else: events are taken apart and put together again without `event:`,
`id:` and `retry:` lines and without the upstream's own comments. The usage that the gateway asked for on its own
account is kept from clients that did not ask.

Most events of an answer differ from one another in their text alone. Once one of them has been read, those like it are
known by the bytes around their text, and a whole read of them goes on as it came (`gateway.wire.alike`).
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import GatewayError, UpstreamStatus, UpstreamUnavailable
from gateway.wire.alike import Alike
from gateway.wire.observe import Observation, is_usage_only
from gateway.wire.required import Head, fill_chunk
from gateway.wire.sse import data_of, event_end


class Relay:
    """The way of one answer's events.

    Attributes:
        seen: what has been learned so far.
        done: whether the upstream has said that it is done; what it sends after that is dropped.
    """

    def __init__(self, head: Head, *, wants_usage: bool) -> None:
        self._head = head
        self._wants_usage = wants_usage
        self._alike = Alike()
        self._failure: GatewayError | None = None
        self.seen = Observation()
        self.done = False

    def take(self, events: bytes) -> bytes:
        """The bytes for the client; b"" when none of the events is for it.

        Args:
            events: whole events, one behind the other.

        Raises:
            UpstreamError: an event that is an error, or none at all. Good events ahead of it are returned first, and
                the error is raised by the next call.
        """
        self.raise_failure()
        forward: list[bytes] = []
        at = 0
        while at < len(events) and not self.done:
            run = self._alike.run(events, at)
            if run is not None:
                self.seen.text.append(run.text)
                forward.append(events[at : run.end])
                at = run.end
                continue
            end = event_end(events, at)
            try:
                forward.append(self._one(events[at:end]))
            except GatewayError as error:
                if not any(forward):
                    raise
                self._failure = error
                break
            at = end
        return b"".join(forward)

    def raise_failure(self) -> None:
        """Raise the error that came right behind the events of the last call, if there was one."""
        if self._failure is not None:
            raise self._failure

    def _one(self, raw: bytes) -> bytes:
        data = data_of(raw)
        if data is None:
            return b""
        if data == b"[DONE]":
            self.done = True
            return b""
        chunk = _parsed(data)
        changed = fill_chunk(chunk, self._head)
        self.seen.see_chunk(chunk)
        if self.seen.error is not None:
            raise UpstreamStatus(_status_of(self.seen.error), {"error": self.seen.error})
        if chunk.get("usage") is not None and not self._wants_usage:
            if is_usage_only(chunk):
                return b""
            del chunk["usage"]
            changed = True
        if changed or b"\n" in data:
            data = orjson.dumps(chunk)
        else:
            self._alike.learn(raw, chunk)
        return b"data: " + data + b"\n\n"


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        chunk = None
    if not isinstance(chunk, dict):
        raise UpstreamUnavailable("The upstream sent an event that is no JSON object.", code="bad_upstream_event")
    return chunk


def _status_of(error: dict[str, Any]) -> int:
    """The HTTP status that an error inside a stream stands for, where it says one; it counts before the first byte."""
    for key in ("status", "status_code", "code"):
        value = error.get(key)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return 502
