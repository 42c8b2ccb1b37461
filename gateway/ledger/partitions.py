"""The turns of a shared database by the month: a partition each, made ahead and dropped once retention has emptied it.

Request ids begin with their time, so a month is a range of ids, and `request_id` can go on being the primary key:
no release of gattway, earlier or later, writes or reads otherwise than before. What does not fit a month (ids of
releases before 0.2, shadows) is in the default partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from gateway.errors import LedgerError
from gateway.ledger.migrate import require_shared

LOCK_TIMEOUT_S = 10
_OTHERS = "turns_others"
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Month:
    """A month of UTC; its partition holds the ids from `low` to before `high`."""

    year: int
    month: int

    @property
    def partition(self) -> str:
        return f"turns_{self.year:04}_{self.month:02}"

    @property
    def low(self) -> str:
        begins = datetime(self.year, self.month, 1, tzinfo=UTC)
        return f"req_{round(begins.timestamp() * 1000):012x}"

    @property
    def high(self) -> str:
        return self.later(1).low

    def later(self, months: int) -> Month:
        count = self.year * 12 + self.month - 1 + months
        return Month(count // 12, count % 12 + 1)


def partition(engine: Engine, ahead: int, now: datetime | None = None) -> tuple[list[str], list[str]]:
    """See that there is a partition for this month and `ahead` more, and none for months that are over and empty.

    The first time, the table becomes the default partition of a new one, with its indices, triggers and privileges.
    Reads the default partition once where anything is made; whoever writes or looks up waits meanwhile.

    Returns:
        The names of the partitions made and dropped.

    Raises:
        LedgerError: the tables were in use for `LOCK_TIMEOUT_S` seconds without a pause.
        ConfigError: the schema is not this gattway's.
    """
    at = now or datetime.now(UTC)
    this = Month(at.year, at.month)
    try:
        with engine.begin() as connection:
            require_shared(connection)
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
            connection.execute(text("LOCK TABLE turns IN ACCESS EXCLUSIVE MODE"))
            if not _is_partitioned(connection):
                _divide(connection)
            there = partitions(connection)
            made = [month for month in map(this.later, range(ahead + 1)) if month.partition not in there]
            if made:
                _make(connection, made)
            return [month.partition for month in made], _drop_empty(connection, this, there)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise LedgerError(f"the turns were being read for {LOCK_TIMEOUT_S} s without a pause; try again") from None
        raise


def partitions(connection: Connection) -> list[str]:
    """Names of the partitions, the default one aside; empty where the table is not divided."""
    query = (
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'turns'::regclass AND c.relname <> :others ORDER BY c.relname"
    )
    return list(connection.execute(text(query), {"others": _OTHERS}).scalars())


def _is_partitioned(connection: Connection) -> bool:
    kind = connection.execute(text("SELECT relkind FROM pg_class WHERE oid = 'turns'::regclass")).scalar_one()
    return str(kind) == "p"


def _divide(connection: Connection) -> None:
    """Whatever hangs on the table, in this release or another, is read from the database and hung on the new one."""
    hung = {
        kind: list(connection.execute(text(query)))
        for kind, query in {
            "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger "
            "WHERE tgrelid = 'turns'::regclass AND NOT tgisinternal",
            "indexes": "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index AS i JOIN pg_class AS c "
            "ON c.oid = i.indexrelid WHERE i.indrelid = 'turns'::regclass AND NOT i.indisprimary",
            "privileges": "SELECT grantee, privilege_type FROM information_schema.role_table_grants "
            "WHERE table_schema = current_schema AND table_name = 'turns' AND grantee <> grantor",
            "owner": "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'turns'::regclass",
        }.items()
    }
    statements = [
        *(f'DROP TRIGGER "{name}" ON turns' for name, _ in hung["triggers"]),
        *(f'ALTER INDEX "{name}" RENAME TO "{_OTHERS}_{name}"' for name, _ in hung["indexes"]),
        f"ALTER TABLE turns RENAME CONSTRAINT turns_pkey TO {_OTHERS}_pkey",
        f"ALTER TABLE turns RENAME TO {_OTHERS}",
        f"CREATE TABLE turns (LIKE {_OTHERS} INCLUDING DEFAULTS INCLUDING GENERATED, PRIMARY KEY (request_id)) "
        "PARTITION BY RANGE (request_id)",
        f'ALTER TABLE turns OWNER TO "{hung["owner"][0][0]}"',
        f"ALTER TABLE turns ATTACH PARTITION {_OTHERS} DEFAULT",
        *(definition for _, definition in hung["indexes"]),
        *(definition for _, definition in hung["triggers"]),
        *(f'GRANT {privilege} ON turns TO "{grantee}"' for grantee, privilege in hung["privileges"]),
    ]
    for statement in statements:
        connection.exec_driver_sql(statement)


def _make(connection: Connection, months: Sequence[Month]) -> None:
    """Rows of these months that are in the default partition go over. That it holds no others is read off once."""
    low, high = min(month.low for month in months), max(month.high for month in months)
    inside = f"request_id >= '{low}' AND request_id < '{high}'"
    statements = [
        f"CREATE TEMPORARY TABLE moving ON COMMIT DROP AS SELECT * FROM {_OTHERS} WHERE {inside}",
        f"DELETE FROM {_OTHERS} WHERE {inside}",
        f"ALTER TABLE {_OTHERS} ADD CONSTRAINT others CHECK (request_id < '{low}' OR request_id >= '{high}')",
        *(
            f"CREATE TABLE {month.partition} PARTITION OF turns FOR VALUES FROM ('{month.low}') TO ('{month.high}')"
            for month in months
        ),
        f"ALTER TABLE {_OTHERS} DROP CONSTRAINT others",
        "INSERT INTO turns SELECT * FROM moving",
    ]
    for statement in statements:
        connection.exec_driver_sql(statement)


def _drop_empty(connection: Connection, this: Month, names: Sequence[str]) -> list[str]:
    over = [name for name in names if name < this.partition]
    empty = [name for name in over if connection.execute(text(f'SELECT 1 FROM "{name}" LIMIT 1')).first() is None]
    for name in empty:
        connection.exec_driver_sql(f'DROP TABLE "{name}"')
    return empty
