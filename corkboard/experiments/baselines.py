"""The rows every retrieval table has, fitted here on a lake that is sealed at the cut, and a table of them for any lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate import POPULARITY, Scorer, evaluate_retrieval
from corkboard.experiments.result import Table
from corkboard.experiments.task import RetrievalTask, retrieval_task
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.retrieval.baselines import EASE, ItemKNN, Popularity
from corkboard.retrieval.config import EASEConfig, ItemKNNConfig, PopularityConfig
from corkboard.retrieval.interactions import Validation

Progress = Callable[[str, int, int], None]
"""(what, done, total)."""

TUNING_ITEMS = 3_000
"""EASE's settings are chosen on that many of the most engaged items: solving is cubic, and the choice hardly depends on the rest."""


@dataclass(frozen=True)
class RefreshedPopularity:
    """Popularity that is counted again for every making of lists, as a live page would."""

    lake: Lake
    item_ids: Sequence[str]
    known_ms: int
    decayed: bool = False
    config: PopularityConfig | None = None

    def as_of(self, known_ms: int) -> Popularity:
        actions = self.lake.actions(end_ms=known_ms)
        return Popularity.fit(actions, self.item_ids, known_ms, self.config, decayed=self.decayed)

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        return self._frozen.score_all(histories)

    @cached_property
    def _frozen(self) -> Popularity:
        return self.as_of(self.known_ms)


@dataclass(frozen=True)
class VectorScorer:
    """Cosine of each item to the mean of the vectors of the last items of a history. ``vectors`` is float32 ``(items, dim)``, unit or 0."""

    vectors: np.ndarray
    last: int = 10

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        means = np.zeros((len(histories), self.vectors.shape[1]), np.float32)
        for row, history in enumerate(histories):
            if len(history):
                means[row] = self.vectors[history[: self.last]].mean(axis=0)
        return means @ self.vectors.T


def baseline_scorers(
    lake: Lake,
    calendar: Calendar,
    task: RetrievalTask,
    config: EvaluationConfig | None = None,
    *,
    vectors: np.ndarray | None = None,
    progress: Progress | None = None,
) -> dict[str, Scorer]:
    """Popularity of 7 days and decayed, item-kNN, EASE, and content where ``vectors``, ``(items, dim)``, are given.

    All are fitted on ``lake.until(B)``; what can be chosen is chosen on the last days before B, by a fit that ends before them.
    """
    config = config or EvaluationConfig()
    tell = progress or (lambda what, done, total: None)
    sealed, ids, before_ms = lake.until(task.before_ms), task.item_ids, task.before_ms
    actions = sealed.actions(calendar.start_ms)
    tell("baselines", 0, 3)
    tuning_ms = _tuning_start(calendar)
    validation = Validation.of(actions, ids, tuning_ms, before_ms)
    known = actions.filter(pl.col("time_ms") < tuning_ms)
    neighbours = ItemKNN.fit(known, ids, tuning_ms, ItemKNNConfig(), validation).settings
    scorers: dict[str, Scorer] = {
        POPULARITY: RefreshedPopularity(lake, ids, before_ms),
        "popularity decayed": RefreshedPopularity(lake, ids, before_ms, decayed=True),
        "item-kNN": ItemKNN.fit(actions, ids, before_ms, neighbours),
    }
    tell("baselines", 1, 3)
    default = EASEConfig()
    chosen = EASE.fit(
        known, ids, tuning_ms, default.model_copy(update={"max_items": min(TUNING_ITEMS, default.max_items)}), validation
    ).settings
    scorers["EASE"] = EASE.fit(actions, ids, before_ms, chosen.model_copy(update={"max_items": default.max_items}))
    tell("baselines", 2, 3)
    if vectors is not None:
        scorers["content"] = VectorScorer(np.asarray(vectors, np.float32))
    tell("baselines", 3, 3)
    return scorers


def baseline_table(
    lake: Lake,
    calendar: Calendar,
    config: EvaluationConfig | None = None,
    *,
    vectors: Callable[[Lake, RetrievalTask], np.ndarray] | None = None,
    progress: Progress | None = None,
) -> Table:
    """All baselines on any lake, also one without impressions, such as ratings or a log of purchases.

    ``vectors(sealed_lake, task)`` makes content vectors, ``(items, dim)``, from what was known before B.
    """
    task = retrieval_task(lake, calendar, config)
    content = vectors(lake.until(task.before_ms), task) if vectors else None
    return evaluate_retrieval(task, baseline_scorers(lake, calendar, task, config, vectors=content, progress=progress), config)


def _tuning_start(calendar: Calendar) -> int:
    """Settings are chosen on as many days before B as the test has, at most a quarter of what is before B."""
    days = min((calendar.end_ms - calendar.rank_cut_ms) // DAY_MS, (calendar.rank_cut_ms - calendar.start_ms) // DAY_MS // 4)
    return calendar.rank_cut_ms - max(1, days) * DAY_MS
