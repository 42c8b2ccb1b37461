"""Progress on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gatt import processes

_LINE_EVERY_S = 30.0


class Bars:
    """Bars by name; `show` draws or moves one."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._printed = time.monotonic()

    @classmethod
    @contextmanager
    def on_stderr(cls) -> Iterator[Bars]:
        """Bars that are cleared up when the block ends."""
        bars = cls(Console(stderr=True, quiet=not processes.is_main()))
        with bars._progress:
            yield bars

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, name: str, done: int, total: int, note: str = "") -> None:
        """Moves the bar `name` to `done` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, note=note)
        self._progress.update(self._tasks[name], completed=done, note=note)
        if not self._console.is_terminal and time.monotonic() - self._printed > _LINE_EVERY_S:
            self._printed = time.monotonic()
            self.say(f"{name}: {done} of {total} {note}")


def quiet() -> None:
    """Has the libraries below leave the terminal to these bars."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
