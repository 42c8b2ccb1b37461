"""Log lines on standard error, as JSON or for people, written by a thread so that a slow reader holds nobody up.

Nothing that a client or a model said gets in, and no key: a request's line is made of its row, an error is its class
and code, and an exception is where it happened, not its message, which may quote what was being worked on.
"""

from __future__ import annotations

import logging
import queue
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

import orjson

from gateway.sections.telemetry import LoggingSettings

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request that is being worked on, for whatever is logged meanwhile."""
MAX_WAITING = 10_000
"""Lines that wait to be written; further ones are dropped, and their number is told."""
LAST_LINES_S = 2.0
"""Seconds that the last lines get to be written when the gateway stops."""


@contextmanager
def logging_to(stream: TextIO | None, settings: LoggingSettings) -> Iterator[None]:
    """Log to `stream` (standard error when None) by the settings, until the block ends."""
    level = settings.level.upper()
    out = logging.StreamHandler(stream or sys.stderr)
    out.setFormatter(_FORMATTERS[settings.format]())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING)
    handler, listener = _Handler(waiting), _Listener(waiting, out)
    root = logging.getLogger()
    # Other libraries' chatter below a warning may quote what they send: it stays out at any level.
    before = {logger: logger.level for logger in (root, logging.getLogger("gateway"), logging.getLogger("uvicorn"))}
    root.setLevel(max(logging.WARNING, getattr(logging, level)))
    for name in ("gateway", "uvicorn"):
        logging.getLogger(name).setLevel(level)
    root.addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, was in before.items():
            logger.setLevel(was)
        listener.stop()


class _Handler(QueueHandler):
    """Hands records to the thread as they are: nothing is formatted on the way, and a full queue drops."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.request_id = REQUEST_ID.get()
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                self._waiting.put_nowait(_note(f"{self._dropped} log lines were dropped: their reader is too slow"))
                self._dropped = 0
            self._waiting.put_nowait(record)
        except queue.Full:
            self._dropped += 1


class _Listener(QueueListener):
    """The thread that writes. A reader that takes nothing more does not keep the gateway from stopping."""

    def stop(self) -> None:
        thread = self._thread
        try:
            self.enqueue_sentinel()
        except queue.Full:
            return
        if thread is not None:
            thread.join(LAST_LINES_S)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, with the fields of its request where it is a request's line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", None),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = _where(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


class TextLines(logging.Formatter):
    """One line a record, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; control characters are escaped, so that nobody's id can pretend to be a line."""
        fields = {name: value for name, value in getattr(record, "fields", {}).items() if value not in (None, "")}
        request_id = fields.pop("request_id", None) or getattr(record, "request_id", None)
        parts = [_time(record), record.levelname, *([request_id] if request_id else []), record.getMessage()]
        parts += [f"{name}={value}" for name, value in fields.items()]
        if record.exc_info:
            parts += [f"{one['type']} at {' < '.join(reversed(one['at']))}" for one in _where(record.exc_info[1])]
        return " ".join(part.encode("unicode_escape").decode() if not part.isprintable() else part for part in parts)


_FORMATTERS: dict[str, type[logging.Formatter]] = {"json": JsonLines, "text": TextLines}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _where(error: BaseException | None) -> list[dict[str, Any]]:
    """An exception and what led to it: types and places, no messages."""
    found: list[dict[str, Any]] = []
    while error is not None and len(found) < 5:
        frames = traceback.extract_tb(error.__traceback__)
        found.append({"type": type(error).__qualname__, "at": [_place(frame) for frame in frames]})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def _place(frame: traceback.FrameSummary) -> str:
    return f"{'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} {frame.name}"


def _note(message: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, (), None)
