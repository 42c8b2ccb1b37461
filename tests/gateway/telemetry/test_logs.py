"""What the log of a running gateway says, and what it never says."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from gateway.sections.telemetry import LoggingSettings
from gateway.settings import Settings
from gateway.telemetry.logs import MAX_WAITING, logging_to
from gateway.telemetry.request_log import log_request
from tests.gateway.conftest import KEY, Gateway
from tests.gateway.telemetry.test_exposition import a_turn

SAID = "the-secret-that-was-said"


@contextmanager
def logged(**settings: Any) -> Iterator[io.StringIO]:
    """What is logged within, once the block has ended."""
    stream = io.StringIO()
    server = logging.getLogger("uvicorn")  # the tests' server keeps its log to itself; `gattway serve` does not
    server.propagate, before = True, server.propagate
    try:
        with logging_to(stream, LoggingSettings(**settings)):
            yield stream
    finally:
        server.propagate = before


def ask(gateway: Gateway, model: str, **fields: Any) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": SAID}], **fields}
    headers = {"x_session_id": f"chat-{model}", "authorization": "Bearer the-clients-own-key"}
    return gateway.post(body, **headers).status_code


def test_a_request_is_one_line_with_its_ids_arm_and_times(gateway: Gateway) -> None:
    with logged(format="json", level="info") as lines:
        assert ask(gateway, "ab:repeat") == 200
        assert ask(gateway, "nobody") == 404
        assert ask(gateway, "status-500") == 500
    answered, refused, failed = [orjson.loads(line) for line in lines.getvalue().splitlines()]
    assert (answered["level"], answered["message"], answered["status"]) == ("info", "request", "ok")
    assert (answered["conversation_id"], answered["experiment"], answered["arm"]) == ("chat-ab:repeat", "ab", "repeat")
    assert answered["request_id"].startswith("req_")
    assert 0 <= answered["overhead_ms"] <= answered["duration_ms"]
    assert (refused["message"], refused["http_status"], refused["error_code"]) == ("refused", 404, "model_not_found")
    assert refused["request_id"] != answered["request_id"]
    assert (failed["level"], failed["http_status"]) == ("warning", 500)


def test_for_people_a_request_is_one_line_too_and_failures_show_at_the_default_level(gateway: Gateway) -> None:
    with logged() as lines:
        ask(gateway, "echo")
        ask(gateway, "cut", stream=True)
    (line,) = lines.getvalue().splitlines()
    assert " WARNING req_" in line
    assert "conversation_id=chat-cut" in line
    assert "error_code=stream_interrupted" in line


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_that_was_said_and_no_key_is_in_the_log(
    gateway: Gateway, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on success, not on refusals that quote, not when an upstream quotes, not in the traceback of a bug."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{SAID} {KEY}") from ValueError(SAID)

    with logged(format=form, level="debug") as lines:
        for model in ("echo", "status-401", "error-in-stream", "garbage", "html", "overflow", SAID):
            ask(gateway, model)
            ask(gateway, model, stream=True)
        gateway.post({"model": "echo", "messages": [{"role": SAID, "content": SAID}]})
        gateway.post(f'{{"model": "{SAID}')
        monkeypatch.setattr("gateway.chat._placed", broken)
        assert ask(gateway, "echo") == 500
        deadline = time.monotonic() + 10
        while "RuntimeError" not in lines.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)  # the server logs a bug after it has answered
    text = lines.getvalue()
    assert "RuntimeError" in text
    assert "gateway/chat.py" in text
    assert len(text.splitlines()) > 10
    for secret in (SAID, KEY, "the-clients-own-key"):
        assert secret not in text


def test_an_id_with_line_breaks_stays_on_its_line() -> None:
    row = a_turn()
    row.conversation_id = "x\n2026-01-01 WARNING all is well\x1b[31m"
    with logged(level="info") as lines:
        log_request(row)
    (line,) = lines.getvalue().splitlines()
    assert r"x\n2026-01-01" in line
    assert "\x1b" not in line


def test_a_reader_that_is_too_slow_holds_nobody_up_and_is_told_what_it_missed() -> None:
    reads, writes = os.pipe()
    go_on = threading.Event()
    with os.fdopen(writes, "w") as stream, os.fdopen(reads) as reader:
        with logging_to(stream, LoggingSettings(level="info")):
            for _ in range(MAX_WAITING + 5_000):  # a pipe holds about a thousand
                logging.getLogger("gateway").info("a line of some length, so that the pipe is full soon")
            drained = threading.Thread(target=lambda: [next(reader) for _ in range(MAX_WAITING)] and go_on.set())
            drained.start()
            assert go_on.wait(20)
            logging.getLogger("gateway").info("the last one")
            rest = iter(reader.readline, "")
            line = next(line for line in rest if "dropped" in line)
        assert "log lines were dropped" in line


def test_the_settings_have_defaults_that_keep_quiet() -> None:
    assert Settings.model_fields["logging"].default == LoggingSettings(format="text", level="warning")
