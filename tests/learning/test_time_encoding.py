from __future__ import annotations

import numpy as np
import pytest

from corkboard.learning.time_encoding import CLOCK_HOURS, GAP_BUCKETS, GAP_SECONDS, clock_features, gap_buckets, gap_features

HOUR_MS = 3_600_000


def test_clock_by_hand() -> None:
    # a quarter of a day after midnight: the sine of the 24-hour period is 1, its cosine 0; a 4-hour period is one and a half times through
    features = clock_features(np.array([6 * HOUR_MS]), (24.0, 4.0))
    assert features[0] == pytest.approx([1.0, 0.0, 0.0, -1.0], abs=1e-6)


def test_clock_keeps_minutes_of_this_century() -> None:
    """In float32, milliseconds of today are minutes apart; the phase of a quarter of an hour must still be exact."""
    today = 1_760_000_000_000 // (24 * HOUR_MS) * 24 * HOUR_MS
    features = clock_features(np.array([today, today + 225_000, today + 24 * HOUR_MS]), CLOCK_HOURS)
    assert features[1, 0] == pytest.approx(1.0, abs=1e-6)  # 3.75 minutes are a quarter of 15
    assert features[2, :9] == pytest.approx(features[0, :9], abs=1e-6)  # all periods up to a day come round


def test_gaps_by_hand() -> None:
    features = gap_features(np.array([0.0, 1.0]))
    assert features.shape == (2, 65)
    assert features[0] == pytest.approx([0.0] * 32 + [1.0] * 32 + [0.0])
    assert features[1, 64] == pytest.approx(np.log(2.0), abs=1e-6)
    assert features[1, [0, 32]] == pytest.approx([0.0, 1.0], abs=1e-6)  # one second is once round the shortest period


def test_gap_buckets_count_the_periods_that_are_reached() -> None:
    between = np.sqrt(np.array(GAP_SECONDS[:-1]) * np.array(GAP_SECONDS[1:]))
    assert gap_buckets(between).tolist() == list(range(1, 32))
    assert gap_buckets(np.array([0.0, 0.5, 1.0, 28 * 86400.0, 1e9])).tolist() == [0, 0, 1, GAP_BUCKETS - 1, GAP_BUCKETS - 1]
