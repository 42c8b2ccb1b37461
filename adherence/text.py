"""Checks of what a reply says and how it is written."""

from __future__ import annotations

import json
import re

from adherence.base import Check, CheckError

_FENCE = re.compile(r"^```[\w-]*\s*\n(.*?)\n?```$", re.DOTALL)
_EMOJI = r"\p{Emoji_Presentation}|\p{Extended_Pictographic}|\p{Regional_Indicator}{2}"


def contains(text: str, ignore_case: bool = False) -> Check:
    """The text stands anywhere in the reply."""
    wanted = _folded(text, ignore_case)
    return lambda reply: wanted in _folded(reply, ignore_case)


def starts_with(text: str, ignore_case: bool = False) -> Check:
    """The reply begins with the text, white space aside."""
    wanted = _folded(text, ignore_case)
    return lambda reply: _folded(reply, ignore_case).lstrip().startswith(wanted)


def ends_with(text: str, ignore_case: bool = False) -> Check:
    """The reply ends with the text, white space aside."""
    wanted = _folded(text, ignore_case)
    return lambda reply: _folded(reply, ignore_case).rstrip().endswith(wanted)


def word(text: str, ignore_case: bool = False) -> Check:
    """The text stands in the reply as a word of its own."""
    pattern = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE if ignore_case else 0)
    return lambda reply: pattern.search(reply) is not None


def regex(pattern: str) -> Check:
    """The pattern (Python's `re`) is found in the reply."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise CheckError(f"check 'regex': {pattern!r} is no regular expression ({error})") from error
    return lambda reply: compiled.search(reply) is not None


def quoted() -> Check:
    """The whole reply stands in double quotation marks."""
    return lambda reply: len(reply.strip()) > 1 and reply.strip()[0] in '"“' and reply.strip()[-1] in '"”'


def case(case: str) -> Check:
    """All letters are `upper` or `lower` case, and there is at least one."""
    if case not in ("upper", "lower"):
        raise CheckError(f"check 'case': case must be 'upper' or 'lower', not {case!r}")
    return str.isupper if case == "upper" else str.islower


def is_json() -> Check:
    """The reply is a JSON object or list, alone or in a Markdown code fence."""

    def holds(reply: str) -> bool:
        stripped = reply.strip()
        fenced = _FENCE.match(stripped)
        try:
            return isinstance(json.loads(fenced.group(1) if fenced else stripped), dict | list)
        except ValueError:
            return False

    return holds


def emoji(text: str | None = None) -> Check:
    """There is an emoji in the reply; with `text`, that one."""
    if text:
        return lambda reply: text in reply
    import regex as unicode_regex  # knows Unicode's properties

    found = unicode_regex.compile(_EMOJI)
    return lambda reply: found.search(reply) is not None


def _folded(text: str, ignore_case: bool) -> str:
    return text.casefold() if ignore_case else text
