"""What settles into the series is what prometheus_client itself would have counted."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gateway.telemetry.tallies import Buckets, Sums

BOUNDS = (0.5, 1, 10)


def series() -> tuple[CollectorRegistry, Counter, Histogram]:
    registry = CollectorRegistry()
    counter = Counter("c", "Counts.", ["arm", "kind"], registry=registry)
    return registry, counter, Histogram("h", "Spreads.", ["arm"], buckets=BOUNDS, registry=registry)


@settings(deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 8.0, 10.0, 11.0]), max_size=20), cut=st.integers(0, 20)
)
def test_settling_once_or_often_counts_as_the_library_does(values: list[float], cut: int) -> None:
    theirs, their_counter, their_histogram = series()
    ours, counter, histogram = series()
    sums, buckets = Sums(("a",)), Buckets(histogram, ("a",))
    buckets.begin()
    their_histogram.labels("a")
    for number, value in enumerate(values):
        their_counter.labels("a", "x").inc(value)
        their_histogram.labels("a").observe(value)
        sums.add(counter, "x", amount=value)
        buckets.observe(value)
        if number == cut:
            sums.settle()
            buckets.settle(None)
    sums.settle()
    buckets.settle(None)
    assert _counted(ours) == _counted(theirs)


def test_a_bucket_keeps_the_id_of_its_latest_request() -> None:
    _, _, histogram = series()
    buckets = Buckets(histogram, ("a",))
    for number, value in enumerate([0.1, 0.2, 5.0]):
        buckets.observe(value, f"req_{number}")
    buckets.settle(None)
    found = [bucket.get_exemplar() for bucket in histogram.labels("a")._buckets]
    assert [one and one.labels["request_id"] for one in found] == ["req_1", None, "req_2", None]


def _counted(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
