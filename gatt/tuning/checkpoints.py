"""What an interrupted or broken run leaves behind, and where the next one goes on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gatt import processes

_STATE = "trainer_state.json"
"""What the trainer writes last into a checkpoint."""
_FULL_BELOW_BYTES = 2**20


def last(folder: Path) -> str | None:
    """The latest checkpoint under `folder` that is whole, as the trainer takes it; None where there is none."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{_STATE}")]
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None


@contextmanager
def kept_whole(folder: Path) -> Iterator[None]:
    """Takes away what an error left half-written anywhere under `folder`.

    Raises:
        OSError: the disk is full. torch and safetensors write by themselves and say no more than that a stream broke.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except Exception as error:
        full = shutil.disk_usage(folder).free < _FULL_BELOW_BYTES
        if processes.is_main():
            _clear(folder)
        if full and not isinstance(error, OSError):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def _clear(folder: Path) -> None:
    broken = [path for path in folder.rglob("checkpoint-*") if not (path / _STATE).exists()]
    for path in [*broken, *folder.rglob("*.new")]:
        shutil.rmtree(path, ignore_errors=True)
