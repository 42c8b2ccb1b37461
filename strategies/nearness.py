"""How near a question is to each of a few examples: by its words, or by its meaning as an embedding model has it.

Both are worked out in this process, within microseconds. An embeddings API is not asked: it would be a remote call on
the way of every first question, and one that fails would change the prompt. A static model (Model2Vec: Tulkens & van
Dongen 2024, https://github.com/MinishLab/model2vec) has a vector for each token and takes their mean.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMEMBERED = 4096
MAX_CHARS = 8000
"""Of a question, as much as is looked at."""
_WORD = re.compile(r"\w+")


class Jaccard:
    """Shared words over all words of both texts."""

    def __init__(self, examples: Sequence[str], _folder: str | None = None) -> None:
        self._examples = [_words(text) for text in examples]

    def to(self, question: str) -> list[float]:
        """The nearness of each example, in their order."""
        asked = _words(question)
        return [len(asked & words) / len(asked | words) if asked | words else 0.0 for words in self._examples]


class Cosine:
    """Cosine of embeddings.

    Raises:
        ValueError: the folder holds no such model, or the library that reads it is not installed.
    """

    def __init__(self, examples: Sequence[str], folder: str | None) -> None:
        self._model = _model(folder)
        self._examples = self._embedded(list(examples))
        self.to = functools.lru_cache(maxsize=REMEMBERED)(self._to)

    def _to(self, question: str) -> list[float]:
        """The nearness of each example, in their order."""
        nearness: list[float] = (self._examples @ self._embedded([question])[0]).round(6).tolist()
        return nearness

    def _embedded(self, texts: list[str]) -> NDArray[Any]:
        """One row of length 1 a text; of length 0 where the model knows none of its tokens."""
        import numpy as np

        found = np.asarray(self._model.encode([text[:MAX_CHARS] for text in texts], use_multiprocessing=False))
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, 1.0)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


@functools.lru_cache(maxsize=8)
def _model(folder: Any) -> Any:
    if not isinstance(folder, str) or not Path(folder).is_dir():  # a name would be fetched from the network
        raise ValueError(f"embeddings must be the folder of a static embedding model, not {folder!r}")
    try:
        from model2vec import StaticModel
    except ImportError:
        raise ValueError("embeddings need the library model2vec; pip install 'gattway[embeddings]'") from None
    try:
        return StaticModel.from_pretrained(folder)
    except Exception as error:
        raise ValueError(f"embeddings: no static embedding model could be read from {folder} ({error})") from None
