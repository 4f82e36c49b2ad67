"""Utility: what a page is ordered by, kept outside the trained model.

``S(u, i) = sum_h weight_h * P(action h | u, i)`` (TransAct section 3.4), negative for hide and report. Changing a weight
needs no training, only calibrated heads: :mod:`corkboard.ranking.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corkboard.ranking.config import UtilityWeights

__all__ = ["UtilityWeights", "changed_weights", "logged_weights", "utility", "utility_terms", "weight_vector"]

_FLAG = "utility."


def weight_vector(heads: Sequence[str], weights: UtilityWeights) -> np.ndarray:
    """float32 ``(heads,)``: the weight of each head, 0 for a head that has none."""
    worth = weights.model_dump()
    return np.array([worth.get(head, 0.0) for head in heads], np.float32)


def utility(heads: Sequence[str], probabilities: np.ndarray, weights: UtilityWeights) -> np.ndarray:
    """float32 ``(n,)`` from probabilities ``(n, heads)``."""
    return np.asarray(probabilities, np.float32) @ weight_vector(heads, weights)


def changed_weights(weights: UtilityWeights) -> list[str]:
    """Flags for the served row: ``utility.save=3.0`` for each weight that is not the default."""
    default = UtilityWeights().model_dump()
    return [f"{_FLAG}{name}={value!r}" for name, value in weights.model_dump().items() if value != default[name]]


def logged_weights(flags: Sequence[str]) -> UtilityWeights:
    """The weights behind a served row with the flags of :func:`changed_weights`."""
    changes = dict(flag.removeprefix(_FLAG).split("=") for flag in flags if flag.startswith(_FLAG))
    known = {name: float(value) for name, value in changes.items() if name in UtilityWeights.model_fields}
    return UtilityWeights(**known)


def utility_terms(heads: Sequence[str], probabilities: Sequence[float], weights: UtilityWeights) -> dict[str, float]:
    """Each head's share of one item's utility; the values add up to it."""
    vector = weight_vector(heads, weights)
    return {head: float(p) * float(w) for head, p, w in zip(heads, probabilities, vector, strict=True)}
