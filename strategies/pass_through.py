"""`pass-through`: the client's messages, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.base import Message


class PassThrough:
    """Changes nothing, markers included."""

    name: ClassVar[str] = "pass-through"
    append_only: ClassVar[bool] = True

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """Return the messages as they are; an instruction set by the arm has no place here and is refused."""
        if instruction is not None:
            raise ValueError("pass-through places no instruction; take `once` for an arm that sets one")
        return list(messages)
