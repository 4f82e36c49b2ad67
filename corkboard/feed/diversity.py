"""Diversity: a page that is not twenty-five times the same thing.

Maximal marginal relevance (Carbonell and Goldstein, SIGIR'98): item after item, the best of score minus ``strength`` times
the largest cosine with the items just above, with caps on creators and categories. Scores are standardised first, so that
``strength`` means the same for probabilities, utilities and blend scores. Where caps leave a page short they give way.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from corkboard.feed.config import DiversityConfig


@dataclass(frozen=True)
class Spread:
    """``order`` int64: places of the chosen candidates, page order. ``capped`` maps a place that a cap kept out to the cap's name."""

    order: np.ndarray
    capped: dict[int, str]


def standardise(scores: np.ndarray) -> np.ndarray:
    """float64 ``(n,)``: mean 0 and standard deviation 1; zeros where all scores are alike."""
    scores = np.asarray(scores, np.float64)
    if not len(scores):
        return scores
    centred = scores - scores.mean()
    deviation = centred.std()
    return centred / deviation if deviation > 1e-12 else np.zeros(len(scores))


def spread(
    relevance: np.ndarray, vectors: np.ndarray, creators: np.ndarray, categories: np.ndarray, k: int, config: DiversityConfig
) -> Spread:
    """Choose and order ``min(k, n)`` of n candidates.

    ``relevance`` is ``(n,)`` standardised, ``vectors`` unit ``(n, dim)`` with zeros where unknown, ``creators`` and
    ``categories`` codes ``(n,)`` with -1 for none, which no cap counts.
    """
    if not config.enabled:
        return Spread(np.argsort(-relevance, kind="stable")[:k], {})
    page = _Page(relevance, vectors, k, config)
    page.cap("creator_cap", creators, max(2, math.ceil(config.max_creator_share * k)))
    page.cap("category_cap", categories, max(2, math.ceil(config.max_category_share * k)))
    chosen = page.fill()
    taken = set(chosen)
    return Spread(np.array(chosen, np.int64), {place: name for place, name in page.capped.items() if place not in taken})


class _Page:
    """The greedy choice over one list of candidates."""

    def __init__(self, relevance: np.ndarray, vectors: np.ndarray, k: int, config: DiversityConfig):
        self.relevance, self.vectors, self.k, self.config = relevance, vectors, min(k, len(relevance)), config
        self.open = np.ones(len(relevance), bool)
        self.capped: dict[int, str] = {}
        self._caps: list[tuple[str, np.ndarray, int]] = []
        self._counts: dict[tuple[str, int], int] = {}

    def cap(self, name: str, codes: np.ndarray, most: int) -> None:
        self._caps.append((name, codes, most))

    def fill(self) -> list[int]:
        chosen: list[int] = []
        value = self.relevance.copy()
        cosines: deque[np.ndarray] = deque(maxlen=self.config.window)
        nearest = np.zeros(len(value), np.float32)
        while len(chosen) < self.k and self.open.any():
            place = int(np.argmax(np.where(self.open, value, -np.inf)))
            chosen.append(place)
            self.open[place] = False
            self._count(place)
            forgets = len(cosines) == self.config.window
            cosines.append(self.vectors @ self.vectors[place])
            nearest = np.maximum(np.max(cosines, axis=0), 0.0) if forgets else np.maximum(nearest, cosines[-1])
            value = self.relevance - self.config.strength * nearest
        return chosen + self._rest(chosen)

    def _count(self, place: int) -> None:
        for name, codes, most in self._caps:
            code = int(codes[place])
            if code < 0:
                continue
            self._counts[name, code] = self._counts.get((name, code), 0) + 1
            if self._counts[name, code] == most:
                closed = np.flatnonzero(self.open & (codes == code))
                self.open[closed] = False
                self.capped |= dict.fromkeys(closed.tolist(), name)

    def _rest(self, chosen: list[int]) -> list[int]:
        """Where caps closed everything: the best of what they kept out, because a short page is worse."""
        missing, taken = self.k - len(chosen), set(chosen)
        if not missing:
            return []
        best = np.argsort(-self.relevance, kind="stable").tolist()
        return [place for place in best if place not in taken][:missing]
