"""Which conversation a request belongs to, and which turn of it this is.

First match wins: an id in a request header, an id in the body's metadata, the history itself, else a new
conversation. The history is known by a hash chain over the messages that the client sent, before any strategy
changed them, with the answer of each turn behind it: whoever sends an answer back continues the conversation
that it was given in. White space and reasoning parts, which front ends trim and drop, do not count.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from gateway.errors import BadRequest
from gateway.ids import timed
from gateway.ledger.lookup import Lookup
from gateway.ledger.records import Answered
from strategies import Message

METADATA_KEYS = ("conversation_id", "session_id", "thread_id")
USER_HEADER = "x-openwebui-user-id"
USER_FIELDS = ("safety_identifier", "user")
MAX_ID_CHARS = 256
REMEMBERED = 20_000
LOOKED_UP = 200
"""Answers of a history, the last ones, that the ledger is asked for."""
IN_VAIN = 5_000
HASHED_AT_ONCE_CHARS = 200_000
"""Half a millisecond's worth."""


class Identity(NamedTuple):
    """A request's place in the world of conversations.

    `source` is `header:NAME`, `metadata:KEY`, `history` or `new`; `history_hash` the chain over all messages of
    the request. `parent` is the answered turn that this one continues, None at the first; `known` how many of the
    request's messages are that turn's and its answer.
    """

    conversation_id: str
    source: str
    turn: int
    parent: Answered | None
    history_hash: str
    known: int


@dataclass(frozen=True, slots=True)
class Continued:
    """A turn that the client says it goes on from: `known` of the request's messages are that turn's and its answer,
    as they were; `new_users` are the user's messages behind them."""

    parent: Answered
    known: int
    new_users: int


def given_id(
    headers: Mapping[str, str], body: Mapping[str, Any], names: Sequence[str], max_chars: int = MAX_ID_CHARS
) -> tuple[str, str] | None:
    """The (id, source) that the client names, or None.

    Raises:
        BadRequest: the id is no string, empty, too long, or holds control characters.
    """
    for name in names:
        value = headers.get(name)
        if value is not None:
            return _checked(value, name, max_chars), f"header:{name}"
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        for key in METADATA_KEYS:
            if metadata.get(key) is not None:
                return _checked(metadata[key], f"metadata.{key}", max_chars), f"metadata:{key}"
    if body.get("litellm_session_id") is not None:
        checked = _checked(body["litellm_session_id"], "litellm_session_id", max_chars)
        return checked, "metadata:litellm_session_id"
    return None


def named_user(headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """The user whom the client names: Open WebUI's header, else OpenAI's `safety_identifier` or `user`."""
    for value in (headers.get(USER_HEADER), *(body.get(field) for field in USER_FIELDS)):
        if isinstance(value, str) and value:
            return value
    return None


def chain(messages: Iterable[Message], start: str = "") -> list[str]:
    """Hash of every prefix of `messages`, the shortest first; `start` is the hash that the chain goes on from."""
    hashes, last = [], start
    for message in messages:
        last = hashlib.blake2b(last.encode() + _canonical(message), digest_size=16).hexdigest()
        hashes.append(last)
    return hashes


async def _chain_fairly(messages: Sequence[Message], start: str) -> list[str]:
    """`chain`, with pauses in which other requests get on when there is much to hash."""
    hashes: list[str] = []
    for group in _groups(messages):
        if hashes:
            await asyncio.sleep(0)
        hashes += chain(group, hashes[-1] if hashes else start)
    return hashes


class Identifier:
    """Finds conversations again, in memory first and then in the ledger."""

    def __init__(
        self, lookup: Lookup, headers: Sequence[str], max_id_chars: int = MAX_ID_CHARS, *, alone: bool = True
    ) -> None:
        """`alone`: whether no other process writes to the ledger, so that what is in memory is the latest."""
        self._lookup = lookup
        self._alone = alone
        self._headers = list(headers)
        self._max_id_chars = max_id_chars
        self._recent = _Recent()
        self._in_vain: OrderedDict[str, int] = OrderedDict()  # histories asked for, and turns added before that

    async def identify(
        self,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        messages: list[Message],
        key_name: str | None,
        continued: Continued | None = None,
    ) -> Identity:
        """The conversation and turn of a request. Raises BadRequest for an id that cannot be one.

        The chain starts from the name of the key: the same history under another key is another history, so two keys
        never meet in a conversation, whatever they send.
        """
        given = given_id(headers, body, self._headers, self._max_id_chars)
        hashes = await _chain_fairly(messages, f"key:{key_name}" if key_name else "")
        if continued is not None:
            named = continued.parent
            conversation_id, source = given or (named.conversation_id, "previous_response_id")
            turn = max(1, named.turn + continued.new_users)
            return Identity(conversation_id, source, turn, named, hashes[-1], continued.known)
        ends = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        parent, end = await self._parent(hashes, ends, given[0] if given else None)
        new_users = sum(message["role"] == "user" for message in messages[end + 1 :])
        turn = max(1, (parent.turn if parent else 0) + new_users)
        if given is not None:
            return Identity(given[0], given[1], turn, parent, hashes[-1], end + 1)
        if parent is not None:
            return Identity(parent.conversation_id, "history", turn, parent, hashes[-1], end + 1)
        return Identity(f"conv_{timed()}", "new", turn, None, hashes[-1], 0)

    def remember(self, answered: Answered) -> None:
        """Know a turn that has just been answered."""
        self._recent.add(answered)

    async def _parent(self, hashes: list[str], ends: list[int], only: str | None) -> tuple[Answered | None, int]:
        """The turn that the longest known prefix answers, and the index of that answer in the messages."""
        wanted = {hashes[end]: end for end in ends}
        if not wanted:
            return None, -1
        found = await self._answered(list(wanted)[-LOOKED_UP:], only)
        if only is not None:
            found = [candidate for candidate in found if candidate.conversation_id == only]
        if not found:
            return None, -1
        longest = max(wanted[candidate.answered_hash] for candidate in found)
        candidates = [candidate for candidate in found if wanted[candidate.answered_hash] == longest]
        if len(candidates) == 1:
            return candidates[0], longest
        return await self._choose(candidates, hashes[-1]), longest

    async def _answered(self, hashes: list[str], only: str | None) -> list[Answered]:
        """Known turns that gave one of these answers; `hashes` are one history's, the longest last.

        A history of which the ledger knew nothing is not looked up again as long as all turns since are in memory:
        examples in a prompt come with every request. Openings are alike: who else was answered so, before a restart or
        at another gateway, stands in the ledger.
        """
        longest = hashes[-1]
        if self._alone and self._recent.holds_all_since(self._in_vain.get(longest)):
            return [known for answer in hashes for known in self._recent.answered(answer)]
        found = self._recent.answered(longest)
        if only is not None:
            found = [candidate for candidate in found if candidate.conversation_id == only]
        if found and (only is not None or (self._alone and found[0].turn > 1)):
            return found
        so_far = self._recent.added
        others = await self._lookup.answered(hashes)
        if not others:
            self._in_vain[longest] = so_far
            if len(self._in_vain) > IN_VAIN:
                self._in_vain.popitem(last=False)
        mine = {candidate.request_id for candidate in found}
        return found + [other for other in others if other.request_id not in mine]

    async def _choose(self, candidates: list[Answered], history_hash: str) -> Answered:
        """One of several turns with the same history and the same answer.

        The one that this very request has continued before (a regenerated answer), else one that nobody has
        continued (two strangers with the same opening), else the newest (an edited message).
        """
        ids = [candidate.request_id for candidate in candidates]
        continued = self._recent.continuations(ids) + await self._lookup.continuations(ids)
        again = {later.parent_request_id for later in continued if later.history_hash == history_hash}
        taken = {later.parent_request_id for later in continued}
        for candidate in candidates:
            if candidate.request_id in again:
                return candidate
        return next((candidate for candidate in candidates if candidate.request_id not in taken), candidates[0])


class _Recent:
    """The latest answered turns, in memory."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, Answered] = OrderedDict()
        self._by_answer: dict[str, tuple[Answered, ...]] = {}
        self._by_parent: dict[str, tuple[Answered, ...]] = {}
        self.added = 0

    def add(self, answered: Answered) -> None:
        self.added += 1
        self._turns[answered.request_id] = answered
        for index, key in self._indices(answered):
            index[key] = (answered, *index.get(key, ()))
        if len(self._turns) > REMEMBERED:
            self._forget(self._turns.popitem(last=False)[1])

    def holds_all_since(self, added: int | None) -> bool:
        """Whether no turn is forgotten of those that were added when `added` had been before them."""
        return added is not None and self.added - added <= REMEMBERED

    def answered(self, answered_hash: str) -> list[Answered]:
        return list(self._by_answer.get(answered_hash, ()))

    def continuations(self, request_ids: Iterable[str]) -> list[Answered]:
        return [later for request_id in request_ids for later in self._by_parent.get(request_id, ())]

    def _forget(self, old: Answered) -> None:
        for index, key in self._indices(old):
            index[key] = tuple(other for other in index[key] if other is not old)
            if not index[key]:
                del index[key]

    def _indices(self, answered: Answered) -> list[tuple[dict[str, tuple[Answered, ...]], str]]:
        found = [(self._by_answer, answered.answered_hash)]
        return [*found, (self._by_parent, answered.parent_request_id)] if answered.parent_request_id else found


def _canonical(message: Message) -> bytes:
    """What of a message says who it is: role, words, tool calls and other parts, but no white space."""
    content = message.get("content")
    parts: list[Any] = []
    if isinstance(content, str):
        parts.append(_without_space(content))
    elif isinstance(content, list):
        for part in content:
            kind = part.get("type")
            if kind in ("text", "output_text", "input_text"):
                parts.append(_without_space(str(part.get("text", ""))))
            elif kind not in ("reasoning", "thinking"):
                parts.append(part)
    calls = [
        [call.get("id"), (call.get("function") or {}).get("name"), (call.get("function") or {}).get("arguments")]
        for call in message.get("tool_calls") or []
        if isinstance(call, dict)
    ]
    text = [part for part in parts if part != ""]
    return orjson.dumps([message["role"], text, calls, message.get("tool_call_id")], default=str)


def _without_space(text: str) -> str:
    """Words without the white space of ASCII: ten times as fast as splitting and joining them."""
    return text.encode(errors="surrogatepass").translate(None, b" \t\n\r\x0b\x0c").decode(errors="surrogatepass")


def _groups(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """The messages in runs that are hashed without letting go of the event loop."""
    begun, chars = 0, 0
    for index, message in enumerate(messages):
        content = message.get("content")
        chars += len(content) if isinstance(content, str | list) else 0
        if chars > HASHED_AT_ONCE_CHARS:
            yield messages[begun : index + 1]
            begun, chars = index + 1, 0
    if begun < len(messages):
        yield messages[begun:]


def _checked(value: Any, where: str, max_chars: int) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequest(f"'{where}' must be a non-empty string to serve as a conversation id.", param=where)
    if len(value) > max_chars:
        raise BadRequest(f"'{where}' is longer than {max_chars} characters.", param=where)
    if not value.isprintable():
        raise BadRequest(f"'{where}' holds control characters.", param=where)
    return value
