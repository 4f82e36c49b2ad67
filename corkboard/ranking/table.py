"""The table that rankers are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.history import PageHistories


@dataclass(frozen=True)
class TrainingRows:
    """One row for each item of each page, in the order of time.

    Arrays are parallel, ``(n,)`` unless another shape is given. ``page`` and ``user`` number rows of ``pages`` and ``user_ids``.
    """

    features: np.ndarray
    """float32 ``(n, len(feature_names))``."""
    labels: np.ndarray
    """float32 ``(n, len(heads))``: 1 done, 0 not done, NaN not known yet."""
    weights: np.ndarray
    """float32: one over the probability with which the row's page was kept, times what pages of its surface weigh."""
    page: np.ndarray
    user: np.ndarray
    time_ms: np.ndarray
    position: np.ndarray
    """int32: 0 = top; -1 where the item was sampled, not shown."""
    randomised: np.ndarray
    """bool: the page was in random order."""
    item_ids: np.ndarray
    user_ids: list[str]
    pages: pl.DataFrame
    """request_id, tenant, user_key, time_ms of each page, numbered by their order."""
    heads: tuple[str, ...]
    feature_names: tuple[str, ...] = FEATURE_NAMES
    sampled_negatives: bool = False
    """The data has no impressions; probabilities are relative to the sampling and every table must say so."""
    histories: PageHistories | None = None
    """The newest actions before each page, parallel to ``pages``."""
    user_vectors: np.ndarray | None = None
    """float32 ``(pages, dim)``: the user vector that each page had, or would have had; zeros where there was none."""
    user_vector_known: np.ndarray | None = None
    """bool ``(pages,)``; None where ``user_vectors`` is."""
    user_vector_hours: np.ndarray | None = None
    """float32 ``(pages,)``: hours from the newest action that the vector knows to the page, 0 where there is none."""

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, rows: np.ndarray) -> TrainingRows:
        """The rows ``rows``; users and pages keep their numbers."""
        names = ("features", "labels", "weights", "page", "user", "time_ms", "position", "randomised", "item_ids")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def table_of(
    slots: pl.DataFrame,
    features: np.ndarray,
    labels: np.ndarray,
    heads: Sequence[str],
    sampled: bool = False,
    histories: PageHistories | None = None,
) -> TrainingRows:
    """Rows from slots (:data:`corkboard.ranking.pages.SLOT_COLUMNS`) in the order of time; ``histories`` are parallel to their pages."""
    users = slots["user_key"].unique(maintain_order=True)
    pages = slots.unique("page", keep="first", maintain_order=True).select("request_id", "tenant", "user_key", "time_ms", "page")
    return TrainingRows(
        features=features,
        labels=labels,
        weights=slots["weight"].to_numpy().astype(np.float32),
        page=slots["page"].rle_id().to_numpy().astype(np.int32),
        user=slots["user_key"].replace_strict(users.to_list(), list(range(len(users))), return_dtype=pl.Int32).to_numpy(),
        time_ms=slots["time_ms"].to_numpy(),
        position=slots["position"].to_numpy().astype(np.int32),
        randomised=slots["randomised"].to_numpy(),
        item_ids=np.array(slots["item_id"].to_list(), object),
        user_ids=users.to_list(),
        pages=pages.drop("page"),
        heads=tuple(heads),
        sampled_negatives=sampled,
        histories=histories,
    )
