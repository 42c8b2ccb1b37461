"""Group commit: one thread writes what all requests have ended since its last commit, in one transaction.

A request waits for the commit that holds its row, and only then lets go of the end of its answer. While the
database refuses (disk full, read-only), rows are kept, `problem` says why, and the thread tries again until it
heals.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import LedgerError
from gateway.ledger.records import Assignment, Turn
from gateway.ledger.schema import assignments, turns

MAX_GROUP = 512
RETRY_S = 0.5

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Item:
    row: Turn
    assignment: Assignment | None
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]

    def settle(self, error: LedgerError | None) -> None:
        self.loop.call_soon_threadsafe(self._resolve, error)

    def _resolve(self, error: LedgerError | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Writer:
    """The one writer of a ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._in_hand: list[_Item] = []
        self.problem: str | None = None
        """Why rows cannot be written at present; None when they can."""
        self._thread = threading.Thread(target=self._run, name="gattway-ledger", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Rows that are not on disk yet."""
        return self._queue.qsize() + len(self._in_hand)

    async def write(self, row: Turn, assignment: Assignment | None = None) -> None:
        """Return once the row is on disk.

        Raises:
            LedgerError: the database refused it; the row is kept and tried again.
        """
        loop = asyncio.get_running_loop()
        item = _Item(row, assignment, loop, loop.create_future())
        self._queue.put(item)
        await asyncio.shield(item.done)

    def close(self) -> None:
        """Write what is left and stop; returns when the thread has ended."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            items, stopping = self._take()
            self._in_hand = [*self._in_hand, *items]
            if self._in_hand:
                self._commit()
        self._disconnect()
        if self._in_hand:
            log.error("%d rows could not be written: %s", len(self._in_hand), self.problem)

    def _take(self) -> tuple[list[_Item], bool]:
        """Wait for an item, then take whatever else is there; the flag says that it is time to stop."""
        items: list[_Item] = []
        try:
            item = self._queue.get(timeout=RETRY_S if self._in_hand else None)
            while item is not None:
                items.append(item)
                if len(items) == MAX_GROUP:
                    return items, False
                item = self._queue.get_nowait()
        except queue.Empty:
            return items, False
        return items, True

    def _commit(self) -> None:
        group = self._in_hand
        try:
            self._insert(group)
        except SQLAlchemyError as error:
            self._disconnect()
            self.problem = f"the ledger cannot be written: {getattr(error, 'orig', None) or error}"
            log.error("%s; %d rows are kept and tried again", self.problem, len(group))
            failure: LedgerError | None = LedgerError(self.problem)
        else:
            if self.problem:
                log.warning("the ledger can be written again")
            self.problem = failure = None
            self._in_hand = []
        for item in group:
            item.settle(failure)

    def _insert(self, group: list[_Item]) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        dealt = [asdict(item.assignment) for item in group if item.assignment is not None]
        with self._connection.begin():
            self._connection.execute(insert(turns).on_conflict_do_nothing(), [item.row.as_dict() for item in group])
            if dealt:
                self._connection.execute(insert(assignments).on_conflict_do_nothing(), dealt)

    def _disconnect(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.close()
        except SQLAlchemyError as error:
            log.warning("closing the ledger: %s", error)
        self._connection = None
