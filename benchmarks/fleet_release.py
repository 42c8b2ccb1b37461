"""The release after this one, as an upgrade meets it: the same source with an expanding revision more."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.fleet_parts import ROOT
from gateway.ledger.schema import GENERATION, REVISION

NEXT_REVISION = "9001"
COLUMN = "next_release"
PACKAGES = ("adherence", "gateway", "strategies")
_SCHEMA = f"""

REVISION = "{NEXT_REVISION}"
turns.append_column(Column("{COLUMN}", String))
"""
_LAST_FIELD = "    user_hash: str | None = None\n"
_EXPAND = f'''"""A column that the release before knows nothing of and needs nothing of."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT_REVISION}"
down_revision = "{REVISION}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column."""
    op.add_column("turns", sa.Column("{COLUMN}", sa.String))
'''
_CONTRACT = f"""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("PRAGMA user_version = {GENERATION + 1}"))
    else:
        connection.execute(sa.text("UPDATE ledger_meta SET value = '{GENERATION + 1}' WHERE name = 'generation'"))
"""


def next_release(folder: Path, *, contracts: bool = False) -> Path:
    """Write the next release's source into `folder`; gives the folder, which goes on the PYTHONPATH.

    Its rows say `yes` in a new column. With `contracts` its revision raises the generation too: releases before it
    have to refuse the database from then on.
    """
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("embedded"))
    (folder / "gateway/embedded").symlink_to(ROOT / "gateway/embedded", target_is_directory=True)
    schema = folder / "gateway/ledger/schema.py"
    generation = f"GENERATION = {GENERATION + 1}\n" if contracts else ""
    schema.write_text(schema.read_text(encoding="utf-8") + _SCHEMA + generation, encoding="utf-8")
    records = folder / "gateway/ledger/records.py"
    before, _, after = records.read_text(encoding="utf-8").partition(_LAST_FIELD)
    records.write_text(f'{before}{_LAST_FIELD}    {COLUMN}: str | None = "yes"\n{after}', encoding="utf-8")
    revision = folder / f"gateway/ledger/migrations/versions/r{NEXT_REVISION}_next_release.py"
    revision.write_text(_EXPAND + (_CONTRACT if contracts else ""), encoding="utf-8")
    return folder
