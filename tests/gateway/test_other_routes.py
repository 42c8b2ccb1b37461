"""Every other `/v1/…` route of a named model: relayed as it is, under the same keys, limits, errors and books."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.access.keys import hash_of
from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.keyed import bearer
from tests.gateway.servers import serving

CONFIG = """
[ledger]
path = "{ledger}"
[retries]
attempts = 2
first_wait_s = 0.01
[timeouts]
first_token_s = 2
between_tokens_s = 2

[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.theirs]
upstream = "fake"
price = {{ input = 1.0, output = 4.0 }}
[models.mine]
upstream = "fake"
name = "theirs"
[experiments.ab.arms.once]
strategy = "once"
model = "mine"

[upstreams.embedded]
kind = "litellm"
[models.translated]
upstream = "embedded"
name = "anthropic/claude-3-haiku-20240307"

[keys.small]
hash = "{small}"
models = ["theirs"]
tokens_per_minute = 20
max_concurrent_streams = 1
[keys.all]
hash = "{all}"
admin = true
"""
SMALL, ALL = "gw-small", "gw-all"
WAV = bytes(range(256)) * 40
ANSWERS: dict[str, Callable[[], Response]] = {
    "embeddings": lambda: JSONResponse(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5] * 20_000}],
            "model": "theirs",
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        }
    ),
    "speech": lambda: Response(
        WAV, media_type="audio/wav", headers={"set-cookie": "a=b", "x-ratelimit-limit-requests": "9"}
    ),
    "transcriptions": lambda: JSONResponse({"text": "hello"}),
    "moderations": lambda: JSONResponse(
        {"error": {"message": "Not that.", "type": "t", "code": "c"}}, 403, {"retry-after": "7"}
    ),
    "rerank": lambda: JSONResponse({"results": [], "usage": {"total_tokens": 12}}),
}


class Upstream:
    """A server with many routes; `seen` are the requests, as (path with query, headers, body)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.left = threading.Event()
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        raw = await request.body()
        path = request.url.path
        self.seen.append((path + (f"?{request.url.query}" if request.url.query else ""), dict(request.headers), raw))
        tail = path.rpartition("/")[2]
        if tail in ("completions", "stalled"):
            return StreamingResponse(self._events(tail), media_type="text/event-stream")
        if tail == "cut":
            return StreamingResponse(self._cut(), media_type="application/octet-stream")
        if tail == "silent":
            while not await request.is_disconnected():  # noqa: ASYNC110 - that is how an ASGI server says it
                await asyncio.sleep(0.02)
            self.left.set()
        if tail == "flaky" and len([one for one in self.seen if one[0].endswith("flaky")]) == 1:
            return JSONResponse({}, 503)
        return ANSWERS.get(tail, lambda: JSONResponse({"path": path}))()

    async def _events(self, tail: str) -> AsyncIterator[bytes]:
        yield b": hello\nevent: word\n" + b'data: {"choices": [{"text": "one"}]}\n\n'
        if tail == "stalled":
            await self._wait()
        yield b'data: {"choices": [{"text": " two"}]}\n\ndata: [DONE]\n\n'

    async def _cut(self) -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the upstream breaks off")

    async def _wait(self) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.left.set()
            raise


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Upstream]]:
    folder: Path = tmp_path_factory.mktemp("other")
    upstream = Upstream()
    with serving(upstream.app) as upstream_url:
        path = folder / "gattway.toml"
        path.write_text(
            CONFIG.format(ledger=folder / "ledger.db", upstream=upstream_url, small=hash_of(SMALL), all=hash_of(ALL))
        )
        settings = load(path)
        with serving(create_app(settings, build(settings))) as url:
            yield url, upstream


def post(url: str, route: str, body: Any, secret: str = ALL, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/{route}", json=body, headers={**bearer(secret), **more}, timeout=20)


def row_of(url: str, answer: httpx.Response) -> dict[str, Any]:
    path = f"/api/conversations/{answer.headers['x-gattway-conversation-id']}"
    (row,) = httpx.get(url + path, headers=bearer(ALL), timeout=20).json()["turns"]
    return dict(row)


def test_openais_client_gets_embeddings_and_their_row_says_what_they_took(running: tuple[str, Upstream]) -> None:
    url, upstream = running
    with openai.OpenAI(base_url=f"{url}/v1", api_key=ALL, max_retries=0) as client:
        raw = client.embeddings.with_raw_response.create(model="theirs", input="a b", encoding_format="float")
    assert len(raw.parse().data[0].embedding) == 20_000
    path, headers, body = upstream.seen[-1]
    assert path == "/v1/embeddings"
    assert headers["x-request-id"] == raw.headers["x-request-id"]
    assert "authorization" not in headers  # the client's key is not the upstream's
    assert orjson.loads(body)["input"] == "a b"
    row = httpx.get(f"{url}/api/conversations/{raw.headers['x-gattway-conversation-id']}", headers=bearer(ALL)).json()[
        "turns"
    ][0]
    assert (row["auxiliary"], row["turn"], row["status"]) == ("relay:embeddings", 0, "ok")
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (7, 0, "upstream")
    assert row["cost_usd"] == pytest.approx(7e-6)
    text = httpx.get(f"{url}/metrics", headers=bearer(ALL)).text
    assert 'gattway_auxiliary_requests_total{model="theirs",rule="relay:embeddings"} 1.0' in text


def test_json_goes_up_as_it_came_but_for_the_models_name(running: tuple[str, Upstream]) -> None:
    url, upstream = running
    for model, expected in (("theirs", None), ("mine", b'{"model":"theirs","query":"q","x":1}')):
        raw = f'{{"model": "{model}",  "query": "q", "x": 1}}'.encode()
        sent = httpx.post(f"{url}/v1/rerank?top=1&q=%2F", content=raw, headers=bearer(ALL))
        assert sent.json() == {"results": [], "usage": {"total_tokens": 12}}
        assert upstream.seen[-1][0] == "/v1/rerank?top=1&q=%2F"
        assert upstream.seen[-1][2] == (expected or raw)
    assert row_of(url, sent)["prompt_tokens"] == 12


def test_a_form_goes_up_with_its_file_untouched(running: tuple[str, Upstream]) -> None:
    url, upstream = running
    with openai.OpenAI(base_url=f"{url}/v1", api_key=ALL, max_retries=0) as client:
        assert client.audio.transcriptions.create(model="mine", file=("a.wav", WAV)).text == "hello"
    path, headers, body = upstream.seen[-1]
    assert path == "/v1/audio/transcriptions"
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert WAV in body
    assert b"theirs" in body
    assert b"mine" not in body


def test_bytes_of_any_kind_come_back_with_their_type_and_without_the_upstreams_own_headers(
    running: tuple[str, Upstream],
) -> None:
    url, _ = running
    answer = post(url, "audio/speech", {"model": "theirs", "input": "x", "voice": "v"})
    assert answer.content == WAV
    assert answer.headers["content-type"] == "audio/wav"
    assert "set-cookie" not in answer.headers
    assert "x-ratelimit-limit-requests" not in answer.headers
    assert answer.headers["x-gattway-experiment"] == ""
    assert answer.headers["x-gattway-turn"] == "0"
    assert float(answer.headers["x-gattway-overhead-ms"]) >= 0


def test_a_streams_bytes_come_back_as_they_are_and_are_counted_where_no_usage_comes(
    running: tuple[str, Upstream],
) -> None:
    url, _ = running
    answer = post(url, "completions", {"model": "theirs", "prompt": "one two three", "stream": True})
    assert answer.text == (
        ': hello\nevent: word\ndata: {"choices": [{"text": "one"}]}\n\n'
        'data: {"choices": [{"text": " two"}]}\n\ndata: [DONE]\n\n'
    )
    row = row_of(url, answer)
    assert (row["auxiliary"], row["usage_source"]) == ("relay:completions", "counted")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (3, 2)
    assert row["ttft_ms"] is not None


def test_a_client_that_leaves_stops_the_upstream_before_and_after_the_first_byte(
    running: tuple[str, Upstream],
) -> None:
    url, upstream = running
    for route in ("stalled", "silent"):
        upstream.left.clear()
        conversation = f"left-{route}"
        headers = {**bearer(ALL), "x-gattway-conversation-id": conversation}
        body = {"model": "theirs", "prompt": "one two", "stream": True}
        try:
            with httpx.stream("POST", f"{url}/v1/x/{route}", json=body, headers=headers, timeout=0.5) as answer:
                next(answer.iter_raw())
        except httpx.ReadTimeout:
            assert route == "silent"
        assert upstream.left.wait(5)
        deadline = time.monotonic() + 5
        while (found := httpx.get(f"{url}/api/conversations/{conversation}", headers=bearer(ALL))).status_code != 200:
            assert time.monotonic() < deadline
        (row,) = found.json()["turns"]
        assert (row["status"], row["auxiliary"]) == ("aborted", "relay:other")
        assert row["usage_source"] == "partial"


def test_an_upstreams_refusal_keeps_its_status_and_words(running: tuple[str, Upstream]) -> None:
    url, _ = running
    answer = post(url, "moderations", {"model": "theirs", "input": "x"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (403, "Not that.")
    assert answer.headers["retry-after"] == "7"


def test_what_breaks_off_has_no_proper_end(running: tuple[str, Upstream]) -> None:
    url, _ = running
    with pytest.raises(httpx.RemoteProtocolError):
        post(url, "x/cut", {"model": "theirs"})
    stalled = post(url, "x/stalled", {"model": "theirs", "stream": True})
    assert stalled.text.startswith(": hello")
    assert orjson.loads(stalled.text.rpartition("data: ")[2])["error"]["code"] == "upstream_timeout"


def test_a_refusal_worth_another_try_is_tried_again_before_the_first_byte(running: tuple[str, Upstream]) -> None:
    url, _ = running
    answer = post(url, "x/flaky", {"model": "theirs"})
    assert answer.status_code == 200
    assert row_of(url, answer)["attempts"] == 2


def test_an_experiment_is_refused_by_name_and_so_is_a_model_that_only_chats(running: tuple[str, Upstream]) -> None:
    url, upstream = running
    before = len(upstream.seen)
    for name in ("ab", "ab:once"):
        error = post(url, "embeddings", {"model": name, "input": "x"})
        assert error.status_code == 400
        assert "is an experiment" in error.json()["error"]["message"]
        assert "theirs, mine, translated" in error.json()["error"]["message"]
    chats = post(url, "embeddings", {"model": "translated", "input": "x"})
    assert (chats.status_code, chats.json()["error"]["code"]) == (400, "unsupported_route")
    assert post(url, "embeddings", {"model": "nobody", "input": "x"}).json()["error"]["code"] == "model_not_found"
    assert len(upstream.seen) == before
    wrong = httpx.get(f"{url}/v1/embeddings", headers=bearer(ALL))
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_keys_and_their_limits_hold(running: tuple[str, Upstream]) -> None:
    url, _ = running
    assert httpx.post(f"{url}/v1/embeddings", json={"model": "theirs", "input": "x"}).status_code == 401
    assert post(url, "embeddings", {"model": "mine", "input": "x"}, SMALL).status_code == 403
    left = []
    while (answer := post(url, "rerank", {"model": "theirs", "query": "x"}, SMALL)).status_code == 200:
        left.append(answer.headers["x-ratelimit-remaining-tokens"])
    assert left == ["20", "8"]
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "tokens")
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert "nested" in post(url, "embeddings", {"model": "theirs", "input": deep}).json()["error"]["message"]


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("fine_tuning/jobs", 404),
        ("files", 404),
        ("realtime/sessions", 404),
        ("chat/completions/../../admin", 404),
        ("..%2f..%2fadmin", 404),
        ("x/.%2e/%2e./admin", 404),
        ("x//y", 404),
        ("x/%0d%0ahost:evil", 404),
        ("models", 405),
        ("chat/completions", 400),
    ],
)
def test_no_route_leads_to_the_account_or_out_of_the_api(
    running: tuple[str, Upstream], route: str, status: int
) -> None:
    url, upstream = running
    before = len(upstream.seen)
    connection = http.client.HTTPConnection(httpx.URL(url).host, httpx.URL(url).port, timeout=20)
    with closing(connection):  # httpx would tidy the path up
        body = orjson.dumps({"model": "theirs"})
        connection.request("POST", f"/v1/{route}", body, {**bearer(ALL), "content-type": "application/json"})
        answer = connection.getresponse()
        error = orjson.loads(answer.read())["error"]
    assert (answer.status, bool(error["message"])) == (status, True)
    assert len(upstream.seen) == before
    assert answer.headers["allow"] == ("GET" if status == 405 else None)
