"""What was said in a conversation, on the page: as it was sent, the placed text marked, nothing of it markup."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.ui.conftest import OpenPage, chromium, gateway_in, sync_api

pytestmark = pytest.mark.slow
expect = sync_api.expect
INSTRUCTION = "Speak as a <b>pirate</b> 🏴."
QUESTION = "<img src=x onerror=\"document.title='taken over'\"> 🦜 ahoy?"
TURNS = 22
"""More than the page asks for at once."""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway that keeps content, after one conversation in the arm that repeats."""
    if chromium() is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    environment = {"GATTWAY_LEDGER__STORE_CONTENT": "true", "GATTWAY_LEDGER_KEY": "k" * 40}
    with gateway_in(tmp_path_factory.mktemp("content"), **environment) as url, httpx.Client(base_url=url) as client:
        history = [{"role": "system", "content": INSTRUCTION}]
        for _ in range(TURNS):
            history.append({"role": "user", "content": QUESTION})
            asked = {"model": "ab:repeat", "messages": history}
            answer = client.post(
                "/v1/chat/completions", json=asked, headers={"x-gattway-conversation-id": "said/aloud"}, timeout=20
            )
            history.append(answer.json()["choices"][0]["message"])
        yield url


def test_a_turn_shows_what_was_sent_with_the_placed_text_marked_and_all_of_it_as_text(
    open_page: OpenPage, keeping: str
) -> None:
    page = open_page(f"{keeping}/ui/#/conversation?id=said%2Faloud")
    section = page.get_by_role("region", name="What was sent to the model")
    turn = section.locator("li").nth(1)
    expect(turn).to_contain_text("Turn 2: 3 messages, text placed in 2 places")
    turn.locator("summary").focus()
    page.keyboard.press("Enter")
    messages = turn.locator(".message")
    expect(messages).to_have_count(4)
    expect(messages.nth(0).locator(".role")).to_have_text("user")
    expect(messages.nth(0)).to_contain_text(QUESTION)
    marked = turn.locator("mark")
    expect(marked).to_have_count(2)
    for index in range(2):
        expect(marked.nth(index)).to_contain_text(INSTRUCTION)
        expect(marked.nth(index)).not_to_contain_text("ahoy")
    expect(messages.nth(3).locator(".role")).to_have_text("assistant, the answer")
    assert section.locator("img, b").count() == 0
    assert page.title() != "taken over"


def test_the_mark_is_told_without_colour_and_to_a_screen_reader(open_page: OpenPage, keeping: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for scheme, width in (("light", 1200), ("dark", 390)):
        page = open_page(
            f"{keeping}/ui/#/conversation?id=said%2Faloud",
            color_scheme=scheme,
            viewport={"width": width, "height": 844},
        )
        page.locator(".sent summary").first.click()
        mark = page.locator(".message mark").first
        expect(mark).to_have_text(f"placed by the gateway: {INSTRUCTION} end of the placed text ", use_inner_text=False)
        style = "(mark) => [getComputedStyle(mark).textDecorationLine, getComputedStyle(mark, '::before').content]"
        line, bracket = mark.evaluate(style)
        assert line == "underline"
        assert "⟦" in bracket
        found = axe.run(page).response
        assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_long_conversation_shows_its_later_turns_when_asked(open_page: OpenPage, keeping: str) -> None:
    page = open_page(f"{keeping}/ui/#/conversation?id=said%2Faloud")
    turns = page.locator(".sent > li")
    expect(turns).to_have_count(20)
    more = page.get_by_role("button", name="Show more turns")
    more.click()
    expect(turns).to_have_count(TURNS)
    expect(more).to_be_hidden()
    expect(turns.last).to_contain_text(f"Turn {TURNS}:")


def test_where_nothing_is_stored_the_page_says_so_and_how_to_change_it(open_page: OpenPage, url: str) -> None:
    asked = {"model": "ab:repeat", "messages": [{"role": "user", "content": "x"}]}
    httpx.post(f"{url}/v1/chat/completions", json=asked, headers={"x-gattway-conversation-id": "unsaid"}, timeout=20)
    page = open_page(f"{url}/ui/#/conversation?id=unsaid")
    section = page.get_by_role("region", name="What was sent to the model")
    expect(section).to_contain_text("not stored")
    expect(section.locator("code")).to_have_text("[ledger] store_content = true")
