"""One schema, whichever way a database came to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from gateway.errors import ConfigError
from gateway.ledger import migrate
from gateway.ledger.database import open_database
from gateway.ledger.schema import REVISION, assignments, metadata, turns
from gateway.ledger.shared import open_shared
from tests.gateway.postgres import Postgres

FOLDER = Path(migrate.__file__).parent / "migrations"


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def test_the_newest_revision_is_the_one_that_the_schema_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_an_old_file_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    old = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    with old.begin() as connection:
        migrate.run_revisions(connection, "0001")
        assert set(inspect(connection).get_table_names()) - {"alembic_version"} == {"turns", "assignments"}
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
        connection.execute(text(OLD_ROW))
    engine = open_database(tmp_path / "old.db")
    with engine.connect() as connection:
        assert differences(connection) == []
        assert connection.execute(text("SELECT request_id, user_hash FROM turns")).all() == [("req_1", None)]
        assert migrate.read_schema(connection).revision == REVISION
    assert schema_of(tmp_path / "old.db") == schema_of(open_database(tmp_path / "new.db").url.database)


def test_postgresql_comes_to_the_same_schema_both_ways(postgres: Postgres) -> None:
    new, old = open_shared(postgres.database()), open_shared(postgres.database())
    assert migrate.upgrade_shared(new) == (None, REVISION)
    with old.begin() as connection:
        migrate.run_revisions(connection, "0001")
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    assert migrate.upgrade_shared(old) == ("0001", REVISION)
    assert migrate.upgrade_shared(old) == (REVISION, REVISION)
    for engine in (new, old):
        with engine.connect() as connection:
            assert differences(connection) == []
            migrate.require_shared(connection)
        engine.dispose()


def test_a_database_that_is_behind_names_the_command(postgres: Postgres) -> None:
    engine = open_shared(postgres.database())
    with engine.connect() as connection, pytest.raises(ConfigError, match=r"no ledger yet.*run: gattway db upgrade"):
        migrate.require_shared(connection)
    with engine.begin() as connection:
        migrate.run_revisions(connection, "0001")
    with engine.connect() as connection, pytest.raises(ConfigError, match=r"at revision 0001.*gattway db upgrade"):
        migrate.require_shared(connection)
    engine.dispose()


@pytest.mark.parametrize("generation", [1, 2])
def test_a_newer_schema_is_lived_with_unless_its_generation_is_newer_too(tmp_path: Path, generation: int) -> None:
    path = tmp_path / "l.db"
    open_database(path)
    newer = sqlite3.connect(path)
    newer.executescript(
        "ALTER TABLE turns ADD COLUMN from_the_future VARCHAR; UPDATE alembic_version SET version_num = '9999';"
        f"PRAGMA user_version = {generation}"
    )
    newer.close()
    if generation == 1:
        with open_database(path).connect() as connection:
            assert migrate.read_schema(connection) == migrate.Schema("9999", 1)
    else:
        with pytest.raises(ConfigError, match="schema version 2, this gattway knows 1; upgrade gattway"):
            open_database(path)


def test_a_newer_shared_schema_is_lived_with_unless_its_generation_is_newer_too(postgres: Postgres) -> None:
    engine = open_shared(postgres.database())
    migrate.upgrade_shared(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with engine.connect() as connection:
        migrate.require_shared(connection)
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger_meta SET value = '2' WHERE name = 'generation'"))
    with pytest.raises(ConfigError, match="schema version 2, this gattway knows 1"):
        migrate.upgrade_shared(engine)
    engine.dispose()


def test_new_columns_can_be_left_out_by_the_version_before() -> None:
    """Expand and contract: whoever does not know a column writes rows all the same."""
    baseline = (FOLDER / "versions" / "r0001_turns_and_assignments.py").read_text()
    for table in (turns, assignments):
        added = [column for column in table.columns if f'"{column.name}"' not in baseline]
        assert [column.name for column in added if not column.nullable and column.server_default is None] == []


def schema_of(path: object) -> dict[str, set[str]]:
    """What a file holds: indices, triggers and tables with their columns."""
    connection = sqlite3.connect(str(path))
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    tables = {name for kind, name, _ in rows if kind == "table"}
    columns = {name: {str(one[1:4]) for one in connection.execute(f"PRAGMA table_info({name})")} for name in tables}
    others = {f"{kind} {name}": {sql or ""} for kind, name, sql in rows if kind != "table"}
    connection.close()
    return columns | others


OLD_ROW = (
    "INSERT INTO turns (request_id, conversation_id, identity_source, forced, strategy, model, upstream, turn, "
    "started_at, status, attempts) VALUES ('req_1', 'c', 'new', false, 'once', 'm', 'u', 1, "
    "'2026-01-01T00:00:00.000000+00:00', 'ok', 1)"
)
