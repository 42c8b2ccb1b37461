"""A conversation over HTTP: the history, the answers as they come, and the ledger's rows about them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from gateway.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0


class Refused(GatewayError):
    """The gateway refused a request, or broke off its answer."""


class Unreachable(GatewayError):
    """There is no gateway at that address."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An answered turn: what the headers and the stream told, and the ledger's row where the key opens the ledger."""

    text: str
    arm: str
    experiment: str
    number: str
    usage: dict[str, Any]
    row: dict[str, Any]

    def figure(self, name: str) -> Any:
        """A figure of the row, else of the answer's usage; None when unknown."""
        details = self.usage.get("prompt_tokens_details") or {}
        given = {**self.usage, "cached_tokens": details.get("cached_tokens")}
        value = self.row.get(name)
        return given.get(name) if value is None else value


@dataclass
class Session:
    """One conversation; a new one begins with `restart`."""

    client: httpx.Client
    models: list[str]
    model: str
    instruction: str | None
    id: str = ""
    history: list[dict[str, str]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, url: str, model: str | None, instruction: str | None, key_file: Path | None) -> Iterator[Session]:
        """Connect to the gateway at `url` (no `/v1`).

        Raises:
            ConfigError: the key file cannot be read, or the gateway has no such model.
            Unreachable: nothing answers there.
            Refused: the gateway wants another key.
        """
        import httpx

        key = _key(key_file)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        with httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False) as client:
            session = cls(client, [], "", instruction)
            with session._translated():
                answer = client.get("/v1/models")
                _raise_for(answer)
            session.models = [one["id"] for one in answer.json()["data"]]
            session.choose(model or next(iter(session.models), ""))
            yield session

    def choose(self, model: str) -> None:
        """Talk to another model, in a conversation of its own.

        Raises:
            ConfigError: the gateway has none of that name.
        """
        if model not in self.models:
            raise ConfigError(f"the gateway has no model {model!r}; it has: {', '.join(self.models)}")
        self.model = model
        self.restart()

    def restart(self) -> None:
        """Begin a new conversation."""
        self.id = f"chat-{secrets.token_hex(8)}"
        self.history, self.rows = [], []

    def ask(self, text: str) -> Iterator[str | Turn]:
        """Pieces of the answer as they come, and at last the turn. What fails leaves the history as it was.

        Raises:
            Refused: by the gateway, with its own words.
            Unreachable: the gateway went away.
        """
        asked = {"role": "user", "content": text}
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        body = {
            "model": self.model,
            "messages": [*system, *self.history, asked],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        pieces: list[str] = []
        usage: dict[str, Any] = {}
        headers = {"x-gattway-conversation-id": self.id}
        with (
            self._translated(),
            self.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            if not answer.is_success:
                answer.read()
            _raise_for(answer)
            for event in _events(answer.iter_lines()):
                usage = event.get("usage") or usage
                for choice in event.get("choices") or ():
                    if piece := choice["delta"].get("content"):
                        pieces.append(piece)
                        yield piece
            told = answer.headers
        self.history += [asked, {"role": "assistant", "content": "".join(pieces)}]
        row = self._row(told.get("x-request-id", ""))
        arm, experiment = told.get("x-gattway-arm", ""), told.get("x-gattway-experiment", "")
        yield Turn("".join(pieces), arm, experiment, told.get("x-gattway-turn", ""), usage, row)

    def _row(self, request_id: str) -> dict[str, Any]:
        """What the ledger says of the turn; empty where the key does not open the ledger."""
        with self._translated():
            answer = self.client.get(f"/api/conversations/{quote(self.id, safe='')}")
        if not answer.is_success:
            return {}
        self.rows = [row for row in answer.json()["turns"] if row["http_status"] == 200]
        return next((row for row in self.rows if row["request_id"] == request_id), {})

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.HTTPError as error:
            where = str(self.client.base_url).rstrip("/")
            reason = str(error) or type(error).__name__
            raise Unreachable(
                f"the gateway at {where} does not answer ({reason}); start one with: gattway serve"
            ) from None


def _key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get("OPENAI_API_KEY")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--key-file: {path} cannot be read ({error})") from None


def _raise_for(answer: httpx.Response) -> None:
    if not answer.is_success:
        try:
            message = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = f"HTTP {answer.status_code}; is that address a gattway's?"
        raise Refused(message)


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event: dict[str, Any] = orjson.loads(data)
        if "error" in event:
            raise Refused(event["error"]["message"])
        yield event
