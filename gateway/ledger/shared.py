"""The PostgreSQL that several gateways share, asked off the event loop and never for longer than the caller can wait.

The one seam for whatever gateways hold together: rows that another gateway wrote, limits, content. While the database
is away every question but one in `REST_S` seconds is answered with `SharedAway` at once, so nobody waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from gateway.errors import ConfigError, SharedAway
from gateway.ledger.migrate import require_shared

T = TypeVar("T")

THREADS = 8
CONNECT_TIMEOUT_S = 3
REST_S = 2.0
STATEMENT_TIMEOUT = "57014"
"""PostgreSQL's code for a statement that it has cancelled."""
SLOW_IN_A_ROW = 3
"""So many questions, one after the other, have to come to nothing in time before a database counts as away: a single
slow answer is no outage, and to be taken for away costs conversations their identity."""


def open_shared(url: str, *, pooled: bool = False) -> Engine:
    """An engine over PostgreSQL; nothing is connected yet. With `pooled`, connections are kept for the next question.

    A dead connection is noticed within seconds: keep-alives while it is idle, `tcp_user_timeout` while it is not.

    Raises:
        ConfigError: the driver is not installed.
    """
    arguments = {
        "application_name": "gattway",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,  # ms
    }
    pool = {"pool_size": THREADS, "max_overflow": 0, "pool_timeout": CONNECT_TIMEOUT_S} if pooled else {}
    try:
        return create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            connect_args=arguments,
            hide_parameters=True,
            poolclass=QueuePool if pooled else NullPool,
            **pool,
        )
    except ImportError:
        raise ConfigError(
            "ledger.url: PostgreSQL needs the extra 'postgres'; pip install 'gattway[postgres]'"
        ) from None


def reason_of(error: SQLAlchemyError) -> str:
    """The database's own words on one line, without the statement and what was in it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())


class Shared:
    """Asks the shared database from threads of its own."""

    def __init__(self, url: str) -> None:
        self.engine = open_shared(url, pooled=True)
        self.problem: str | None = None
        """Why the database does not answer at present, or None."""
        self._asked_again_at = 0.0
        self._slow = 0
        self._closed = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gattway-shared")

    async def run(self, work: Callable[[Connection], T], *, timeout_s: float) -> T:
        """Do `work` in a transaction of its own and give what it returns; commits unless `work` raises.

        After `timeout_s` seconds nobody waits any longer and the statement under way is cancelled by the server, but
        whether what came before it was committed is then unknown: `work` has to bear being done twice.

        Raises:
            SharedAway: the database cannot be reached, refuses, or takes longer than `timeout_s`.
        """
        now = time.monotonic()
        if self.problem is not None:
            if now < self._asked_again_at:
                raise SharedAway(self.problem)
            self._asked_again_at = now + REST_S
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, self._transaction, work, timeout_s)
        try:
            result = await asyncio.wait_for(asyncio.shield(future), timeout_s)
        except TimeoutError:
            future.add_done_callback(_forget)
            raise self._too_slow(f"no answer within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            future.add_done_callback(_forget)
            raise
        except SQLAlchemyError as error:
            given_up = getattr(getattr(error, "orig", None), "sqlstate", None) == STATEMENT_TIMEOUT
            raise (self._too_slow if given_up else self._away)(reason_of(error)) from None
        self.problem, self._slow = None, 0
        return result

    def check(self) -> str | None:
        """At the start: None when this gattway can work with the database, else why it cannot be reached.

        Raises:
            ConfigError: it can be reached, but its schema is not one for this gattway.
        """
        try:
            with self.engine.connect() as connection:
                require_shared(connection)
        except SQLAlchemyError as error:
            return self._away(reason_of(error)).message
        return None

    def close(self) -> None:
        """Let the connections go; what is under way is left to its time limits."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()

    def _transaction(self, work: Callable[[Connection], T], timeout_s: float) -> T:
        try:
            return self._once(work, timeout_s)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return self._once(work, timeout_s)  # an idle connection was gone: the database has been restarted

    def _once(self, work: Callable[[Connection], T], timeout_s: float) -> T:
        limit = text("SELECT set_config('statement_timeout', :limit, true)")
        with self.engine.begin() as connection:
            try:
                connection.execute(limit, {"limit": f"{max(1, round(timeout_s * 1000))}ms"})
                return work(connection)
            finally:
                if self._closed:
                    connection.detach()  # its pool is gone: it closes itself

    def _too_slow(self, reason: str) -> SharedAway:
        self._slow += 1
        if self.problem is None and self._slow < SLOW_IN_A_ROW:
            return SharedAway(f"the shared ledger does not answer: {reason}")
        return self._away(reason)

    def _away(self, reason: str) -> SharedAway:
        self.problem = f"the shared ledger does not answer: {reason}"
        self._asked_again_at = time.monotonic() + REST_S
        return SharedAway(self.problem)


def _forget(future: asyncio.Future[T]) -> None:
    """Take note of a result that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
