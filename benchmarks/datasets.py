"""Conversations from published benchmarks' own files, which lie on this machine: nothing is fetched.

- Multi-IF (He et al. 2024, arXiv 2410.15553): CSV with `turn_1_prompt`, `turn_1_instruction_id_list`,
  `turn_1_kwargs` …; IFEval's verifiers decide.
- MultiChallenge (Sirdeshmukh et al. 2025, arXiv 2501.17399): JSON lines with `CONVERSATION` and
  `TARGET_QUESTION`; a judge decides.
- SysBench (Qin et al. 2024, arXiv 2408.10943): JSON list with `system_id`, `messages`, `prompt_infos`; a judge.
- As persona_drift has it (Li et al. 2024, arXiv 2402.10962): JSON list of `{prompt, probe, check}`; checks decide.
  With `chat` (the user's messages) the probe is asked after each of them, on a fork.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adherence.checks import Check, parse
from benchmarks import script
from benchmarks.script import Script, ScriptTurn


def load(path: Path) -> list[Script]:
    """Read a file of any of these formats, or of gattway's own.

    Raises:
        ValueError: naming file, place and what is wrong with it.
        OSError: it cannot be read.
    """
    if path.suffix == ".csv":
        return list(_multi_if(path))
    if path.suffix == ".json":
        return list(_json_list(path))
    with path.open(encoding="utf-8") as lines:
        is_multi_challenge = '"CONVERSATION"' in lines.readline()
    return list(_multi_challenge(path)) if is_multi_challenge else script.load(path)


def _multi_if(path: Path) -> Iterator[Script]:
    csv.field_size_limit(2**24)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        missing = {"turn_1_prompt", "turn_1_instruction_id_list", "turn_1_kwargs"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: not Multi-IF: the columns {', '.join(sorted(missing))} are missing")
        for number, row in enumerate(rows, start=2):
            place = f"{path}:{number}"
            turns = tuple(_multi_if_turns(row, place))
            yield Script(
                id=f"multi-if-{row.get('key') or number}",
                split=f"multi-if-{row.get('language') or 'unknown'}",
                families=(),
                instruction=None,
                checks=(),
                turns=turns,
                repeats=False,
            )


def _multi_if_turns(row: dict[str, str], place: str) -> Iterator[ScriptTurn]:
    for turn in range(1, 100):
        prompt = row.get(f"turn_{turn}_prompt")
        if not prompt or prompt in ("None", "null"):
            return
        message = _object(prompt, f"{place}: turn_{turn}_prompt") if prompt.lstrip().startswith("{") else None
        ids = _json(row.get(f"turn_{turn}_instruction_id_list") or "[]", f"{place}: turn_{turn}_instruction_id_list")
        given = _json(row.get(f"turn_{turn}_kwargs") or "[]", f"{place}: turn_{turn}_kwargs")
        if not isinstance(ids, list) or not isinstance(given, list) or len(ids) != len(given):
            raise ValueError(f"{place}: turn_{turn}: a list of arguments is needed for each of the instruction ids")
        user = str(message["content"]) if message else prompt
        yield ScriptTurn(user, None, tuple(_ifeval(one, kwargs, place) for one, kwargs in zip(ids, given, strict=True)))


def _ifeval(name: Any, kwargs: Any, place: str) -> Check:
    arguments = _json(kwargs, place) if isinstance(kwargs, str) else kwargs
    known = {key: value for key, value in (arguments or {}).items() if value is not None}
    prompt = known.pop("prompt_to_repeat", None)
    spec = {"kind": "ifeval", "id": name, "arguments": known}
    if prompt:
        spec["arguments"] = {"prompt_to_repeat": prompt}
    try:
        return parse(spec)
    except ValueError as error:
        if "unknown id" in str(error) or "punkt" in str(error):
            return lambda _reply: None  # a verifier that is not at hand decides nothing
        raise ValueError(f"{place}: {error}") from None


def _multi_challenge(path: Path) -> Iterator[Script]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path}:{number}"
            row = _object(line, place)
            said = _messages(row.get("CONVERSATION"), f"{place}: CONVERSATION")
            if not said or said[-1]["role"] != "user":
                raise ValueError(f"{place}: CONVERSATION must end with the user message that is to be answered")
            wanted = str(row.get("PASS_CRITERIA", "YES")).upper()
            criterion = f"The answer to the question {row.get('TARGET_QUESTION')!r} about the reply must be {wanted}."
            yield Script(
                id=f"multichallenge-{row.get('QUESTION_ID') or number}",
                split=f"multichallenge-{str(row.get('AXIS', 'unknown')).lower()}",
                families=(),
                instruction=None,
                checks=(),
                turns=(ScriptTurn(said[-1]["content"], None, (), criterion),),
                repeats=False,
                history=tuple(said[:-1]),
            )


def _json_list(path: Path) -> Iterator[Script]:
    found = _json(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{path}: neither SysBench nor a list of prompts and probes: a list of objects is needed")
    read = _persona if "probe" in found[0] else _sysbench
    for number, one in enumerate(found):
        yield read(one, number, f"{path}[{number}]")


def _persona(one: dict[str, Any], number: int, place: str) -> Script:
    for field in ("prompt", "probe", "check"):
        if not one.get(field):
            raise ValueError(f"{place}: {field!r} is missing; an entry has a prompt, a probe and a check")
    if not isinstance(chat := one.get("chat", []), list) or not all(isinstance(text, str) for text in chat):
        raise ValueError(f"{place}: 'chat' must be a list of the user's messages")
    try:
        check = parse(one["check"])
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    probe = str(one["probe"])
    turns = tuple(ScriptTurn(text, None, (check,), probe=probe) for text in chat) or (
        ScriptTurn(probe, None, (check,)),
    )
    return Script(f"persona-{number}", "persona", (), str(one["prompt"]), (), turns, repeats=not chat)


def _sysbench(one: dict[str, Any], number: int, place: str) -> Script:
    said = _messages(one.get("messages"), f"{place}: messages")
    system = [message["content"] for message in said if message["role"] == "system"]
    users = [message["content"] for message in said if message["role"] == "user"]
    if not system or not users:
        raise ValueError(f"{place}: not SysBench: 'messages' needs a system message and user messages")
    infos = one.get("prompt_infos") or []
    turns = []
    for index, user in enumerate(users):
        criteria = infos[index].get("criteria") if index < len(infos) and isinstance(infos[index], dict) else None
        listed = criteria.values() if isinstance(criteria, dict) else criteria or ()
        wanted = " ".join(str(c.get("criteria_content", c) if isinstance(c, dict) else c) for c in listed)
        turns.append(ScriptTurn(user, None, (), wanted or system[0]))
    return Script(
        f"sysbench-{one.get('system_id', number)}-{number}", "sysbench", (), system[0], (), tuple(turns), repeats=False
    )


def _messages(value: Any, place: str) -> list[dict[str, str]]:
    well = isinstance(value, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
    )
    if not well:
        raise ValueError(f"{place}: a list of messages with 'role' and 'content' is needed")
    return [{"role": message["role"], "content": message["content"]} for message in value]


def _object(text: str, place: str) -> dict[str, Any]:
    found = _json(text, place)
    if not isinstance(found, dict):
        raise ValueError(f"{place}: a JSON object is needed")
    return found


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{place}: no JSON: {error}") from None
