"""Turns as JSON Lines, CSV or Parquet, a batch at a time, so that ten million need no more memory than a few."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, Any

import orjson
from sqlalchemy import JSON, Boolean, Column, Float, Integer

from gateway.errors import ConfigError
from gateway.ledger.store import PUBLIC_TURN

Row = dict[str, Any]
Batches = Iterator[list[Row]]


def write_jsonl(batches: Batches, out: IO[bytes]) -> int:
    """One JSON object a line, every column in each. Gives the number of rows."""
    count = 0
    for rows in batches:
        out.writelines(orjson.dumps(row) + b"\n" for row in rows)
        count += len(rows)
    return count


def write_csv(batches: Batches, out: IO[bytes]) -> int:
    """RFC 4180 with a heading, UTF-8; unknown figures are empty, nested columns JSON text. Gives the number of rows."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([column.name for column in PUBLIC_TURN])
    count = 0
    for rows in batches:
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
        count += len(rows)
    text.detach()
    return count


def write_parquet(batches: Batches, out: IO[bytes]) -> int:
    """Typed columns, `started_at` as a UTC timestamp in microseconds, nested columns JSON text. Gives the rows.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("Parquet needs the extra 'parquet'; pip install 'gattway[parquet]'") from None
    schema = pa.schema([(column.name, _arrow_type(column)) for column in PUBLIC_TURN])
    count = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for rows in batches:
            columns = [[_parquet(name, row[name]) for row in rows] for name in schema.names]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


FORMATS: dict[str, Callable[[Batches, IO[bytes]], int]] = {
    "json": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
}


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _parquet(name: str, value: Any) -> Any:
    if value is not None and name == "started_at":
        return datetime.fromisoformat(value)
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _arrow_type(column: Column[Any]) -> Any:
    import pyarrow as pa

    if column.name == "started_at":
        return pa.timestamp("us", tz="UTC")
    if isinstance(column.type, JSON):
        return pa.string()
    kinds = {Boolean: pa.bool_(), Integer: pa.int64(), Float: pa.float64()}
    return kinds.get(type(column.type), pa.string())
