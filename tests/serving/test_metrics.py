"""The text that Prometheus reads."""

from __future__ import annotations

from corkboard.serving.metrics import Counter, Histogram, Metrics


def test_a_counter_counts_by_label() -> None:
    counter = Counter("pages_total", "Pages.", ("route", "status"))
    counter.add("/a", "200")
    counter.add("/a", "200")
    counter.add("/b", "404", amount=3)
    assert list(counter.lines()) == ['pages_total{route="/a",status="200"} 2', 'pages_total{route="/b",status="404"} 3']


def test_a_counter_without_labels_starts_at_zero() -> None:
    assert list(Counter("errors_total", "Errors.").lines()) == ["errors_total 0"]


def test_large_counts_keep_every_digit() -> None:
    counter = Counter("events_total", "Events.")
    counter.add(amount=123_456_789)
    assert list(counter.lines()) == ["events_total 123456789"]


def test_histogram_buckets_are_cumulative_and_take_their_bound() -> None:
    histogram = Histogram("seconds", "Time.", (), buckets=(0.1, 0.5))
    for seconds in (0.1, 0.2, 0.5, 3.0):  # one at the first bound, two up to the second, one beyond
        histogram.observe(seconds)
    assert list(histogram.lines()) == [
        'seconds_bucket{le="0.1"} 1',
        'seconds_bucket{le="0.5"} 3',
        'seconds_bucket{le="+Inf"} 4',
        "seconds_sum 3.8",
        "seconds_count 4",
    ]


def test_label_values_are_escaped() -> None:
    counter = Counter("odd_total", "Odd.", ("label",))
    counter.add('a"b\\c\nd')
    assert list(counter.lines()) == [r'odd_total{label="a\"b\\c\nd"} 1']


def test_gauges_are_read_when_asked() -> None:
    metrics, size = Metrics(), [1.0]
    metrics.gauge("overlay_items", "Live items.", (), lambda: {(): size[0]})
    assert "overlay_items 1\n" in metrics.text()
    size[0] = 5.0
    assert "# TYPE overlay_items gauge\noverlay_items 5\n" in metrics.text()
