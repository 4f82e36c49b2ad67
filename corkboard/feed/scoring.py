"""What the rankers make of candidates, and what happens where one fails."""

from __future__ import annotations

import numpy as np

from corkboard.errors import CorkboardError
from corkboard.ranking.light import LightItems
from corkboard.ranking.ranker import Ranker
from corkboard.ranking.request import RequestSide
from corkboard.ranking.utility import UtilityWeights


def probabilities(ranker: Ranker, side: RequestSide, rows: np.ndarray, features: np.ndarray) -> np.ndarray:
    """float32 ``(len(rows), heads)`` by the full ranker. Raises :class:`CorkboardError` where it fails."""
    return _finite(ranker.score(side.ranker_input(rows, features)))


def light_scores(light: LightItems, side: RequestSide, rows: np.ndarray, weights: UtilityWeights) -> np.ndarray:
    """float32 ``(len(rows),)`` by the light ranker. Raises :class:`CorkboardError` where it fails."""
    return _finite(light.scores(side, rows, weights))


def _finite(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise CorkboardError("it answered with numbers that are not finite")
    return scores
