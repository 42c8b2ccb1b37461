"""The split of traffic."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import create_app
from gateway.build import build
from gateway.experiments.assignment import deal, position
from gateway.settings import load
from tests.gateway.conftest import Gateway
from tests.gateway.servers import serving

IDS = [f"conversation-{index}" for index in range(20_000)]


def test_conversations_are_dealt_by_weight() -> None:
    weights = {"a": 1.0, "b": 3.0, "c": 0.0}
    dealt = [deal(weights, position("salt", identity)) for identity in IDS]
    assert dealt.count("c") == 0
    assert dealt.count("b") / len(IDS) == pytest.approx(0.75, abs=0.012)  # four standard errors


def test_two_salts_deal_independently() -> None:
    both = [position("one", identity) < 0.5 and position("two", identity) < 0.5 for identity in IDS]
    assert sum(both) / len(IDS) == pytest.approx(0.25, abs=0.013)


@given(place=st.floats(0, 1, exclude_max=True), weights=st.lists(st.floats(0, 5), min_size=1, max_size=5))
def test_an_arm_without_weight_is_never_dealt(place: float, weights: list[float]) -> None:
    arms = {str(index): weight for index, weight in enumerate(weights)}
    if not sum(weights) > 0:
        with pytest.raises(ValueError, match="no arm has a weight above 0"):
            deal(arms, place)
    else:
        assert arms[deal(arms, place)] > 0


def test_new_weights_and_a_restart_never_move_a_running_conversation(gateway: Gateway, config: Path) -> None:
    body = {"model": "ab", "messages": [{"role": "user", "content": "x"}]}
    ids = [f"c{index}" for index in range(12)]
    before = {one: gateway.post(body, x_gattway_conversation_id=one).headers["x-gattway-arm"] for one in ids}
    assert set(before.values()) == {"once", "repeat"}
    text = config.read_text()
    config.write_text(text.replace("[experiments.ab.arms.repeat]", "[experiments.ab.arms.repeat]\nweight = 0"))
    settings = load(config)
    with serving(create_app(settings, build(settings))) as url:
        again = Gateway(url, gateway.upstream, gateway.client)
        after = {one: again.post(body, x_gattway_conversation_id=one).headers["x-gattway-arm"] for one in ids}
        fresh = {again.post(body, x_gattway_conversation_id=f"n{one}").headers["x-gattway-arm"] for one in ids}
    assert after == before
    assert fresh == {"once"}


def test_a_conversation_is_known_again_by_its_history_after_a_restart(gateway: Gateway, config: Path) -> None:
    first = gateway.post({"model": "ab", "messages": [{"role": "user", "content": "x"}]})
    history = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": first.json()["choices"][0]["message"]["content"]},
        {"role": "user", "content": "y"},
    ]
    settings = load(config)
    with serving(create_app(settings, build(settings))) as url:
        later = Gateway(url, gateway.upstream, gateway.client).post({"model": "ab", "messages": history})
    for header in ("x-gattway-conversation-id", "x-gattway-arm"):
        assert later.headers[header] == first.headers[header]
    assert later.headers["x-gattway-turn"] == "2"
