"""In which language a reply is, by py3langid (extra `adherence`), out of the languages in `CODES`.

Statistics over letter sequences are sure of a paragraph and guess at a few words, above all between close relatives
(Spanish and Catalan). Below `SURE_CHARS` letters only a clear hit counts, and everything else is unknown. Of a long
reply three pieces are read. A sentence takes some 30 µs, a long reply 90.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from itertools import islice

from adherence.base import Check, CheckError

SURE_CHARS = 40
SURE_SHARE = 0.8
"""Of 247 short sentences of the miniature's world that reached it, none was given to another language."""
PIECE_CHARS = 150
"""Characters read of a long reply at its beginning, in its middle and at its end."""
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
_loading = threading.Lock()


def language(language: str) -> Check:
    """The reply is in that language: its English name or two-letter code."""
    code = CODES.get(language.casefold(), language.casefold())
    if code not in CODES.values():
        raise CheckError(f"check 'language': {language!r} is not known; name one of {', '.join(sorted(CODES))}")
    _detector()

    def holds(reply: str) -> bool | None:
        letters = sum(1 for _ in islice(_LETTERS.finditer(reply), SURE_CHARS))
        if not letters:
            return None
        likeliest, share = _detector()(_pieces(reply))
        if letters < SURE_CHARS:
            return True if likeliest == code and share >= SURE_SHARE else None
        return likeliest == code

    return holds


def _pieces(text: str) -> str:
    """Of a long text its beginning, middle and end; a short one whole."""
    if len(text) <= 3 * PIECE_CHARS:
        return text
    middle = (len(text) - PIECE_CHARS) // 2
    return "\n".join((text[:PIECE_CHARS], text[middle : middle + PIECE_CHARS], text[-PIECE_CHARS:]))


def _detector() -> Callable[[str], tuple[str, float]]:
    """What gives a text's likeliest language, and its probability."""
    with _loading:  # threads that come meanwhile wait, and do not read the model as well
        return _loaded()


@functools.cache
def _loaded() -> Callable[[str], tuple[str, float]]:
    try:
        from adherence.detector import load
    except ImportError:
        raise CheckError("check 'language' needs py3langid: pip install 'gattway[adherence]'") from None
    classify: Callable[[str], tuple[str, float]] = load(set(CODES.values())).classify
    return classify
