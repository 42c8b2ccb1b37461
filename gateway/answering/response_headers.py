"""The contract's headers, on every answer of a model."""

from __future__ import annotations

from urllib.parse import quote

from gateway.ledger.records import Turn


def contract_headers(row: Turn) -> dict[str, str]:
    """What a client is told about its request; an id that is not plain ASCII is percent-encoded."""
    return {
        "x-request-id": row.request_id,
        "x-gattway-conversation-id": _header_safe(row.conversation_id),
        "x-gattway-experiment": row.experiment or "",
        "x-gattway-arm": row.arm or "",
        "x-gattway-turn": str(row.turn),
        "x-gattway-overhead-ms": f"{row.overhead_ms or 0:.2f}",
    }


def _header_safe(value: str) -> str:
    return value if value.isascii() else quote(value, safe=" !#$&'()*+,/:;=?@[]-._~")
