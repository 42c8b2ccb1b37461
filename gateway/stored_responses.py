"""Responses that the ledger has kept: to go on from by id, and to get again. Only where content is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.access.keys import Key
from gateway.errors import BadRequest, NotFound
from gateway.identity import Continued
from gateway.ledger.content import Content, ContentStore
from gateway.ledger.lookup import Lookup
from gateway.ledger.records import Answered, Turn
from strategies import Message


@dataclass(frozen=True, slots=True)
class Earlier:
    """A response to go on from: its conversation up to and with its answer, and whether the first message of it was
    that response's own instruction, which does not hold for the next."""

    parent: Answered
    messages: list[Message]
    instructed: bool

    @property
    def carried(self) -> list[Message]:
        """What the next response's model is to see of it."""
        return self.messages[1:] if self.instructed else self.messages

    def continued_by(self, messages: list[Message], *, instructed: bool) -> Continued:
        """What is new in the messages of the response that goes on from it."""
        behind = messages[len(self.carried) + instructed :]
        known = len(self.messages) if messages[: len(self.messages)] == self.messages else 0
        return Continued(self.parent, known, sum(message["role"] == "user" for message in behind))


class StoredResponses:
    """Finds responses again, each for the key that asked for it and no other."""

    def __init__(self, lookup: Lookup, content: ContentStore | None) -> None:
        self._lookup = lookup
        self._content = content

    @property
    def are_kept(self) -> bool:
        """Whether a response that does not say `store: false` can be found again."""
        return self._content is not None

    async def earlier(self, response_id: Any, key: Key) -> Earlier:
        """The response that a request goes on from.

        Raises:
            BadRequest: nothing is kept, or not this, or not for this key.
        """
        param = "previous_response_id"
        if self._content is None:
            raise BadRequest(
                f"'{param}' cannot be honoured: this gateway keeps no message text (ledger.store_content), so there is "
                "no earlier response to go on from. Leave it out and send the whole conversation in 'input': earlier "
                "messages, the output items of earlier responses, the new message.",
                param=param,
            )
        if not isinstance(response_id, str):
            raise BadRequest(f"'{param}' must be a string.", param=param)
        found = await self._find(response_id, key)
        answered = Answered.of(found[0]) if found is not None else None
        if found is None or answered is None or found[1].answer is None:
            raise BadRequest(
                f"Previous response with id '{response_id[:128]}' not found.",
                param=param,
                code="previous_response_not_found",
            )
        content, answer = found[1], found[1].answer
        return Earlier(answered, [*content.messages, answer], content.instructed)

    async def get(self, response_id: str, key: Key) -> tuple[Turn, Content]:
        """A response's row and words. Raises NotFound: it is not kept, or not for this key."""
        found = await self._find(response_id, key) if self._content is not None else None
        if found is None:
            raise NotFound(
                f"Response with id '{response_id[:128]}' not found."
                + ("" if self.are_kept else " This gateway keeps no message text (ledger.store_content)."),
                param="response_id",
            )
        return found

    async def _find(self, response_id: str, key: Key) -> tuple[Turn, Content] | None:
        assert self._content is not None
        if not response_id.startswith("resp_"):
            return None
        request_id = "req_" + response_id.removeprefix("resp_")
        row = await self._lookup.turn(request_id)
        if row is None or row.key_name != key.name:
            return None
        content = await self._content.read(request_id)
        return (row, content) if content is not None else None


def completion_of(row: Turn, content: Content) -> dict[str, Any]:
    """A kept answer as the chat completion that it was."""
    usage: dict[str, Any] = {"prompt_tokens": row.prompt_tokens, "completion_tokens": row.completion_tokens}
    usage["prompt_tokens_details"] = {"cached_tokens": row.cached_tokens}
    usage["completion_tokens_details"] = {"reasoning_tokens": row.reasoning_tokens}
    choice = {"index": 0, "message": content.answer or {}, "finish_reason": row.finish_reason}
    return {"model": row.model, "choices": [choice], "usage": usage}


def created_at(row: Turn) -> int:
    """When a response was begun, in Unix seconds."""
    return int(datetime.fromisoformat(row.started_at).timestamp())
