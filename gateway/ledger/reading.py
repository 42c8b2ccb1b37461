"""Opening the ledger to read it, for commands that run beside the gateway."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import ConfigError, LedgerError
from gateway.ledger.database import open_database
from gateway.ledger.migrate import require_shared
from gateway.ledger.shared import open_shared, reason_of
from gateway.ledger.store import Store
from gateway.sections.ledger import LedgerSettings


def open_store(settings: LedgerSettings) -> Store:
    """All rows: those of the shared database where there is one, else those of the file. See `open_engine`."""
    return Store(open_engine(settings))


def open_engine(settings: LedgerSettings) -> Engine:
    """The database that holds all rows.

    Raises:
        ConfigError: there is no ledger yet, it cannot be opened, or its schema is not for this gattway.
        LedgerError: the shared database does not answer.
    """
    if settings.url is None:
        if not settings.path.is_file():
            raise ConfigError(f"ledger.path: there is no ledger at {settings.path} yet; the gateway makes it")
        return open_database(settings.path, settings.durability)
    engine = open_shared(settings.url.get_secret_value())
    try:
        with engine.connect() as connection:
            require_shared(connection)
    except SQLAlchemyError as error:
        raise LedgerError(f"ledger.url: the database does not answer: {reason_of(error)}") from None
    return engine
