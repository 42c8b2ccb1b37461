"""The output items of a Response while they grow, and the typed events that tell of it.

An item is opened by its first delta and stays open until the answer ends, for servers may interleave the deltas of
several calls; only reasoning is closed when the answer proper begins.
"""

from __future__ import annotations

from typing import Any

import orjson


class Events:
    """Numbers events and keeps them until they are taken."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: list[bytes] = []

    def add(self, kind: str, **fields: Any) -> None:
        """One event: its type stands in the `event:` line and in the data, as this API has it."""
        data = orjson.dumps({"type": kind, "sequence_number": self._number, **fields})
        self._waiting.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))
        self._number += 1

    def taken(self) -> bytes:
        """All events since the last call."""
        waiting, self._waiting = self._waiting, []
        return b"".join(waiting)


class _Part:
    """A stretch of text of one kind within an item."""

    def __init__(self, events: Events, kind: str, **place: Any) -> None:
        self._events = events
        self._kind = kind
        self._place = place
        self._key = "refusal" if kind == "refusal" else "text"
        self._text: list[str] = []
        self._logprobs: list[Any] = []
        events.add("response.content_part.added", **place, part=self.value())

    def add(self, delta: str, logprobs: list[Any]) -> None:
        self._text.append(delta)
        self._logprobs += logprobs
        more = {"logprobs": logprobs} if self._kind == "output_text" else {}
        self._events.add(f"response.{self._kind}.delta", **self._place, delta=delta, **more)

    def close(self) -> None:
        value = self.value()
        more = {"logprobs": value["logprobs"]} if self._kind == "output_text" else {}
        whole = {self._key: value[self._key]}
        self._events.add(f"response.{self._kind}.done", **self._place, **whole, **more)
        self._events.add("response.content_part.done", **self._place, part=value)

    def value(self) -> dict[str, Any]:
        value: dict[str, Any] = {"type": self._kind, self._key: "".join(self._text)}
        return {**value, "annotations": [], "logprobs": self._logprobs} if self._kind == "output_text" else value


class TextItem:
    """A message, or what a model shows of its reasoning.

    Args:
        index: its place in the Response's output.
    """

    def __init__(self, events: Events, index: int, item_id: str, kind: str) -> None:
        self._events = events
        self._index = index
        self._id = item_id
        self._kind = kind
        self._parts: dict[str, _Part] = {}
        self.status = "in_progress"
        events.add("response.output_item.added", output_index=index, item=self.value())

    def add(self, part: str, delta: str, logprobs: list[Any] | None = None) -> None:
        """Some more text for the part of that kind."""
        if part not in self._parts:
            place = {"item_id": self._id, "output_index": self._index, "content_index": len(self._parts)}
            self._parts[part] = _Part(self._events, part, **place)
        self._parts[part].add(delta, logprobs or [])

    def close(self, status: str) -> None:
        """End the item; does nothing the second time."""
        if self.status != "in_progress":
            return
        for part in self._parts.values():
            part.close()
        self.status = status
        self._events.add("response.output_item.done", output_index=self._index, item=self.value())

    def value(self) -> dict[str, Any]:
        """The item as it stands."""
        own: dict[str, Any] = {"role": "assistant"} if self._kind == "message" else {"summary": []}
        content = [part.value() for part in self._parts.values()]
        return {"id": self._id, "type": self._kind, "status": self.status, **own, "content": content}


class CallItem:
    """A call of one of the client's functions."""

    def __init__(self, events: Events, index: int, item_id: str, call_id: str, name: str) -> None:
        self._events = events
        self._index = index
        self._id = item_id
        self._call_id = call_id
        self._name = name
        self._arguments: list[str] = []
        self.status = "in_progress"
        events.add("response.output_item.added", output_index=index, item=self.value())

    def add(self, arguments: str) -> None:
        """Some more of the arguments' JSON."""
        self._arguments.append(arguments)
        self._events.add(
            "response.function_call_arguments.delta", item_id=self._id, output_index=self._index, delta=arguments
        )

    def close(self, status: str) -> None:
        """End the item; does nothing the second time."""
        if self.status != "in_progress":
            return
        self.status = status
        value = self.value()
        whole = {"name": value["name"], "arguments": value["arguments"]}
        self._events.add("response.function_call_arguments.done", item_id=self._id, output_index=self._index, **whole)
        self._events.add("response.output_item.done", output_index=self._index, item=value)

    def value(self) -> dict[str, Any]:
        """The item as it stands."""
        return {
            "id": self._id,
            "type": "function_call",
            "status": self.status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": "".join(self._arguments),
        }
