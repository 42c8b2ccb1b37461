"""Which model a body names, and that nothing else of it is touched."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.named_body import read_named

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def form(fields: dict[str, str], content: bytes) -> tuple[bytes, str]:
    """A form as httpx writes it, the file before the other fields or behind them."""
    request = httpx.Request("POST", "http://x", data=fields, files={"file": ('a"b.wav', content, "audio/wav")})
    return request.read(), request.headers["content-type"]


@given(st.binary(max_size=200), st.sampled_from(["whisper-1", "m", "größer"]), TEXT)
def test_a_forms_model_is_found_and_only_its_name_is_replaced(content: bytes, model: str, prompt: str) -> None:
    raw, content_type = form({"prompt": f"{prompt}\r\n--x", "model": model, "stream": "true"}, content)
    body = read_named(raw, content_type)
    assert (body.model, body.stream, body.content_type) == (model, True, content_type)
    assert body.naming(model) is raw
    renamed = body.naming("theirs")
    assert read_named(renamed, content_type).model == "theirs"
    assert read_named(renamed, content_type).naming(model) == raw


def test_json_under_its_own_name_goes_on_byte_for_byte() -> None:
    raw = b'{ "input": "x",\n "model": "m", "n": 1.50 }'
    body = read_named(raw, "application/json; charset=utf-8")
    assert body.naming("m") is raw
    assert orjson.loads(body.naming("other")) == {"input": "x", "model": "other", "n": 1.5}
    assert body.prompt() == "x"


@pytest.mark.parametrize(
    ("raw", "content_type", "words"),
    [
        (b"[1]", "application/json", "must be a JSON object"),
        (b"\xff", "text/plain", "could not parse"),
        (b"{}", "application/json", "must provide a model"),
        (b"--b\r\n", "multipart/form-data", "without a boundary"),
        (b"", "multipart/form-data; boundary=b", "must provide a model"),
        (b"--b--", "multipart/form-data; boundary=b", "must provide a model"),
        (b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm', "multipart/form-data; boundary=b", "model"),
        (
            b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n\xff\r\n--b--',
            "multipart/form-data; boundary=b",
            "UTF-8",
        ),
    ],
)
def test_a_body_that_names_no_model_is_refused_in_words(raw: bytes, content_type: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_named(raw, content_type)


@given(st.binary(max_size=300), st.sampled_from(["multipart/form-data; boundary=b", "application/json", "", ";;="]))
def test_any_bytes_are_read_or_refused(raw: bytes, content_type: str) -> None:
    for body in (raw, b"--b\r\n" + raw, raw + b"\r\n--b\r\n\r\n" + raw):
        try:
            read_named(body, content_type)
        except BadRequest:
            continue


def test_the_words_of_a_prompt_are_found_wherever_they_stand() -> None:
    fields: dict[str, Any] = {
        "model": "m",
        "query": "a",
        "documents": ["b", {"text": "c"}],
        "input": [{"role": "user", "content": [{"type": "text", "text": "d"}]}, 7],
    }
    assert read_named(orjson.dumps(fields), "application/json").prompt().split() == ["d", "a", "b", "c"]
