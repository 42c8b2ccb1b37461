"""A record of answers already paid for, one line each, on disk before the next is asked for.

A line that a crash cut short is dropped when the file is read again; all others count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

Row = dict[str, Any]


class Journal:
    """Append-only JSON Lines; `rows` holds what was there when it was opened and what came since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self.rows: list[Row] = []

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if self._path.exists():
            for line in self._path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self.rows.append(json.loads(line))
                whole += len(line)
            os.truncate(self._path, whole)
        self._file = self._path.open("ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Writes the rows in one go and waits until they are on disk."""
        if self._file is None:
            raise RuntimeError("a journal is written within its `with` block")
        new = list(rows)
        self._file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in new))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows += new

    def remove(self) -> None:
        """Takes the file away: what it held is now elsewhere, whole."""
        self._path.unlink(missing_ok=True)
