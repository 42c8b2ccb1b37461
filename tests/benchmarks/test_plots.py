"""What terminals get to see."""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import plots


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "plot.png"
    path.write_bytes(b"\x89PNG" + bytes(range(256)) * 40)
    return path


def test_iterm_gets_the_picture_in_one_sequence(png: Path) -> None:
    sequence = plots.inline(png, {"TERM_PROGRAM": "iTerm.app"})
    assert sequence is not None
    assert sequence.startswith("\033]1337;File=inline=1")
    assert base64.standard_b64decode(sequence.rstrip("\a\n").rpartition(":")[2]) == png.read_bytes()


def test_kitty_gets_the_picture_in_chunks_that_say_whether_more_follow(png: Path) -> None:
    sequence = plots.inline(png, {"TERM": "xterm-kitty"})
    assert sequence is not None
    chunks = [chunk.removeprefix("\033_G").split(";") for chunk in sequence.strip().split("\033\\") if chunk]
    assert [head.rpartition("m=")[2] for head, _ in chunks] == ["1"] * (len(chunks) - 1) + ["0"]
    assert all(len(data) <= 4096 for _, data in chunks)
    assert base64.standard_b64decode("".join(data for _, data in chunks)) == png.read_bytes()


@pytest.mark.parametrize("environ", [{}, {"TERM": "xterm-256color"}, {"TERM_PROGRAM": "iTerm.app", "TMUX": "/tmp/x"}])
def test_terminals_not_known_to_show_pictures_get_none(png: Path, environ: dict[str, str]) -> None:
    assert plots.inline(png, environ) is None


def test_sparks_scale_to_the_top_and_mark_the_unknown() -> None:
    assert plots.spark([0.0, 0.5, 1.0, None], top=1) == "▁▅█·"
    assert plots.spark([0, 0], top=0) == "▁▁"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=3))
def test_labels_keep_their_order_and_their_distance(values: list[float]) -> None:
    moved = plots.spread(values, gap=7.5)
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert all(moved[above] - moved[below] >= 7.5 / 2 for below, above in pairwise(order))


def test_labels_that_are_far_apart_stay_where_they_are() -> None:
    assert plots.spread([0.0, 50.0, 100.0], gap=7.5) == [0.0, 50.0, 100.0]
