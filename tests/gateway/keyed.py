"""A gateway with keys, before the fake upstream."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import openai

from gateway.access.keys import hash_of, new
from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.conftest import BEHAVIOURS, CONFIG, KEY, Gateway
from tests.gateway.servers import FakeUpstream, serving

Secrets = Mapping[str, str]


@contextmanager
def keyed(folder: Path, keys: Mapping[str, str], more: str = "") -> Iterator[tuple[Gateway, Secrets]]:
    """A running gateway, and the secret of each key; `keys` are names to further lines of their tables."""
    fake = FakeUpstream()
    secrets = {name: new() for name in keys}
    tables = "".join(f'[keys.{name}]\nhash = "{hash_of(secrets[name])}"\n{lines}\n' for name, lines in keys.items())
    models = "\n".join(f'[models.{name}]\nupstream = "fake"' for name in BEHAVIOURS)
    with serving(fake.app) as upstream, patch.dict(os.environ, FAKE_UPSTREAM_KEY=KEY):
        path = folder / "gattway.toml"
        path.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream, models=models) + tables + more)
        settings = load(path)
        with (
            serving(create_app(settings, build(settings))) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20) as client,
        ):
            yield Gateway(url, fake, client), secrets


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}
