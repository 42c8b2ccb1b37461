"""Ids that nobody can guess, without a visit to the system for each; most begin with their time, so that new rows go to
one end of an index and not all over it.

Every visit lets go of the interpreter, and whoever waits for it (the ledger's thread, checks of answers) takes it: an
id then costs two changes of thread.
"""

from __future__ import annotations

import os
import time

BYTES = 16
AT_ONCE = 256

_FETCHED: list[bytes] = []
"""The process's own, like `random`'s generator; each piece is given out once, for taking one off is one step."""
os.register_at_fork(after_in_child=_FETCHED.clear)


def timed() -> str:
    """32 hexadecimal digits as of a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 random ones."""
    bits = int.from_bytes(random_bytes()[:10], "big") & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return f"{time.time_ns() // 1_000_000:012x}{bits:020x}"


def random_hex() -> str:
    """32 hexadecimal digits, all of them random."""
    return random_bytes().hex()


def random_bytes() -> bytes:
    """`BYTES` random bytes of the system's."""
    while True:
        try:
            return _FETCHED.pop()
        except IndexError:
            fresh = os.urandom(BYTES * AT_ONCE)
            _FETCHED.extend(fresh[at : at + BYTES] for at in range(0, len(fresh), BYTES))
