"""Dialogues from files, whatever their shape: checked whole, each fault named by file and line.

    OpenAI            {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    ShareGPT          {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}
    user turns only   {"turns": ["…", "…"]}

as JSON Lines, as one JSON list (`.json`), or as a folder of Hugging Face `datasets` (`save_to_disk`) with the same
columns; of a folder with several splits, name one: `FOLDER#train`. A row with `"risky": true` is one whose answers the
safety reward model is to judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatt import files

Message = dict[str, Any]

_SHAREGPT_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
}  # fmt: skip
_SHOWN_FAULTS = 10


class DialogueError(ValueError):
    """A file of dialogues that cannot be used; each line names file, line and remedy."""


@dataclass(frozen=True)
class Dialogue:
    """A conversation: at most one system message, then user and assistant in turn; `place` says where it stood.

    `risky`: its row is tagged as one that may do harm.
    """

    id: str
    messages: tuple[Message, ...]
    place: str
    risky: bool = False

    @property
    def instruction(self) -> str | None:
        """The system message's text, if there is one."""
        return self.messages[0]["content"] if self.messages[0]["role"] == "system" else None

    @property
    def user_turns(self) -> list[str]:
        """What the user says, turn by turn."""
        return [message["content"] for message in self.messages if message["role"] == "user"]

    @property
    def answers(self) -> list[str]:
        """The assistant's answers: as many as user turns, or one fewer, or none at all."""
        return [message["content"] for message in self.messages if message["role"] == "assistant"]


def read(path: Path) -> list[Dialogue]:
    """All dialogues of a file or folder.

    Raises:
        DialogueError: it cannot be read, or dialogues are faulty; up to ten faults are named, the rest counted.
    """
    found: list[Dialogue] = []
    faults: list[str] = []
    for number, (place, row) in enumerate(_rows(path)):
        try:
            found.append(parse(row, place, f"{path.name.partition('#')[0]}-{number:06d}"))
        except DialogueError as error:
            faults.append(str(error))
    if faults:
        more = len(faults) - _SHOWN_FAULTS
        raise DialogueError(
            "\n".join([*faults[:_SHOWN_FAULTS], *([f"and {more} more such lines"] if more > 0 else [])])
        )
    if not found:
        raise DialogueError(f"{path}: holds no dialogue; give at least one")
    _refuse_twins(found)
    return found


def parse(row: Mapping[str, Any], place: str, name: str) -> Dialogue:
    """One dialogue from one row of any shape; `name` is its id unless the row has one.

    Raises:
        DialogueError: naming `place`, the fault and its remedy.
    """
    if row.get("messages") is not None:
        messages = [_openai(message, place, at) for at, message in enumerate(_list(row["messages"], place, "messages"))]
    elif row.get("conversations") is not None:
        spoken = _list(row["conversations"], place, "conversations")
        messages = [_sharegpt(message, place, at) for at, message in enumerate(spoken)]
    elif row.get("turns") is not None:
        turns = _list(row["turns"], place, "turns")
        messages = [{"role": "user", "content": _text(turn, place, f"turn {at + 1}")} for at, turn in enumerate(turns)]
        _check_some(messages, place)
        return _dialogue(row, messages, place, name)
    else:
        raise DialogueError(f"{place}: no dialogue here; give messages (OpenAI), conversations (ShareGPT) or turns")
    _check_order(messages, place)
    return _dialogue(row, messages, place, name)


def _dialogue(row: Mapping[str, Any], messages: Iterable[Message], place: str, name: str) -> Dialogue:
    risky = row.get("risky") or False
    if not isinstance(risky, bool):
        raise DialogueError(f"{place}: risky must be true or false, not {risky!r}")
    return Dialogue(str(row.get("id") or name), tuple(messages), place, risky)


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    folder, _, split = str(path).partition("#")
    if Path(folder).is_dir():
        yield from _of_datasets(folder, split)
    elif path.suffix == ".json":
        yield from _of_list(path)
    else:
        yield from _of_lines(path)


def _of_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = files.read_jsonl(path)
    except OSError as error:
        raise DialogueError(
            f"{path}: cannot be read ({error.strerror}); give a JSON Lines file of dialogues"
        ) from error
    except ValueError as error:
        raise DialogueError(str(error)) from error
    yield from ((f"{path}:{number}", row) for number, row in enumerate(rows, start=1))


def _of_list(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DialogueError(f"{path}: cannot be read ({error.strerror}); give a JSON list of dialogues") from error
    except ValueError as error:
        raise DialogueError(f"{path}: not JSON ({error})") from error
    if not isinstance(rows, list):
        raise DialogueError(f"{path}: a list of dialogues is needed; or name the file .jsonl with one on each line")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DialogueError(f"{path}: item {number}: a JSON object is needed")
        yield f"{path}: item {number}", row


def _of_datasets(folder: str, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(folder)
    except (OSError, ValueError) as error:
        raise DialogueError(
            f"{folder}: no Hugging Face datasets here ({error}); write them with save_to_disk"
        ) from error
    if isinstance(loaded, DatasetDict):
        if split not in loaded:
            raise DialogueError(f"{folder}: name one of its splits: {', '.join(f'{folder}#{name}' for name in loaded)}")
        loaded = loaded[split]
    yield from ((f"{folder}: row {number}", row) for number, row in enumerate(loaded))


def _list(value: Any, place: str, field: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise DialogueError(f"{place}: {field} must be a list that is not empty")
    return value


def _openai(message: Any, place: str, at: int) -> Message:
    if not isinstance(message, dict) or message.get("role") is None:
        raise DialogueError(f"{place}: message {at + 1} has no role; give system, user or assistant")
    role = "system" if message["role"] == "developer" else message["role"]
    if role not in ("system", "user", "assistant"):
        raise DialogueError(
            f"{place}: message {at + 1} has role {role!r}; only system, user and assistant can be tuned on"
        )
    return {"role": role, "content": _text(message.get("content"), place, f"message {at + 1}")}


def _sharegpt(message: Any, place: str, at: int) -> Message:
    if not isinstance(message, dict) or message.get("from") is None:
        raise DialogueError(f"{place}: message {at + 1} has no 'from'; give system, human or gpt")
    role = _SHAREGPT_ROLES.get(str(message["from"]))
    if role is None:
        raise DialogueError(f"{place}: message {at + 1} is from {message['from']!r}; give system, human or gpt")
    return {"role": role, "content": _text(message.get("value"), place, f"message {at + 1}")}


def _text(content: Any, place: str, where: str) -> str:
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise DialogueError(f"{place}: {where} holds parts that are no text; take them out")
        content = "\n\n".join(part["text"] for part in content)
    if not isinstance(content, str) or not content.strip():
        raise DialogueError(f"{place}: {where} is empty; give it text or take the dialogue out")
    return content


def _check_some(messages: Iterable[Message], place: str) -> None:
    if not any(message["role"] == "user" for message in messages):
        raise DialogueError(f"{place}: the user says nothing; give at least one user message")


def _check_order(messages: list[Message], place: str) -> None:
    """One system message at most, at the head; then user and assistant in turn, or user messages alone."""
    body = messages[1:] if messages[0]["role"] == "system" else messages
    _check_some(body, place)
    for at, message in enumerate(body):
        wanted = "assistant" if at % 2 else "user"
        number = at + 1 + len(messages) - len(body)
        if message["role"] == "system":
            raise DialogueError(f"{place}: message {number} is a second system message; merge it into the first")
        if message["role"] != wanted:
            said = "two user messages in a row" if message["role"] == "user" else "an answer without a question"
            remedy = "merge them or put the answer between" if message["role"] == "user" else "take it out"
            raise DialogueError(f"{place}: message {number}: {said}; {remedy}")


def _refuse_twins(dialogues: Iterable[Dialogue]) -> None:
    seen: dict[str, str] = {}
    for one in dialogues:
        if one.id in seen:
            raise DialogueError(f"{one.place}: id {one.id!r} is also that of {seen[one.id]}; give each its own")
        seen[one.id] = one.place
