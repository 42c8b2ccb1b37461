"""`few-shot`: examples of the wanted behaviour, chosen for the question: the in-context alternative to tuning.

    system I   user E1   assistant F1   user E2   assistant F2   user U1   assistant A1   user U2   …

The examples most like the conversation's first question stand between the instruction and the conversation, so they
stay the same for all of it and come from the prefix cache from turn 2 on. `by = "last"` chooses for the newest question
instead: better examples, and no cache behind the instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from strategies.base import Message
from strategies.instruction import INSTRUCTION_ROLES, text_of
from strategies.nearness import Cosine, Jaccard
from strategies.once import Once
from strategies.parameters import whole
from strategies.turns import user_turns


class FewShot:
    """Puts the `n` examples nearest to a question ahead of the conversation.

    Nearness is the Jaccard similarity of the word sets, |A ∩ B| / |A ∪ B| (Jaccard 1912), or with `embeddings` the
    cosine of the two questions' embeddings; ties go to the earlier one.

    Args:
        examples: `{user, assistant}` pairs.
        n: how many of them.
        by: `first` or `last`, the question that they are chosen for.
        embeddings: folder of a static embedding model in Model2Vec's format, read once.
    """

    name: ClassVar[str] = "few-shot"
    append_only: ClassVar[bool] = False

    def __init__(
        self,
        examples: Sequence[Mapping[str, Any]],
        n: int = 3,
        by: str = "first",
        embeddings: str | None = None,
    ) -> None:
        if by not in ("first", "last"):
            raise ValueError(f"by must be 'first' or 'last', not {by!r}")
        self.n = whole("n", n, 1)
        self.by = by
        self._examples = [_example(one, index) for index, one in enumerate(examples)]
        if not self._examples:
            raise ValueError("examples must hold at least one pair of 'user' and 'assistant'")
        near: type[Jaccard | Cosine] = Jaccard if embeddings is None else Cosine
        self._nearness = near([user for user, _ in self._examples], embeddings)
        self._once = Once()

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        placed = self._once.place(messages, instruction)
        turns = user_turns(placed)
        if not turns:
            return placed
        asked = text_of(placed[turns[0 if self.by == "first" else -1]].get("content"))
        nearness = self._nearness.to(asked)
        nearest = sorted(range(len(nearness)), key=lambda index: -nearness[index])[: self.n]
        shown = [
            {"role": role, "content": text}
            for index in nearest
            for role, text in zip(("user", "assistant"), self._examples[index], strict=True)
        ]
        head = next(i for i, m in enumerate(placed) if m.get("role") not in INSTRUCTION_ROLES)
        return [*placed[:head], *shown, *placed[head:]]


def _example(pair: Any, index: int) -> tuple[str, str]:
    texts = [pair.get(name) if isinstance(pair, Mapping) else None for name in ("user", "assistant")]
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"examples[{index}] must have the texts 'user' and 'assistant'")
    return str(texts[0]), str(texts[1])
