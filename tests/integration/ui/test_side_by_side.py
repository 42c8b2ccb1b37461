"""Side by side, as a person uses it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.ui.conftest import OpenPage, sync_api

pytestmark = pytest.mark.slow
expect = sync_api.expect


def ask(page: Any, text: str, turn: int) -> None:
    page.get_by_label("Message to both").fill(text)
    page.keyboard.press("Enter")
    page.locator(".turn").nth(turn - 1).locator(".vote button").first.wait_for()


def choose(page: Any, left: str, right: str) -> None:
    page.get_by_label("Left: model or arm").select_option(left)
    page.get_by_label("Right: model or arm").select_option(right)


@pytest.fixture
def arena(open_page: OpenPage, url: str) -> Any:
    page = open_page(f"{url}/ui/")
    page.get_by_label("Instruction", exact=True).fill("Say ahoy.")
    choose(page, "ab:once", "ab:repeat")
    return page


def test_three_turns_with_both_arms_their_figures_windows_and_a_vote(arena: Any, url: str) -> None:
    for turn, text in enumerate(("one", "two", "three"), start=1):
        ask(arena, text, turn)
    left, right = (arena.locator(f".answer.{side}") for side in ("left", "right"))
    expect(left.nth(2).locator(".text")).to_have_text("You said: three")
    expect(right.nth(2).locator(".text")).to_contain_text("Say ahoy.")
    expect(right.nth(2).locator(".facts")).to_contain_text("first token")
    expect(right.nth(2).locator(".facts")).to_contain_text("$0.0000")

    windows = arena.locator(".head .window-bar")
    expect(windows.nth(0).locator(".figures")).to_contain_text("of 1,000 tokens")
    expect(windows.nth(0).locator(".segment.repeated")).to_have_count(0)
    expect(windows.nth(1).locator(".segment.repeated")).to_have_count(2)
    expect(arena.locator(".compared")).to_contain_text("After 3 turns, repeat has read")

    arena.get_by_role("group", name="Vote for turn 3").get_by_role("button", name="Right is better").click()
    expect(arena.get_by_role("button", name="Right is better", pressed=True)).to_have_count(1)
    listed = httpx.get(f"{url}/api/conversations?limit=2").json()["data"]
    assert {one["arm"] for one in listed} == {"once", "repeat"}
    assert all(one["turn_count"] == 3 for one in listed)


def test_what_a_model_writes_is_text_and_never_markup(arena: Any) -> None:
    hostile = '<img src="http://127.0.0.1:9/x" onerror="document.title=1"><script>document.title=2</script><b>bold</b>'
    ask(arena, hostile, 1)
    expect(arena.locator(".answer.left .text").first).to_have_text(f"You said: {hostile}")
    assert arena.locator(".turns img, .turns script, .turns b").count() == 0
    assert arena.title() == "Side by side · gattway"


def test_a_ready_made_conversation_plays_itself_and_marks_where_an_answer_left_the_instruction(arena: Any) -> None:
    arena.get_by_label("Ready-made conversation").select_option(label="Pretend to be Oscar Wilde")
    expect(arena.get_by_label("Instruction", exact=True)).to_have_value("Pretend to be Oscar Wilde.")
    arena.get_by_role("button", name="Play", exact=True).click()
    arena.locator(".turn").nth(3).locator(".vote button").first.wait_for()
    arena.get_by_role("button", name="Pause").click()
    # The fake model repeats what it got last: the instruction, where the arm has put it there.
    expect(arena.locator(".answer.left .verdict").nth(2)).to_have_text("✗ left the instruction")
    expect(arena.locator(".answer.right .verdict").nth(2)).to_have_text("✓ keeps the instruction")
    expect(arena.locator(".head.left .marks .lost").nth(2)).to_be_visible()
    expect(arena.locator(".head.right .marks .kept").nth(2)).to_be_visible()
    arena.get_by_role("button", name="Play on").wait_for()
    arena.get_by_role("button", name="Start over").click()
    expect(arena.locator(".turn")).to_have_count(0)


def test_a_side_that_is_refused_says_why_and_the_other_goes_on(open_page: OpenPage, url: str) -> None:
    page = open_page(f"{url}/ui/")
    choose(page, "ab:once", "small")
    page.get_by_label("Message to both").fill("Hi")
    page.keyboard.press("Enter")
    expect(page.locator(".answer.right .facts")).to_contain_text("The window is full")
    expect(page.locator(".answer.left .text")).to_have_text("You said: Hi")
    # Browsers report every refused request on the console; this one was meant.
    assert [one for one in open_page.complaints if "400" not in one] == []  # type: ignore[attr-defined]
    open_page.complaints.clear()  # type: ignore[attr-defined]


def test_by_keyboard_alone(open_page: OpenPage, url: str) -> None:
    page = open_page(f"{url}/ui/")
    page.locator(".arena").wait_for()

    def tab_to(selector: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.locator(f"{selector}:focus").count():
                return
        pytest.fail(f"Tab never reached {selector}")

    tab_to(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to("#message")
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    page.locator(".vote button").first.wait_for()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "Right is better"
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Right is better", pressed=True)).to_have_count(1)
    page.locator("nav a").nth(0).focus()
    tab_to("nav a[href='#/live']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
