"""Server-sent events, cut at event borders (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A read from a socket may end anywhere: inside an event, a line, a UTF-8 character. What goes on to the client is
always whole events, so that a keep-alive comment or an error can stand between any two of them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import orjson

from gateway.errors import UpstreamUnavailable

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 16 * 2**20
_BORDER = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def event(data: object) -> bytes:
    """One event with `data` as JSON."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


async def whole_events(reads: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Regroup socket reads so that each holds whole events, borders included, as many as have come.

    Text after the last border is handed on as an event of its own when the stream ends: some servers leave out
    the last blank line.

    Raises:
        UpstreamUnavailable: a single event grows beyond `MAX_EVENT_BYTES`.
    """
    rest = b""
    async for read in reads:
        buffer = rest + read if rest else read
        end = _last_border(buffer, max(0, len(rest) - 3))
        rest = buffer[end:]
        if end:
            yield buffer[:end] if rest else buffer
        if len(rest) > MAX_EVENT_BYTES:
            raise UpstreamUnavailable(f"The upstream sent an event of over {MAX_EVENT_BYTES} bytes.")
    if rest.strip():
        yield rest.rstrip(b"\r\n") + b"\n\n"


def event_end(events: bytes, at: int) -> int:
    """Where the event ends that begins at `at`, its border included."""
    border = _BORDER.search(events, at)
    return border.end() if border else len(events)


def split_events(events: bytes) -> Iterator[bytes]:
    """Whole events one by one."""
    at = 0
    while at < len(events):
        end = event_end(events, at)
        yield events[at:end]
        at = end


def _last_border(buffer: bytes, begin: int) -> int:
    """Where the last border ends behind `begin`; 0 where there is none."""
    if buffer.endswith(b"\n\n"):
        return len(buffer)
    found = ((buffer.rfind(border, begin), len(border)) for border in (b"\n\n", b"\r\n\r\n", b"\r\r"))
    return max((at + length for at, length in found if at >= 0), default=0)


def data_of(raw: bytes) -> bytes | None:
    """The data of one event: its `data` lines joined, or None for comments and events without data."""
    if raw.startswith(b"data:") and raw.find(b"\n", 0, len(raw.rstrip(b"\r\n"))) < 0:
        return raw[5:].strip()
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", raw) if line.startswith(b"data:")]
    return b"\n".join(lines).strip() if lines else None
