"""Where the instruction goes: pure functions over OpenAI message lists.

A chat client resends the whole history with every request, so a strategy needs no memory: it reads the
client's messages and writes the messages that the model gets. Same input, same bytes, always; that is
what keeps a provider's prefix cache warm.

    >>> make("every-turn").place([{"role": "system", "content": "Speak French."}, {"role": "user", "content": "Hi"}])
    [{'role': 'user', 'content': 'Hi\\n\\nSpeak French.'}]
"""

from __future__ import annotations

from strategies.base import Message, Strategy
from strategies.instruction import instruction_of
from strategies.registry import FACTORIES, make, takes

__all__ = ["FACTORIES", "Message", "Strategy", "instruction_of", "make", "takes"]
