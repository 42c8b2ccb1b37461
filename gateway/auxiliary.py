"""Requests that a chat front end makes for itself, through the same model and often in the same conversation.

A title, tags, follow-up questions, a search query: no turn of anybody's conversation, and an instruction placed in one
would spoil it. They are known by the prompts that the front ends ship, as read in Open WebUI 0.12.4
(`open_webui/config.py`, and the templates of earlier releases), LibreChat (`@librechat/agents`: `src/utils/title.ts`,
and `api/app/clients/prompts`) and LobeChat (`packages/prompts/src/chains`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.sections.access import AuxiliaryRuleSettings, AuxiliarySettings
from strategies import Message
from strategies.instruction import text_of

LOOKED_AT_CHARS = 4000
"""As much of a message as the rules are held against: the prompts begin with what gives them away."""

_TASK = r"\s*### Task:\s+"

BUILT_IN: dict[str, dict[str, Any]] = {
    "open-webui-task": {
        "fields": {"metadata.task": r"\w+_generation|function_calling|context_compaction"},
    },
    "open-webui-title": {
        "user": rf"{_TASK}Generate a concise,?(?: 3-5 word)? title\b[^\n]*\b(?:chat history|content)\b"
        r"|\s*Create a concise, 3-5 word title with an emoji as a title for the (?:chat history|prompt)",
    },
    "open-webui-tags": {"user": _TASK + r"Generate 1-3 broad tags categorizing the main themes of the chat history"},
    "open-webui-follow-ups": {
        "user": _TASK + r"(?:Suggest 3-5 relevant follow-up questions|Predict 3-5 useful messages this user might)",
    },
    "open-webui-queries": {
        "user": _TASK + r"Analyze the chat history to determine the necessity of generating search queries",
    },
    "open-webui-autocomplete": {"user": _TASK + r"You are an autocompletion system\."},
    "open-webui-image-prompt": {"user": _TASK + r"Generate a detailed prompt for am? image generation task"},
    "open-webui-compaction": {"user": _TASK + r"Summarize the conversation history that will be compacted"},
    "open-webui-emoji": {
        "user": r"\s*Your task is to reflect the speaker's likely facial expression through a fitting emoji\.",
    },
    "open-webui-merge": {
        "user": r"\s*You have been provided with a set of responses from various models to the latest user query:",
    },
    "open-webui-tools": {
        "system": r"\s*Available Tools:.*Your task is to choose and return the correct tool\(s\)",
    },
    "librechat-title": {
        "user": r"\s*(?:Analyze this conversation and provide:\s+1\. The detected language of the conversation"
        r"|Provide a concise, 5-word-or-less title for the conversation"
        r"|Write a concise title for this conversation in the detected language\."
        r"|Please generate a concise title \(max 40 characters\) for a conversation that starts with:)",
    },
    "librechat-title-system": {
        "system": r"\s*(?:Write an? (?:extremely )?concise title for this conversation in the given language\."
        r"|Detect user language and write in the same language an extremely concise title for this conversation)",
    },
    "librechat-summary": {
        "user": r"\s*Summarize the conversation by integrating new lines into the current summary\.",
    },
    "lobechat-title": {
        "system": r"\s*(?:You are a professional conversation summarizer\. Generate a concise title"
        r"|You are an assistant skilled in conversation who needs to summarize user conversations into titles"
        r"|你是一名擅长会话的助理，你需要将用户的会话总结为)",
    },
    "lobechat-tags": {"system": r"\s*You are an assistant skilled at extracting conversation tags\."},
    "lobechat-follow-ups": {"system": r"\s*You are a sidecar that extracts 0-4 quick-reply suggestions"},
    "lobechat-queries": {
        "system": r"\s*Given the following conversation and a follow-up question, rephrase the follow up question",
        "user": r"\s*Follow Up Input:",
    },
    "lobechat-autocomplete": {"system": r"\s*You are an autocomplete engine for a chat input box\."},
    "lobechat-summary": {
        "system": r"\s*You're an assistant who's good at extracting key takeaways from conversations and summarizing",
    },
}
"""The rules that come with gattway, by name, as they would stand in `[auxiliary.rules]`."""


class Auxiliary:
    """Recognises auxiliary requests."""

    def __init__(self, settings: AuxiliarySettings) -> None:
        built_in = BUILT_IN if settings.built_in else {}
        known = {name: AuxiliaryRuleSettings.model_validate(rule) for name, rule in built_in.items()}
        rules = [_Rule(name, rule) for name, rule in {**known, **settings.rules}.items()]
        own = frozenset(settings.rules)
        self._users = _either(rule.user for rule in rules if rule.name not in own)
        self._systems = _either(rule.system for rule in rules if rule.name not in own)
        self._rules = {
            (by_user, by_system): [rule for rule in rules if rule.name in own or rule.is_open(by_user, by_system)]
            for by_user in (False, True)
            for by_system in (False, True)
        }
        """Those that may hold, by whether any of the shipped ones' patterns matches the user's words, or the system's:
        two matches a request instead of one for each rule."""

    def rule(self, body: Mapping[str, Any], messages: Sequence[Message]) -> str | None:
        """The name of the first rule that a request meets, or None for a turn of a conversation."""
        last = messages[-1]
        user = _beginning(last) if last["role"] == "user" else ""
        heads = (message for message in messages if message["role"] in ("system", "developer"))
        system = _beginning(next(heads, {}))
        by_words = self._users.match(user) is not None, self._systems.match(system) is not None
        return next((rule.name for rule in self._rules[by_words] if rule.holds(body, user, system)), None)


class _Rule:
    """One rule, its patterns compiled so that `.` goes over lines."""

    def __init__(self, name: str, settings: AuxiliaryRuleSettings) -> None:
        self.name = name
        self.user = _over_lines(settings.user)
        self.system = _over_lines(settings.system)
        self._fields = {tuple(field.split(".")): pattern for field, pattern in settings.fields.items()}

    def is_open(self, by_user: bool, by_system: bool) -> bool:
        """Whether it can hold where no pattern matches the user's words, or the system's."""
        return (by_user or self.user is None) and (by_system or self.system is None)

    def holds(self, body: Mapping[str, Any], user: str, system: str) -> bool:
        if self.user and not self.user.match(user):
            return False
        if self.system and not self.system.match(system):
            return False
        return all(pattern.fullmatch(_at(body, path)) for path, pattern in self._fields.items())


def _over_lines(pattern: re.Pattern[str] | None) -> re.Pattern[str] | None:
    return re.compile(pattern.pattern, pattern.flags | re.DOTALL) if pattern else None


def _either(patterns: Iterable[re.Pattern[str] | None]) -> re.Pattern[str]:
    """What matches where any of them does; nothing where there is none. They have no flags of their own."""
    found = [f"(?:{pattern.pattern})" for pattern in patterns if pattern]
    return re.compile("|".join(found) or r"(?!)", re.DOTALL)


def _beginning(message: Mapping[str, Any]) -> str:
    return text_of(message.get("content"))[:LOOKED_AT_CHARS]


def _at(body: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """The string at `path` in the body; empty when there is none."""
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""
