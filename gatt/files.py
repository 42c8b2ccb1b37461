"""JSON files that are whole or not there: everything is written beside its place, then renamed."""

from __future__ import annotations

import codecs
import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write_text(path: Path, text: str) -> None:
    """Writes `text` so that a reader sees the old file or the new one, never a part.

    Raises:
        OSError: naming the file, with nothing left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line; the same rows give the same bytes."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[Row]:
    """The objects of a JSON Lines file.

    Raises:
        ValueError: naming file and line, where a line is no JSON object or no UTF-8.
    """
    rows: list[Row] = []
    # str.splitlines would also cut at what Unicode calls the end of a line.
    lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    for number, line in enumerate(lines if lines[-1].strip() else lines[:-1], start=1):
        if not line.strip():
            raise ValueError(f"{path}:{number}: the line is empty; take it out")
        try:
            row = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number}: a JSON object is needed, not {str(row)[:60]!r}")
        rows.append(row)
    return rows


def seen(path: Path) -> list[int] | None:
    """What tells that a file is another than it was, its bytes unread; None where there is none."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None


def result_head(command: str) -> Row:
    """What every result file carries: schema version, time, command, machine, package versions."""
    return {
        "schema_version": 1,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version()} | _versions("torch", "transformers", "trl", "datasets"),
    }


def _versions(*names: str) -> dict[str, str | None]:
    def of(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {name: of(name) for name in names}
