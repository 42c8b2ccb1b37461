"""Ids that begin with their time, so that new rows go to one end of an index and not all over it."""

from __future__ import annotations

import os
import time


def timed() -> str:
    """32 hexadecimal digits as of a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 random ones."""
    bits = int.from_bytes(os.urandom(10), "big") & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return f"{time.time_ns() // 1_000_000:012x}{bits:020x}"
