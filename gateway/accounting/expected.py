"""What a conversation of a given shape costs with any strategy: places it turn by turn and asks the cache rule.

`gateway.accounting.breakeven` has formulas for the placements that it compares; here the strategy itself places made-up
messages in which a word stands for a token, so that every strategy has a cost, one of another package too.
"""

from __future__ import annotations

from itertools import takewhile

from gateway.accounting.breakeven import Shape
from gateway.accounting.caching import CacheRule, Overlap
from gateway.accounting.prices import Billed, Rates, cost_of
from strategies import Message, Strategy
from strategies.instruction import text_of


def expected_usd(strategy: Strategy, shape: Shape, rule: CacheRule, rates: Rates) -> float:
    """USD of a whole conversation. A strategy that goes by what is said sees words that mean nothing."""
    messages: list[Message] = [{"role": "system", "content": _words("i", 0, shape.instruction)}]
    before: list[str] = []
    known: list[str] = []
    total = 0.0
    for turn in range(1, shape.turns + 1):
        messages.append({"role": "user", "content": _words("u", turn, shape.user)})
        prompt = [word for message in strategy.place(messages) for word in text_of(message.get("content")).split()]
        overlap = Overlap(len(prompt), _common(prompt, before), _common(prompt, known), len(before))
        cached = rule.cached(overlap)
        cost = cost_of(rates, Billed(len(prompt), shape.answer, cached.read, cached.written))
        assert cost is not None, "there is no sound in a text conversation"
        total += cost.total
        answer = _words("a", turn, shape.answer)
        messages.append({"role": "assistant", "content": answer})
        before, known = prompt, [*prompt, *answer.split()]
    return total


def _words(kind: str, turn: int, count: int) -> str:
    return " ".join(f"{kind}{turn}.{index}" for index in range(count))


def _common(prompt: list[str], before: list[str]) -> int:
    """Words that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, before, strict=False)))
