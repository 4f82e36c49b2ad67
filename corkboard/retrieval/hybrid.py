"""One ranking out of two: what was found by words, and what was found by meaning.

Scores of the two are of different kinds (BM25 has no upper end, cosines have one), so either places are added up, as reciprocals
(Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods"), or scores after
they were standardised within their own list.
"""

from __future__ import annotations

import numpy as np

from corkboard.errors import InputError
from corkboard.retrieval.config import FusionConfig

Ranking = tuple[np.ndarray, np.ndarray]
"""Rows int64 ``(n,)``, each at most once, and their scores float32 ``(n,)``, best first."""
BELOW = 0.5
"""How far what a ranking lacks stands behind the last that it has, in standard deviations: even the last has something of the query."""


def fused(words: Ranking, vectors: Ranking, config: FusionConfig, k: int) -> Ranking:
    """The ``k`` best rows of both rankings and their fused scores, best first; equal ones stand by row.

    With one ranking empty the order of the other stays. A row that only one of them has counts nothing in the other by reciprocal places;
    by standardised scores it stands :data:`BELOW` standard deviations behind the last of the other. Raises :class:`InputError` for k
    below 1, or a ranking whose rows and scores differ in number.
    """
    if k < 1:
        raise InputError("A ranking needs to know how many rows are wanted", found=k, expected="k >= 1")
    for name, (rows, scores) in (("words", words), ("vectors", vectors)):
        if len(rows) != len(scores):
            raise InputError(f"The ranking by {name} has no score for each row", found=len(scores), expected=len(rows))
    rows = np.union1d(words[0], vectors[0]).astype(np.int64)
    parts = ((words, 1 - config.vector_share), (vectors, config.vector_share))
    scores = sum((_counted(ranking, rows, config, share) for ranking, share in parts), np.zeros(len(rows)))
    if not len(words[0]) or not len(vectors[0]):  # a share of 0 or 1 would make all that is left alike
        scores = _counted(words if len(words[0]) else vectors, rows, config, 1.0)
    best = np.lexsort((rows, -scores))[:k]
    return rows[best], scores[best].astype(np.float32)


def _counted(ranking: Ranking, rows: np.ndarray, config: FusionConfig, share: float) -> np.ndarray:
    """float64 ``(len(rows),)``: what one ranking says of each of the sorted ``rows``."""
    theirs, scores = ranking
    if not len(theirs):
        return np.zeros(len(rows))
    place = np.searchsorted(rows, theirs)
    if config.kind == "reciprocal":
        counted = np.zeros(len(rows))
        counted[place] = share / (config.softening + 1 + np.arange(len(theirs)))
        return counted
    standard = scores.astype(np.float64) - scores.mean(dtype=np.float64)
    standard /= standard.std() or 1.0
    counted = np.full(len(rows), share * (standard.min() - BELOW))
    counted[place] = share * standard
    return counted
