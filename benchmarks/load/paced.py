"""`python -m benchmarks.load.paced --port P`: an upstream whose streams' tokens come one by one, at a pace.

The first comes at once; `max_tokens` of the request says how many. One thread, plain sockets: a thousand streams at
50 tokens a second are 50,000 small writes a second, more than an event loop's transports carry on a part of a core.
"""

from __future__ import annotations

import argparse
import re
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from benchmarks.load.events import LAST_CHUNK, STREAM_HEAD, chunk, end_events, tokens

_TOKENS = re.compile(rb'"max_(?:completion_)?tokens"\s*:\s*(\d+)')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding:\s*chunked", re.IGNORECASE)
_READ = 65536


@dataclass(slots=True, eq=False)
class Connection:
    """One client's connection: at most one stream at a time."""

    socket: socket.socket
    received: bytes = b""
    unsent: bytes = b""
    left: int = 0
    due: float = 0.0
    closed: bool = False


@dataclass(slots=True)
class Paced:
    """The server. `queue` holds the streams by the time of their next token: all wait equally long, so new ones and
    those that go on are appended."""

    listening: socket.socket
    pause_s: float
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    queue: deque[Connection] = field(default_factory=deque)

    def serve(self) -> None:
        """Serve until interrupted."""
        self.listening.setblocking(False)
        self.selector.register(self.listening, selectors.EVENT_READ, None)
        while True:
            wait = max(0.0, self.queue[0].due - time.monotonic()) if self.queue else None
            for key, _ in self.selector.select(wait):
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)
            self._send_due()

    def _accept(self) -> None:
        try:
            accepted, _ = self.listening.accept()
        except BlockingIOError:
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(accepted, selectors.EVENT_READ, Connection(accepted))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_READ)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        if _is_whole(connection.received):
            found = _TOKENS.search(connection.received)
            connection.received = b""
            connection.left = int(found[1]) if found else 1
            connection.due = time.monotonic()
            connection.unsent = STREAM_HEAD
            self._send_token(connection)

    def _send_due(self) -> None:
        now = time.monotonic()
        while self.queue and self.queue[0].due <= now:
            connection = self.queue.popleft()
            if not connection.closed:
                self._send_token(connection)

    def _send_token(self, connection: Connection) -> None:
        if connection.left > 0:
            connection.left -= 1
            connection.unsent += _TOKENS_SENT[connection.left % len(_TOKENS_SENT)]
            if not connection.left:
                connection.unsent += _END
        try:
            sent = connection.socket.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self._close(connection)
            return
        connection.unsent = connection.unsent[sent:]
        if connection.left or connection.unsent:
            connection.due += self.pause_s
            self.queue.append(connection)

    def _close(self, connection: Connection) -> None:
        if not connection.closed:
            connection.closed = True
            self.selector.unregister(connection.socket)
            connection.socket.close()


_TOKENS_SENT = [chunk(event) for event in tokens(64)]
_END = chunk(end_events()) + LAST_CHUNK


def _is_whole(received: bytes) -> bool:
    """Whether head and body of a request have come."""
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    if _CHUNKED.search(head):
        return body.endswith(b"0\r\n\r\n")
    length = _LENGTH.search(head)
    return len(body) >= (int(length[1]) if length else 0)


def main() -> None:
    """Serve on a loopback port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--per-second", type=float, default=50.0)
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", given.port), backlog=4096) as listening:
        Paced(listening, 1 / given.per_second).serve()


if __name__ == "__main__":
    main()
