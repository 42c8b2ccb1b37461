"""The loop of `gattway chat`, and what it shows."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable
from typing import Any, Protocol

import click
from rich.console import Console
from rich.text import Text

from gateway.errors import ConfigError, GatewayError
from gateway.terminal.session import Session, Turn

HELP = """\
/model NAME         talk to another model, arm or experiment, in a new conversation
/models             what there is to talk to
/instruction TEXT   what every answer should keep to; without TEXT: none. Begins a new conversation
/new                a new conversation
/help               this
/quit               leave, as Ctrl-D does"""

BAR_CELLS = 40


class View(Protocol):
    """Where a conversation is shown."""

    def say(self, text: str) -> None:
        """A line from the program itself."""

    def piece(self, text: str) -> None:
        """A piece of the answer."""

    def turn(self, session: Session, turn: Turn) -> None:
        """An answer has ended."""

    def fail(self, error: GatewayError) -> None:
        """A turn failed; the conversation goes on."""


def talk(session: Session, view: View, *, interactive: bool) -> None:
    """Until the input ends: one line, one turn. Ctrl-C breaks an answer off, and leaves when nothing is being said."""
    if interactive:
        view.say(f"{session.model}. Type a message, or /help.")
    while True:
        try:
            line = _line(interactive)
        except (EOFError, KeyboardInterrupt, click.Abort):
            return
        text = line.strip()
        if text in ("/quit", "/exit"):
            return
        try:
            if text.startswith("/"):
                _obey(text, session, view)
            elif text:
                _answer(text, session, view)
        except (ConfigError, GatewayError) as error:
            view.fail(error)
        except KeyboardInterrupt:
            view.say("broken off")


def _line(interactive: bool) -> str:
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - where there is one, `input` edits lines and remembers them
        return input("› ")
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _answer(text: str, session: Session, view: View) -> None:
    for part in session.ask(text):
        if isinstance(part, Turn):
            view.turn(session, part)
        else:
            view.piece(part)


def _obey(text: str, session: Session, view: View) -> None:
    command, _, rest = text.partition(" ")
    rest = rest.strip()
    if command == "/help":
        view.say(HELP)
    elif command == "/models":
        view.say("\n".join(session.models))
    elif command == "/model" and rest:
        session.choose(rest)
        view.say(f"Talking to {session.model}, in a new conversation.")
    elif command == "/instruction":
        session.instruction = rest or None
        session.restart()
        view.say(f"Instruction: {rest}" if rest else "No instruction.")
    elif command == "/new":
        session.restart()
        view.say("A new conversation.")
    else:
        view.say(f"There is no {text!r} here; /help says what there is.")


class JsonLines:
    """An object a turn on standard output; what else there is to say goes to standard error."""

    def say(self, text: str) -> None:
        """To standard error."""
        click.echo(text, err=True)

    def piece(self, text: str) -> None:
        """Nothing: the object holds the whole answer."""

    def turn(self, session: Session, turn: Turn) -> None:
        """One line of JSON: the conversation, the answer, and the ledger's row."""
        told = {"conversation_id": session.id, "model": session.model, "experiment": turn.experiment or None}
        rest = {"arm": turn.arm or None, "answer": turn.text, "usage": turn.usage or None, "turn": turn.row or None}
        click.echo(json.dumps({**told, **rest}, ensure_ascii=False))

    def fail(self, error: GatewayError) -> None:
        """As an object with OpenAI's error."""
        click.echo(json.dumps(error.body(), ensure_ascii=False))


class Screen:
    """For people. Control characters of an answer are shown, never obeyed: a model's words could move the cursor."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Dimmed."""
        self._console.print(Text(text, style="dim"))

    def piece(self, text: str) -> None:
        """At once."""
        self._console.print(Text(harmless(text)), end="")
        self._console.file.flush()

    def turn(self, session: Session, turn: Turn) -> None:
        """The figures, and the window's bar."""
        self._console.print()
        who = turn.arm or session.model
        self._console.print(Text(" · ".join(facts(who, turn)), style="dim"))
        if (bar := window(session.rows)) is not None:
            self._console.print(bar)

    def fail(self, error: GatewayError) -> None:
        """In red."""
        self._console.print(Text(harmless(error.message), style="red"))


def harmless(text: str) -> str:
    """The text with control characters other than line breaks and tabs made visible."""
    return "".join(one if one in "\n\t" or one.isprintable() else _visible(one) for one in text)


def _visible(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def facts(who: str, turn: Turn) -> Iterable[str]:
    """Who answered, turn, tokens, cost, time to first token, verdict; what is unknown is left out."""
    yield who
    if turn.number:
        yield f"turn {turn.number}"
    prompt, cached, out = (turn.figure(f"{kind}_tokens") for kind in ("prompt", "cached", "completion"))
    if prompt is not None:
        yield f"{prompt:,} token{'s' if prompt != 1 else ''} in" + ("" if cached is None else f" ({cached:,} cached)")
    if out is not None:
        yield f"{out:,} out"
    if (cost := turn.row.get("cost_usd")) is not None:
        yield f"${cost:.3g}" if cost >= 1e-4 or not cost else f"${cost:.7f}"
    if (first := turn.row.get("ttft_ms")) is not None:
        yield f"first token {first:.0f} ms"
    if (adherent := turn.row.get("adherent")) is not None:
        yield "keeps the instruction" if adherent else "left the instruction"


def window(rows: list[dict[str, Any]]) -> Text | None:
    """The bar: the instruction, its repetitions, the rest of the conversation, and what is left."""
    last = rows[-1] if rows else {}
    size, used = last.get("context_window"), last.get("context_used")
    if not size or used is None:
        return None
    instruction, repeated = last.get("instruction_tokens") or 0, last.get("repeated_instruction_tokens") or 0
    parts = ((instruction, "magenta"), (repeated, "bright_magenta"), (used - instruction - repeated, "blue"))
    bar, end, drawn = Text("▕"), 0, 0
    for tokens, style in parts:
        end += tokens
        cells = min(BAR_CELLS, round(end / size * BAR_CELLS)) - drawn
        bar.append("█" * cells, style)
        drawn += cells
    bar.append("·" * (BAR_CELLS - drawn), "dim").append("▏")
    bar.append(f" {used / size:.0%} of {size:,} tokens", "dim")
    if repeated:
        bar.append(f", {repeated:,} repeated", "dim")
    if (left := last.get("context_headroom_turns")) is not None:
        bar.append(f", {left} turn{'s' if left != 1 else ''} left", "dim")
    return bar
