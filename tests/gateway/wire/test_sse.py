"""Events survive however the network cuts them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import data_of, event, split_events, whole_events


async def regrouped(reads: list[bytes]) -> list[bytes]:
    async def source() -> AsyncIterator[bytes]:
        for read in reads:
            yield read

    return [raw async for events in whole_events(source()) for raw in split_events(events)]


@given(
    texts=st.lists(st.text(max_size=20), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 400), max_size=12),
    ending=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
)
async def test_cut_anywhere_even_inside_a_character_the_events_come_out_whole(
    texts: list[str], cuts: list[int], ending: bytes
) -> None:
    wire = b"".join(event({"t": text}).replace(b"\n\n", ending) for text in texts)
    places = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    events = await regrouped([wire[a:b] for a, b in itertools.pairwise(places)])
    assert b"".join(events) == wire
    assert [orjson.loads(data_of(raw) or b"")["t"] for raw in events] == texts


async def test_a_last_event_without_its_blank_line_still_counts() -> None:
    assert await regrouped([b"data: 1\n\ndata: [DO", b"NE]"]) == [b"data: 1\n\n", b"data: [DONE]\n\n"]


def test_data_is_read_with_and_without_a_space_and_over_several_lines() -> None:
    assert data_of(b"data:{}\n\n") == b"{}"
    assert data_of(b"data: {}\r\n\r\n") == b"{}"
    assert data_of(b"event: x\nid: 3\ndata: {\ndata: }\n\n") == b"{\n}"
    assert data_of(b": keep-alive\n\n") is None
