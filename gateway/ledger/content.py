"""What was said in a turn: what the client sent, what the model got, what it answered. Kept only when switched on.

A chat client resends its whole history, so a turn keeps only the messages that are new in it; the ones before are in
the turns that it continues. What the model got is kept as its difference from that, so the copies of an instruction
cost a few bytes each, and reading gives every piece of text that the gateway put in, with its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from gateway.errors import LedgerError
from gateway.ledger.difference import applied, difference
from gateway.ledger.schema import contents, turns
from gateway.ledger.sealing import Vault
from gateway.ledger.shared import Shared

Message = dict[str, Any]
Link = tuple[bytes, str | None]
"""A turn's sealed content, and the request that the turn continues."""

MAX_CHAIN = 10_000
"""Turns that a conversation is followed back at most."""

SHARED_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Said:
    """A turn's content, as it comes out of an exchange.

    `messages` are all that the client sent, the first `known` of them the parent turn's with its answer; `sent` are
    the messages that the model got; `answer` is the assistant's message, None when nothing came. `instructed` says that
    the first message holds for this turn only, as the Responses API has it.
    """

    messages: Sequence[Message]
    known: int
    sent: Sequence[Message]
    answer: Message | None
    instructed: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Text that the gateway put into a message that the model got: `sent[message]`, characters `start` to `end` of its
    text; in a list of parts, the parts `start` to `end`. `whole` when no message of the client is behind it."""

    message: int
    start: int
    end: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A turn's content, read back.

    `messages` is the client's side of the conversation up to this turn's answer, the last `new` of them sent in this
    turn; `sent` what the model got, `placed` where the gateway put text into it; `answer` the assistant's message.
    """

    request_id: str
    messages: list[Message]
    new: int
    sent: list[Message]
    placed: list[Placed]
    answer: Message | None
    instructed: bool = False


class ContentStore:
    """Reads content, from this gateway's file first and then from the shared database, and seals what is to be kept."""

    def __init__(self, engine: Engine, vault: Vault, shared: Shared | None = None) -> None:
        self._engine = engine
        self._vault = vault
        self._shared = shared

    async def sealed(self, request_id: str, parent_request_id: str | None, said: Said) -> bytes:
        """What the ledger is to keep of a turn, encrypted."""
        return await asyncio.to_thread(self._seal, request_id, parent_request_id, said)

    async def read(self, request_id: str) -> Content | None:
        """A turn's content; None when it was not kept, or is erased.

        Raises:
            ContentLocked: the key does not open it.
            SharedAway: it is not here, and the shared database does not answer.
        """
        kept = await asyncio.to_thread(self._with_local, request_id)
        if kept is None and self._shared is not None:
            kept = await self._shared.run(lambda connection: _chain(connection, request_id), timeout_s=SHARED_TIMEOUT_S)
        return await asyncio.to_thread(self._opened, request_id, kept) if kept else None

    def read_all(self, connection: Connection, request_ids: Sequence[str]) -> dict[str, Content]:
        """The content of those turns of which it is kept, from one database; blocks.

        A turn that several others continue is fetched and decrypted once. Raises as `read` does.
        """
        links: dict[str, Link | None] = {}
        opened: dict[str, dict[str, Any]] = {}
        chains = {request_id: _chain(connection, request_id, links) for request_id in request_ids}
        return {
            request_id: self._opened(request_id, kept, opened)
            for request_id, kept in chains.items()
            if kept is not None
        }

    def _with_local(self, request_id: str) -> list[tuple[str, bytes]] | None:
        with self._engine.connect() as connection:
            return _chain(connection, request_id)

    def _seal(self, request_id: str, parent_request_id: str | None, said: Said) -> bytes:
        known = said.known if parent_request_id and self._has(parent_request_id) else 0
        return self._vault.seal(
            request_id,
            {
                "parent": parent_request_id if known else None,
                "known": known,
                "new": said.messages[known:],
                "sent": difference(said.messages, said.sent),
                "answer": said.answer,
                "instructed": said.instructed,
            },
        )

    def _has(self, request_id: str) -> bool:
        with self._engine.connect() as connection:
            query = select(contents.c.request_id).where(contents.c.request_id == request_id)
            return connection.execute(query).first() is not None

    def _opened(
        self, request_id: str, kept: list[tuple[str, bytes]], opened: dict[str, dict[str, Any]] | None = None
    ) -> Content:
        """From the turns of a conversation, the asked one first, each followed by the one it continues.

        `opened` remembers what was decrypted.
        """
        opened = {} if opened is None else opened
        messages: list[Message] = []
        content: dict[str, Any] = {}
        for link, sealed in reversed(kept):
            content = opened[link] = opened[link] if link in opened else self._vault.open(link, sealed)
            if content["known"] and len(messages) != content["known"]:
                raise LedgerError(f"The content of {link} does not fit the turn before it.")
            messages = [*messages[: content["known"]], *content["new"]]
            if link != request_id and content["answer"] is not None:
                messages.append(content["answer"])
        sent, spans = applied(messages, content["sent"])
        placed = [Placed(*span) for span in spans]
        instructed = content.get("instructed", False)
        return Content(request_id, messages, len(content["new"]), sent, placed, content["answer"], instructed)


def kept_turns(connection: Connection, conversation_id: str, key_name: str | None) -> int:
    """How many requests of a key's conversation have their content kept."""
    whose = turns.c.key_name.is_(None) if key_name is None else turns.c.key_name == key_name
    query = (
        select(func.count())
        .select_from(contents.join(turns, turns.c.request_id == contents.c.request_id))
        .where(contents.c.conversation_id == conversation_id, whose)
    )
    return connection.execute(query).scalar_one()


def _chain(
    connection: Connection, request_id: str, links: dict[str, Link | None] | None = None
) -> list[tuple[str, bytes]] | None:
    """The sealed content of a turn and of the turns that it continues; None when the turn itself has none.

    `links` remembers what was fetched.
    """
    links = {} if links is None else links
    kept: list[tuple[str, bytes]] = []
    wanted: str | None = request_id
    while wanted is not None and len(kept) < MAX_CHAIN:
        if wanted not in links:
            links[wanted] = _link(connection, wanted)
        found = links[wanted]
        if found is None:
            break
        kept.append((wanted, found[0]))
        wanted = found[1]
    return kept or None


def _link(connection: Connection, request_id: str) -> Link | None:
    query = (
        select(contents.c.sealed, turns.c.parent_request_id)
        .join(turns, turns.c.request_id == contents.c.request_id)
        .where(contents.c.request_id == request_id)
    )
    found = connection.execute(query).first()
    return (found.sealed, found.parent_request_id) if found else None
