"""The evaluation of a workspace: which models stand in which table, and what each of them may know.

Every model of a table answers for the same users, catalogue and pages. Baselines are fitted before B; the content tower and
the item-kNN that the ranker reads were cut at A; the ranker saw [A, B). The counters of an item are those of the day before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Releases
from corkboard.embeddings.content import ContentTower
from corkboard.errors import InputError
from corkboard.experiments.baselines import VectorScorer, baseline_scorers
from corkboard.experiments.evaluate import Scorer, evaluate_retrieval
from corkboard.experiments.evaluate_pages import POPULARITY, evaluate_ranking
from corkboard.experiments.leaks import require_cuts
from corkboard.experiments.page_scorers import ContentSimilarity, LoggedOrder, PopularityOfDays
from corkboard.experiments.pages import Pages, logged_pages
from corkboard.experiments.result import Evaluation, Table
from corkboard.experiments.scorers import ListScorer, PageScorer, PageScores
from corkboard.experiments.task import RetrievalTask, retrieval_task
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.pipeline.build import Builder
from corkboard.ranking.features import POSITION_COLUMN, request_features
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.item_side import ItemSide, aligned_neighbours, aligned_stats, aligned_vectors
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.rows import replayed_features
from corkboard.ranking.user_side import user_side
from corkboard.ranking.utility import utility
from corkboard.retrieval.baselines import ItemKNN
from corkboard.retrieval.blend import Retrieval, Retrieved
from corkboard.retrieval.boards import board_neighbours
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import ExactIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.retrieval.sources import RetrievalParts
from corkboard.settings import Settings
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.user_state import UserState
from corkboard.world.world import World

LISTED = 400
"""Candidates that the blend lists for a user; what was engaged already is taken out of them afterwards."""


def evaluate(builder: Builder, settings: Settings, world: World | None) -> Evaluation:
    """Both tables, for the artefacts of ``builder`` (made now where they are stale). A world adds the oracle."""
    parts = _Trained(builder, settings)
    tables = [_retrieval(parts, world), _ranking(parts, world)]
    found = Evaluation.of(builder.lake, builder.calendar, [table for table in tables if table is not None], settings.evaluation)
    return replace(found, warnings=[*found.warnings, *parts.warnings, *_other_than_live(parts)])


def _other_than_live(parts: _Trained) -> list[str]:
    """A warning where these are not the models of the live release: other settings or newer data made others."""
    live = Releases(parts.builder.folder).current()
    serving = {} if live is None else {role: artifact.key for role, artifact in live.artifacts.items()}
    other = [role for role in ("content", "ranker") if role in parts.artifacts and serving.get(role) != parts.artifacts[role].key]
    what = " and the ".join(other)
    return [f"The {what} measured here is not what the live release serves: build with these settings."] if other else []


@dataclass
class _Trained:
    """The trained models of a build, each loaded once and checked for its cut."""

    builder: Builder
    settings: Settings
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        calendar = self.builder.calendar
        allowed = {"content": calendar.item_cut_ms, "item_knn/before_ranking": calendar.item_cut_ms}
        self.artifacts = {title: self.builder.artifact(title) for title in allowed}
        try:
            self.artifacts["ranker"] = self.builder.artifact("ranker")
            allowed["ranker"] = calendar.rank_cut_ms
        except InputError as error:
            self.warnings = [f"There is no ranker: {error}"]
        require_cuts(self.artifacts, allowed)

    @cached_property
    def ranker(self) -> PointwiseRanker | None:
        """None where there was too little to train one from."""
        return PointwiseRanker.from_artifact(self.artifacts["ranker"]) if "ranker" in self.artifacts else None

    @cached_property
    def stats(self) -> ItemStats:
        return ItemStats.from_artifact(self.builder.artifact("stats"))

    @cached_property
    def neighbours(self) -> NeighbourTable:
        return NeighbourTable.from_artifact(self.artifacts["item_knn/before_ranking"])

    @cached_property
    def vectors(self) -> EmbeddingTable:
        """Content vectors of every item, also of those that came after the tower was trained: it encodes any item."""
        tower = ContentTower.from_artifact(self.artifacts["content"])
        items = self.builder.lake.items()
        return EmbeddingTable(items["item_id"].to_list(), tower.encode(items, self.builder.calendar.rank_cut_ms), tower.space)


# ------------------------------------------------------------------------------------------------------------- retrieval


def _retrieval(parts: _Trained, world: World | None) -> Table:
    builder, settings = parts.builder, parts.settings
    lake, calendar = builder.lake, builder.calendar
    task = retrieval_task(lake, calendar, settings.evaluation)
    vectors, _ = parts.vectors.lookup(task.item_ids)
    scorers: dict[str, Scorer] = dict(baseline_scorers(lake, calendar, task, settings.evaluation, progress=builder.progress))
    scorers["content"] = VectorScorer(vectors)
    stage = _CandidateStage(parts, task)
    scorers["blend of sources"] = ListScorer(stage.blended, len(task.item_ids))
    if parts.ranker is not None:
        scorers["blend, ranked"] = ListScorer(stage.ranked, len(task.item_ids))
    if world is not None:
        scorers["oracle"] = WorldRetrieval(world, task.item_ids, calendar.end_ms)
    return evaluate_retrieval(task, scorers, settings.evaluation)


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


class _CandidateStage:
    """The candidate stage as it would have served at one moment: models cut before it, states replayed up to it."""

    def __init__(self, parts: _Trained, task: RetrievalTask):
        self._parts, self._task = parts, task
        self._known_ms: int | None = None
        self._found: dict[str, tuple[UserState, Retrieved]] = {}

    def blended(self, user_ids: Sequence[str], known_ms: int) -> Iterator[np.ndarray]:
        """Task rows for each user, best first, by the blend of the sources."""
        for _, found in self._retrieve(user_ids, known_ms):
            yield self._task_rows[found.rows]

    def ranked(self, user_ids: Sequence[str], known_ms: int) -> Iterator[np.ndarray]:
        """The same candidates in the order of the ranker's utility."""
        ranker, weights = self._parts.ranker, self._parts.settings.ranking.utility
        assert ranker is not None
        for state, found in self._retrieve(user_ids, known_ms):
            user = user_side(state, known_ms, self._items)
            features = request_features(state, known_ms, found.rows, self._items, user=user)
            given = RankerInput(state, known_ms, "home", found.rows, self._items, user, features)
            order = np.argsort(-utility(ranker.heads, ranker.score(given), weights), kind="stable")
            yield self._task_rows[found.rows[order]]

    def _retrieve(self, user_ids: Sequence[str], known_ms: int) -> Iterator[tuple[UserState, Retrieved]]:
        """Candidates of each user, made once for both rows."""
        self._prepare(known_ms)
        waiting = [user for user in user_ids if user not in self._found]
        for user, state in zip(
            waiting, _states(self._parts.builder.lake, waiting, known_ms, self._parts.settings.state.limits), strict=True
        ):
            mask = self._allowed.copy()
            engaged = self._catalogue.rows(action.item_id for action in state.positives() if action.item_id)
            mask[engaged[engaged >= 0]] = False
            asked = CandidateRequest(state, known_ms, "home", mask, self._catalogue)
            self._found[user] = state, self._retrieval.retrieve(asked, LISTED)
        return (self._found[user] for user in user_ids)

    def _prepare(self, known_ms: int) -> None:
        if known_ms == self._known_ms:
            return
        self._found.clear()
        parts, settings = self._parts, self._parts.settings.retrieval
        lake = parts.builder.lake.until(known_ms)
        self._catalogue = catalogue = Catalogue(lake.items())
        index = ExactIndex(aligned_vectors(parts.vectors, catalogue), parts.vectors.space)
        actions = lake.actions()
        knn = ItemKNN.fit(actions, catalogue.ids, known_ms, settings.item_knn).table
        boards = board_neighbours(actions, lake.boards(), catalogue.ids, known_ms, settings.boards)
        stats = ItemStats.build(actions, lake.shown(), catalogue.ids, known_ms)
        self._retrieval = Retrieval.of(RetrievalParts(index, knn, boards, stats), settings.sources)
        features = aligned_stats(stats, known_ms // DAY_MS, catalogue)
        self._items = ItemSide(catalogue, index, features, aligned_neighbours(parts.neighbours, catalogue))
        row_of = {item_id: row for row, item_id in enumerate(self._task.item_ids)}
        self._task_rows = np.array([row_of.get(item_id, -1) for item_id in catalogue.ids], np.int64)
        self._allowed = (self._task_rows >= 0) & catalogue.available
        self._known_ms = known_ms


def _states(lake: Lake, user_ids: Sequence[str], known_ms: int, limits: LimitsConfig) -> list[UserState]:
    """What was known of each user just before ``known_ms``, in the order of ``user_ids``."""
    columns = {"user_id": pl.String, "time_ms": pl.Int64, "place": pl.Int64}
    moments = pl.DataFrame(
        {"user_id": list(user_ids), "time_ms": [known_ms] * len(user_ids), "place": range(len(user_ids))}, schema=columns
    )
    found: list[UserState | None] = [None] * len(user_ids)
    for moment, state in replay(lake, moments, limits):
        found[moment["place"]] = state
    return found


# --------------------------------------------------------------------------------------------------------------- ranking


def _ranking(parts: _Trained, world: World | None) -> Table | None:
    builder, settings = parts.builder, parts.settings
    try:
        pages = logged_pages(builder.lake, builder.calendar, settings.evaluation, settings.ranking.rows)
    except InputError:
        return None
    actions = builder.lake.actions()
    scorers: dict[str, PageScorer] = {
        "logged order": LoggedOrder(),
        POPULARITY: PopularityOfDays(actions),
        "content": ContentSimilarity(parts.vectors, actions),
    }
    if parts.ranker is not None:
        scorers["ranker"] = ReplayedRanker(parts, parts.ranker)
    if world is not None:
        scorers["oracle"] = WorldPages(world, settings)
    return evaluate_ranking(pages, scorers, settings.evaluation, weights=settings.ranking.utility)


@dataclass(frozen=True)
class ReplayedRanker:
    """The trained ranker, with features replayed to the moment of each page."""

    parts: _Trained
    ranker: PointwiseRanker

    def score_pages(self, pages: Pages) -> PageScores:
        builder, ranker = self.parts.builder, self.ranker
        calendar = builder.calendar
        days = ItemDays(builder.lake, calendar.rank_cut_ms, calendar.end_ms, self.parts.vectors, self.parts.stats, self.parts.neighbours)
        slots = pages.slots
        progress, limits = partial(builder.progress, "replaying test pages"), self.parts.settings.state.limits
        features = replayed_features(builder.lake, slots, days, progress, limits)
        features[:, POSITION_COLUMN] = 0.0  # as in serving: every slot is scored as if it stood on top
        unknown = np.isnan(features[:, 0])
        probabilities = ranker.probabilities(np.nan_to_num(features))
        probabilities[unknown] = probabilities[~unknown].mean(axis=0) if (~unknown).any() else 0.0
        scores = utility(ranker.heads, probabilities, self.parts.settings.ranking.utility)
        return PageScores(scores.astype(np.float64), {head: probabilities[:, n].astype(np.float64) for n, head in enumerate(ranker.heads)})


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
