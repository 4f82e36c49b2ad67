"""The candidate stage as it would have served at one moment: models cut before it, states and user vectors as of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.experiments.task import RetrievalTask
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.pipeline.trained import TrainedModels
from corkboard.ranking.item_side import ItemSide, aligned_neighbours, aligned_stats, aligned_vectors
from corkboard.ranking.request import RequestSide, UserVector
from corkboard.ranking.utility import utility
from corkboard.retrieval.baselines import ItemKNN
from corkboard.retrieval.blend import Retrieval, Retrieved
from corkboard.retrieval.boards import board_neighbours
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import ExactIndex
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.sources import RetrievalParts
from corkboard.retrieval.walks import WalkedGraph
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.user_state import UserState

LISTED = 400
"""Candidates that the blend lists for a user; what was engaged already is taken out of them afterwards."""


@dataclass(frozen=True)
class UserVectorScorer:
    """Items by their product with the user vector, made from what was known at the moment of the lists."""

    models: TrainedModels
    items: np.ndarray
    """float32 ``(items, dim)``: item embeddings of the task's items."""

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        return user_vectors(self.models, user_ids, known_ms)[0] @ self.items.T


def user_vectors(models: TrainedModels, user_ids: Sequence[str], known_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """(float32 ``(len(user_ids), dim)``, int64 ``(len(user_ids),)``): vectors from actions before ``known_ms`` and the newest of these.

    Zeros and 0 for a user without any.
    """
    histories = models.histories
    rows = histories.rows(user_ids)
    users, moments = np.maximum(rows, 0), np.full(len(rows), known_ms)
    ends = histories.ends(users, moments)
    known = (rows >= 0) & (ends > histories.offsets[users])
    newest_ms = np.zeros(len(rows), np.int64)
    newest_ms[known] = histories.time_ms[ends[known] - 1]
    return models.users.encode_users(histories, models.graph, users, moments) * known[:, None], newest_ms


class CandidateStage:
    """Lists of the blend of all sources, as they come and in the order of the ranker's utility."""

    def __init__(self, models: TrainedModels, task: RetrievalTask):
        self._models, self._task = models, task
        self._known_ms: int | None = None
        self._found: dict[str, tuple[RequestSide, Retrieved]] = {}

    def blended(self, user_ids: Sequence[str], known_ms: int) -> Iterator[np.ndarray]:
        """Task rows for each user, best first, by the blend of the sources."""
        for _, found in self._retrieve(user_ids, known_ms):
            yield self._task_rows[found.rows]

    def ranked(self, user_ids: Sequence[str], known_ms: int) -> Iterator[np.ndarray]:
        """As many of the same candidates as a page sends to the ranker, the sources' best, in the order of its utility."""
        ranker, settings = self._models.ranker, self._models.settings
        assert ranker is not None
        for request, found in self._retrieve(user_ids, known_ms):
            rows = found.rows[: settings.feed.full_candidates]
            scores = ranker.score(request.ranker_input(rows, request.features(rows)))
            yield self._task_rows[rows[np.argsort(-utility(ranker.heads, scores, settings.ranking.utility), kind="stable")]]

    def _retrieve(self, user_ids: Sequence[str], known_ms: int) -> Iterator[tuple[RequestSide, Retrieved]]:
        """Candidates of each user, made once for both rows."""
        self._prepare(known_ms)
        waiting = [user for user in user_ids if user not in self._found]
        vectors, newest_ms = user_vectors(self._models, waiting, known_ms)
        states = states_at(self._models.builder.lake, waiting, known_ms, self._models.settings.state.limits)
        for user, state, vector, newest in zip(waiting, states, vectors, newest_ms.tolist(), strict=True):
            request = RequestSide.of(state, known_ms, "home", self._items, UserVector(vector, newest) if newest else None)
            mask = self._allowed.copy()
            engaged = self._catalogue.rows(action.item_id for action in state.positives() if action.item_id)
            mask[engaged[engaged >= 0]] = False
            asked = CandidateRequest(state, known_ms, "home", mask, self._catalogue, vector)
            self._found[user] = request, self._retrieval.retrieve(asked, LISTED)
        return (self._found[user] for user in user_ids)

    def _prepare(self, known_ms: int) -> None:
        if known_ms == self._known_ms:
            return
        self._found.clear()
        models, settings = self._models, self._models.settings.retrieval
        lake = models.builder.lake.until(known_ms)
        self._catalogue = catalogue = Catalogue(lake.items())
        index = ExactIndex(aligned_vectors(models.content, catalogue), models.content.space)
        embedding = ExactIndex(aligned_vectors(models.embeddings, catalogue), models.embeddings.space)
        graph_vectors = ExactIndex(aligned_vectors(models.graph, catalogue), models.graph.space)
        products = None if models.products is None else ExactIndex(aligned_vectors(models.products, catalogue), models.products.space)
        walked, walk = models.graphs.walked, models.settings.graph.walk
        walks = None if walked is None else WalkedGraph.of(models.graphs.by_name[walked], catalogue, walk)
        actions = lake.actions()
        knn = ItemKNN.fit(actions, catalogue.ids, known_ms, settings.item_knn).table
        boards = board_neighbours(actions, lake.boards(), catalogue.ids, known_ms, settings.boards)
        stats = ItemStats.build(actions, lake.shown(), catalogue.ids, known_ms)
        self._retrieval = Retrieval.of(RetrievalParts(index, knn, boards, stats, embedding, graph_vectors, walks), settings.sources)
        features = aligned_stats(stats, known_ms // DAY_MS, catalogue)
        self._items = ItemSide(
            catalogue, index, features, aligned_neighbours(models.neighbours, catalogue), embedding, graph_vectors, products
        )
        row_of = {item_id: row for row, item_id in enumerate(self._task.item_ids)}
        self._task_rows = np.array([row_of.get(item_id, -1) for item_id in catalogue.ids], np.int64)
        self._allowed = (self._task_rows >= 0) & catalogue.available
        self._known_ms = known_ms


def states_at(lake: Lake, user_ids: Sequence[str], known_ms: int, limits: LimitsConfig) -> list[UserState]:
    """What was known of each user just before ``known_ms``, in the order of ``user_ids``."""
    columns = {"user_id": pl.String, "time_ms": pl.Int64, "place": pl.Int64}
    moments = pl.DataFrame(
        {"user_id": list(user_ids), "time_ms": [known_ms] * len(user_ids), "place": range(len(user_ids))}, schema=columns
    )
    found: list[UserState | None] = [None] * len(user_ids)
    for moment, state in replay(lake, moments, limits):
        found[moment["place"]] = state
    return found
