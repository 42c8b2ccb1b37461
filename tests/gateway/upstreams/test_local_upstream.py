"""A local model answers in OpenAI's bytes, and says which field it cannot serve."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.errors import BadRequest, ConfigError, ContextLengthExceeded, UpstreamUnavailable
from gateway.upstreams.local import LocalModel, LocalUpstream
from tests.gateway.upstreams import local_models
from tests.gateway.upstreams.local_models import until
from tests.gatt import chat_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return local_models.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def model(folder: Path) -> LocalModel:
    return LocalModel.load(folder)


@pytest.fixture
async def upstream(model: LocalModel) -> AsyncIterator[LocalUpstream]:
    upstream = LocalUpstream(model)
    yield upstream
    await upstream.close()


def body(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the capital of Peru?"}]
    return {"model": "tiny", "messages": messages, "temperature": 0, "max_tokens": 12, "ignore_eos": True, **fields}


async def whole(upstream: LocalUpstream, **fields: Any) -> dict[str, Any]:
    reply = await upstream.send(body(**fields), stream=False, headers={})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    answer: dict[str, Any] = orjson.loads(b"".join([chunk async for chunk in reply.chunks]))
    ChatCompletion.model_validate(answer, strict=True)
    return answer


async def events(upstream: LocalUpstream, **fields: Any) -> list[dict[str, Any]]:
    reply = await upstream.send(body(stream=True, **fields), stream=True, headers={})
    assert reply.headers["content-type"].startswith("text/event-stream")
    raw = [chunk async for chunk in reply.chunks]
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in raw)
    lines = b"".join(raw).split(b"\n\n")
    assert lines[-2:] == [b"data: [DONE]", b""]
    chunks: list[dict[str, Any]] = [orjson.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return chunks


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") for choice in choices)


async def test_a_completion_has_every_field_that_the_client_library_knows(upstream: LocalUpstream) -> None:
    answer = await whole(upstream)
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", "tiny")
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": choice["message"]["content"], "refusal": None}
    assert (choice["logprobs"], choice["finish_reason"]) == (None, "length")
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 12
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


async def test_a_stream_says_what_the_whole_answer_says(upstream: LocalUpstream) -> None:
    answer = await whole(upstream)
    chunks = await events(upstream)
    assert text_of(chunks) == answer["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)


async def test_usage_comes_in_a_chunk_of_its_own_when_asked_for(upstream: LocalUpstream) -> None:
    answer = await whole(upstream)
    *chunks, last = await events(upstream, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    # The same prompt again: its whole blocks of 16 are not computed again.
    cached = (answer["usage"]["prompt_tokens"] - 1) // 16 * 16
    assert last["usage"] == {**answer["usage"], "prompt_tokens_details": {"cached_tokens": cached}}


async def test_several_choices_come_side_by_side(upstream: LocalUpstream) -> None:
    answer = await whole(upstream, n=3, temperature=1, seed=5)
    chunks = await events(upstream, n=3, temperature=1, seed=5)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [text_of(chunks, index) for index in range(3)] == texts
    assert len(set(texts)) == 3
    assert answer["usage"]["completion_tokens"] == 36


async def test_closing_a_reply_cancels_the_answer(model: LocalModel, upstream: LocalUpstream) -> None:
    for stream in (True, False):
        reply = await upstream.send(body(max_tokens=900, n=2), stream=stream, headers={})
        reader = asyncio.create_task(_drain(reply.chunks))
        await until(lambda: model.active == 2)
        await reply.aclose()
        await reply.aclose()  # twice does no harm
        async with asyncio.timeout(0.5):
            await until(lambda: model.active == 0)
        said = await reader
        assert b"[DONE]" not in said
        assert b"finish_reason" not in said.replace(b'"finish_reason":null', b"")


async def _drain(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_a_model_that_fails_before_its_first_token_raises_instead_of_streaming(
    upstream: LocalUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("no luck")

    monkeypatch.setattr("gateway.upstreams.local.engine.forward", broken)
    for n in (1, 2):
        reply = await upstream.send(body(stream=True, n=n), stream=True, headers={})
        with pytest.raises(UpstreamUnavailable, match="no luck"):
            await anext(reply.chunks)


async def test_content_parts_and_a_developer_message_read_as_text(model: LocalModel, upstream: LocalUpstream) -> None:
    parts = [{"type": "text", "text": "Who wrote "}, {"type": "text", "text": "Faust?"}]
    as_parts: list[dict[str, Any]] = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    as_text = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who wrote Faust?"}]
    assert model.render(as_parts) == model.render(as_text)
    assert model.count_text("Who wrote Faust?") > 0
    assert (await whole(upstream, messages=as_parts))["usage"]["prompt_tokens"] == len(model.render(as_text))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("web_search_options", {}),
        ("logit_bias", {"5": 1}),
        ("reasoning_effort", "high"),
        ("top_k", 5),
        ("temperature", 2.5),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", -0.1),
        ("presence_penalty", 3),
        ("frequency_penalty", "x"),
        ("max_tokens", 0),
        ("max_completion_tokens", 1.5),
        ("seed", "x"),
        ("n", 9),
        ("n", 0),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", [""]),
        ("stop", 3),
        ("ignore_eos", 1),
        ("stream_options", []),
        ("messages", []),
    ],
)
async def test_a_field_it_cannot_serve_is_refused_by_name(upstream: LocalUpstream, field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        await upstream.send(body(**{field: value}), stream=False, headers={})
    assert refused.value.param == field
    assert field in refused.value.message


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": 3}, "messages[0].content"),
        ({"role": "tool", "content": "4", "tool_call_id": "c"}, "messages[0].role"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}, "messages[0].tool_calls"),
    ],
)
async def test_a_message_it_cannot_read_is_refused_by_place(
    upstream: LocalUpstream, message: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await upstream.send(body(messages=[message]), stream=False, headers={})
    assert refused.value.param == param


async def test_what_the_chat_template_refuses_is_a_bad_request(upstream: LocalUpstream) -> None:
    with pytest.raises(BadRequest, match="unknown role"):
        await upstream.send(body(messages=[{"role": "critic", "content": "x"}]), stream=False, headers={})


@pytest.mark.parametrize("name", chat_models.KINDS)
def test_an_instruction_said_once_stays_in_turn_1_under_every_template(name: str) -> None:
    model = LocalModel(chat_models.tokenizer(name), engine=None, context_window=512)  # type: ignore[arg-type]
    said, asked, again = "Act as Oscar Wilde.", "What is it?", "And that?"
    history = [{"role": "developer", "content": said}, {"role": "user", "content": asked}]
    longer = [*history, {"role": "assistant", "content": "A cat."}, {"role": "user", "content": again}]
    for text in (model.render_text(history), model.render_text(longer)):
        assert said in text.partition(asked)[0]
        assert text.count(said) == 1


async def test_fields_of_no_bearing_and_harmless_values_are_taken(upstream: LocalUpstream) -> None:
    await whole(
        upstream,
        user="u",
        metadata={"k": "v"},
        store=False,
        logprobs=False,
        tools=[],
        tool_choice="none",
        logit_bias={},
        response_format={"type": "text"},
        modalities=["text"],
        service_tier="auto",
        top_logprobs=None,
        stop=None,
    )


async def test_too_long_a_prompt_is_told_its_figures(upstream: LocalUpstream) -> None:
    messages = [{"role": "user", "content": "Goethe did. " * 1000}]
    with pytest.raises(ContextLengthExceeded, match="maximum context length is 1024 tokens"):
        await upstream.send(body(messages=messages), stream=False, headers={})


def test_importing_the_upstream_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, gateway.upstreams.local; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'tokenizers')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_that_cannot_be_served_is_named_with_a_remedy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: no such folder"):
        LocalModel.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        LocalModel.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        LocalModel.load(tmp_path)


def test_broken_weights_and_a_missing_template_are_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ConfigError, match="broken: the model cannot be loaded"):
        LocalModel.load(broken)
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="bare: no chat template"):
        LocalModel.load(bare)


@pytest.mark.parametrize("architecture", ["mamba", "falcon"])
def test_an_architecture_beyond_the_engine_is_sent_elsewhere(tmp_path: Path, architecture: str) -> None:
    folder = local_models.make(tmp_path, architecture=architecture, num_hidden_layers=2)
    with pytest.raises(ConfigError, match="OpenAI-compatible server"):
        LocalModel.load(folder)


def test_the_command_prints_its_figures_or_one_line_of_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from gateway.upstreams.local.__main__ import main

    options = ["--rounds", "1", "--prompt-tokens", "20", "--new-tokens", "4", "--turns", "2", "--json"]
    result = CliRunner().invoke(main, ["--folder", str(folder), *options])
    figures = orjson.loads(result.output)
    assert [row["streams"] for row in figures["throughput"]] == [1, 4, 16]
    assert all(row["ratio"] > 0 for row in figures["throughput"])
    assert figures["first_token"][-1]["turn"] == 2
    wrong = CliRunner().invoke(main, ["--folder", str(tmp_path)])
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1)


def test_missing_torch_is_named_with_the_extra_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.upstreams.local.loading", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install 'gattway\[local\]'"):
        LocalModel.load(folder)
