"""Server-sent events, cut at event borders (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A read from a socket may end anywhere: inside an event, a line, a UTF-8 character. What goes on to the client is
always whole events, so that a keep-alive comment or an error can stand between any two of them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import orjson

from gateway.errors import UpstreamUnavailable

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 16 * 2**20
_BORDER = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def event(data: object) -> bytes:
    """One event with `data` as JSON."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


async def whole_events(reads: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Regroup socket reads into lists of whole events, borders included; each read's events stay together.

    Text after the last border is handed on as an event of its own when the stream ends: some servers leave out
    the last blank line.

    Raises:
        UpstreamUnavailable: a single event grows beyond `MAX_EVENT_BYTES`.
    """
    rest = b""
    async for read in reads:
        buffer = rest + read if rest else read
        events, start = [], 0
        for border in _BORDER.finditer(buffer):
            events.append(buffer[start : border.end()])
            start = border.end()
        rest = buffer[start:]
        if events:
            yield events
        if len(rest) > MAX_EVENT_BYTES:
            raise UpstreamUnavailable(f"The upstream sent an event of over {MAX_EVENT_BYTES} bytes.")
    if rest.strip():
        yield [rest.rstrip(b"\r\n") + b"\n\n"]


def data_of(raw: bytes) -> bytes | None:
    """The data of one event: its `data` lines joined, or None for comments and events without data."""
    if raw.startswith(b"data:") and raw.find(b"\n", 0, len(raw.rstrip(b"\r\n"))) < 0:
        return raw[5:].strip()
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", raw) if line.startswith(b"data:")]
    return b"\n".join(lines).strip() if lines else None
