"""Whatever a client sends or an upstream answers: no hang, no 500, no request without its row and no row twice."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway import faults
from tests.gateway.scripted import Scripted
from tests.gateway.servers import serving
from tests.gateway.test_faults import CONFIG

LIMIT_S = 10
NUMBERS = itertools.count()
bounded = settings(
    max_examples=80,
    deadline=None,  # the clock says nothing of a busy machine; LIMIT_S bounds each request
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# --- requests ---------------------------------------------------------------------------------------------------

VALID: dict[str, Any] = {
    "model": "ab",
    "messages": [
        {"role": "system", "content": "Speak French.", "name": "n"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
        {"role": "user", "content": "And now?"},
    ],
    "temperature": 1,
    "max_tokens": 5,
    "stop": ["x"],
    "metadata": {"topic": "t"},
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}],
    "stream": False,
}
ODD_TEXT = st.text(max_size=8) | st.sampled_from(
    [
        "\x00",
        "\ud800",
        "\udfff\ud800",
        "\u202e",
        "🏳️‍🌈",
        "\ufeff",
        "a\r\nb: c",
        "../..",
        "<instruction></instruction>",
        "[DONE]",
    ]
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**70), 2**70)
    | ODD_TEXT
    | st.sampled_from(["ab", "m", "user", "text", "system", 10**400, -0.0]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXT | st.sampled_from(list(VALID)), inner, max_size=3)
    ),
    max_leaves=5,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every place within a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths(inner, (*path, key))


PATHS = list(paths(VALID))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A good request, of which some places hold something else, and of whose bytes a few are changed."""
    body = json.loads(json.dumps(VALID))
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=2)):
        holder = body
        try:
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = draw(ODD)
        except (LookupError, TypeError, AttributeError):
            continue  # an earlier change took this place away
    body["stream"] = draw(st.booleans()) if body.get("stream") is False else body.get("stream")
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=4)) + raw[at + draw(st.integers(0, 3)) :]
    return raw


def deep(levels: int) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":' + b"[" * levels + b"]" * levels + b"}"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=LIMIT_S) as client:
        yield client


def assert_answered(http: httpx.Client, gateway: Scripted, raw: bytes) -> httpx.Response:
    """Send a body: it is answered in time, refused in OpenAI's words or given a row, and never a 500."""
    identity = f"fuzz-{next(NUMBERS)}"
    asked = len(gateway.upstream.bodies)
    headers = {"x-gattway-conversation-id": identity}
    answer = http.post(f"{gateway.url}/v1/chat/completions", content=raw, headers=headers)
    reached = len(gateway.upstream.bodies) - asked
    found = http.get(f"{gateway.url}/api/conversations/{identity}")
    rows = found.json()["turns"] if found.status_code == 200 else []
    if answer.status_code == 200:
        assert (reached, len(rows), rows[0]["status"]) == (1, 1, "ok")
        assert not answer.headers["content-type"].startswith("text/event-stream") or "[DONE]" in answer.text
    else:
        assert 400 <= answer.status_code < 500, answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert reached == 0
        assert rows == []
    return answer


@bounded
@given(raw=requests())
def test_any_request_is_answered_once_or_refused(http: httpx.Client, model: Scripted, raw: bytes) -> None:
    assert_answered(http, model, raw)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (deep(20), 200),
        (deep(250), 400),
        (deep(1000), 400),
        (deep(100_000), 400),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":NaN}', 400),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":1e400}', 400),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":' + b"9" * 400 + b"}", 400),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":18446744073709551615}', 200),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', 400),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', 400),
        (b'{"model":"nope","model":"m","messages":[{"role":"user","content":"x"}]}', 200),
        (b'{"model":"m","messages":[{"role":"user","content":"\\u0000\\u202e"}]}', 200),
        ('{"model":"m","messages":[{"role":"user","content":"x"}]}'.encode("utf-16"), 400),
        (b'\xef\xbb\xbf{"model":"m","messages":[{"role":"user","content":"x"}]}', 400),
        (b"", 400),
        (b"null", 400),
    ],
)
def test_odd_json(http: httpx.Client, model: Scripted, raw: bytes, status: int) -> None:
    assert assert_answered(http, model, raw).status_code == status


# --- streams of the upstream ------------------------------------------------------------------------------------

NAMES = ["choices", "index", "delta", "content", "tool_calls", "function", "name", "arguments", "id", "finish_reason"]
NAMES += ["usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "logprobs", "role"]
WEIRD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
PIECES = st.one_of(
    st.sampled_from([faults.WORDS, faults.STOP, faults.USAGE_CHUNK, faults.DONE, faults.STOP + faults.DONE]),
    st.sampled_from(
        [b": ping\n\n", b"event: x\nid: 1\n", b"retry: 5\n\n", b"\r\n\r\n", b"data:\n\n", b"\n", b"data: {\n\n"]
    ),
    st.dictionaries(st.sampled_from(NAMES), WEIRD, max_size=5).map(lambda chunk: faults.event(json.dumps(chunk))),
    WEIRD.map(lambda delta: faults.event(faults.chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}]))),
    st.binary(max_size=12),
    st.just(faults.event('{"error":{"message":"No.","code":"no"}}')),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[list[bytes]]]]:
    """A gateway, and the writes of the stream that its upstream answers next."""
    folder, next_stream = tmp_path_factory.mktemp("fuzz"), [[b""]]

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(faults.head())
        for write in next_stream[0]:
            writer.write(write)
            await writer.drain()

    with faults.faulty_upstream({"fuzzed": answer}) as upstream:
        path = folder / "gattway.toml"
        config = CONFIG.format(ledger=folder / "ledger.db", upstream=upstream)
        path.write_text(config + '[breaker]\nfailures = 1_000_000\n[models.fuzzed]\nupstream = "faulty"\n')
        read = load(path)
        with serving(create_app(read, build(read))) as url:
            yield url, next_stream


@bounded
@given(pieces=st.lists(PIECES, max_size=6), cuts=st.lists(st.integers(0, 600), max_size=6))
def test_any_stream_ends_whole_or_with_an_error_and_its_row_says_which(
    http: httpx.Client, fuzzed: tuple[str, list[list[bytes]]], pieces: list[bytes], cuts: list[int]
) -> None:
    url, next_stream = fuzzed
    wire = b"".join(pieces)
    places = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    next_stream[0] = [wire[a:b] for a, b in itertools.pairwise(places)]
    identity = f"stream-{next(NUMBERS)}"
    body = {"model": "fuzzed", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"x-gattway-conversation-id": identity}
    answer = http.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    (row,) = http.get(f"{url}/api/conversations/{identity}").json()["turns"]
    if answer.status_code != 200:
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] != "internal_error"
        assert row["status"] == "error"
        return
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    data = [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]
    assert all(block.startswith(("data: ", ":")) and "\n" not in block for block in blocks), answer.text
    events = [orjson.loads(one) for one in data if one != "[DONE]"]
    assert all(isinstance(event, dict) for event in events)
    errors = [event["error"] for event in events if "error" in event]
    assert not any(error["code"] == "internal_error" for error in errors)
    if data[-1] == "[DONE]":
        assert (errors, row["status"]) == ([], "ok")
    else:
        assert (len(errors), row["status"]) == (1, "error")
        assert "error" in events[-1]
