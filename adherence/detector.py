"""py3langid's own scores from a quarter of its memory.

As it comes it keeps 85 MB: what each of 100,000 letter sequences says for each of 142 languages, and where each letter
leads from each state. Here stay the languages that are asked for, and the transitions in blocks of 32 letters, five in
six of which are there already: 19 MB. A sentence takes as long as before.
"""

from __future__ import annotations

import lzma
import shutil
import tempfile
import zipfile
from array import array
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

BLOCK = 32
"""Letters (bytes) whose transitions stand together."""
_ODD = 0x9E3779B97F4A7C15
"""Its powers make one number of a block."""
_BLOCK_OF = bytes(letter // BLOCK for letter in range(256))
_WITHIN = bytes(letter % BLOCK for letter in range(256))


class Transitions(NamedTuple):
    """Where the letter `x` leads from the state `s`: `following[blocks[first[s] + x // BLOCK] + x % BLOCK]`."""

    first: array[int]
    blocks: array[int]
    following: array[int]


class Detector(LanguageIdentifier):  # type: ignore[misc]  # py3langid has no types
    """py3langid with its walk over the letters done on `Transitions`."""

    __slots__ = ("_transitions",)

    def __init__(
        self,
        scores: NDArray[np.float16],
        priors: NDArray[np.float32],
        languages: list[str],
        transitions: Transitions,
        sequences: array[int],
    ) -> None:
        """`scores` is [sequence, language], `priors` [language]; `sequences` is by state, -1 where none ends."""
        super().__init__(scores, priors, languages, (), sequences, norm_probs=True, tk_row=())
        self._transitions = transitions

    def _raw_score(self, text: bytes) -> Any:
        visits = self._visits(text)
        return self._sparse_score(visits, self.nb_ptc) if visits else super()._raw_score(b"")

    def _visits(self, text: bytes) -> Counter[int]:
        """How often each letter sequence stands in the text."""
        first, blocks, following = self._transitions
        sequences, state, found = self.tk_output, 0, []
        for block, letter in zip(text.translate(_BLOCK_OF), text.translate(_WITHIN), strict=True):
            state = following[blocks[first[state] + block] + letter]
            sequence = sequences[state]
            if sequence >= 0:
                found.append(sequence)
        return Counter(found)


def load(languages: Collection[str]) -> Detector:
    """The detector for these languages (two-letter codes); takes half a second, most of it unpacking.

    The tables are read from a file that is mapped into memory and gone afterwards: what is only passed through is not
    allocated, and leaves no holes.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with lzma.open(MODEL_DIR / MODEL_FILE) as packed, (folder / "model").open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        with zipfile.ZipFile(folder / "model") as tables:
            tables.extractall(folder)
        model = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    transitions = _transitions(model.pop("nextmove"), model["nextmove_row"])
    classes = model["classes"].tolist()
    columns = [index for index, code in enumerate(classes) if code in languages]
    return Detector(
        np.ascontiguousarray(model["ptc"][:, columns]),
        model["pc"][columns],
        [classes[index] for index in columns],
        transitions,
        array("i", model["out_feat"].tobytes()),
    )


def _transitions(rows: NDArray[np.unsignedinteger[Any]], row_of_state: NDArray[np.unsignedinteger[Any]]) -> Transitions:
    """Args: `rows` of 256 states each, one behind the other; `row_of_state` which of them is a state's."""
    columns = np.asarray(rows).reshape(-1, BLOCK).T
    marks = np.zeros(columns.shape[1], dtype=np.uint64)
    for power, column in enumerate(columns, 1):
        marks += column * np.uint64(pow(_ODD, power, 2**64))
    _, one, block_of = np.unique(marks, return_index=True, return_inverse=True)
    if not all(np.array_equal(column[one][block_of], column) for column in columns):  # two blocks with one mark
        one = block_of = np.arange(columns.shape[1])
    following = array("I", np.ascontiguousarray(columns.T[one], dtype=np.uint32).tobytes())
    blocks = array("I", (block_of * BLOCK).astype(np.uint32).tobytes())
    return Transitions(array("I", (row_of_state.astype(np.uint32) * (256 // BLOCK)).tobytes()), blocks, following)
