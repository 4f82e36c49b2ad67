"""Counters, gauges and histograms in the text format that Prometheus reads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Labels = tuple[str, ...]
Gauge = Callable[[], Mapping[Labels, float]]
"""Reads the values of a gauge, by label values, when somebody asks for them."""


def _quote(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _sample(name: str, names: Labels, values: Labels, number: float) -> str:
    labels = ",".join(f'{label}="{_quote(value)}"' for label, value in zip(names, values, strict=True))
    return f"{name}{{{labels}}} {number:.12g}" if labels else f"{name} {number:.12g}"


class Counter:
    """A number that only grows, one for each combination of label values."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels = ()):
        self.name, self.help, self.labels = name, help_text, labels
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}
        self._lock = threading.Lock()

    def add(self, *values: str, amount: float = 1.0) -> None:
        with self._lock:
            self._values[values] = self._values.get(values, 0.0) + amount

    def value(self, *values: str) -> float:
        return self._values.get(values, 0.0)

    def lines(self) -> Iterator[str]:
        with self._lock:
            values = dict(self._values)
        for labels in sorted(values):
            yield _sample(self.name, self.labels, labels, values[labels])


class Histogram:
    """How many observations were at most each bucket's bound, their sum and their number, by label values."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, labels: Labels = (), buckets: tuple[float, ...] = LATENCY_BUCKETS_S):
        self.name, self.help, self.labels, self.buckets = name, help_text, labels, buckets
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, amount: float, *values: str) -> None:
        with self._lock:
            counts = self._counts.setdefault(values, [0] * (len(self.buckets) + 1))
            counts[bisect_left(self.buckets, amount)] += 1
            self._sums[values] = self._sums.get(values, 0.0) + amount

    def lines(self) -> Iterator[str]:
        with self._lock:
            snapshot = {labels: (list(counts), self._sums[labels]) for labels, counts in self._counts.items()}
        for labels in sorted(snapshot):
            counts, total = snapshot[labels]
            running = 0
            for bound, count in zip((*map(str, self.buckets), "+Inf"), counts, strict=True):
                running += count
                yield _sample(f"{self.name}_bucket", (*self.labels, "le"), (*labels, bound), running)
            yield _sample(f"{self.name}_sum", self.labels, labels, total)
            yield _sample(f"{self.name}_count", self.labels, labels, running)


class ReadGauge:
    """A value that is read when it is asked for."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, labels: Labels, read: Gauge):
        self.name, self.help, self.labels, self._read = name, help_text, labels, read

    def lines(self) -> Iterator[str]:
        for labels, number in sorted(self._read().items()):
            yield _sample(self.name, self.labels, labels, number)


class Metrics:
    """Everything one server process counts. With several workers each counts for itself."""

    def __init__(self) -> None:
        self.requests = Counter("corkboard_requests_total", "Answers by route and status.", ("route", "status"))
        self.seconds = Histogram("corkboard_request_seconds", "Time to answer by route, in seconds.", ("route",))
        self.notes = Counter("corkboard_notes_total", "Pages that were computed with less than everything, by what was missing.", ("code",))
        self.pages = Counter("corkboard_pages_total", "Pages served, by release.", ("release",))
        self.events = Counter(
            "corkboard_events_total", "Live events by outcome: accepted, duplicate, rejected, refused (store unavailable).", ("outcome",)
        )
        self.loads = Counter("corkboard_release_loads_total", "Releases that were loaded, or failed to.", ("outcome",))
        self.store_errors = Counter("corkboard_store_errors_total", "Reads and writes that the store refused.")
        self._all: list[Counter | Histogram | ReadGauge] = [
            self.requests,
            self.seconds,
            self.notes,
            self.pages,
            self.events,
            self.loads,
            self.store_errors,
        ]

    def gauge(self, name: str, help_text: str, labels: Labels, read: Gauge) -> None:
        """Add a value that is read when ``/metrics`` is asked for."""
        self._all.append(ReadGauge(name, help_text, labels, read))

    def text(self) -> str:
        """All of it, in the Prometheus text format 0.0.4."""
        lines: list[str] = []
        for metric in self._all:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"
