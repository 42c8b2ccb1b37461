"""In which language a reply is, by langdetect (extra `adherence`), which knows 55 of them.

Statistics over letter sequences are sure of a paragraph and guess at a few words, above all between close relatives
(Spanish and Catalan). Below `SURE_CHARS` letters only a clear hit counts, and everything else is unknown.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from adherence.base import Check, CheckError

SURE_CHARS = 40
SURE_SHARE = 0.9
CODES = {
    "afrikaans": "af", "arabic": "ar", "bulgarian": "bg", "bengali": "bn", "catalan": "ca", "czech": "cs",
    "welsh": "cy", "danish": "da", "german": "de", "greek": "el", "english": "en", "spanish": "es", "estonian": "et",
    "persian": "fa", "farsi": "fa", "finnish": "fi", "french": "fr", "gujarati": "gu", "hebrew": "he", "hindi": "hi",
    "croatian": "hr", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja", "kannada": "kn",
    "korean": "ko", "lithuanian": "lt", "latvian": "lv", "macedonian": "mk", "malayalam": "ml", "marathi": "mr",
    "nepali": "ne", "dutch": "nl", "norwegian": "no", "punjabi": "pa", "polish": "pl", "portuguese": "pt",
    "romanian": "ro", "russian": "ru", "slovak": "sk", "slovenian": "sl", "somali": "so", "albanian": "sq",
    "swedish": "sv", "swahili": "sw", "tamil": "ta", "telugu": "te", "thai": "th", "tagalog": "tl", "turkish": "tr",
    "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi", "chinese": "zh",
}  # fmt: skip
"""English names of languages to the codes of ISO 639-1."""

_LETTERS = re.compile(r"[^\W\d_]")


def language(language: str) -> Check:
    """The reply is in that language: its English name or two-letter code."""
    code = CODES.get(language.casefold(), language.casefold())
    if code not in CODES.values():
        raise CheckError(f"check 'language': {language!r} is not known; name one of {', '.join(sorted(CODES))}")
    _detector()

    def holds(reply: str) -> bool | None:
        letters = len(_LETTERS.findall(reply))
        shares = _shares(reply) if letters else {}
        if not shares:
            return None
        if letters < SURE_CHARS:
            return True if shares.get(code, 0.0) >= SURE_SHARE else None
        return max(shares, key=lambda one: shares[one]) == code

    return holds


def _shares(text: str) -> dict[str, float]:
    """Probability by language code; empty where there is nothing to go by. Chinese is one language here."""
    detect_langs, failure = _detector()
    try:
        found = detect_langs(text)
    except failure:
        return {}
    shares: dict[str, float] = {}
    for one in found:
        code = one.lang.split("-")[0]
        shares[code] = shares.get(code, 0.0) + one.prob
    return shares


@functools.cache
def _detector() -> tuple[Any, type[Exception]]:
    try:
        import langdetect
    except ImportError:
        raise CheckError("check 'language' needs langdetect: pip install 'gattway[adherence]'") from None
    langdetect.DetectorFactory.seed = 0  # it draws samples; the same text must get the same verdict
    return langdetect.detect_langs, langdetect.LangDetectException
