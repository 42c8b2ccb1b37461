"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

CONFIG = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    help="Config file; by default $GATTWAY_CONFIG, then ./gattway.toml, then the embedded models.",
)
