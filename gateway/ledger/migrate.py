"""Which schema a database has, and bringing it to the one that this gattway knows.

Alembic keeps the revision in `alembic_version`. A gattway that meets a revision it does not know looks at the
database's generation: the same generation means that only things it does not need were added.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.exc import OperationalError

from gateway.errors import ConfigError
from gateway.ledger.schema import GENERATION, REVISION, ledger_meta, metadata

_VERSION_TABLE = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
_UPGRADE_LOCK = 7_140_501
"""PostgreSQL's advisory lock that upgrades hold, so that one waits for the other."""
LOCK_TIMEOUT_S = 2
LOCK_TRIES = 30
LOCK_PAUSE_S = 1.0
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database holds: its newest revision, None when it holds no ledger, and its generation."""

    revision: str | None
    generation: int

    @property
    def is_current(self) -> bool:
        """Whether this gattway can work with it: its own revision, or a newer one that only added to it."""
        return self.revision is not None and self.revision >= REVISION and self.generation <= GENERATION

    def refuse_newer(self, where: str) -> None:
        """Raise ConfigError when only a later gattway can work with the database."""
        if self.generation > GENERATION:
            raise ConfigError(
                f"{where} has schema version {self.generation}, this gattway knows {GENERATION}; "
                "upgrade gattway or choose another path"
            )


def read_schema(connection: Connection) -> Schema:
    """Look at the database; changes nothing."""
    tables = set(inspect(connection).get_table_names())
    generation = 1
    if connection.dialect.name == "sqlite":
        generation = connection.execute(text("PRAGMA user_version")).scalar_one()
    elif "ledger_meta" in tables:
        value = connection.execute(select(ledger_meta.c.value).where(ledger_meta.c.name == "generation"))
        generation = int(value.scalar_one())
    revision = None
    if "alembic_version" in tables:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    elif "turns" in tables:
        revision = "0001"
    return Schema(revision, generation)


def upgrade_one(connection: Connection) -> bool:
    """One revision further, in the connection's transaction; False when there is none to go.

    A database that holds no ledger gets this gattway's tables at once.
    """
    schema = read_schema(connection)
    if schema.is_current:
        return False
    if schema.revision is None:
        metadata.create_all(connection)
        connection.execute(ledger_meta.insert().values(name="generation", value=str(GENERATION)))
        _stamp(connection, REVISION)
    else:
        _stamp(connection, schema.revision)
        run_revisions(connection, "+1")
    if connection.dialect.name == "sqlite":
        connection.execute(text(f"PRAGMA user_version = {GENERATION}"))
    return True


def upgrade_shared(engine: Engine) -> tuple[str | None, str]:
    """Bring a PostgreSQL database to this gattway's revision; gives the revisions before and after.

    A revision is a transaction: gateways that go on beside wait for one at a time, and what is done is done.
    Whoever wants to read a table waits behind an upgrade that waits for the table, gateways that look a conversation up
    included. So it gives way after `LOCK_TIMEOUT_S` to whatever is reading there, and comes again.

    Raises:
        ConfigError: the database is of a later generation.
        SQLAlchemyError: the database cannot be reached or refuses, or was read without a pause for a minute.
    """
    before: Schema | None = None
    tries = LOCK_TRIES
    while True:
        try:
            with engine.begin() as connection:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
                schema = read_schema(connection)
                schema.refuse_newer("ledger.url: the database")
                before = before or schema
                if not upgrade_one(connection):
                    return before.revision, schema.revision or ""
        except OperationalError as error:
            tries -= 1
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE or not tries:
                raise
            time.sleep(LOCK_PAUSE_S)


def require_shared(connection: Connection) -> None:
    """Raise ConfigError, with the remedy, unless this gattway can work with the PostgreSQL database as it is."""
    schema = read_schema(connection)
    schema.refuse_newer("ledger.url: the database")
    if not schema.is_current:
        holds = f"is at revision {schema.revision}" if schema.revision else "holds no ledger yet"
        raise ConfigError(f"ledger.url: the database {holds}, this gattway needs {REVISION}; run: gattway db upgrade")


def _stamp(connection: Connection, revision: str) -> None:
    connection.execute(text(_VERSION_TABLE))
    connection.execute(text("DELETE FROM alembic_version"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


def run_revisions(connection: Connection, target: str = "head") -> None:
    """Run Alembic's revisions up to `target`, in the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, target)
