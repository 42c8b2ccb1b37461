"""Pictures of the web page for the docs, from live data, in a real headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE = (1200, 860)
PHONE = (390, 844)
TURNS = 20
WAIT_MS = 180_000
"""For a whole conversation with both sides, on a busy machine."""


class NoBrowser(Exception):
    """There is no Chromium, or no Playwright to drive it; the message says how to get it."""


def run(url: str, out: Path, conversation: str, on_done: Callable[[], None] = lambda: None) -> list[Path]:
    """Take all pictures of the page at `url` (no `/ui`) into `out`; `conversation` is the id of the one shown.

    Raises:
        NoBrowser: see there.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[Browser], Page]] = {
        "side-by-side": lambda browser: _played(browser, url, "light", WIDE, "repeat"),
        "side-by-side-phone": lambda browser: _played(browser, url, "dark", PHONE, "untreated"),
        "experiment": lambda browser: _opened(browser, url, "experiment", "#checks"),
        "conversation": lambda browser: _opened(browser, url, f"conversation?id={conversation}", ".windows li"),
        "attention": lambda browser: _opened(browser, url, "attention", ".maps canvas", scheme="dark"),
    }
    written = []
    with _chromium() as browser:
        for name, take in pictures.items():
            path = out / f"{name}.png"
            take(browser).screenshot(path=path)
            written.append(path)
            on_done()
    return written


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise NoBrowser("no Chromium on this machine; on Debian and Ubuntu: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoBrowser("Playwright is missing; install it with: pip install 'gattway[dev]'") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _opened(
    browser: Browser, url: str, view: str, ready: str, *, scheme: str = "light", size: tuple[int, int] = WIDE
) -> Page:
    """A page of the view, when what matches `ready` is there."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{url}/ui/#/{view}")
    page.locator(ready).first.wait_for()
    page.wait_for_load_state("networkidle")
    return page


def _played(browser: Browser, url: str, scheme: str, size: tuple[int, int], right: str) -> Page:
    """Side by side, after a ready-made conversation has played to its end; a vote is cast."""
    page = _opened(browser, url, "compare", ".arena", scheme=scheme, size=size)
    page.get_by_label("Right: model or arm").select_option(f"gatt-vs-repeat:{right}")
    page.get_by_role("button", name="Play").click()
    votes = page.locator(".turn").nth(TURNS - 1).locator(".vote button")
    votes.first.wait_for()
    votes.first.click()
    page.get_by_text("Noted.").wait_for()
    return page
