"""Copies rows from this gateway's file to the shared database, beside the gateway's own work and at its own pace.

Rows go in batches, each one statement for each table; sent twice they are the same rows. While the database is away the
outbox grows, `waiting` shows it, and nobody else notices. One shipper works for each file, however many gateways write
it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Table, delete, select, text, tuple_, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.errors import ConfigError
from gateway.ledger.erasing import apply_erasures
from gateway.ledger.migrate import require_shared
from gateway.ledger.outbox import SHARED, waiting
from gateway.ledger.retention import drop_shipped
from gateway.ledger.schema import outbox
from gateway.ledger.shared import reason_of

BATCH = 500
GATHER_S = 0.05
POLL_S = 1.0
ERASURES_S = 5.0
TIDY_S = 600.0
MAX_WAIT_S = 15.0
SHIPPING_LOCK = 7_140_502
"""PostgreSQL's advisory lock for a batch: the sums of two batches may touch the same rows."""

log = logging.getLogger(__name__)


class Shipper:
    """Ships the outbox of one file.

    Args:
        local: the file, opened without waiting for the disk: what is lost of the outbox is only shipped once more.
        shared: the database of all gateways.
        keep_days: days that rows stay in the file once they are shipped.
    """

    def __init__(self, path: Path, local: Engine, shared: Engine, keep_days: float) -> None:
        self._lock = FileLock(path.absolute().with_name(f"{path.name}-shipper"), thread_local=False)
        self._local = local
        self._shared = shared
        self._keep_days = keep_days
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._checked = False
        self._erasures_at = self._tidy_at = 0.0
        self.problem: str | None = None
        """Why rows cannot be shipped at present; None when they can."""
        self._thread = threading.Thread(target=self._run, name="gattway-shipper", daemon=True)

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to ship."""
        self._wake.set()

    def waiting(self) -> tuple[int, float]:
        """Rows that the shared database lacks, and for how long it has lacked the oldest of them, in seconds.

        Of several gateways that write one file only the one that ships says so, or the rows would count several times.
        """
        if not self._lock.is_locked:
            return 0, 0.0
        with self._local.connect() as connection:
            rows, since = waiting(connection)
        return rows, max(0.0, time.time() - since) if since is not None else 0.0

    def close(self, patience_s: float = 5.0) -> None:
        """Ship what is left, for `patience_s` seconds at most; the rest is shipped after the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        failures = 0
        while not self._try(last=self._stop.is_set()):
            failures = failures + 1 if self.problem else 0
            if failures:
                self._stop.wait(min(MAX_WAIT_S, 0.25 * 2 ** min(failures, 8)) * random.uniform(0.5, 1))
            elif self._wake.wait(POLL_S):
                self._stop.wait(GATHER_S)  # more rows come in a moment
                self._wake.clear()
        self._lock.release(force=True)

    def _try(self, *, last: bool) -> bool:
        try:
            self._work()
        except (SQLAlchemyError, ConfigError) as error:
            self._failed(error)
        except Exception:
            log.exception("a fault in shipping; it is tried again")
            self.problem = "internal error"
        return last

    def _work(self) -> None:
        if not self._is_mine():
            return
        with self._shared.connect() as shared:
            if not self._checked:
                require_shared(shared)
                shared.rollback()
                self._checked = True
            now = time.monotonic()
            if now >= self._erasures_at:
                apply_erasures(shared, self._local)
                self._erasures_at = now + ERASURES_S
            while self._ship_batch(shared) == BATCH and not self._stop.is_set():
                pass
        if now >= self._tidy_at:
            cutoff = datetime.now(UTC) - timedelta(days=self._keep_days)
            drop_shipped(self._local, cutoff)
            self._tidy_at = now + TIDY_S
        if self.problem:
            log.warning("the shared ledger takes rows again")
            self.problem = None

    def _is_mine(self) -> bool:
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def _failed(self, error: SQLAlchemyError | ConfigError) -> None:
        self._checked = False
        reason = error.message if isinstance(error, ConfigError) else reason_of(error)
        if self.problem is None:
            log.warning("the shared ledger takes no rows at present, they are kept here: %s", reason)
        self.problem = reason

    def _ship_batch(self, shared: Connection) -> int:
        """Ship the oldest rows of the outbox; gives their number."""
        with self._local.connect() as local:
            query = select(outbox).where(outbox.c.kind.in_(SHARED)).order_by(outbox.c.seq).limit(BATCH)
            notes = local.execute(query).all()
            rows = {
                kind: _rows(local, table, {note.key for note in notes if note.kind == kind})
                for kind, table in SHARED.items()
            }
        if not notes:
            return 0
        try:
            _send(shared, rows)
            refused = set()
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            shared.rollback()
            refused = self._send_singly(shared, rows)
        self._done([note.seq for note in notes], [note.seq for note in notes if (note.kind, note.key) in refused])
        return len(notes)

    def _send_singly(self, shared: Connection, rows: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
        """A row that the database refuses must not keep the others; gives the notes of those that it refuses."""
        require_shared(shared)
        shared.rollback()
        refused = set()
        for kind, table in SHARED.items():
            for row in rows[kind]:
                try:
                    _send(shared, {kind: [row]})
                except DBAPIError as error:
                    if error.connection_invalidated:
                        raise
                    shared.rollback()
                    key = orjson.dumps([row[column.name] for column in table.primary_key]).decode()
                    log.error("the shared ledger refuses %s of %s, it stays here: %s", key, kind, reason_of(error))
                    refused.add((kind, key))
        return refused

    def _done(self, shipped: list[int], refused: list[int]) -> None:
        with self._local.begin() as local:
            local.execute(update(outbox).where(outbox.c.seq.in_(refused)).values(kind="refused:" + outbox.c.kind))
            local.execute(delete(outbox).where(outbox.c.seq.in_(set(shipped) - set(refused))))


def _rows(local: Connection, table: Table, keys: Iterable[str]) -> list[dict[str, Any]]:
    wanted = [tuple(orjson.loads(key)) for key in keys]
    columns = list(table.primary_key)
    if not wanted:
        return []
    chosen = columns[0].in_([key[0] for key in wanted]) if len(columns) == 1 else tuple_(*columns).in_(wanted)
    found = local.execute(select(table).where(chosen))
    names = [str(name) for name in found.keys()]  # noqa: SIM118 - orjson takes plain strings only
    return [dict(zip(names, row, strict=True)) for row in found]


def _send(shared: Connection, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Insert, or bring up to date, in one transaction."""
    with shared.begin():
        shared.execute(text(f"SELECT pg_advisory_xact_lock({SHIPPING_LOCK})"))
        for kind, some in rows.items():
            if some:
                _warn_of_duplicates(shared, SHARED[kind], some)
                shared.execute(text(_upsert(SHARED[kind])), {"rows": _json(some)})


def _upsert(table: Table) -> str:
    """One statement for a batch that comes as a JSON array; a row of the same key of another conversation stays."""
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    own = f" WHERE {table.name}.conversation_id = excluded.conversation_id" if table.name == "turns" else ""
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(names)} "
        f"FROM json_populate_recordset(NULL::{table.name}, CAST(:rows AS json)) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}{own}"
    )


def _warn_of_duplicates(shared: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if table.name != "turns":
        return
    own = {row["request_id"]: row["conversation_id"] for row in rows}
    query = select(table.c.request_id, table.c.conversation_id).where(table.c.request_id.in_(own))
    for request_id, conversation_id in shared.execute(query):
        if conversation_id != own[request_id]:
            log.error(
                "the shared ledger has a request %s of another conversation already; the one of %s stays here only",
                request_id,
                own[request_id],
            )


def _json(rows: list[dict[str, Any]]) -> str:
    """PostgreSQL's text holds no NUL, which JSON would let through; bytes go as its hexadecimal notation."""
    encoded = orjson.dumps(rows, default=lambda value: f"\\x{value.hex()}")
    return encoded.replace(b"\\u0000", "\ufffd".encode()).decode()
