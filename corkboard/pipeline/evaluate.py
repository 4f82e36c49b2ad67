"""The evaluation of a workspace: which models stand in which table, and what each of them may know.

Every model of a table answers for the same users, catalogue and pages. Baselines are fitted before B; the towers and the item-kNN
that rankers read were cut at A; rankers saw [A, B). The counters of an item are those of the day before, a user vector is that of
the nightly batch of the page's day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import polars as pl

from corkboard.artifacts import Releases
from corkboard.embeddings.user_vectors import DailyUserVectors
from corkboard.errors import InputError
from corkboard.experiments.baselines import VectorScorer, baseline_scorers
from corkboard.experiments.evaluate import Scorer, evaluate_retrieval
from corkboard.experiments.evaluate_pages import POPULARITY, evaluate_ranking
from corkboard.experiments.page_scorers import ContentSimilarity, LoggedOrder, PopularityOfDays
from corkboard.experiments.pages import Pages, logged_pages
from corkboard.experiments.result import Evaluation, Table
from corkboard.experiments.scorers import ListScorer, PageScorer, PageScores
from corkboard.experiments.task import retrieval_task
from corkboard.lake.calendar import day_of
from corkboard.pipeline.build import Builder
from corkboard.pipeline.candidate_stage import LISTED, CandidateStage, UserVectorScorer
from corkboard.pipeline.evaluate_items import Baselines, PinnerSageLists, item_tables
from corkboard.pipeline.trained import TrainedModels
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import POSITION_COLUMN
from corkboard.ranking.history import NO_HISTORY, PageHistories
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.rows import page_rows
from corkboard.ranking.table import TrainingRows
from corkboard.ranking.utility import utility
from corkboard.settings import Settings
from corkboard.world.world import World


def evaluate(builder: Builder, settings: Settings, world: World | None) -> Evaluation:
    """All tables, for the artefacts of ``builder`` (made now where they are stale). A world adds the oracle."""
    models = TrainedModels(builder, settings)
    retrieval, baselines = _retrieval(models, world)
    tables = [retrieval, *item_tables(models, baselines), _ranking(models, world)]
    found = Evaluation.of(builder.lake, builder.calendar, [table for table in tables if table is not None], settings.evaluation)
    return replace(found, warnings=[*found.warnings, *models.warnings, *_other_than_live(models)])


def _other_than_live(models: TrainedModels) -> list[str]:
    """A warning where these are not the models of the live release: other settings or newer data made others."""
    live = Releases(models.builder.folder).current()
    serving = {} if live is None else {role: artifact.key for role, artifact in live.artifacts.items()}
    measured = {role: models.artifacts[role].key for role in ("content", "multibisage", "pinnerformer") if role in serving}
    if models.ranker is not None:
        measured["ranker"] = models.artifacts["ranker/hybrid" if models.hybrid is not None else "ranker"].key
    what = " and the ".join(role for role, key in measured.items() if serving.get(role) != key)
    return [f"The {what} measured here is not what the live release serves: build with these settings."] if what else []


# ------------------------------------------------------------------------------------------------------------- retrieval


def _retrieval(models: TrainedModels, world: World | None) -> tuple[Table, Baselines]:
    """The table, and the baselines of it that the other tables ask, too."""
    builder, settings = models.builder, models.settings
    lake, calendar = builder.lake, builder.calendar
    task = retrieval_task(lake, calendar, settings.evaluation)
    scorers: dict[str, Scorer] = dict(baseline_scorers(lake, calendar, task, settings.evaluation, progress=builder.progress))
    scorers["content"] = VectorScorer(models.content.lookup(task.item_ids)[0])
    scorers["PinnerFormer"] = UserVectorScorer(models, models.embeddings.lookup(task.item_ids)[0])
    scorers["PinnerSage"] = ListScorer(PinnerSageLists(models, task.item_ids, LISTED), len(task.item_ids))
    stage = CandidateStage(models, task)
    scorers["blend of sources"] = ListScorer(stage.blended, len(task.item_ids))
    if models.ranker is not None:
        scorers["blend, ranked"] = ListScorer(stage.ranked, len(task.item_ids))
    if world is not None:
        scorers["oracle"] = WorldRetrieval(world, task.item_ids, calendar.end_ms)
    baselines = Baselines(task.item_ids, scorers["item-kNN"], scorers["EASE"])
    return evaluate_retrieval(task, scorers, settings.evaluation), baselines


@dataclass(frozen=True)
class WorldRetrieval:
    """The world's own truth about what will be acted on, given what will be shown."""

    world: World
    item_ids: Sequence[str]
    end_ms: int

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        scores = self.world.oracle_retrieval(user_ids, known_ms, self.end_ms)
        column = {item_id: n for n, item_id in enumerate(self.world.item_ids)}
        return scores[:, [column[item_id] for item_id in self.item_ids]]


# --------------------------------------------------------------------------------------------------------------- ranking


def _ranking(models: TrainedModels, world: World | None) -> Table | None:
    builder, settings = models.builder, models.settings
    try:
        pages = logged_pages(builder.lake, builder.calendar, settings.evaluation, settings.ranking.rows)
    except InputError:
        return None
    actions = builder.lake.actions()
    scorers: dict[str, PageScorer] = {
        "logged order": LoggedOrder(),
        POPULARITY: PopularityOfDays(actions),
        "content": ContentSimilarity(models.content, actions),
        **_rankers(models, ReplayedPages(models, pages)),
    }
    if world is not None:
        scorers["oracle"] = WorldPages(world, settings)
    return evaluate_ranking(pages, scorers, settings.evaluation, weights=settings.ranking.utility)


def _rankers(models: TrainedModels, asked: ReplayedPages) -> dict[str, PageScorer]:
    """The rankers there are, and what is left of the hybrid one when the store or the nightly batch fails it."""
    weights, pointwise, hybrid = models.settings.ranking.utility, models.pointwise, models.hybrid
    scorers: dict[str, PageScorer] = {}
    if pointwise is not None:
        scorers["pointwise ranker"] = RankedPages(asked, pointwise.heads, lambda rows: pointwise.probabilities(rows.features), weights)
    if hybrid is not None:
        score = partial(hybrid.score_rows, item_vectors=models.embeddings)
        scorers["TransAct ranker"] = RankedPages(asked, hybrid.heads, score, weights)
        scorers["its user vector lost"] = RankedPages(asked, hybrid.heads, lambda rows: score(_without_user_vectors(rows)), weights)
        scorers["its sequence lost"] = RankedPages(asked, hybrid.heads, lambda rows: score(_without_histories(rows)), weights)
    return scorers


class ReplayedPages:
    """The pages of the test as rankers read them, replayed to the moment of each page, once for all rankers."""

    def __init__(self, models: TrainedModels, pages: Pages):
        self._models, self._pages = models, pages

    @cached_property
    def rows(self) -> tuple[TrainingRows, np.ndarray]:
        """A row for each slot, and bool ``(slots,)``: items that the catalogue of the day did not have, whose features are 0."""
        models, builder, slots = self._models, self._models.builder, self._pages.slots
        start_ms, end_ms = builder.calendar.rank_cut_ms, builder.calendar.end_ms
        vectors = {"vectors": models.content, "embeddings": models.embeddings, "graph": models.graph, "products": models.products}
        days = ItemDays(builder.lake, start_ms, end_ms, stats=models.stats, neighbours=models.neighbours, **vectors)
        nightly = DailyUserVectors(models.users, models.histories, models.graph, day_of(start_ms), day_of(end_ms - 1))
        progress, limits = partial(builder.progress, "replaying test pages"), models.settings.state.limits
        rows = page_rows(builder.lake, slots, self._pages.labels, self._pages.heads, days, nightly, progress=progress, limits=limits)
        features = np.nan_to_num(rows.features)
        features[:, POSITION_COLUMN] = 0.0  # as in serving: every slot is scored as if it stood on top
        return replace(rows, features=features), np.isnan(rows.features[:, 0])


@dataclass(frozen=True)
class RankedPages:
    """The pages in the order of a ranker's utility; ``score`` goes from rows to probabilities ``(rows, heads)``."""

    asked: ReplayedPages
    heads: Sequence[str]
    score: Callable[[TrainingRows], np.ndarray]
    weights: UtilityWeights

    def score_pages(self, pages: Pages) -> PageScores:
        rows, unknown = self.asked.rows
        probabilities = self.score(rows)
        probabilities[unknown] = probabilities[~unknown].mean(axis=0) if (~unknown).any() else 0.0
        scores = utility(self.heads, probabilities, self.weights)
        return PageScores(scores.astype(np.float64), {head: probabilities[:, n].astype(np.float64) for n, head in enumerate(self.heads)})


def _without_user_vectors(rows: TrainingRows) -> TrainingRows:
    """As if the nightly batch had failed for everybody."""
    assert rows.user_vectors is not None
    pages = rows.pages.height
    nothing = {"user_vector_known": np.zeros(pages, bool), "user_vector_hours": np.zeros(pages, np.float32)}
    return replace(rows, user_vectors=np.zeros_like(rows.user_vectors), **nothing)


def _without_histories(rows: TrainingRows) -> TrainingRows:
    """As if the store had no sequence for anybody; the features made by hand from it stay."""
    return replace(rows, histories=PageHistories.of([NO_HISTORY] * rows.pages.height, []))


@dataclass(frozen=True)
class WorldPages:
    """The world's own probabilities of every action on every slot, under the utility weights that everybody is measured by."""

    world: World
    settings: Settings

    def score_pages(self, pages: Pages) -> PageScores:
        truth = self.world.page_truth(int(pages.slots["time_ms"].min()), int(pages.slots["time_ms"].max()) + 1)
        found = pages.slots.select("request_id", "item_id").join(truth, on=["request_id", "item_id"], how="left", maintain_order="left")
        heads = [head for head in pages.heads if head in truth.columns]
        probabilities = found.select(pl.col(heads).fill_null(0.0)).to_numpy().astype(np.float64)
        return PageScores(
            utility(heads, probabilities, self.settings.ranking.utility).astype(np.float64), dict(zip(heads, probabilities.T, strict=True))
        )
