"""What a gateway does to stay small and unhindered, once it has everything that it serves with."""

from __future__ import annotations

import ctypes
import gc

from gateway.accounting.prices import forget_table

COLLECT_AFTER = 20_000
"""New objects that live on before the garbage collector looks at them (Python's own: 700)."""
LARGE_BLOCK = 256 * 2**10
_M_MMAP_THRESHOLD = -3


def give_large_blocks_back() -> None:
    """Have blocks of memory from `LARGE_BLOCK` bytes on go back to the system when they are let go.

    glibc does so from 128 KiB on, but only until the first is let go: then it raises its bound up to 32 MiB
    (mallopt(3)), and what reading tables takes for a moment stays with the process for good. Elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def settle_in() -> None:
    """Let go of what only the start needed, and leave what it has made (hardly a cycle) out of every later search for
    cycles; search less often: a request makes hundreds of objects and hardly a cycle, and each search would look at
    all that is remembered of conversations."""
    forget_table()
    gc.freeze()
    gc.enable()
    gc.set_threshold(COLLECT_AFTER, 20, 50)
