"""langchain-openai, pydantic-ai, litellm's SDK and `llm`, each as its users write it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.clients.conversations import held, messages, script, set_up, shown

pytestmark = pytest.mark.slow


def test_langchain_openai(url: str) -> None:
    chat = set_up("langchain-openai", url)["chat"]
    instruction, questions = script(5)
    texts, tokens, arms = [instruction], [], []
    with held(url) as conversation:
        for question in questions:
            texts.append(question)
            chunks = list(chat.stream(messages(*texts)))
            texts.append(conversation.answered([chunk.text for chunk in chunks]))
            whole = sum(chunks[1:], chunks[0])
            tokens.append(whole.usage_metadata["input_tokens"])
            arms.append(whole.response_metadata["headers"]["x-gattway-arm"])
    assert tokens == [row["prompt_tokens"] for row in conversation.rows]
    assert arms == [row["arm"] for row in conversation.rows]


async def test_pydantic_ai(url: str) -> None:
    agent = set_up("pydantic-ai", url)["agent"]
    _, questions = script(6)
    history, tokens = [], []
    with held(url) as conversation:
        async with agent:
            for question in questions:
                async with agent.run_stream(question, message_history=history) as run:
                    pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
                conversation.answered(pieces)
                history = run.all_messages()
                tokens.append(run.usage.input_tokens)
    assert tokens == [row["prompt_tokens"] for row in conversation.rows]


def test_litellm(url: str) -> None:
    names = set_up("litellm", url)
    where = {"model": names["model"], "api_base": names["api_base"], "api_key": "unused"}
    instruction, questions = script(7)
    texts, tokens = [instruction], []
    with held(url) as conversation:
        for question in questions:
            texts.append(question)
            chunks = list(
                names["litellm"].completion(
                    messages=messages(*texts), stream=True, stream_options={"include_usage": True}, **where
                )
            )
            texts.append(conversation.answered([c.choices[0].delta.content or "" for c in chunks if c.choices]))
            tokens += [chunk.usage.prompt_tokens for chunk in chunks if getattr(chunk, "usage", None)]
    assert tokens == [row["prompt_tokens"] for row in conversation.rows]


def test_llm(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    (tmp_path / "extra-openai-models.yaml").write_text(shown("llm", "yaml", url))
    import llm

    instruction, questions = script(8)
    talk = llm.get_model("gattway").conversation()
    with held(url) as conversation:
        for turn, question in enumerate(questions):
            conversation.answered(list(talk.prompt(question, system=None if turn else instruction)))


def test_each_names_its_conversation_as_the_page_says(url: str) -> None:
    instruction, (question, *_) = script(12)
    asked = messages(instruction, question)
    list(set_up("langchain-openai", url)["named"].stream(asked))
    asyncio.run(named_run(set_up("pydantic-ai", url), question))
    litellm = set_up("litellm", url)
    where = {"model": litellm["model"], "api_base": litellm["api_base"], "api_key": "unused"}
    litellm["litellm"].completion(messages=asked, **where, **litellm["named"])
    header = "header:x-gattway-conversation-id"
    for number, source in {4712: header, 4713: header, 4714: "header:x-litellm-session-id"}.items():
        (row,) = httpx.get(f"{url}/api/conversations/support-{number}").json()["turns"]
        assert (row["turn"], row["status"], row["identity_source"]) == (1, "ok", source)


async def named_run(pydantic_ai: dict[str, Any], question: str) -> None:
    async with pydantic_ai["agent"] as agent:
        await agent.run(question, **pydantic_ai["named"])
