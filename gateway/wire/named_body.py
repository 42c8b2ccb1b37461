"""A request body of any route that names a model: what it names, and the same bytes with another name in it.

JSON with a `model`, or a form (`multipart/form-data`, RFC 7578) with a field `model`, as audio and image uploads are.
Nothing but that name is ever changed; where the upstream's name for the model is the client's, the bytes go on as they
came.
"""

from __future__ import annotations

import email
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.wire.request import body_of, model_of

TEXT_FIELDS = ("prompt", "input", "instructions", "query", "queries", "documents", "text_1", "text_2", "messages")
"""Fields of OpenAI's, vLLM's and Jina's routes whose strings are the model's prompt."""


@dataclass(frozen=True, slots=True)
class NamedBody:
    """What a request asks for. `fields` is the JSON object; of a form only its `model` and `stream`."""

    raw: bytes
    content_type: str
    model: str
    stream: bool
    fields: dict[str, Any]
    _model_at: tuple[int, int] | None = None
    """Where the name lies in a form."""

    def naming(self, model: str) -> bytes:
        """The body with `model` as the model's name."""
        if model == self.model:
            return self.raw
        if self._model_at is None:
            return orjson.dumps({**self.fields, "model": model})
        start, end = self._model_at
        return self.raw[:start] + model.encode() + self.raw[end:]

    def prompt(self) -> str:
        """The words that the model is given, as far as they are known; "" for a form."""
        return "\n".join(text for name in TEXT_FIELDS for text in _strings(self.fields.get(name)))


def read_named(raw: bytes, content_type: str) -> NamedBody:
    """Find out which model a body names.

    Raises:
        BadRequest: it is neither JSON nor a form, or names no model.
    """
    message = email.message_from_string(f"content-type: {content_type}\n\n")
    if message.get_content_type() == "multipart/form-data":
        return _form(raw, content_type, str(message.get_param("boundary") or ""))
    fields = body_of(raw)
    return NamedBody(raw, "application/json", model_of(fields), fields.get("stream") is True, fields)


def _form(raw: bytes, content_type: str, boundary: str) -> NamedBody:
    if not boundary:
        raise BadRequest("The request's content type is multipart/form-data without a boundary.")
    found = {name: (start, end) for name, start, end in _parts(raw, boundary.encode()) if name in ("model", "stream")}
    try:
        fields = {name: raw[start:end].decode().strip() for name, (start, end) in found.items()}
    except UnicodeDecodeError:
        raise BadRequest("The form's 'model' is no UTF-8 text.", param="model") from None
    model = model_of(fields)
    return NamedBody(raw, content_type, model, fields.get("stream", "").lower() == "true", fields, found["model"])


def _parts(raw: bytes, boundary: bytes) -> Iterator[tuple[str | None, int, int]]:
    """Name of each part of a form, and where its content begins and ends."""
    delimiter = b"\r\n--" + boundary
    at = 0 if raw.startswith(delimiter[2:]) else raw.find(delimiter) + 2
    if at == 1:
        return
    while raw.startswith(b"\r\n", at + len(delimiter) - 2):
        head = at + len(delimiter)
        start = raw.find(b"\r\n\r\n", head - 2) + 4
        end = raw.find(delimiter, start)
        if start == 3 or end == -1:
            return
        header = email.message_from_bytes(raw[head : start - 2])
        name = header.get_param("name", header="content-disposition")
        yield (name if isinstance(name, str) else None), start, end
        at = end + 2


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for key in ("text", "content") for text in _strings(value.get(key)))
    elif isinstance(value, list):
        yield from (text for item in value for text in _strings(item))
