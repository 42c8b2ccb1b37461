"""A line of the log for each request, made of its row."""

from __future__ import annotations

import logging

from gateway.errors import GatewayError, http_status
from gateway.ledger.records import Turn

log = logging.getLogger(__name__)
_FIELDS = (
    *("request_id", "conversation_id", "experiment", "arm", "strategy", "model", "turn", "status", "http_status"),
    *("finish_reason", "error_code", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd"),
    *("ttft_ms", "duration_ms", "overhead_ms", "attempts", "fallback_for", "auxiliary", "key_name"),
)
_MS = ("ttft_ms", "duration_ms", "overhead_ms")


def log_request(row: Turn) -> None:
    """Log a request that has ended: a warning where the gateway or an upstream failed, else information."""
    failed = row.status == "error" and (row.http_status or 500) >= 500
    level = logging.WARNING if failed else logging.INFO
    if not log.isEnabledFor(level):
        return
    fields = {name: getattr(row, name) for name in _FIELDS}
    for name in _MS:
        if fields[name] is not None:
            fields[name] = round(fields[name], 2)
    log.log(level, "request", extra={"fields": fields})


def log_refusal(error: GatewayError) -> None:
    """Log a request that was refused without a row: by its class and code, for the message may quote the client."""
    if error.recorded or not log.isEnabledFor(logging.INFO):
        return
    fields = {"http_status": http_status(error), "error": type(error).__name__, "error_code": error.code}
    log.info("refused", extra={"fields": fields})
