"""Group commit: one thread writes what all requests have ended since its last commit, in one transaction.

A request waits for the commit that holds its row, and only then lets go of the end of its answer. A commit of one row
costs several times what a row costs that joins others. So while others are under way, a row waits until the event loop
has gone round `ROUNDS` times: microseconds where the loop has nothing to do, and where it has, it does not stand still.

While the database refuses (disk full, read-only), rows are kept, `problem` says why, and the thread tries again until
it heals. What is said of a row later (a verdict, feedback) goes the same way.

A request that has begun leaves a note, which nobody waits for: it goes to the disk with the next commit after
`LINGER_S` seconds, unless the request has ended by then. The notes of a gateway that died are closed by
`gateway.ledger.interrupted`.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import LedgerError
from gateway.ledger.amendments import Amendment
from gateway.ledger.clock import ClockWatch
from gateway.ledger.commit import Group, Item, settle_all
from gateway.ledger.records import Allocation, Assignment, Turn

MAX_GROUP = 512
RETRY_S = 0.5
LINGER_S = 0.05
ROUNDS = 4
"""Of an event loop; a request takes about as many from its arrival at the upstream to its row."""

log = logging.getLogger(__name__)


class _Wake:
    """Put into the queue: look again, or stop."""


_LOOK, _STOP = _Wake(), _Wake()


class Writer:
    """The one writer of a gateway.

    Args:
        owner: the name under which this gateway's requests are noted as begun.
        on_commit: called from the writer's thread when rows have reached the disk.
    """

    def __init__(self, engine: Engine, owner: str = "", on_commit: Callable[[], None] | None = None) -> None:
        self._engine = engine
        self._owner = owner
        self._on_commit = on_commit
        self._connection: Connection | None = None
        self._rows: deque[Item] = deque()  # that the thread has not taken yet
        self._wakes: queue.SimpleQueue[_Wake] = queue.SimpleQueue()
        self._gathering = False
        self._in_hand: list[Item] = []
        self._open: dict[str, bool] = {}  # requests under way, and whether they are noted on the disk
        self._fresh: deque[tuple[float, Turn]] = deque()  # begun not long ago, with the time (monotonic s)
        self._will_look = False
        self._clock = ClockWatch()
        self.problem: str | None = None
        """Why rows cannot be written at present; None when they can."""
        self._thread = threading.Thread(target=self._run, name="gattway-ledger", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Rows that are not on disk yet."""
        return len(self._rows) + len(self._in_hand)

    @property
    def lag_s(self) -> float:
        """Age of the oldest row that is not on disk yet, in seconds; 0 when there is none."""
        oldest = self._in_hand[:1]
        return time.monotonic() - oldest[0].since if oldest else 0.0

    def begin(self, row: Turn) -> None:
        """Note that a request has begun; waits for nothing."""
        self._open[row.request_id] = False
        self._fresh.append((time.monotonic(), row))
        if not self._will_look:
            self._will_look = True
            asyncio.get_running_loop().call_later(LINGER_S, self._look)

    def _look(self) -> None:
        """Have the thread note what is under way by now; it is woken for that once in `LINGER_S` seconds at most."""
        self._will_look = False
        if self._fresh:
            self._wakes.put(_LOOK)

    async def write(self, row: Turn, assignment: Assignment | None = None, sealed: bytes | None = None) -> None:
        """Return once the row is on disk, with the `sealed` content of its turn.

        Raises:
            LedgerError: the database refused it; the row is kept and tried again.
        """
        loop = asyncio.get_running_loop()
        await self._put(Item(row, assignment, sealed, loop, loop.create_future()))

    async def amend(self, amendment: Amendment | Allocation) -> None:
        """Write what is said of rows that were written before, or new weights of an experiment.

        Returns once it is on disk.

        Raises:
            LedgerError: the database refused it; it is kept and tried again.
        """
        loop = asyncio.get_running_loop()
        await self._put(Item(None, None, None, loop, loop.create_future(), amendment))

    def close(self) -> None:
        """Write what is left and stop; returns when the thread has ended."""
        self._wakes.put(_STOP)
        self._thread.join()

    async def _put(self, item: Item) -> None:
        self._rows.append(item)
        if not self._gathering:
            self._gathering = True
            self._gather(item.loop, ROUNDS)
        await item.done  # whoever is cancelled here leaves the row where it is

    def _gather(self, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
        """Have the thread write what there is, after so many rounds of the loop, or when nobody else is under way."""
        if rounds and len(self._open) > self.pending:
            loop.call_soon(self._gather, loop, rounds - 1)
        else:
            self._gathering = False
            self._wakes.put(_LOOK)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            items, stopping = self._take()
            self._in_hand = [*self._in_hand, *items]
            notes = self._notes()
            if self._in_hand or notes:
                self._clock.look()
                self._commit(self._in_hand, notes)
        self._disconnect()
        if self._in_hand:
            log.error("%d rows could not be written: %s", len(self._in_hand), self.problem)

    def _take(self) -> tuple[list[Item], bool]:
        """Wait until there is something to do, then take whatever is there; the flag says that it is time to stop."""
        stopping = False
        with suppress(queue.Empty):
            wake = self._wakes.get(timeout=self._wait_s())
            while True:
                stopping = stopping or wake is _STOP
                wake = self._wakes.get_nowait()
        items = [self._rows.popleft() for _ in range(min(len(self._rows), MAX_GROUP))]
        if self._rows:
            self._wakes.put(_STOP if stopping else _LOOK)
        return items, stopping and not self._rows

    def _wait_s(self) -> float | None:
        if self._in_hand or self.problem:
            return RETRY_S
        return LINGER_S if self._fresh else None

    def _notes(self) -> list[Turn]:
        """Requests that began a while ago, are still under way and not on the disk."""
        due, notes = time.monotonic() - LINGER_S, []
        ended = {item.row.request_id for item in self._in_hand if item.row is not None}
        while self._fresh and self._fresh[0][0] <= due:
            row = self._fresh.popleft()[1]
            if row.request_id in self._open and row.request_id not in ended:
                notes.append(row)
        return notes

    def _commit(self, items: list[Item], notes: list[Turn]) -> None:
        ended = [item.row.request_id for item in items if item.row is not None]
        group = Group(items, notes, [request_id for request_id in ended if self._open.get(request_id)], self._owner)
        failure: LedgerError | None = None
        try:
            group.commit(self._connect())
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._disconnect()
            self._fresh.extendleft((0.0, row) for row in reversed(notes))
            failure = self._refused(error, len(items))
        else:
            self._settled(ended, notes)
        settle_all(items, failure)

    def _refused(self, error: Exception, rows: int) -> LedgerError:
        problem = f"the ledger cannot be written: {getattr(error, 'orig', None) or error}"
        if problem != self.problem:
            log.error("%s; %d rows are kept and tried again", problem, rows)
        self.problem = problem
        return LedgerError(problem)

    def _settled(self, ended: list[str], notes: list[Turn]) -> None:
        if self.problem:
            log.warning("the ledger can be written again")
        self.problem = None
        self._in_hand = []
        for row in notes:
            self._open[row.request_id] = True
        for request_id in ended:
            self._open.pop(request_id, None)
        if self._on_commit is not None:
            self._on_commit()

    def _connect(self) -> Connection:
        """What a statement keeps to take itself back stays in memory, as rows are small: SQLite would make a file for
        it and remove it again at every commit, which cost more than the rows."""
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
            self._connection.commit()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.close()
        except SQLAlchemyError as error:
            log.warning("closing the ledger: %s", error)
        self._connection = None
