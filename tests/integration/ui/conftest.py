"""The page in a real headless Chromium, before a gateway with a fake upstream."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.conftest import KEY
from tests.gateway.servers import FakeUpstream, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CONFIG = """
[ledger]
path = "{ledger}"

[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
api_key_env = "FAKE_UPSTREAM_KEY"

[models.priced]
upstream = "fake"
name = "echo"
context_window = 1000
price = {{ input = 1.0, cached = 0.1, output = 4.0 }}

[models.small]
upstream = "fake"
name = "overflow"

[experiments.ab.arms.once]
strategy = "once"
model = "priced"

[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "priced"
"""

OpenPage = Callable[..., Any]


def chromium() -> str | None:
    """The machine's Chromium."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, which resolves no name: whatever looks for another machine fails loudly."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    arguments = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=arguments)
        yield launched
        launched.close()


@contextmanager
def gateway_in(folder: Path, **environment: str) -> Iterator[str]:
    """A gateway with its ledger in `folder`, made in an `environment` that is its own; its URL."""
    with serving(FakeUpstream().app) as upstream:
        config = folder / "gattway.toml"
        config.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream))
        with patch.dict(os.environ, FAKE_UPSTREAM_KEY=KEY, **environment):
            settings = load(config)
            app = create_app(settings, build(settings))
        with serving(app) as served:
            yield served


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway without keys; one for all tests that need no ledger of their own."""
    with gateway_in(tmp_path_factory.mktemp("page")) as served:
        yield served


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens pages; afterwards none may have complained, or asked anybody but its own server."""
    contexts, complaints, foreign = [], [], []

    def opened(address: str, **options: Any) -> Any:
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda asked: foreign.append(asked.url) if urlsplit(asked.url).hostname != "127.0.0.1" else None
        )
        page.goto(address)
        return page

    opened.complaints = complaints  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert foreign == []
