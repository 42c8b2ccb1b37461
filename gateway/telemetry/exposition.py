"""All series as text for Prometheus: its own format, or OpenMetrics for those who ask.

One process renders its own series here: the bytes are prometheus_client's (a test compares them), but what never
changes of a line is put together once, which makes a scrape several times faster. Several workers leave theirs in a
folder (prometheus_client's multiprocess mode, `PROMETHEUS_MULTIPROC_DIR`), where any of them sums up all (`merged.py`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.telemetry.exemplars import Exemplars, Seen, rendered
from gateway.telemetry.merged import Gauges, Merged, Sums

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that names the workers' folder; prometheus_client reads it when it is imported."""

Series = Counter | Gauge | Histogram
_text = lru_cache(maxsize=16_384)(floatToGoString)
_PAUSE_EVERY = 100
"""Children rendered before other threads get their turn: scraping must not hold up a stream."""


def is_multiprocess() -> bool:
    """Whether this process is one of several workers whose series are shown together."""
    return bool(os.environ.get(MULTIPROCESS_FOLDER))


class Exposition:
    """Renders series.

    Args:
        series: in the order in which they appear.
        process: another collector to show, such as the process's own memory; left out with several workers.
    """

    def __init__(self, series: Iterable[Series], process: Collector | None = None) -> None:
        self._series = list(series)
        self._templates: dict[Any, str] = {}
        self._lock = threading.Lock()
        self._workers = self._merged() if is_multiprocess() else None
        self.exemplars = Exemplars(_folder()) if is_multiprocess() else None
        """With several workers; one process has them in its histograms."""
        self._rest = CollectorRegistry()
        rest = Gauges(_folder()) if self._workers is not None else process
        if rest is not None:
            self._rest.register(rest)

    def _merged(self) -> Merged:
        counted = [metric for metric in self._series if not isinstance(metric, Gauge)]
        bounds = {metric._name: tuple(getattr(metric, "_upper_bounds", ())) for metric in counted}
        return Merged(_folder(), bounds, {metric._name: tuple(metric._labelnames) for metric in counted})

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, by the request's `Accept` header."""
        encode, content_type = choose_encoder(accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
        with self._lock:
            lines = self._own(openmetrics) if self._workers is None else self._of_all(self._workers, openmetrics)
            return "".join(lines).encode() + encode(self._rest), content_type

    def _own(self, openmetrics: bool) -> Iterator[str]:
        for metric in self._series:
            values_of = _LINES[type(metric)].values
            found = list(metric._metrics.items()) if metric._labelnames else [((), metric)]
            children = ((tuple(labels), values_of(child, openmetrics)) for labels, child in found)
            yield from self._lines(metric, openmetrics, children)

    def _of_all(self, workers: Merged, openmetrics: bool) -> Iterator[str]:
        workers.read()
        exemplars = self.exemplars.of_all() if openmetrics and self.exemplars is not None else {}
        for metric in self._series:
            if children := workers.children.get(metric._name):
                values_of, name = _LINES[type(metric)].values_of_sums, metric._name
                found = (
                    (labels, values_of(sums, exemplars.get((name, labels), {}))) for labels, sums in children.items()
                )
                yield from self._lines(metric, openmetrics, found)

    def _lines(
        self, metric: Series, openmetrics: bool, children: Iterable[tuple[tuple[str, ...], tuple[str, ...]]]
    ) -> Iterator[str]:
        """A metric's head, and its children's lines: of each its label values, and the values of its lines."""
        name, lines = _NAMES[type(metric)](metric, openmetrics), _LINES[type(metric)]
        text = metric._documentation.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {name} {text}\n# TYPE {name} {metric._type}\n"
        for done, (labels, values) in enumerate(children, 1):
            key = (metric._name, labels)
            template = self._templates.get(key)
            if template is None:
                template = self._templates[key] = lines.template(metric, labels)
            yield template % values
            if done % _PAUSE_EVERY == 0:
                time.sleep(0)


class _One:
    """A counter's or a gauge's single line."""

    @staticmethod
    def template(metric: Series, values: tuple[str, ...]) -> str:
        suffix = "_total" if isinstance(metric, Counter) else ""
        return f"{_fixed(metric._name + suffix, metric._labelnames, values)} %s\n"

    @staticmethod
    def values(child: Any, openmetrics: bool) -> tuple[str, ...]:
        text = _text(child._value.get())
        exemplar = child._value.get_exemplar() if openmetrics else None
        return (text + _exemplar(exemplar) if exemplar else text,)

    @staticmethod
    def values_of_sums(sums: Sums, exemplars: Mapping[int, Seen]) -> tuple[str, ...]:
        return (_text(sums[0]),)


class _Buckets:
    """A histogram's lines."""

    @staticmethod
    def template(metric: Series, values: tuple[str, ...]) -> str:
        assert isinstance(metric, Histogram)
        name, labels = metric._name, metric._labelnames
        bounds = (_text(bound) for bound in metric._upper_bounds)
        lines = [_fixed(f"{name}_bucket", (*labels, "le"), (*values, bound)) for bound in bounds]
        lines += [_fixed(f"{name}_{suffix}", labels, values) for suffix in ("count", "sum")]
        return "".join(f"{line} %s\n" for line in lines)

    @staticmethod
    def values_of_sums(sums: Sums, exemplars: Mapping[int, Seen]) -> tuple[str, ...]:
        texts = [_text(value) for value in accumulate(sums[:-1])]
        count = texts[-1]
        for place, (_, text) in exemplars.items():
            texts[place] += text
        return (*texts, count, _text(sums[-1]))

    @staticmethod
    def values(child: Any, openmetrics: bool) -> tuple[str, ...]:
        buckets = child._buckets
        texts = [_text(value) for value in accumulate(bucket.get() for bucket in buckets)]
        count = texts[-1]
        if openmetrics:
            for place, bucket in enumerate(buckets):
                if exemplar := bucket.get_exemplar():
                    texts[place] += _exemplar(exemplar)
        return (*texts, count, _text(child._sum.get()))


_LINES: dict[type[Series], Any] = {Counter: _One, Gauge: _One, Histogram: _Buckets}
_NAMES: dict[type[Series], Callable[[Series, bool], str]] = {
    Counter: lambda metric, openmetrics: metric._name if openmetrics else f"{metric._name}_total",
    Gauge: lambda metric, _: metric._name,
    Histogram: lambda metric, _: metric._name,
}


def _fixed(name: str, labels: Iterable[str], values: Iterable[str]) -> str:
    """A line up to its value, as a template: labels sorted and escaped as both formats want them."""
    pairs = sorted(zip(labels, values, strict=True))
    text = ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs)
    return (f"{name}{{{text}}}" if text else name).replace("%", "%%")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _exemplar(exemplar: Any) -> str:
    labels = ",".join([f'{name}="{_escaped(value)}"' for name, value in sorted(exemplar.labels.items())])
    return rendered(labels, exemplar.value, exemplar.timestamp)


def _folder() -> Path:
    return Path(os.environ[MULTIPROCESS_FOLDER])
