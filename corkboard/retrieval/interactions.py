"""Actions as a users-by-items matrix, and histories as rows of one: what every co-engagement model starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import user_key_expr
from corkboard.retrieval.config import ActionWeights


@dataclass(frozen=True)
class Interactions:
    """Two float32 CSR matrices ``(users, items)`` of one pattern, values in (0, 1]; user row i is ``user_ids[i]``.

    ``matrix`` says how much a user likes an item, whenever that was; ``recent`` the same times the freshness of it. A
    model that asks "who took i, what did they take *lately*" puts ``matrix`` on the side of the history and ``recent`` on
    the side of what is recommended: old actions go on saying who a person is, and no longer say what is of interest today.
    """

    matrix: sp.csr_array
    recent: sp.csr_array
    user_ids: list[str]


@dataclass(frozen=True)
class Validation:
    """Held-out users for choosing a setting: catalogue rows they had (newest first), and those they took next."""

    histories: list[np.ndarray]
    targets: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.histories)

    @classmethod
    def of(
        cls, actions: pl.DataFrame, catalogue_ids: Sequence[str], start_ms: int, end_ms: int, weights: ActionWeights | None = None
    ) -> Validation:
        """Users with positive actions before ``start_ms`` and on further items in ``[start_ms, end_ms)``, sorted by user."""
        index = pl.LazyFrame(
            {"item_id": list(catalogue_ids), "row": np.arange(len(catalogue_ids), dtype=np.int64)},
            schema={"item_id": pl.String, "row": pl.Int64},
        )
        done = (
            actions.lazy()
            .filter((pl.col("time_ms") < end_ms) & (action_weight(weights or ActionWeights()) > 0))
            .select("time_ms", "item_id", user=user_key_expr())
        )
        done = done.join(index, on="item_id", how="inner").sort("time_ms", "row", descending=[True, False])
        before = done.filter(pl.col("time_ms") < start_ms).group_by("user").agg(history=pl.col("row").unique(maintain_order=True))
        after = done.filter(pl.col("time_ms") >= start_ms).group_by("user").agg(taken=pl.col("row").unique())
        joined = (
            before.join(after, on="user")
            .with_columns(new=pl.col("taken").list.set_difference("history"))
            .filter(pl.col("new").list.len() > 0)
            .sort("user")
            .collect()
        )
        return cls(
            [np.array(rows, np.int64) for rows in joined["history"].to_list()],
            [np.array(rows, np.int64) for rows in joined["new"].to_list()],
        )


def action_weight(weights: ActionWeights, scale: float = 1.0) -> pl.Expr:
    """The weight of the column ``action``, times ``scale``; 0 for an action that has none."""
    known = weights.model_dump()
    return pl.col("action").replace_strict(list(known), [value * scale for value in known.values()], default=0.0, return_dtype=pl.Float64)


def interactions(
    actions: pl.DataFrame,
    catalogue_ids: Sequence[str],
    weights: ActionWeights,
    upto_ms: int,
    max_history: int,
    half_life_days: float = np.inf,
    floor: float = 0.0,
) -> Interactions:
    """Positive actions strictly before ``upto_ms`` as matrices.

    A cell is the largest weight among the actions of a user on an item, relative to the heaviest action. Its freshness is
    ``floor + (1 - floor) * 0.5**(age of the last action / half_life_days)``. A user keeps the ``max_history`` items engaged last.
    """
    heaviest = max(weights.model_dump().values()) or 1.0
    index = pl.LazyFrame(
        {"item_id": list(catalogue_ids), "row": np.arange(len(catalogue_ids), dtype=np.int64)},
        schema={"item_id": pl.String, "row": pl.Int64},
    )
    cells = (
        actions.lazy()
        .filter(pl.col("time_ms") < upto_ms)
        .select(user=user_key_expr(), item_id="item_id", time_ms="time_ms", value=action_weight(weights, 1 / heaviest))
        .filter((pl.col("value") > 0) & pl.col("user").is_not_null())
        .join(index, on="item_id", how="inner")
        .group_by("user", "row")
        .agg(pl.col("value").max(), pl.col("time_ms").max())
        .sort("user", "time_ms", "row", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("user") < max_history)
        .sort("user", "row")
        .collect()
    )
    users = cells["user"].unique(maintain_order=True)
    place = (cells["user"].rle_id().to_numpy(), cells["row"].to_numpy())
    values = cells["value"].to_numpy()
    freshness = floor + (1 - floor) * 0.5 ** ((upto_ms - cells["time_ms"].to_numpy()) / (DAY_MS * half_life_days))
    shape = (len(users), len(catalogue_ids))
    fresh = np.maximum(values * freshness, np.finfo(np.float32).tiny)  # a cell that faded to zero would change the pattern
    return Interactions(
        sp.csr_array((values.astype(np.float32), place), shape=shape),
        sp.csr_array((fresh.astype(np.float32), place), shape=shape),
        users.to_list(),
    )


def history_matrix(
    histories: Sequence[np.ndarray], items: int, half_life: float, max_history: int, weights: Sequence[np.ndarray] | None = None
) -> sp.csr_array:
    """float32 CSR ``(len(histories), items)`` of histories, newest first: 0.5**(place / ``half_life``) x the item's weight.

    Rows that are negative (unknown items) are skipped; of an item that stands twice the newest counts.
    """
    lengths = [min(len(history), max_history) for history in histories]
    users = np.repeat(np.arange(len(histories)), lengths)
    rows = np.concatenate([np.empty(0, np.int64), *(np.asarray(history[:max_history], np.int64) for history in histories)])
    places = np.concatenate([np.empty(0), *(np.arange(length) for length in lengths)])
    values = 0.5 ** (places / half_life)
    if weights is not None:
        values *= np.concatenate([np.empty(0), *(np.asarray(weight[:max_history], np.float64) for weight in weights)])
    known = rows >= 0
    users, rows, values = users[known], rows[known], values[known]
    _, first = np.unique(users * items + rows, return_index=True)
    return sp.csr_array((values[first].astype(np.float32), (users[first], rows[first])), shape=(len(histories), items))
