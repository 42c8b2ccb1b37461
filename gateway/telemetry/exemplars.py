"""Exemplars of several workers, which prometheus_client's multiprocess mode does not keep.

Each worker remembers the latest exemplar of each of its buckets and leaves them in a file of the workers' folder once a
second; whichever worker is asked shows the newest of all.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

import orjson
from prometheus_client import Histogram
from prometheus_client.utils import floatToGoString

Key = tuple[str, tuple[str, ...]]
"""A histogram's name, and the label values of one of its children."""
Seen = tuple[float, str]
"""When an exemplar was seen, and its text behind the bucket's value."""


def rendered(labels: str, value: float, timestamp: float | None) -> str:
    """An exemplar as OpenMetrics has it; `labels` are escaped already."""
    return f" # {{{labels}}} {floatToGoString(value)} {timestamp}"  # type: ignore[no-untyped-call]


class Exemplars:
    """This worker's exemplars, and those that all workers have left.

    Args:
        folder: where the workers' files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: dict[Key, dict[int, Seen]] = {}
        self._is_new = False

    def saw(self, metric: Histogram, labels: tuple[str, ...], value: float, request_id: str, at: float) -> None:
        """Remember a request, by the gateway's own id for it, as its bucket's latest; `at` in seconds since 1970."""
        bucket = bisect_left(metric._upper_bounds, value)
        text = rendered(f'request_id="{request_id}"', value, at)
        self._own.setdefault((metric._name, labels), {})[bucket] = (at, text)
        self._is_new = True

    def publish(self) -> None:
        """Leave them for the other workers, all or none; does nothing where none is new."""
        if not self._is_new:
            return
        self._is_new = False
        children = [(*key, list(buckets.items())) for key, buckets in list(self._own.items())]
        path = self._path()
        new = path.with_suffix(".new")
        new.write_bytes(orjson.dumps(children))
        new.replace(path)

    def of_all(self) -> dict[Key, dict[int, Seen]]:
        """The newest exemplar of each bucket, by the bucket's place; of other workers, what they have published."""
        found = {key: dict(buckets) for key, buckets in self._own.items()}
        for path in self._folder.glob("exemplars_*.json"):
            if path != self._path():
                _take_newer(found, orjson.loads(path.read_bytes()))
        return found

    def _path(self) -> Path:
        return self._folder / f"exemplars_{os.getpid()}.json"


def _take_newer(
    found: dict[Key, dict[int, Seen]], children: Iterable[tuple[str, list[str], list[tuple[int, Seen]]]]
) -> None:
    for name, labels, buckets in children:
        known = found.setdefault((name, tuple(labels)), {})
        for bucket, seen in buckets:
            if bucket not in known or known[bucket][0] < seen[0]:
                known[bucket] = seen
