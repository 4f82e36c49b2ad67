"""Logged against computed again: how far a served page is from what training would see in its place.

A served page logs the features, the sequence and the head probabilities that it was ranked by. The same page computed again
from the lake, by the release that served it, must give the same numbers; where it does not, a ranker is trained on other
numbers than it will be given (training/serving skew). This module compares; where pages and states come from is
:mod:`corkboard.pipeline.rescore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corkboard.lake.schema import ITEM_ACTIONS
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.history import newest_actions
from corkboard.ranking.ranker import Ranker
from corkboard.ranking.request import RequestSide

TOLERANCE = 1e-4
"""Two numbers are equal that differ by at most this times (1 + the logged one): float32 rounding, and matrix products of other shapes."""
SEQUENCE, USER_VECTOR = "sequence", "user vector"
"""Columns of the comparison beside features and heads: entries of the sequence that differ, hours between what the vectors know."""

COLUMNS: tuple[tuple[str, str], ...] = (
    *(("feature", name) for name in FEATURE_NAMES),
    *(("head", name) for name in ITEM_ACTIONS),
    ("sequence", SEQUENCE),
    ("vector", USER_VECTOR),
)
"""(kind, name) of everything that is compared."""

Entry = tuple[str | None, str | None, int | None]


@dataclass(frozen=True)
class PageFacts:
    """What a page was ranked by, as logged or as computed again."""

    features: np.ndarray
    """float32 ``(n, len(FEATURE_NAMES))``; NaN where the log has no such feature."""
    heads: np.ndarray
    """float32 ``(n, len(ITEM_ACTIONS))``; NaN for actions without a head, and everywhere where no ranker stood behind the page."""
    sequence: tuple[Entry, ...]
    """(item_id, action, time_ms), newest first, as training reads it: nothing dated later than the page."""
    vector_space: str | None = None
    vector_ms: int | None = None
    """The newest action that the user vector knows; None for a user without one."""

    @classmethod
    def logged(cls, row: Mapping[str, Any], heads: Sequence[str]) -> PageFacts:
        """From a row of the lake's ``served`` table; ``heads`` are those of the ranker that served it."""
        slots, names = row["slots"], row["feature_names"] or []
        place = {name: column for column, name in enumerate(names)}
        columns = [place.get(name, -1) for name in FEATURE_NAMES]
        values = np.full((len(slots), len(names) + 1), np.nan, np.float32)  # the last column is for features that the log does not have
        for n, slot in enumerate(slots):
            if len(slot["features"] or ()) == len(names):
                values[n, :-1] = slot["features"]
        return cls(
            features=values[:, columns],
            heads=_by_action([slot["heads"] for slot in slots], heads),
            sequence=tuple((e["item_id"], e["action"], e["time_ms"]) for e in row["sequence"] or () if e["time_ms"] < row["time_ms"]),
            vector_space=row["user_vector_space"],
            vector_ms=row["user_vector_ms"],
        )

    @classmethod
    def computed(cls, side: RequestSide, rows: np.ndarray, ranker: Ranker | None, sequence_length: int, space: str | None) -> PageFacts:
        """From a request made again and the catalogue rows of the page, all of them known; ``space`` is that of the release's user
        vectors."""
        features = side.features(rows)
        ranked = ranker is not None and len(rows) > 0
        heads = _by_action(ranker.score(side.ranker_input(rows, features)), ranker.heads) if ranked else _by_action([None] * len(rows), ())
        newest = newest_actions(side.state, side.now_ms, sequence_length)
        sequence = tuple((action.item_id, action.action, action.time_ms) for action in newest)
        return cls(features, heads, sequence, space, None if side.vector is None else side.vector.newest_ms)

    def take(self, rows: np.ndarray) -> PageFacts:
        """The slots ``rows``; what belongs to the request stays."""
        return PageFacts(self.features[rows], self.heads[rows], self.sequence, self.vector_space, self.vector_ms)


def _by_action(probabilities: Sequence[Any], heads: Sequence[str]) -> np.ndarray:
    """Probabilities in the columns of ITEM_ACTIONS, whichever heads a ranker has; None for a slot without any."""
    out = np.full((len(probabilities), len(ITEM_ACTIONS)), np.nan, np.float32)
    columns = [ITEM_ACTIONS.index(head) for head in heads]
    for slot, values in enumerate(probabilities):
        if values is not None and len(values) == len(columns):
            out[slot, columns] = values
    return out


@dataclass(frozen=True)
class PageDifference:
    """One page by column (:data:`COLUMNS`); parallel arrays."""

    largest: np.ndarray
    """float64: largest absolute difference over the slots."""
    total: np.ndarray
    cells: np.ndarray
    """int64: how many numbers were compared."""
    beyond: np.ndarray
    """bool: some difference is beyond the tolerance."""

    def __bool__(self) -> bool:
        return bool(self.beyond.any())

    @property
    def worst(self) -> tuple[str, float]:
        """The column that differs most, of those beyond the tolerance, and by how much."""
        column = int(np.argmax(np.where(self.beyond, self.largest, -1.0)))
        return COLUMNS[column][1], float(self.largest[column])


def difference(logged: PageFacts, again: PageFacts, tolerance: float = TOLERANCE) -> PageDifference:
    """Compare two facts of one page by column of :data:`COLUMNS`.

    Where the log has a number and the other has not, they differ by infinity; what the log does not have is not compared.
    """
    gaps = [_gaps(logged.features, again.features, tolerance), _gaps(logged.heads, again.heads, tolerance)]
    for gap in (_sequence_gap(logged.sequence, again.sequence), _vector_gap(logged, again)):
        gaps.append((np.array([[gap]]), np.array([[gap > 0]]), np.array([[True]])))
    return PageDifference(
        largest=np.concatenate([gap.max(axis=0, initial=0.0) for gap, _, _ in gaps]),
        total=np.concatenate([gap.sum(axis=0) for gap, _, _ in gaps]),
        cells=np.concatenate([compared.sum(axis=0) for _, _, compared in gaps]).astype(np.int64),
        beyond=np.concatenate([beyond.any(axis=0) for _, beyond, _ in gaps]),
    )


def _gaps(logged: np.ndarray, again: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Absolute differences, where they are beyond the tolerance, and where there was a logged number; all ``(n, columns)``."""
    compared = ~np.isnan(logged)
    both = compared & ~np.isnan(again)
    gap = np.where(compared, np.where(both, np.abs(again.astype(np.float64) - logged), np.inf), 0.0)
    return gap, gap > tolerance * (1.0 + np.where(compared, np.abs(logged), 0.0)), compared


def _sequence_gap(logged: Sequence[Entry], again: Sequence[Entry]) -> float:
    """How many entries only one of the two has, or have in another order."""
    only = len(set(logged) ^ set(again))
    return float(only if only else sum(a != b for a, b in zip(logged, again, strict=False)))


def _vector_gap(logged: PageFacts, again: PageFacts) -> float:
    if logged.vector_space != again.vector_space or (logged.vector_ms is None) != (again.vector_ms is None):
        return float("inf")
    return 0.0 if logged.vector_ms is None or again.vector_ms is None else abs(logged.vector_ms - again.vector_ms) / 3_600_000


class Comparison:
    """Differences of many pages by column."""

    def __init__(self) -> None:
        width = len(COLUMNS)
        self.largest, self.total = np.zeros(width), np.zeros(width)
        self.cells, self.differ, self.unexplained = (np.zeros(width, np.int64) for _ in range(3))
        self.pages = 0

    def add(self, page: PageDifference, explained: bool) -> None:
        """Count one page; ``explained`` says that a cause was found for its differences."""
        self.pages += 1
        self.largest = np.maximum(self.largest, page.largest)
        self.total += page.total
        self.cells += page.cells
        self.differ += page.beyond
        if not explained:
            self.unexplained += page.beyond

    def rows(self) -> list[dict[str, Any]]:
        """One row a column that was compared: kind, name, largest and mean absolute difference, shares of the pages that differ."""
        share = max(self.pages, 1)
        return [
            {
                "kind": kind,
                "name": name,
                "max": float(self.largest[n]),
                "mean": float(self.total[n] / self.cells[n]),
                "pages": float(self.differ[n] / share),
                "unexplained": float(self.unexplained[n] / share),
            }
            for n, (kind, name) in enumerate(COLUMNS)
            if self.cells[n]
        ]
