"""What a front end asks for itself is no turn: passed through, dealt to no arm, and in no figure of a conversation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.auxiliary import BUILT_IN, Auxiliary
from gateway.errors import ConfigError
from gateway.sections.access import AuxiliarySettings
from gateway.settings import load
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import keyed
from tests.gateway.test_settings import GOOD


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


TASK = "### Task:\n"
TITLE = f"{TASK}Generate a concise title summarizing the chat history.\n### Guidelines:\n- Keep it short."
# How the prompts begin that the front ends ship, as their sources have them.
PROMPTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("open-webui-title", [user(TITLE)]),
    ("open-webui-title", [user([{"type": "text", "text": TITLE}])]),
    (
        "open-webui-title",
        [user(f"{TASK}Generate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Guidelines")],
    ),
    ("open-webui-title", [user("Create a concise, 3-5 word title with an emoji as a title for the chat history, in")]),
    (
        "open-webui-tags",
        [user(f"{TASK}Generate 1-3 broad tags categorizing the main themes of the chat history, along")],
    ),
    ("open-webui-follow-ups", [user(f"{TASK}Predict 3-5 useful messages this user might naturally send next to")]),
    ("open-webui-follow-ups", [user(f"{TASK}Suggest 3-5 relevant follow-up questions or prompts that the user might")]),
    (
        "open-webui-queries",
        [user(f"{TASK}Analyze the chat history to determine the necessity of generating search queries, in the given")],
    ),
    ("open-webui-autocomplete", [user(f"{TASK}You are an autocompletion system. Continue the text in `<text>` based")]),
    ("open-webui-image-prompt", [user(f"{TASK}Generate a detailed prompt for am image generation task based on the")]),
    ("open-webui-compaction", [user(f"{TASK}Summarize the conversation history that will be compacted out of the")]),
    (
        "open-webui-emoji",
        [user("Your task is to reflect the speaker's likely facial expression through a fitting emoji.")],
    ),
    (
        "open-webui-merge",
        [user('You have been provided with a set of responses from various models to the latest user query: "x"')],
    ),
    (
        "open-webui-tools",
        [
            system(
                'Available Tools: [{"name": "x"}]\n\nYour task is to choose and return the correct tool(s) from the'
            ),
            user("Query: x"),
        ],
    ),
    (
        "librechat-title",
        [user("Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A concise")],
    ),
    (
        "librechat-title",
        [user("Provide a concise, 5-word-or-less title for the conversation, using its same language")],
    ),
    (
        "librechat-title",
        [user("Write a concise title for this conversation in the detected language. Title in 5 Words")],
    ),
    (
        "librechat-title-system",
        [
            system("Write a concise title for this conversation in the given language.\nTitle in 5"),
            user("Language: en"),
        ],
    ),
    (
        "librechat-summary",
        [user("Summarize the conversation by integrating new lines into the current summary.\n\nEXA")],
    ),
    (
        "lobechat-title",
        [
            system("You are a professional conversation summarizer. Generate a concise title that captures"),
            user("<task>"),
        ],
    ),
    (
        "lobechat-title",
        [system("你是一名擅长会话的助理，你需要将用户的会话总结为 10 个字以内的标题"), user("user: 你好")],
    ),
    (
        "lobechat-tags",
        [system("You are an assistant skilled at extracting conversation tags. Distill"), user("输入: {x}")],
    ),
    ("lobechat-follow-ups", [system("You are a sidecar that extracts 0-4 quick-reply suggestions from"), user("Last")]),
    (
        "lobechat-queries",
        [
            system(
                "Given the following conversation and a follow-up question, rephrase the follow up question to be a"
            ),
            user("Follow Up Input: And there?, it's standalone query:"),
        ],
    ),
    (
        "lobechat-autocomplete",
        [system("You are an autocomplete engine for a chat input box. The user"), user("Before")],
    ),
    (
        "lobechat-summary",
        [
            system(
                "You're an assistant who's good at extracting key takeaways from conversations and summarizing them."
            ),
            user("x"),
        ],
    ),
]
SHIPPED = Auxiliary(AuxiliarySettings())


@pytest.mark.parametrize(("name", "messages"), PROMPTS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_prompts_that_front_ends_ship_are_recognised(name: str, messages: list[dict[str, Any]]) -> None:
    assert SHIPPED.rule({"messages": messages}, messages) == name


def test_every_shipped_rule_has_a_prompt_that_it_recognises() -> None:
    assert {name for name, _ in PROMPTS} | {"open-webui-task"} == set(BUILT_IN)
    messages = [user("anything")]
    assert SHIPPED.rule({"metadata": {"task": "title_generation"}}, messages) == "open-webui-task"


@pytest.mark.parametrize(
    "messages",
    [
        [user("Generate a concise title summarizing the chat history.")],
        [user("### Task:\nRespond to the user query using the provided context, incorporating inline citations")],
        [user("Why does Open WebUI send '### Task:\nGenerate a concise title summarizing the chat history.'?")],
        [user(TITLE), {"role": "assistant", "content": "{}"}, user("What was that?")],
        [user(TITLE), {"role": "assistant", "content": "{}"}],
        [system("You are a translator. Available Tools: none"), user("Hi")],
        [
            system("Given the following conversation and a follow-up question, rephrase the follow up question"),
            user("x"),
        ],
        [user(None), user([{"type": "image_url", "image_url": {"url": "x"}}])],
    ],
)
@pytest.mark.parametrize("body", [{}, {"metadata": {"task": "homework"}}, {"metadata": "x"}, {"metadata": {"task": 1}}])
def test_what_people_write_is_a_turn(messages: list[dict[str, Any]], body: dict[str, Any]) -> None:
    assert SHIPPED.rule(body, messages) is None


@pytest.mark.parametrize("model", ["ab", "ab:repeat"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_auxiliary_request_is_passed_through_and_is_no_turn(gateway: Gateway, model: str, stream: bool) -> None:
    chat = {"model": model, "messages": [system("Speak French."), user("Hi")]}
    title = {"model": model, "messages": [system("Speak French."), user(TITLE)], "stream": stream, "max_tokens": 50}
    before = gateway.post(title, x_openwebui_chat_id="chat")
    turn = gateway.post(chat, x_openwebui_chat_id="chat")
    gateway.post(title, x_openwebui_chat_id="chat")
    assert gateway.upstream.bodies[0]["messages"] == title["messages"]
    assert gateway.upstream.bodies[0]["max_tokens"] == 50
    names = ("conversation-id", "experiment", "arm", "turn")
    assert [before.headers[f"x-gattway-{name}"] for name in names] == ["chat", "", "", "0"]
    assert (turn.headers["x-gattway-experiment"], turn.headers["x-gattway-turn"]) == ("ab", "1")

    rows = gateway.rows("chat")
    assert [row["auxiliary"] for row in rows] == ["open-webui-title", None, "open-webui-title"]
    title_row = rows[0]
    assert (title_row["experiment"], title_row["arm"], title_row["forced"]) == (None, None, False)
    assert (title_row["strategy"], title_row["model"], title_row["turn"]) == ("pass-through", "priced", 0)
    assert title_row["cost_usd"] > 0
    summed = gateway.get("/api/conversations/chat").json()
    assert (summed["turn_count"], summed["requests"], summed["experiment"]) == (1, 1, "ab")
    assert summed["prompt_tokens"] == rows[1]["prompt_tokens"]
    metrics = gateway.get("/metrics").text
    assert 'gattway_auxiliary_requests_total{model="priced",rule="open-webui-title"} 2.0' in metrics
    assert 'gattway_conversation_turn_count{arm="",experiment=""} 0.0' in metrics
    conversations = re.findall(r"gattway_conversations_total\{.*\} (\S+)", metrics)
    assert conversations == ([] if model == "ab:repeat" else ["1.0"])


def test_a_title_by_itself_is_no_conversation(gateway: Gateway) -> None:
    answer = gateway.post({"model": "ab", "messages": [user(TITLE)]})
    assert gateway.get("/api/conversations").json()["data"] == []
    (row,) = gateway.rows(answer.headers["x-gattway-conversation-id"])
    assert row["auxiliary"] == "open-webui-title"
    assert "gattway_conversations_total{" not in gateway.get("/metrics").text


def test_rules_of_ones_own_come_on_top_or_instead(tmp_path: Path) -> None:
    rules = """
    [auxiliary]
    built_in = false
    [auxiliary.rules.house-title]
    user = "(?i)name this chat"
    system = "You are HouseChat"
    fields = { "metadata.kind" = "title|tags" }
    """
    right = {"metadata": {"kind": "tags"}}
    messages = [system("You are HouseChat 2."), user("Name this chat: …")]
    with keyed(tmp_path, {}, rules) as (gateway, _):
        for extra, sent, rule in (
            (right, messages, "house-title"),
            ({"metadata": {"kind": "title or so"}}, messages, None),
            (right, [user("Name this chat")], None),
            (right, [*messages[:1], user("Please name this chat")], None),
            ({}, [user(TITLE)], None),
        ):
            answer = gateway.post({"model": "echo", "messages": sent, **extra})
            (row,) = gateway.rows(answer.headers["x-gattway-conversation-id"])
            assert row["auxiliary"] == rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", "auxiliary.rules.r: the rule has no condition"),
        ("user = '('", "auxiliary.rules.r.user: '(': input should be a valid regular expression"),
        ("usr = 'x'", "auxiliary.rules.r.usr: unknown key; did you mean 'user'?"),
    ],
)
def test_a_mistake_in_a_rule_is_named(tmp_path: Path, rule: str, words: str) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(f"{GOOD}\n[auxiliary.rules.r]\n{rule}\n")
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(path)
