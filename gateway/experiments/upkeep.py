"""Adds up for the reports to come, beside the gateway: so a report reads what is new and takes no longer than that.

The gateway looks now and then whether much is not added up yet: after an upgrade, after a time without reports, or when
verdicts have come for old conversations. The work is done by a process of its own (this module, run as a script), which
gives way to all others: adding up is Python and NumPy, and would hold the gateway's loop up. One process works at a
database, however many gateways and workers there are, and whatever it has stored stays when it is stopped.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.experiments import statistics
from gateway.experiments.report import PAIRS
from gateway.ledger.aggregates import experiments_in, summaries_of
from gateway.ledger.database import open_database
from gateway.ledger.shared import open_shared, reason_of
from gateway.ledger.summaries import CONVERSATIONS
from gateway.sections.ledger import LedgerSettings

FIRST_LOOK_S = 5.0
LOOK_S = 60.0
BEHIND = 2 * CONVERSATIONS
"""Conversations that a report may have to add up by itself."""
NICENESS = 15
SUMS_LOCK = 7_140_509
"""PostgreSQL's advisory lock of the one process that adds up."""

log = logging.getLogger(__name__)


def missing(engine: Engine) -> int:
    """Conversations that are not added up and could be; only the newest of each experiment cannot."""
    return sum(summaries_of(engine, name, PAIRS).missing() for name in experiments_in(engine))


def fill(engine: Engine) -> Iterator[int]:
    """Add up what is missing; yields how many conversations each step took. None when somebody else is at it."""
    with _alone(engine) as alone:
        for name in experiments_in(engine) if alone else ():
            yield from summaries_of(engine, name, PAIRS).fill()


class Upkeep:
    """Looks after one ledger, from a thread.

    Args:
        engine: the database that holds all rows, which `settings` lead to.
    """

    def __init__(self, settings: LedgerSettings, engine: Engine) -> None:
        url = settings.url.get_secret_value() if settings.url else None
        self._ledger = json.dumps({"path": str(settings.path.absolute()), "url": url})
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gattway-upkeep", daemon=True)

    def start(self) -> None:
        """Begin to look; nothing to do where no reports can be made."""
        if statistics.has_extra():
            self._thread.start()

    def close(self) -> None:
        """Stop, and stop the process where one is at work."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        wait_s = FIRST_LOOK_S
        while not self._stop.wait(wait_s):
            wait_s = LOOK_S
            try:
                if self._is_behind():
                    self._add_up()
            except SQLAlchemyError as error:
                log.info("the sums for reports cannot be kept at present: %s", reason_of(error))
            except OSError as error:
                log.warning("the process that adds up for reports cannot be started: %s", error)

    def _is_behind(self) -> bool:
        with _alone(self._engine) as alone:
            return alone and missing(self._engine) > BEHIND

    def _add_up(self) -> None:
        command = [sys.executable, "-m", __name__]
        # A group of its own, so that Ctrl-C is for the gateway alone. No session of its own: Linux shares the processor
        # out by session first, and niceness says nothing between two of them (sched(7), autogroup).
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, process_group=0) as process:
            assert process.stdin is not None
            process.stdin.write(self._ledger)  # not as an argument, where everybody could read the password
            process.stdin.close()
            while process.poll() is None:
                if self._stop.wait(0.2):
                    process.terminate()
                    process.wait()


@contextmanager
def _alone(engine: Engine) -> Iterator[bool]:
    """Whether nobody else is adding up; while the block runs, nobody else can."""
    if engine.dialect.name == "sqlite":
        lock = FileLock(f"{engine.url.database}-sums")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        alone = connection.execute(text(f"SELECT pg_try_advisory_lock({SUMS_LOCK})")).scalar_one()
        try:
            yield alone
        finally:
            if alone:
                connection.execute(text(f"SELECT pg_advisory_unlock({SUMS_LOCK})"))


def main() -> None:
    """Add up what is missing in the ledger that is named on the standard input."""
    os.nice(NICENESS)
    ledger = json.load(sys.stdin)
    engine = open_shared(ledger["url"]) if ledger["url"] else open_database(Path(ledger["path"]), "relaxed")
    try:
        for _ in fill(engine):
            pass
    except SQLAlchemyError as error:
        sys.exit(f"the sums for reports cannot be kept at present: {reason_of(error)}")


if __name__ == "__main__":
    main()
