"""The shapes of requests and answers as JSON schemas: what the gateway itself relies on or promises."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from gateway.ledger.records import COLUMNS, Turn
from gateway.wire.request import ROLES
from gateway.wire.responses.items import ROLES as ITEM_ROLES
from gateway.wire.responses.request import INCLUDABLE

Schema = dict[str, Any]
MAX_COMMENT_CHARS = 4000


def ref(name: str) -> Schema:
    """A named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def shape(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> Schema:
    """An object with these fields; it may hold others, unless `more` says otherwise."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, **more}


def _maybe(type: str, **more: Any) -> Schema:
    """A value that may be null."""
    return {"type": [type, "null"], **more}


def _some(item: str) -> Schema:
    return {"type": "array", "minItems": 1, "items": ref(item)}


def _message(roles: list[str], content: Schema) -> Schema:
    """A message among the items of a Responses request."""
    return shape({"role": {"enum": roles}, "content": content}, {"type": {"const": "message"}})


def _parts(kind: str) -> Schema:
    return {"type": "array", "items": shape({"type": {"const": kind}, "text": _WORDS})}


def _page(item: str) -> Schema:
    """OpenAI's envelope of a list."""
    return shape(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref(item)},
            "first_id": _maybe("string"),
            "last_id": _maybe("string"),
            "has_more": {"type": "boolean"},
        }
    )


def components() -> dict[str, Schema]:
    """All named schemas."""
    return {
        "Error": shape(
            {
                "error": shape(
                    {
                        "message": _WORDS,
                        "type": _WORDS,
                        "param": _maybe("string"),
                        "code": _maybe("string"),
                    }
                )
            }
        ),
        "ModelName": {"type": "string", "minLength": 1, "description": "A name that GET /v1/models lists"},
        **_chat(),
        **_responses(),
        **_listings(),
        **_changes(),
    }


def _chat() -> dict[str, Schema]:
    part = {
        "anyOf": [
            shape({"type": {"const": "text"}, "text": _WORDS}),
            shape({"type": {"type": "string", "not": {"const": "text"}}}),
        ]
    }
    text_or_parts: list[Schema] = [_WORDS, {"type": "array", "items": part}]
    others = [role for role in ROLES if role != "assistant"]
    choice = shape(
        {
            "index": {"type": "integer"},
            "message": shape({"content": {}, "refusal": _maybe("string")}),
            "logprobs": _maybe("object"),
            "finish_reason": _maybe("string"),
        }
    )
    return {
        "ChatMessage": {
            "oneOf": [
                shape({"role": {"enum": others}, "content": {"anyOf": text_or_parts}}),
                shape({"role": {"const": "assistant"}}, {"content": {"anyOf": [*text_or_parts, {"type": "null"}]}}),
            ]
        },
        "ChatRequest": shape(
            {"model": ref("ModelName"), "messages": _some("ChatMessage")},
            {
                **_COMMON,
                "stream_options": _maybe("object", description="Only with `stream`; `include_usage` is honoured"),
                "presence_penalty": _maybe("number", minimum=-2, maximum=2),
                "frequency_penalty": _maybe("number", minimum=-2, maximum=2),
                "max_tokens": _maybe("integer", minimum=1),
                "max_completion_tokens": _maybe("integer", minimum=1),
                "n": _maybe("integer", minimum=1),
                "seed": _maybe("integer"),
                "stop": {"anyOf": [_maybe("string"), {"type": "array", "items": {"type": "string"}}]},
                "response_format": _maybe("object"),
                "logit_bias": _maybe("object"),
                "logprobs": _maybe("boolean"),
            },
        ),
        "ChatCompletion": shape(
            {
                "id": _WORDS,
                "object": {"const": "chat.completion"},
                "created": {"type": "integer", "description": "Unix seconds"},
                "model": _WORDS,
                "choices": {"type": "array", "items": choice},
            },
            {
                "usage": _usage("prompt_tokens", "completion_tokens"),
                "system_fingerprint": _maybe("string"),
                "service_tier": _maybe("string"),
            },
        ),
    }


def _responses() -> dict[str, Schema]:
    item = {"type": "array", "items": {"type": "object"}}
    return {
        "InputItem": {
            "anyOf": [
                _message(list(ITEM_ROLES), _WORDS),
                _message([role for role in ITEM_ROLES if role != "assistant"], _parts("input_text")),
                _message(["assistant"], _parts("output_text")),
                shape({"type": {"const": "function_call"}, "call_id": _WORDS, "name": _WORDS, "arguments": _WORDS}),
                shape({"type": {"const": "function_call_output"}, "call_id": _WORDS, "output": _WORDS}),
            ],
            "description": "Images, files and audio as parts of a user's message, and reasoning items, are taken too",
        },
        "ResponsesRequest": shape(
            {
                "model": ref("ModelName"),
                "input": {"anyOf": [_WORDS, _some("InputItem")]},
            },
            {
                **_COMMON,
                "instructions": {**_maybe("string"), "description": "The instruction that the arm places"},
                "max_output_tokens": _maybe("integer", minimum=1),
                "text": _maybe("object", properties={"format": {}, "verbosity": {}}, additionalProperties=False),
                "reasoning": _maybe("object", properties={"effort": _maybe("string")}),
                "include": _maybe("array", items={"enum": list(INCLUDABLE)}),
                "parallel_tool_calls": _maybe("boolean"),
                "store": _maybe("boolean"),
            },
        ),
        "Response": shape(
            {
                "id": _WORDS,
                "object": {"const": "response"},
                "created_at": {"type": "number", "description": "Unix seconds"},
                "status": {"enum": ["completed", "incomplete", "failed"]},
                "model": _WORDS,
                "output": item,
                "usage": {"anyOf": [_usage("input_tokens", "output_tokens"), {"type": "null"}]},
                "error": _maybe("object"),
                "incomplete_details": _maybe("object"),
                "metadata": {"type": "object"},
            }
        ),
    }


def _listings() -> dict[str, Schema]:
    turn = TypeAdapter(Turn).json_schema()["properties"]
    columns = {name: turn[name] for name in COLUMNS if not name.endswith("_hash")}
    conversation = {
        "id": _WORDS,
        "object": {"const": "conversation"},
        "turn_count": {"type": "integer"},
        "requests": {"type": "integer"},
        "failed": {"type": "integer", "description": "Requests that did not end with status ok"},
        "excluded": {"type": "integer", "description": "Turns that are out of the statistics"},
        "judged": {"type": "integer", "description": "Turns whose adherence is known"},
        "adherence": _maybe("number", description="Share of the judged turns that adhered"),
        "drifted_at": _maybe("integer", description="The first turn that did not adhere"),
        "started_at": {"type": "string", "description": "ISO 8601, UTC"},
        "last_at": {"type": "string", "description": "ISO 8601, UTC"},
        "cost_usd": _maybe("number"),
    }
    return {
        "Model": shape(
            {
                "id": _WORDS,
                "object": {"const": "model"},
                "created": {"type": "integer", "description": "Unix seconds"},
                "owned_by": _WORDS,
                "kind": {"enum": ["model", "arm", "experiment"]},
                "context_window": _maybe("integer", description="Tokens"),
                "price": _maybe("object", description="USD per million tokens, where there is one price"),
            }
        ),
        "Models": _page("Model"),
        "Turn": shape(columns, description="A row of the ledger; an unknown figure is null"),
        "Conversation": shape(conversation),
        "ConversationWithTurns": shape(
            {
                **conversation,
                "content_turns": {"type": "integer", "description": "Requests of which is kept what was said"},
                "turns": {"type": "array", "items": ref("Turn")},
            }
        ),
        "TurnContent": _turn_content(),
        "ConversationContent": _page("TurnContent"),
        "Conversations": _page("Conversation"),
        "Health": shape({"status": {"enum": ["ok", "unavailable"]}}, {"reason": {"type": "string"}}),
    }


def _turn_content() -> Schema:
    messages = _maybe("array", items={"type": "object"})
    placed = shape(
        {
            "message": {"type": "integer", "description": "Index in `sent`"},
            "start": {"type": "integer"},
            "end": {"type": "integer", "description": "The first that is not of it any more"},
            "unit": {
                "enum": ["character", "part"],
                "description": "What is counted: Unicode characters of a text, or the parts of a list",
            },
            "whole_message": {"type": "boolean", "description": "Whether no message of the client is behind it"},
        }
    )
    return shape(
        {
            "id": {**_WORDS, "description": "The request's id"},
            "object": {"const": "conversation.turn_content"},
            "turn": {"type": "integer"},
            "stored": {"type": "boolean", "description": "Whether it is kept; if not, all that follows is null"},
            "messages": {**messages, "description": "What the client sent, the whole history"},
            "new_messages": _maybe("integer", description="How many of the last of them are new in this turn"),
            "sent": {**messages, "description": "What the model got"},
            "placed": _maybe("array", items=placed, description="Text in `sent` that the gateway put there"),
            "answer": _maybe("object", description="The assistant's message; null when nothing came"),
        }
    )


def _changes() -> dict[str, Schema]:
    """What `/api` takes: these bodies hold no other fields."""
    said: dict[str, dict[str, Any]] = {
        "adherent": {"type": "boolean"},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "comment": {"type": "string", "maxLength": MAX_COMMENT_CHARS},
    }
    about = ("completion_id", "conversation_id")
    optional = {name: _maybe(**schema) for name, schema in said.items()}
    return {
        "FeedbackRequest": shape(
            {},
            {**{name: _maybe("string") for name in about}, **optional},
            oneOf=[shape({one: _WORDS}, {other: {"type": "null"}}) for one, other in (about, about[::-1])],
            anyOf=[shape({name: schema}) for name, schema in said.items()],
            additionalProperties=False,
        ),
        "Feedback": shape(
            {
                "id": _WORDS,
                "object": {"const": "feedback"},
                "conversation_id": _WORDS,
                "request_id": _maybe("string", description="Null when it is about the whole conversation"),
                **optional,
            }
        ),
        "ExperimentChange": shape(
            {},
            {
                "weights": _maybe("object", additionalProperties={"type": "number", "minimum": 0}),
                "coverage": _maybe("number", minimum=0, maximum=1),
            },
            additionalProperties=False,
            minProperties=1,
        ),
        "Experiment": shape({"id": _WORDS, "object": {"const": "experiment"}, "arms": {"type": "object"}}),
        "Experiments": _page("Experiment"),
    }


def _usage(prompt: str, completion: str) -> Schema:
    return shape({name: {"type": "integer", "minimum": 0} for name in (prompt, completion, "total_tokens")})


_WORDS: Schema = {"type": "string"}
_COMMON: dict[str, Schema] = {
    "stream": _maybe("boolean"),
    "temperature": _maybe("number", minimum=0, maximum=2),
    "top_p": _maybe("number", minimum=0, maximum=1),
    "top_logprobs": _maybe("integer"),
    "tools": _maybe("array"),
    "metadata": _maybe("object", description="`conversation_id`, `session_id` or `thread_id` names the conversation"),
    "user": _maybe("string"),
}
