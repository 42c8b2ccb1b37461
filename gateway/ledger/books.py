"""The ledger of one gateway, put together from its settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import Engine

from gateway.errors import ConfigError
from gateway.ledger.clock import warn_of_later_rows
from gateway.ledger.content import ContentStore
from gateway.ledger.database import open_database
from gateway.ledger.interrupted import Owner
from gateway.ledger.lookup import Lookup
from gateway.ledger.outbox import switch_off, switch_on
from gateway.ledger.sealing import Vault
from gateway.ledger.shared import Shared
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import Store
from gateway.ledger.writer import Writer
from gateway.sections.ledger import LedgerSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Books:
    """What the gateway asks of its ledger.

    `writer` puts rows into this gateway's own file, which `local` reads; `store` reads all rows, those of other
    gateways too where they share a database. `shared` is that database, None without one. `vault` is None without the
    ledger's key, `content` unless content is kept. `owner` is this gateway among those that share the file; `shipper`
    brings its rows to the shared database. `looking` are the connections that `lookup` keeps open.
    """

    writer: Writer
    local: Store
    store: Store
    lookup: Lookup
    looking: Engine
    shared: Shared | None
    vault: Vault | None
    content: ContentStore | None
    owner: Owner
    shipper: Shipper | None

    @property
    def pending(self) -> int:
        """Rows that are not where they shall end up yet."""
        return self.writer.pending + (self.shipper.waiting()[0] if self.shipper else 0)

    @property
    def lag_s(self) -> float:
        """Age of the oldest row that is not where it shall end up yet, in seconds; 0 when there is none."""
        return max(self.writer.lag_s, self.shipper.waiting()[1] if self.shipper else 0.0)

    def start(self) -> None:
        """Close what a gateway before left open, and begin to ship; blocks."""
        self.owner.close_orphans(self.local.engine)
        warn_of_later_rows(self.local.engine)
        if self.shipper is not None:
            self.shipper.start()

    def close(self) -> None:
        """Write what is left and let everything go; blocks."""
        self.writer.close()
        if self.shipper is not None:
            self.shipper.close()
        if self.shared is not None:
            self.shared.close()
        self.lookup.close()
        self.looking.dispose()
        self.owner.release()


def open_books(settings: LedgerSettings) -> Books:
    """Open the ledger; a shared database that is away does not keep a gateway from starting.

    Raises:
        ConfigError: the file cannot be opened, an extra is missing, or a schema is not for this gattway.
    """
    engine = open_database(settings.path, settings.durability)
    vault = open_vault(settings)
    shared = shipper = None
    if settings.url is None:
        switch_off(engine)
    else:
        shared = Shared(settings.url.get_secret_value())
        if problem := shared.check():
            log.warning("%s; rows stay in %s until it does", problem, settings.path)
        switch_on(engine)
        outbox = open_database(settings.path, "relaxed")
        shipper = Shipper(settings.path, outbox, shared.engine, settings.keep_local_days)
    local, owner = Store(engine), Owner(settings.path)
    looking = open_database(settings.path, settings.durability, pooled=True)
    return Books(
        writer=Writer(engine, owner.name, shipper.wake if shipper else None),
        local=local,
        store=Store(shared.engine) if shared else local,
        lookup=Lookup(Store(looking), shared, settings.lookup_timeout_s),
        looking=looking,
        shared=shared,
        vault=vault,
        content=ContentStore(engine, vault, shared) if settings.store_content and vault else None,
        owner=owner,
        shipper=shipper,
    )


def open_vault(settings: LedgerSettings) -> Vault | None:
    """What seals content and hashes users; None without a key.

    Raises:
        ConfigError: the key cannot be read, or the library that encrypts is missing.
    """
    try:
        keys = settings.keys()
        return Vault(keys) if keys else None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except ImportError:
        raise ConfigError("ledger: a key needs the extra 'encryption'; pip install 'gattway[encryption]'") from None
