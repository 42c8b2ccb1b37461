"""Counting on the way of every answer: plain numbers, which settle into Prometheus's series when these are looked at.

A turn is counted some thirty times. prometheus_client takes a lock and checks each time, half a microsecond and more;
adding to a number that only the event loop's thread touches takes a tenth of that.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_client.samples import Exemplar

from gateway.telemetry.exemplars import Exemplars


class Sums:
    """What has been added to the counters of some label values since they last settled.

    Args:
        labels: the values of the labels that all these counters begin with.
    """

    __slots__ = ("_added", "_labels")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._added: dict[tuple[Any, ...], float] = {}

    def add(self, counter: Counter, *rest: str, amount: float = 1) -> None:
        """Count; `rest` are the values of the counter's further labels."""
        key = (counter, *rest)
        self._added[key] = self._added.get(key, 0) + amount

    def settle(self) -> None:
        """Bring it into the counters."""
        added, self._added = self._added, {}
        for (counter, *rest), amount in added.items():
            counter.labels(*self._labels, *rest).inc(amount)


class Buckets:
    """What has fallen into the buckets of one histogram's child since it last settled, and the latest of each bucket.

    Args:
        labels: the child's.
    """

    __slots__ = ("_bounds", "_counts", "_labels", "_latest", "_metric", "_sum")

    def __init__(self, metric: Histogram, labels: tuple[str, ...]) -> None:
        self._metric = metric
        self._labels = labels
        self._bounds: list[float] = metric._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._latest: dict[int, tuple[float, str, float]] = {}

    def begin(self) -> None:
        """Show the child from now on."""
        self._metric.labels(*self._labels)

    def observe(self, value: float, request_id: str = "") -> None:
        """Count a value, with the id of its request as the exemplar of its bucket, where one is given."""
        place = bisect_left(self._bounds, value)
        self._counts[place] += 1
        self._sum += value
        if request_id:
            self._latest[place] = value, request_id, time.time()

    def settle(self, shared: Exemplars | None) -> None:
        """Bring it into the histogram; exemplars also into those that workers share, where there are several."""
        if not any(self._counts):
            return
        child: Any = self._metric.labels(*self._labels)
        for place, count in enumerate(self._counts):
            if count:
                child._buckets[place].inc(count)
        child._sum.inc(self._sum)
        for place, (value, request_id, at) in self._latest.items():
            if shared is not None:
                shared.saw(self._metric, self._labels, value, request_id, at)
            else:
                child._buckets[place].set_exemplar(Exemplar({"request_id": request_id}, value, at))
        self._counts, self._sum = [0] * len(self._bounds), 0.0
        self._latest.clear()
