"""One gateway for all tests of this folder, started with nothing configured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.started import started


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; it serves the embedded models."""
    with started(tmp_path_factory.mktemp("serve")) as address:
        yield address
