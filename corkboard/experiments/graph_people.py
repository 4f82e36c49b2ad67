"""People as several vectors (PinnerSage, Pal et al., KDD 2020) against one, on vectors of MultiBiSage: the work of a job of people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.config import PinnerSageConfig
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.pinnersage import interests, recommend
from corkboard.experiments import graph_claims as name
from corkboard.experiments.evaluate import retrieval_figures
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.graph_models import ENCODERS, Bench, bench_of
from corkboard.experiments.item_scorers import rows_in
from corkboard.experiments.scorers import ListScorer
from corkboard.experiments.spine_runs import Context, Measure, Run
from corkboard.experiments.task import retrieval_task
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.metrics.intervals import PerUser

if TYPE_CHECKING:
    from corkboard.embeddings.histories import Histories
    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.embeddings.pinnerformer import PinnerFormer

PEOPLE: Mapping[str, Mapping[str, Any]] = {
    name.SEVERAL: {},
    name.LAST: {"grouping": "one", "representative": "newest", "searched": 1},
    name.DECAYED_MEAN: {"grouping": "one", "representative": "decayed_mean", "searched": 1},
    name.ONE_GROUP: {"searched": 1},
    name.COMPLETE: {"grouping": "complete"},
    name.KMEANS: {"grouping": "kmeans"},
    name.CENTROID: {"representative": "centroid"},
    name.NO_FADE: {"fade_per_day": 0.0},
    name.FAST_FADE: {"fade_per_day": 0.1},
    name.TWO: {"searched": 2},
    name.TEN: {"searched": 10},
}
"""Rows, and what each changes in ``GraphExperimentConfig.pinnersage``."""

FORMERS = (name.FORMER, name.FORMER_CONTENT)
"""Rows of a learned user vector; they differ in the vectors that its item tower reads."""

PEOPLE_CODE = ("experiments/graph_people.py", "experiments/evaluate.py", "experiments/scorers.py")
_LENGTHS = (10, 100)
_DAYS = 90
"""Actions of so many days are read, as published."""


def pinnersage_config(config: GraphExperimentConfig, variant: str) -> PinnerSageConfig:
    """The settings of a row."""
    return config.pinnersage.model_copy(update=dict(PEOPLE[variant]))


class People:
    """The retrieval task of one world, and what its people acted on before the cut."""

    def __init__(self, bench: Bench, encoder: MultiBiSage):
        self.bench, self.config, self.encoder = bench, bench.config, encoder
        vectors = bench.vectors(name.MULTI, encoder)[""]
        lake, calendar = bench.data.lake, bench.data.calendar
        self.task = retrieval_task(lake, calendar, self.config.evaluation)
        rows = rows_in(bench.task.item_ids, self.task.item_ids)
        self.made = EmbeddingTable(list(bench.task.item_ids), vectors, Space("multibisage", "experiment"))
        self.vectors = np.where(rows[:, None] >= 0, vectors[rows], 0.0).astype(np.float32)  # what was gone by the end has none
        items = pl.DataFrame({"item_id": list(self.task.item_ids)}).with_row_index("row")
        known = bench.data.sealed.actions(calendar.start_ms).join(items, on="item_id", how="inner")
        self.actions = known.select("row", "time_ms", user=user_key_expr(), positive=pl.col("action").is_in(list(POSITIVE)))

    def lists(self, user_ids: Sequence[str], settings: PinnerSageConfig) -> Iterator[np.ndarray]:
        """The longest list of each user, best first, without what they have acted on."""
        cut_ms = self.task.before_ms
        mine = self.actions.filter(pl.col("user").is_in(list(user_ids))).partition_by("user", as_dict=True)
        for user_id in user_ids:
            done = mine.get((user_id,), self.actions.head(0))
            allowed = np.ones(len(self.vectors), bool)
            allowed[done["row"].to_numpy()] = False
            rows, ages = self.read(done, cut_ms)
            yield recommend(self.vectors, rows, ages, max(_LENGTHS), settings, allowed)

    def read(self, done: pl.DataFrame, cut_ms: int) -> tuple[np.ndarray, np.ndarray]:
        """Items with a positive action in the days that are read, each at its newest: rows int64 and ages in days."""
        liked = done.filter(pl.col("positive") & (pl.col("time_ms") >= cut_ms - _DAYS * DAY_MS))
        newest = liked.group_by("row").agg(pl.col("time_ms").max()).sort("row")
        return newest["row"].to_numpy().astype(np.int64), (cut_ms - newest["time_ms"].to_numpy()) / DAY_MS

    def measured(self, run: Run, tell: Callable[[int, int], None]) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Recall of one row at both lengths and of items of little history, and facts."""
        facts = {"users": float(len(self.task.user_ids)), "pairs": float(self.task.positives)}
        if run.variant in FORMERS:
            scorer: Any = self._former(run, tell)
        else:
            settings = pinnersage_config(self.config, run.variant)
            listed = dict(zip(self.task.user_ids, self.lists(self.task.user_ids, settings), strict=True))
            scorer = ListScorer(lambda users, known_ms: (listed[user] for user in users), len(self.task.item_ids))
            counts = [len(interests(self.vectors[rows], ages, settings)) for rows, ages in self._everybody()]
            facts |= {"groups, median": float(np.median(counts)), "groups, most": float(max(counts, default=0))}
        short, long = _LENGTHS
        evaluation = self.config.evaluation.model_copy(update={"k": short, "long_k": long})
        found = retrieval_figures(self.task, {run.variant: scorer}, evaluation)[run.variant]
        return {measure: figure for measure, figure in found.items() if measure.startswith(("recall", "NDCG"))}, facts

    def _former(self, run: Run, tell: Callable[[int, int], None]) -> LearnedUsers:
        """A PinnerFormer that ends at the cut, on the vectors that its name says.

        MultiBiSage's vectors are those before the pairs while it learns, for those of the cut know what it learns to foresee, and
        those of the cut when it is asked.
        """
        from corkboard.embeddings.histories import Histories
        from corkboard.embeddings.pinnerformer_training import train_pinnerformer

        data, settings, ids = self.bench.data, self.config.pinnerformer, self.bench.data.learned_ids
        asked = learned = self.bench.content
        if run.variant == name.FORMER:
            asked, features = self.made, NodeFeatures.of(ids, [self.bench.content])
            lists = self.bench.chosen(ENCODERS[name.MULTI], self.bench.learning_lists).in_order_of(ids)
            learned = EmbeddingTable(ids, self.encoder.encode(features, lists), asked.space)
        learned, read = (EmbeddingTable(ids, table.lookup(ids)[0], table.space) for table in (learned, asked))
        known = Histories.of(data.sealed.actions(), ids, settings.history)
        model = train_pinnerformer(known, learned, settings, run.seed, data.cut_ms, lambda at: tell(at.step, at.steps))
        return LearnedUsers(model, known, read, model.encode_items(self.task.item_ids, asked.lookup(self.task.item_ids)[0]))

    def _everybody(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        mine = self.actions.partition_by("user", as_dict=True)
        for user_id in self.task.user_ids:
            yield self.read(mine.get((user_id,), self.actions.head(0)), self.task.before_ms)


@dataclass(frozen=True)
class LearnedUsers:
    """A PinnerFormer that is asked as of its cut: ``items`` float32 ``(items, dim)`` are those of the task."""

    model: PinnerFormer
    histories: Histories
    inputs: EmbeddingTable
    items: np.ndarray

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        """float32 ``(len(user_ids), items)``; zeros for a user who did nothing that the model reads."""
        rows = self.histories.rows(user_ids)
        moments = np.full(len(rows), known_ms)
        vectors = self.model.encode_users(self.histories, self.inputs, np.maximum(rows, 0), moments)
        return (vectors * (rows >= 0)[:, None]) @ self.items.T


def people(context: Context) -> None:
    """The work of a job of people: MultiBiSage is trained once, then each row is asked."""

    def measuring() -> Measure:
        bench = bench_of(context)
        made = People(bench, bench.learned(name.MULTI, partial(context.doing, f"training {name.MULTI} first"))[0])
        return lambda run: made.measured(run, context.training(run))

    context.each(measuring)
