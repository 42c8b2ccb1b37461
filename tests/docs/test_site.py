"""The site of the docs is whole, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

pytestmark = pytest.mark.slow
LOADING = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a dead link or anchor, or a page outside the navigation, has the build fail."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADING.get(tag, ""))
        if address and not (tag == "link" and dict(attrs).get("rel") in ("canonical", "next", "prev", "edit")):
            self.addresses.append(address)


def loaded(site: Path) -> Iterator[tuple[Path, str]]:
    for page in site.rglob("*.html"):
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        yield from ((page, address) for address in parser.addresses)
    for sheet in site.rglob("*.css"):
        urls = re.findall(r"(?:url\(|@import )[\"']?([^\"')\s;]+)", sheet.read_text(encoding="utf-8"))
        yield from ((sheet, url) for url in urls)


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    found = list(loaded(site))
    assert found
    assert [(page.name, address) for page, address in found if re.match(r"(https?:)?//", address)] == []


def test_everything_that_a_page_loads_is_there(site: Path) -> None:
    missing = [
        (page.name, address)
        for page, address in loaded(site)
        if page.name != "404.html"
        and not re.match(r"data:|#", address)
        and not (page.parent / re.sub(r"[?#].*", "", address)).exists()
    ]
    assert missing == []


def test_a_newcomer_finds_the_quick_start_first(site: Path) -> None:
    links = re.findall(
        r'<a href="([\w./-]+\.html)" class="md-nav__link', (site / "index.html").read_text(encoding="utf-8")
    )
    assert links[:2] == ["index.html", "quickstart.html"] or links[0] == "quickstart.html"


def test_a_linked_file_of_the_repository_is_in_the_site(site: Path) -> None:
    assert 'href="repository/deploy/prometheus/alerts.yml"' in (site / "runbooks.html").read_text(encoding="utf-8")
    assert (site / "repository/deploy/prometheus/alerts.yml").read_bytes() == (
        ROOT / "deploy/prometheus/alerts.yml"
    ).read_bytes()
