"""The series of several workers, summed up from their files.

Each worker keeps its counters and histograms in files of prometheus_client's multiprocess mode: `counter_PID.db`,
`histogram_PID.db`. A file is a list that only grows: length, then entries of a key (JSON: metric, sample, labels, help)
and two doubles. What a key means is worked out once; a scrape then adds up numbers. The few gauges are left to the
library's own merging.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

_HEAD = 8
_text: Callable[[float], str] = floatToGoString
_length = struct.Struct("i").unpack_from
_value = struct.Struct("d").unpack_from

Sums = list[float]
"""A counter's value; or a histogram's buckets, not cumulated, and behind them its sum."""
_Cell = tuple[Sums, int]


class Merged:
    """Counters and histograms of all workers.

    Args:
        folder: where the workers' files are.
        bounds: metric → upper bounds of its buckets, () for a counter; other metrics are not looked at.
        labels: metric → its labels, in order.
    """

    def __init__(self, folder: Path, bounds: dict[str, tuple[float, ...]], labels: dict[str, tuple[str, ...]]) -> None:
        self._folder = folder
        self._slots = {name: {_text(bound): at for at, bound in enumerate(one)} for name, one in bounds.items()}
        self._labels = labels
        self._files: dict[Path, _File] = {}
        self.children: dict[str, dict[tuple[str, ...], Sums]] = {name: {} for name in bounds}
        """Metric → label values → what is counted, as of the last `read`."""
        self._nowhere: _Cell = ([0.0], 0)

    def read(self) -> None:
        """Add up what the workers have counted by now, those that have ended included."""
        for children in self.children.values():
            for sums in children.values():
                sums[:] = [0.0] * len(sums)
        for kind in ("counter", "histogram"):
            for path in sorted(self._folder.glob(f"{kind}_*.db")):
                file = self._files.setdefault(path, _File())
                for (sums, at), value in file.read(path.read_bytes(), self._cell):
                    sums[at] += value

    def _cell(self, key: str) -> _Cell:
        """Where the value of a key belongs."""
        metric, sample, labels, _ = json.loads(key)
        slots = self._slots.get(metric)
        if slots is None:
            return self._nowhere
        bound = labels.pop("le", None)
        values = tuple(labels[name] for name in self._labels[metric])
        sums = self.children[metric].setdefault(values, [0.0] * (len(slots) + 1))
        if bound is not None:
            return sums, slots[bound]
        return sums, len(slots) if sample.endswith("_sum") else 0


class _File:
    """One worker's file, as far as it has been understood."""

    def __init__(self) -> None:
        self._understood = _HEAD
        self._cells: list[_Cell] = []
        self._places: list[int] = []

    def read(self, data: bytes, cell: Callable[[str], _Cell]) -> Iterator[tuple[_Cell, float]]:
        """Each value with where it belongs."""
        used = _length(data, 0)[0] if data else 0
        if used < self._understood:
            self._understood, self._cells, self._places = _HEAD, [], []  # another file under the same name
        while self._understood < used:
            length = _length(data, self._understood)[0]
            begin = self._understood + 4
            place = begin + length + 8 - (length + 4) % 8
            self._cells.append(cell(data[begin : begin + length].decode()))
            self._places.append(place)
            self._understood = place + 16
        return zip(self._cells, [_value(data, place)[0] for place in self._places], strict=True)


class Gauges:
    """A collector of all workers' gauges."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client's `Collector`."""
        files = [str(path) for path in self._folder.glob("gauge_*.db")]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged
