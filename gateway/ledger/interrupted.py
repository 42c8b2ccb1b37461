"""Requests that had begun when their gateway died: the next gateway that opens the file closes their rows.

Every gateway holds a lock on a file of its own beside the ledger, which the operating system lets go when the process
ends, however it ends. So a note whose owner's lock can be had is an orphan, and several gateways, or the workers of
one, never close each other's. Like SQLite's own locks these need a local file system.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects.sqlite import insert

from gateway.ledger.records import COLUMNS, Turn
from gateway.ledger.schema import begun, turns

INTERRUPTED = "interrupted"

log = logging.getLogger(__name__)


class Owner:
    """This gateway, as the owner of the requests that it begins."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger.absolute()
        self.name = uuid.uuid4().hex[:12]
        self._lock = FileLock(_lock_path(self._ledger, self.name), thread_local=False)
        self._lock.acquire()

    def release(self) -> None:
        """Nothing of this gateway is under way any more."""
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def close_orphans(self, engine: Engine) -> int:
        """Close what gateways that are no more had begun; gives the number of rows."""
        with engine.connect() as connection:
            owners = list(connection.execute(select(begun.c.owner).distinct()).scalars())
        return sum(self._close(engine, owner) for owner in owners if owner != self.name)

    def _close(self, engine: Engine, owner: str) -> int:
        lock = FileLock(_lock_path(self._ledger, owner))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return 0  # it lives
        try:
            count = _close_rows(engine, owner)
            Path(lock.lock_file).unlink(missing_ok=True)
        finally:
            lock.release()
        if count:
            log.warning("%d requests that a gateway had begun when it died are closed as %s", count, INTERRUPTED)
        return count


def _close_rows(engine: Engine, owner: str) -> int:
    with engine.begin() as connection:
        notes: Sequence[dict[str, object]] = list(
            connection.execute(select(begun.c.row).where(begun.c.owner == owner)).scalars()
        )
        for note in notes:
            known = {name: value for name, value in note.items() if name in COLUMNS}
            row = Turn(**{**known, "status": INTERRUPTED, "error_code": INTERRUPTED})  # type: ignore[arg-type]
            connection.execute(insert(turns).values(row.as_dict()).on_conflict_do_nothing())
        connection.execute(delete(begun).where(begun.c.owner == owner))
    return len(notes)


def _lock_path(ledger: Path, owner: str) -> Path:
    return ledger.with_name(f"{ledger.name}-gateway-{owner}")
