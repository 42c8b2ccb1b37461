"""Exemplars of several workers, which prometheus_client's multiprocess mode does not keep.

Each worker remembers the latest exemplar of each of its buckets and leaves them in a file of the workers' folder once a
second, and when it is scraped itself; whichever worker is asked shows the newest of all.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from pathlib import Path

import orjson
from prometheus_client import Histogram
from prometheus_client.samples import Exemplar

Key = tuple[str, tuple[str, ...]]
"""A histogram's name, and the label values of one of its children."""


class Exemplars:
    """This worker's exemplars, and those that all workers have left.

    Args:
        folder: where the workers' files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: dict[tuple[Key, int], tuple[str, float, float]] = {}
        self._is_new = False

    def saw(self, metric: Histogram, labels: tuple[str, ...], value: float, request_id: str) -> None:
        """Remember a request as its bucket's latest."""
        bucket = bisect_left(metric._upper_bounds, value)
        self._own[(metric._name, labels), bucket] = (request_id, value, time.time())
        self._is_new = True

    def publish(self) -> None:
        """Leave them for the other workers, all or none; does nothing where none is new."""
        if not self._is_new:
            return
        self._is_new = False
        lines = [(*key, bucket, *seen) for (key, bucket), seen in list(self._own.items())]
        path = self._folder / f"exemplars_{os.getpid()}.json"
        new = path.with_suffix(".new")
        new.write_bytes(orjson.dumps(lines))
        new.replace(path)

    def of_all(self) -> dict[Key, dict[int, Exemplar]]:
        """The newest exemplar of each bucket, by the bucket's place."""
        self.publish()
        found: dict[Key, dict[int, Exemplar]] = {}
        for path in self._folder.glob("exemplars_*.json"):
            for name, labels, bucket, request_id, value, timestamp in orjson.loads(path.read_bytes()):
                buckets = found.setdefault((name, tuple(labels)), {})
                known = buckets.get(bucket)
                if known is None or (known.timestamp or 0) < timestamp:
                    buckets[bucket] = Exemplar({"request_id": request_id}, value, timestamp)
        return found
