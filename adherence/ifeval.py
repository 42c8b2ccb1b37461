"""IFEval's verifiers (Zhou et al. 2023, arXiv 2311.07911) as lm-evaluation-harness keeps them (extra `adherence`).

    {"kind": "ifeval", "id": "detectable_format:number_bullet_lists", "arguments": {"num_bullets": 3}}

Two of them split text with NLTK's `punkt_tab` data, which is no part of any package: they are refused unless the data
is on this machine, and `sentences` and `regex` here take their place. Nothing is ever fetched.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from adherence.base import Check, CheckError

_WITH_PUNKT = {"length_constraints:number_sentences", "change_case:capital_word_frequency"}


def ifeval(id: str, arguments: Mapping[str, Any] | None = None, prompt: str | None = None) -> Check:
    """The verifier `id` with IFEval's own arguments; `prompt` for the one that wants the request repeated."""
    verifiers = _verifiers()
    if id not in verifiers:
        raise CheckError(f"check 'ifeval': unknown id {id!r}; choose one of {', '.join(sorted(verifiers))}")
    if id in _WITH_PUNKT and not _has_punkt():
        raise CheckError(
            f"check 'ifeval': {id} needs NLTK's punkt_tab data on this machine "
            "(python -m nltk.downloader punkt_tab); or take the kind 'sentences' or 'regex'"
        )
    verifier = verifiers[id](id)
    given = dict(arguments or {})
    try:
        verifier.build_description(**given)
        wanted = verifier.get_instruction_args() or {}
        if prompt is not None and "prompt_to_repeat" in wanted:
            verifier.build_description(**{**given, "prompt_to_repeat": prompt})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckError(f"check 'ifeval': {id} cannot take the arguments {given!r} ({error})") from None
    missing = sorted(name for name in verifier.get_instruction_args_keys() if name not in given)
    if missing and missing != ["prompt_to_repeat"]:
        raise CheckError(f"check 'ifeval': {id} needs the arguments {', '.join(missing)}; it would draw them at random")
    return lambda reply: bool(reply.strip()) and bool(verifier.check_following(reply))


@functools.cache
def _verifiers() -> dict[str, Any]:
    try:
        with _rank_that_downloads_nothing():
            from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
    except ImportError:
        raise CheckError("check 'ifeval' needs lm-evaluation-harness: pip install 'gattway[adherence]'") from None
    return dict(INSTRUCTION_DICT)


def _has_punkt() -> bool:
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


@contextmanager
def _rank_that_downloads_nothing() -> Iterator[None]:
    """The module fetches NLTK's data when it is imported, on local rank 0 alone: be another one while it is."""
    before = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = before
