"""All views: what they show, in which light, on which screen, and for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.keyed import keyed
from tests.integration.ui.conftest import OpenPage, chromium, sync_api

pytestmark = pytest.mark.slow
expect = sync_api.expect
VIEWS = {
    "compare": ".arena",
    "conversations": "table.conversations a",
    "conversation?id=seen": ".windows li",
    "experiment": "#checks",
    "attention": ".maps canvas",
    "live": "#arms",
}


@pytest.fixture(scope="module")
def traffic(url: str) -> str:
    """The gateway after some conversations: `seen` with three turns, and dealt ones of both arms."""
    with httpx.Client(base_url=url, timeout=20) as client:
        for name, model, turns in (("seen", "ab:repeat", 3), *((f"dealt-{number}", "ab", 2) for number in range(12))):
            history = [{"role": "system", "content": "Always answer in Spanish."}]
            for turn in range(turns):
                history.append({"role": "user", "content": f"Question {turn}"})
                answer = client.post(
                    "/v1/chat/completions",
                    json={"model": model, "messages": history},
                    headers={"x-gattway-conversation-id": name},
                )
                history.append(answer.json()["choices"][0]["message"])
    return url


def go(page: Any, view: str) -> None:
    page.evaluate("place => { location.hash = place }", f"#/{view}")
    page.locator(VIEWS[view]).first.wait_for()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_every_view_fits_the_screen_and_axe_finds_no_serious_fault(
    open_page: OpenPage, traffic: str, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(f"{traffic}/ui/", color_scheme=scheme, viewport={"width": width, "height": 844})
    page.locator(".arena").wait_for()
    faults = []
    for view in VIEWS:
        go(page, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        found = axe.run(page).response
        assert len(found["passes"]) > 10
        serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        faults += [f"{view}: {one['id']}: {one['nodes'][0]['html']}" for one in serious]
    assert faults == []


def test_light_and_dark_follow_the_system_until_somebody_chooses_and_then_stay(open_page: OpenPage, url: str) -> None:
    page = open_page(f"{url}/ui/", color_scheme="dark")

    def ground() -> str:
        found: str = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
        return found

    dark = ground()
    page.emulate_media(color_scheme="light")
    light = ground()
    assert dark != light
    page.get_by_role("button", name="Dark").click()
    assert ground() == dark
    page.reload()
    assert ground() == dark
    expect(page.get_by_role("button", name="Dark", pressed=True)).to_be_visible()


def test_conversations_are_narrowed_down(open_page: OpenPage, traffic: str) -> None:
    page = open_page(f"{traffic}/ui/#/conversations")
    rows = page.locator("table.conversations tbody tr")
    rows.filter(has_text="dealt-").first.wait_for()
    page.get_by_label("Turns, at least").fill("3")
    expect(rows.filter(has_text="dealt-")).to_have_count(0)
    expect(rows.filter(has_text="seen")).to_have_count(1)
    page.get_by_label("Arm").select_option("once")
    expect(rows.filter(has_text="seen")).to_have_count(0)
    assert "min_turns=3" in page.url
    page.reload()
    expect(page.get_by_label("Turns, at least")).to_have_value("3")
    expect(page.get_by_label("Arm")).to_have_value("once")


def test_conversations_are_narrowed_down_by_model_by_cost_and_by_drift(open_page: OpenPage, traffic: str) -> None:
    def ask(name: str, model: str, text: str) -> str:
        asked = {"model": model, "messages": [{"role": "user", "content": text}]}
        headers = {"x-gattway-conversation-id": name}
        answer = httpx.post(f"{traffic}/v1/chat/completions", json=asked, headers=headers, timeout=20)
        found: str = answer.json().get("id", "")
        return found

    ask("cut-refused", "small", "Hi")
    ask("cut-dear", "priced", "word " * 300)
    for name, adherent in (("cut-left", False), ("cut-held", True)):
        judged = {"completion_id": ask(name, "ab:once", "Hi"), "adherent": adherent}
        assert httpx.post(f"{traffic}/api/feedback", json=judged, timeout=20).status_code == 200
    page = open_page(f"{traffic}/ui/#/conversations")
    ids = page.locator("table.conversations tbody a")
    ids.first.wait_for()
    page.get_by_label("Id begins with").fill("cut-")
    expect(ids).to_have_count(4)
    for label, value, found, parameter in (
        ("Model", "small", ["cut-refused"], "model=small"),
        ("Cost in $, at least", "0.001", ["cut-dear"], "min_cost_usd=0.001"),
        ("Instruction", "true", ["cut-left"], "drifted=true"),
    ):
        control = page.get_by_label(label)
        choose = control.fill if label.startswith("Cost") else control.select_option
        choose(value)
        expect(ids).to_have_text(found)
        assert parameter in page.url
        choose("")
        expect(ids).to_have_count(4)
    page.get_by_label("Instruction").select_option("false")
    expect(ids).to_have_text(["cut-held", "cut-dear", "cut-refused"])


def test_a_conversation_shows_its_windows_its_costs_and_what_else_it_would_have_taken(
    open_page: OpenPage, traffic: str
) -> None:
    page = open_page(f"{traffic}/ui/#/conversations")
    page.get_by_role("link", name="seen", exact=True).click()
    expect(page.locator(".windows li")).to_have_count(3)
    expect(page.locator("tr.own")).to_contain_text("every-turn")
    expect(page.get_by_role("region", name="Table of turns").locator("tbody tr")).to_have_count(3)


def test_the_report_is_shown_in_words_figures_and_checks(open_page: OpenPage, traffic: str) -> None:
    pytest.importorskip("tea_tasting")
    page = open_page(f"{traffic}/ui/#/experiment")
    page.locator("#checks").wait_for()
    report = httpx.get(f"{traffic}/api/report?experiment=ab").json()
    expect(page.locator("[aria-labelledby=verdict]")).to_contain_text(report["verdict"][0])
    figures = page.get_by_role("region", name="Figures of the arms")
    expect(figures).to_contain_text("Cost per conversation")
    expect(figures.locator("thead")).to_contain_text("repeat")
    expect(page.locator(".checks li").first).to_contain_text("dealt as meant")


def test_live_figures_move_with_the_traffic(open_page: OpenPage, traffic: str) -> None:
    page = open_page(f"{traffic}/ui/#/live")
    requests = page.locator(".tile").filter(has_text="Requests a second")
    requests.wait_for()
    before = requests.locator(".muted").inner_text()
    asked = {"model": "priced", "messages": [{"role": "user", "content": "x"}]}
    httpx.post(f"{traffic}/v1/chat/completions", json=asked)
    expect(requests.locator(".muted")).not_to_have_text(before)
    expect(requests.locator("strong")).not_to_have_text("–")


def test_the_maps_of_both_models_are_drawn_for_the_chosen_dialogue(open_page: OpenPage, url: str) -> None:
    page = open_page(f"{url}/ui/#/attention")
    maps = page.locator(".maps canvas")
    expect(maps).to_have_count(2)
    before = maps.first.get_attribute("aria-label")
    page.get_by_label("Dialogue").select_option(index=1)
    expect(maps.first).not_to_have_attribute("aria-label", before or "")
    inked = "canvas => canvas.getContext('2d').getImageData(0, canvas.height - 1, 1, 1).data[3]"
    assert maps.first.evaluate(inked) == 255


def test_with_keys_the_page_asks_for_one_and_keeps_it_nowhere(open_page: OpenPage, tmp_path: Path) -> None:
    if chromium() is None:
        pytest.skip("no Chromium on this machine")
    with keyed(tmp_path, {"boss": "admin = true"}) as (gateway, secrets):
        page = open_page(f"{gateway.url}/ui/")
        page.get_by_label("Admin key").fill("gw-wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("does not know this key")
        page.get_by_label("Admin key").fill(secrets["boss"])
        page.keyboard.press("Enter")
        page.locator(".arena").wait_for()
        kept = page.evaluate("JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}])")
        assert secrets["boss"] not in kept
        assert "gattway_session" not in kept
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Admin key")).to_be_visible()
    open_page.complaints[:] = [one for one in open_page.complaints if "401" not in one]  # type: ignore[attr-defined]
