"""The `openai` package for Python: sync, async, its streaming helpers, and the Responses API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.integration.clients.conversations import MODEL, held, messages, script, set_up

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with set_up("openai (Python)", url)["client"] as one:
        yield one


def test_chunks_as_they_come_with_usage_and_headers(client: openai.OpenAI, url: str) -> None:
    instruction, questions = script(0)
    texts, usages, headers = [instruction], [], []
    with held(url) as conversation:
        for question in questions:
            texts.append(question)
            raw = client.chat.completions.with_raw_response.create(
                model=MODEL, messages=messages(*texts), stream=True, stream_options={"include_usage": True}
            )
            chunks = list(raw.parse())
            texts.append(conversation.answered([c.choices[0].delta.content or "" for c in chunks if c.choices]))
            usages.append(chunks[-1].usage)
            headers.append(raw.headers)
    rows = conversation.rows
    assert [usage.prompt_tokens for usage in usages if usage] == [row["prompt_tokens"] for row in rows]
    assert [usage.completion_tokens for usage in usages if usage] == [row["completion_tokens"] for row in rows]
    for header, column in {"conversation-id": "conversation_id", "arm": "arm", "turn": "turn"}.items():
        assert [one[f"x-gattway-{header}"] for one in headers] == [str(row[column]) for row in rows]
    assert [one["x-request-id"] for one in headers] == [row["request_id"] for row in rows]


def test_the_stream_helper(client: openai.OpenAI, url: str) -> None:
    instruction, questions = script(1)
    texts = [instruction]
    with held(url) as conversation:
        for question in questions:
            texts.append(question)
            with client.chat.completions.stream(model=MODEL, messages=messages(*texts)) as stream:
                pieces = [event.delta for event in stream if event.type == "content.delta"]
                final = stream.get_final_completion().choices[0]
            texts.append(conversation.answered(pieces))
            assert final.message.content == texts[-1]
            assert final.finish_reason == "stop"


def test_the_stream_helper_of_the_responses_api(client: openai.OpenAI, url: str) -> None:
    instruction, questions = script(2)
    items: list[Any] = []
    with held(url) as conversation:
        for question in questions:
            items.append({"role": "user", "content": question})
            with client.responses.stream(model=MODEL, instructions=instruction, input=items) as stream:
                pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
                final = stream.get_final_response()
            assert final.output_text == conversation.answered(pieces)
            assert final.usage
            items += [item.to_dict() for item in final.output]


def test_a_conversation_named_in_a_header(url: str) -> None:
    instruction, questions = script(3)
    texts = [instruction]
    named = set_up("openai (Python)", url)["named"]
    with held(url, source="header:x-gattway-conversation-id") as conversation:
        for question in questions:
            texts.append(question)
            stream = named.chat.completions.create(model=MODEL, messages=messages(*texts), stream=True)
            texts.append(conversation.answered([chunk.choices[0].delta.content or "" for chunk in stream]))
    assert conversation.rows[0]["conversation_id"] == "support-4711"


async def test_the_async_client_and_its_stream_helper(url: str) -> None:
    instruction, questions = script(4)
    texts = [instruction]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        with held(url) as conversation:
            for turn, question in enumerate(questions):
                texts.append(question)
                pieces = []
                if turn % 2:
                    async with client.chat.completions.stream(model=MODEL, messages=messages(*texts)) as events:
                        pieces = [event.delta async for event in events if event.type == "content.delta"]
                else:
                    stream = await client.chat.completions.create(model=MODEL, messages=messages(*texts), stream=True)
                    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
                texts.append(conversation.answered(pieces))
