"""Times as numbers that a network can read, after PinnerFormer (Pancha et al., KDD 2022); numpy, computed in float64.

A time t and fixed periods p give ``[sin(2 pi t / p), cos(2 pi t / p), log(1 + t)]``. The published encoding adds a learned phase
inside of each sine; here a linear layer follows, which mixes the sine and the cosine of a period into every phase, so that a
learned one would say nothing more. Milliseconds since 1970 in float32 would be off by minutes: hence float64 up to the sine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HOUR_S = 3600.0
CLOCK_HOURS = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 7 * 24.0, 28 * 24.0, 365 * 24.0)
"""Periods of the absolute clock, UTC."""
GAP_SECONDS = tuple(np.geomspace(1.0, 28 * 24 * HOUR_S, 32).tolist())
"""Periods for the time between two actions: 32, spaced evenly by their logarithm from a second to four weeks."""
_LOG_STEP = np.log(GAP_SECONDS[-1]) / (len(GAP_SECONDS) - 1)
GAP_BUCKETS = len(GAP_SECONDS) + 1
"""Buckets of :func:`gap_buckets`."""


def clock_features(time_ms: np.ndarray, hours: Sequence[float] = CLOCK_HOURS) -> np.ndarray:
    """float32 ``(..., 2 * len(hours))`` of UTC times in ms: where in each period a moment lies.

    The published log of the absolute time is left out: it is the same for all actions within a few digits, and where a model
    outlives its training it would only say so.
    """
    return _waves(np.asarray(time_ms, np.float64) / 1000.0, np.asarray(hours) * HOUR_S)


def gap_features(seconds: np.ndarray) -> np.ndarray:
    """float32 ``(..., 65)`` of time gaps in seconds, 0 or more; padded slots give 0."""
    seconds = np.asarray(seconds, np.float64)
    return np.concatenate([_waves(seconds, np.asarray(GAP_SECONDS)), np.log1p(seconds).astype(np.float32)[..., None]], axis=-1)


def gap_buckets(seconds: np.ndarray) -> np.ndarray:
    """int64 ``(...)`` in [0, GAP_BUCKETS): how many of :data:`GAP_SECONDS` a gap reaches; below a second is 0, four weeks or more the last.

    By a logarithm rather than a search, since there is one for each pair of actions; at a border, rounding may decide.
    """
    logs = np.log(np.maximum(np.asarray(seconds, np.float32), np.float32(1e-3)))
    return np.clip(np.floor(logs * np.float32(1 / _LOG_STEP) + np.float32(1 + 1e-5)), 0, GAP_BUCKETS - 1).astype(np.int64)


def _waves(seconds: np.ndarray, periods: np.ndarray) -> np.ndarray:
    angles = (2 * np.pi * np.mod(seconds[..., None] / periods, 1.0)).astype(np.float32)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
