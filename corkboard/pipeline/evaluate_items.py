"""The tables of the graph: which item follows another, what comes onto a board next, and PinnerSage as a row of user retrieval.

Encoders have their weights from before A and their neighbours from before B, as everything that walks; baselines end at B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from corkboard.embeddings.pinnersage import recommend
from corkboard.errors import InputError
from corkboard.experiments.baselines import RefreshedPopularity
from corkboard.experiments.board_completion import BoardTask, evaluate_boards
from corkboard.experiments.evaluate import POPULARITY
from corkboard.experiments.item_pairs import PairTask, evaluate_item_pairs
from corkboard.experiments.item_questions import CONTENT
from corkboard.experiments.item_scorers import HistoryItems, ItemSetScorer, NeighbourItems, VectorItems, pixie_rows
from corkboard.experiments.result import Table
from corkboard.lake.calendar import DAY_MS
from corkboard.pipeline.trained import TrainedModels
from corkboard.retrieval.baselines import EASE, ItemKNN


def item_tables(models: TrainedModels, baselines: Baselines) -> list[Table]:
    """The tables that the lake can fill."""
    builder, config = models.builder, models.settings.evaluation
    tables: list[Table] = []
    scorers: dict[str, ItemSetScorer] | None = None
    for task_of, evaluate in ((PairTask.of, evaluate_item_pairs), (BoardTask.of, evaluate_boards)):
        try:
            task = task_of(builder.lake, builder.calendar, config)
        except InputError:  # nobody engaged two items in a row, or nothing is saved to boards: there is nothing to ask
            continue
        scorers = scorers or _scorers(models, baselines, task.item_ids)
        tables.append(evaluate(task, scorers, config))
    return tables


@dataclass(frozen=True)
class Baselines:
    """Those of user retrieval, fitted on what lies before B, over ``item_ids``."""

    item_ids: Sequence[str]
    item_knn: ItemKNN
    ease: EASE


def _scorers(models: TrainedModels, baselines: Baselines, item_ids: Sequence[str]) -> dict[str, ItemSetScorer]:
    lake, before_ms = models.builder.lake, models.builder.calendar.rank_cut_ms
    own = baselines.item_ids
    return {
        POPULARITY: HistoryItems.of(RefreshedPopularity(lake.until(before_ms), own, before_ms), own, item_ids),
        CONTENT: VectorItems.of(models.content, item_ids),
        **({} if models.visual is None else {"pictures only": VectorItems.of(models.visual, item_ids)}),
        "item-kNN": NeighbourItems.of(baselines.item_knn.table, item_ids),
        "EASE": HistoryItems.of(baselines.ease, own, item_ids),
        **pixie_rows(models.graphs.of_items, item_ids, models.settings.graph.walk),
        "PinSage": VectorItems.of(models.pinsage, item_ids),
        "MultiBiSage": VectorItems.of(models.graph, item_ids),
    }


@dataclass(frozen=True)
class PinnerSageLists:
    """Items nearest to a user's own medoids. ``item_ids`` are the columns asked for, ``listed`` how many items a list has."""

    models: TrainedModels
    item_ids: Sequence[str]
    listed: int

    def __call__(self, user_ids: Sequence[str], known_ms: int) -> Iterator[np.ndarray]:
        """Rows of ``item_ids`` for each user, best first; nothing for a user who did nothing before ``known_ms``."""
        histories, graph = self.models.histories, self.models.graph
        column = {item_id: n for n, item_id in enumerate(self.item_ids)}
        own = np.fromiter((column.get(item_id, -1) for item_id in graph.ids), np.int64, len(graph.ids))
        users = histories.rows(user_ids)
        ends = histories.ends(np.maximum(users, 0), np.full(len(users), known_ms))
        config = self.models.settings.retrieval.sources.pinnersage
        for user, end in zip(users.tolist(), ends.tolist(), strict=True):
            acted = slice(histories.offsets[user], end) if user >= 0 else slice(0, 0)
            rows, ages = histories.items[acted], (known_ms - histories.time_ms[acted]) / DAY_MS
            allowed = own >= 0
            allowed[rows] = False
            yield own[recommend(graph.vectors, rows, ages, self.listed, config, allowed)]
