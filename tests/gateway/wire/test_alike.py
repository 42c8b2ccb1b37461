"""Events known by the bytes around their text mean exactly what they mean when each is parsed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.answering.relay import Relay
from gateway.errors import UpstreamUnavailable
from gateway.wire.alike import Alike
from gateway.wire.required import new_head


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **more}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def event(data: Any, *, ascii_only: bool = False) -> bytes:
    encoded = json.dumps(data).encode() if ascii_only else orjson.dumps(data)
    return b"data: " + encoded + b"\n\n"


def relayed(events: bytes, size: int, *, alike: bool) -> tuple[bytes, str, str | None]:
    """What went on, the text, and the reason of the end, for reads of `size` events."""
    relay = Relay(new_head("m"), wants_usage=False)
    if not alike:
        relay._alike.learn = lambda raw, chunk: None  # type: ignore[method-assign]
    single = [part + b"\n\n" for part in events.split(b"\n\n")[:-1]]
    forward = b"".join(relay.take(b"".join(single[at : at + size])) for at in range(0, len(single), size))
    return forward, "".join(relay.seen.text), relay.seen.finish_reason


texts = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from(['"', "\\", "\n", "é", "😀", '"}}]}', '"content":"x"', ""])),
    max_size=30,
)


@given(texts, st.integers(1, 12), st.booleans(), st.integers(0, 29))
@settings(deadline=None, max_examples=150)
def test_a_run_of_events_is_what_its_events_are(words: list[str], size: int, ascii_only: bool, other_at: int) -> None:
    chunks = [chunk({"content": word}) for word in words]
    others = [
        chunk({"role": "assistant", "content": "a"}),
        chunk({"content": "b", "tool_calls": []}),
        chunk({}, index=1),
    ]
    chunks[other_at:other_at] = others
    chunks.append(chunk({}, finish_reason="stop"))
    events = b"".join(event(one, ascii_only=ascii_only) for one in chunks)
    assert relayed(events, size, alike=True) == relayed(events, size, alike=False)


@pytest.mark.parametrize("inside", [b'a","x":"b', b"a\\", b"a\nb", b'a"', b"\\ud83d", b"\xff"])
def test_what_is_no_inside_of_a_string_is_parsed_like_any_other_event(inside: bytes) -> None:
    whole = event(chunk({"content": "TEXT"}))
    odd = whole.replace(b"TEXT", inside)
    relays = [Relay(new_head("m"), wants_usage=False) for _ in range(2)]
    relays[0].take(whole)  # knows the shape
    found = []
    for relay in relays:
        try:
            found.append((relay.take(odd), relay.seen.text[-1:]))
        except UpstreamUnavailable as error:
            found.append((error.code, []))
    assert found[0][0] == found[1][0]


@pytest.mark.parametrize(
    "data",
    [
        chunk({"content": "a", "reasoning_content": "b"}),
        chunk({"content": "a"}, finish_reason="stop"),
        chunk({"content": "a"}, index=1),
        {**chunk({"content": "a"}), "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {**chunk({"content": "a"}), "x": {"content": "a"}},
    ],
)
def test_an_event_that_says_more_than_its_text_teaches_no_shape(data: dict[str, Any]) -> None:
    alike, raw = Alike(), event(data)
    alike.learn(raw, data)
    assert alike.run(raw, 0) is None
