"""The detector beside py3langid as it comes: the same scores, from a quarter of the memory."""

import sys

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from adherence.detector import Detector, load

LANGUAGES = {"de", "en", "fr", "ja", "no", "ru", "sr"}
TEXTS = [
    *(
        "The captain lives by the sea.",
        "Die Hauptstadt liegt an einem Fluss.",
        "La capitale se trouve au bord du fleuve",
    ),
    *("首都は東京です。", "СТОЛИЦА РОССИИ", "Главни град је на реци.", "Hovedstaden ligger ved en elv."),
    *("", "1 2 3", "é", "a\ud800b", "x" * 3000),
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load(LANGUAGES)


@pytest.fixture(scope="module")
def as_it_comes() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier


@pytest.mark.parametrize("text", TEXTS)
def test_every_score_is_py3langids(detector: Detector, as_it_comes: LanguageIdentifier, text: str) -> None:
    assert detector.rank(text) == as_it_comes.rank(text)


def test_its_transitions_are_kept_once(detector: Detector, as_it_comes: LanguageIdentifier) -> None:
    assert sum(map(sys.getsizeof, detector._transitions)) < sys.getsizeof(as_it_comes.tk_nextmove) / 4
