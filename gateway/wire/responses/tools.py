"""Tools and the choice among them: flat objects in the Responses API, nested ones in a chat completion."""

from __future__ import annotations

from typing import Any

from gateway.errors import BadRequest
from gateway.wire.fields import named

_FIELDS = ("name", "description", "parameters", "strict")
_CHOICES = ("none", "auto", "required")


def tools_of(tools: list[Any]) -> list[dict[str, Any]]:
    """A chat completion's `tools`. Raises BadRequest for a tool that is no function of the client's own."""
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def shown_tools(tools: list[Any]) -> list[dict[str, Any]]:
    """The tools as a Response repeats them, each with all its fields."""
    empty = {"description": None, "parameters": None, "strict": False}
    return [{**empty, **{key: value for key, value in tool.items() if value is not None}} for tool in tools]


def choice_of(choice: Any, has_tools: bool) -> Any:
    """A chat completion's `tool_choice`, or None where there is nothing to choose from and nothing is asked for.

    Raises:
        BadRequest: the choice is none that a chat completion knows, or forces a tool where there is none.
    """
    if choice in ("none", "auto") and not has_tools:
        return None
    if not has_tools:
        raise BadRequest("'tool_choice' asks for a tool, but 'tools' is empty.", param="tool_choice")
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        return _function(choice, "tool_choice")
    if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
        allowed = [_function(tool, f"tool_choice.tools[{index}]") for index, tool in enumerate(choice["tools"])]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": allowed}}
    raise BadRequest(
        "'tool_choice' must be 'none', 'auto', 'required', or an object of type 'function' or 'allowed_tools'; "
        "this gateway runs no tools of its own.",
        param="tool_choice",
    )


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise BadRequest(f"'{where}' must be an object, not {named(tool)}.", param=where)
    if tool.get("type") != "function":
        raise BadRequest(
            f"'{where}' is of type {tool.get('type')!r}. This gateway runs no tools of its own; "
            "the only type that it can hand to a model is 'function'.",
            param=f"{where}.type",
        )
    given = {key: value for key, value in tool.items() if key != "type" and value is not None}
    for key in given:
        if key not in _FIELDS and given[key] is not False:
            raise BadRequest(
                f"'{where}.{key}' has no counterpart in a chat completion; remove it.", param=f"{where}.{key}"
            )
    if not isinstance(given.get("name"), str):
        raise BadRequest(f"'{where}.name' must be a string, not {named(given.get('name'))}.", param=f"{where}.name")
    return {"type": "function", "function": {key: given[key] for key in _FIELDS if key in given}}


def _function(choice: Any, where: str) -> dict[str, Any]:
    if not isinstance(choice, dict) or choice.get("type") != "function" or not isinstance(choice.get("name"), str):
        raise BadRequest(f"'{where}' must be an object with type 'function' and a 'name'.", param=where)
    return {"type": "function", "function": {"name": choice["name"]}}
