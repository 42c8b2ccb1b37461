"""`gattway db`: what the ledger needs now and then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gateway.commands.options import CONFIG

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_AGE = re.compile(r"(\d+)\s*([hdwy])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}


@click.group()
def db() -> None:
    """Upgrade, prune, erase, divide, back up and restore the ledger."""


@db.command()
@CONFIG
@JSON
def upgrade(config: Path | None, as_json: bool) -> None:
    """Bring the ledger to this gattway's schema. A gateway does so itself for its file, never for a shared database.

    Then what reports read is added up, in steps: stopped, it goes on from there the next time."""
    from gateway.ledger.database import open_database
    from gateway.ledger.migrate import read_schema, upgrade_shared
    from gateway.ledger.shared import open_shared

    settings = _ledger(config)
    before: str | None
    with _saying_why():
        if settings.url is None:
            before, engine = _file_revision(settings.path), open_database(settings.path)
            with engine.connect() as connection:
                after = read_schema(connection).revision or ""
        else:
            engine = open_shared(settings.url.get_secret_value())
            before, after = upgrade_shared(engine)
        count = _add_up(engine)
    line = f"The ledger is at revision {after} (before: {before or 'none'})."
    if count:
        line += f" {count:,} conversations are added up for reports."
    _tell({"before": before, "after": after, "conversations_added_up": count}, line, as_json)


def _add_up(engine: Any) -> int:
    """What the next report would have to add up, so that it need not; gives the number of conversations."""
    from gateway.experiments import statistics, upkeep

    if not statistics.has_extra():
        return 0
    count = 0
    with _progress() as progress:
        task = progress.add_task("adding up for reports", total=upkeep.missing(engine))
        for some in upkeep.fill(engine):
            progress.advance(task, some)
            count += some
    return count


def _age(_context: click.Context, _option: click.Parameter, value: str) -> datetime:
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no age; write 90d, 12h, 8w or 2y")
    try:
        return datetime.now(UTC) - int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise click.BadParameter(f"{value!r} is too long ago") from None


@db.command()
@CONFIG
@click.option("--older-than", "before", required=True, callback=_age, metavar="AGE", help="Such as 90d, 12h, 8w or 2y.")
@click.option("--dry-run", is_flag=True, help="Only say how many conversations would go.")
@JSON
def prune(config: Path | None, before: datetime, dry_run: bool, as_json: bool) -> None:
    """Delete conversations whose last turn is older than AGE, from the file and from the shared database."""
    from gateway.ledger import retention

    engines = _engines(config)
    with _saying_why():
        total = max(retention.count_over(engine, before) for engine in engines)
        if not dry_run:
            with _progress() as progress:
                for engine in engines:
                    task = progress.add_task(engine.dialect.name, total=total)
                    for count in retention.prune(engine, before):
                        progress.advance(task, count)
    verb = "would go" if dry_run else "deleted"
    _tell({"conversations": total, "dry_run": dry_run}, f"{total} conversations {verb}.", as_json)


@db.command()
@CONFIG
@click.option(
    "--ahead", type=click.IntRange(0, 120), default=3, show_default=True, help="Months to make them for, besides this."
)
@JSON
def partition(config: Path | None, ahead: int, as_json: bool) -> None:
    """Keep the shared database's turns by the month: make partitions ahead, drop those that pruning has emptied.

    The first time it divides the table, which reads it once: do that early, or at a quiet hour. Then run it monthly.
    """
    from gateway.errors import ConfigError
    from gateway.ledger.partitions import partition
    from gateway.ledger.shared import open_shared

    settings = _ledger(config)
    if settings.url is None:
        raise ConfigError("ledger.url: only a shared PostgreSQL has partitions; set it, or prune the file")
    with _saying_why():
        made, dropped = partition(open_shared(settings.url.get_secret_value()), ahead)
    line = f"Made: {', '.join(made) or 'none'}. Dropped: {', '.join(dropped) or 'none'}."
    _tell({"made": made, "dropped": dropped}, line, as_json)


@db.command()
@CONFIG
@click.option("--conversation", help="Erase the conversation of this id.")
@click.option("--user", help="Erase all conversations of this user, as the client names it; needs the ledger's key.")
@JSON
def erase(config: Path | None, conversation: str | None, user: str | None, as_json: bool) -> None:
    """Erase one conversation or one user for good: rows, hashes, content, feedback.

    Exit code 1 when nothing is known of it."""
    from gateway.errors import ConfigError
    from gateway.ledger import erasing
    from gateway.ledger.books import open_vault

    if (conversation is None) == (user is None):
        raise click.UsageError("give either --conversation or --user")
    kind, values = erasing.CONVERSATION, [conversation or ""]
    if user is not None:
        vault = open_vault(_ledger(config))
        if vault is None:
            raise ConfigError("ledger: users are known by hashes under the ledger's key only; give the key (key_env)")
        kind, values = erasing.USER, vault.user_hashes(user)
    with _saying_why():
        count = max(erasing.erase(engine, kind, values) for engine in _engines(config))
    _tell({"conversations": count}, f"{count} conversations erased.", as_json)
    if not count:
        raise SystemExit(1)


@db.command()
@CONFIG
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@JSON
def backup(config: Path | None, out: Path, as_json: bool) -> None:
    """Back the ledger up to the file OUT while the gateway runs: a SQLite file, or a zip archive of the database."""
    from gateway.ledger.backup import backup_file, backup_shared
    from gateway.ledger.reading import open_engine

    settings = _ledger(config)
    if out.exists():
        raise click.UsageError(f"{out} exists; choose another name")
    beside = out.with_name(f"{out.name}.part")
    try:
        with _saying_why():
            engine = open_engine(settings)
            if settings.url is None:
                backup_file(settings.path, beside)
            else:
                backup_shared(engine, beside)
        beside.replace(out)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)
    _tell({"file": str(out), "bytes": out.stat().st_size}, f"{out}: {out.stat().st_size:,} bytes.", as_json)


@db.command()
@CONFIG
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Put it in the place of a file that holds a ledger.")
@JSON
def restore(config: Path | None, source: Path, force: bool, as_json: bool) -> None:
    """Restore the back-up SOURCE: in the place of the file, with no gateway on it; or into an empty shared database."""
    from gateway.ledger.backup import restore_file, restore_shared
    from gateway.ledger.database import open_database
    from gateway.ledger.shared import open_shared

    settings = _ledger(config)
    with _saying_why():
        if settings.url is not None:
            restore_shared(source, open_shared(settings.url.get_secret_value()))
        else:
            if settings.path.exists() and not force:
                raise click.UsageError(f"{settings.path} exists; --force replaces it")
            restore_file(source, settings.path)
            open_database(settings.path)
    _tell({"restored": str(source)}, f"Restored {source}.", as_json)


def _ledger(config: Path | None) -> Any:
    from gateway.settings import config_path, load

    return load(config_path(config)).ledger


def _engines(config: Path | None) -> list[Any]:
    """The shared database and this machine's file, as far as there are."""
    from gateway.ledger.database import open_database
    from gateway.ledger.reading import open_engine

    settings = _ledger(config)
    engines = [open_engine(settings)]
    if settings.url is not None and settings.path.is_file():
        engines.append(open_database(settings.path))
    return engines


def _file_revision(path: Path) -> str | None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from gateway.ledger.migrate import read_schema

    if not path.is_file():
        return None
    with create_engine(f"sqlite:///{path.absolute()}", poolclass=NullPool).connect() as connection:
        return read_schema(connection).revision


@contextmanager
def _saying_why() -> Iterator[None]:
    """A database that fails ends in one line."""
    from sqlalchemy.exc import SQLAlchemyError

    from gateway.errors import LedgerError
    from gateway.ledger.shared import reason_of

    try:
        yield
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger's database: {reason_of(error)}") from None


def _progress() -> Any:
    """A bar on the terminal, where there is one."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _tell(result: dict[str, Any], line: str, as_json: bool) -> None:
    click.echo(json.dumps(result, indent=2) if as_json else line)
