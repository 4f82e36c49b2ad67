"""Labels: which actions belong to which slot, and which are not known yet.

An action that names its request belongs to that page. One that does not (an imported log, a cart reported from elsewhere)
belongs to the last page that showed its item to its user, if that was not long ago.

Late actions need patience. Someone who is sent to a shop buys hours or days later, so for the youngest pages "no cart" only
means "no cart yet". Learning that as "no" would lower the head for whatever was shown last, which are the newest items of
all. Such cells are NaN until ``maturity_days`` have passed: the head skips them, the other heads still learn from the row.
Keeping the early positives of those pages and skipping only the rest would bias the head upwards, so all cells are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import ITEM_ACTIONS, user_key_expr
from corkboard.ranking.config import RowsConfig

_HOUR_MS = 3_600_000


def heads_in(actions: pl.DataFrame) -> tuple[str, ...]:
    """The actions on items that occur at all, in the order of the contract: a head for each."""
    there = set(actions["action"].unique().to_list())
    return tuple(name for name in ITEM_ACTIONS if name in there)


def label_slots(slots: pl.DataFrame, actions: pl.DataFrame, heads: Sequence[str], end_ms: int, config: RowsConfig) -> np.ndarray:
    """float32 ``(slots, heads)``: 1 done, 0 not done, NaN where a late action may still come; ``actions`` end at ``end_ms``."""
    labels = np.zeros((slots.height, len(heads)), np.float32)
    places = slots.select("request_id", "tenant", "user_key", "item_id", shown_ms="time_ms").with_row_index("slot")
    done = actions.filter(pl.col("action").is_in(list(heads)) & pl.col("item_id").is_not_null())
    done = done.select("time_ms", "tenant", "item_id", "action", "request_id", user_key=user_key_expr())
    named = done.filter(pl.col("request_id").is_not_null()).join(places.drop("user_key"), on=["tenant", "request_id", "item_id"])
    for pairs in (named, _last_shown(done.filter(pl.col("request_id").is_null()), places, config)):
        columns = pairs["action"].replace_strict(list(heads), list(range(len(heads))), return_dtype=pl.Int64).to_numpy()
        labels[pairs["slot"].to_numpy(), columns] = 1.0
    late = [column for column, name in enumerate(heads) if name in config.late_heads]
    young = slots["time_ms"].to_numpy() > end_ms - config.maturity_days * DAY_MS
    labels[np.flatnonzero(young)[:, None], late] = np.nan
    return labels


def _last_shown(actions: pl.DataFrame, places: pl.DataFrame, config: RowsConfig) -> pl.DataFrame:
    """Actions without a request beside the last slot that showed their item to their user in time."""
    hours, days = int(config.label_hours * _HOUR_MS), int(config.maturity_days * DAY_MS)
    right = places.sort("shown_ms").with_columns(time_ms="shown_ms")
    pairs = actions.sort("time_ms").join_asof(
        right, on="time_ms", by=["tenant", "user_key", "item_id"], strategy="backward", tolerance=max(hours, days), check_sortedness=False
    )
    patience = pl.when(pl.col("action").is_in(list(config.late_heads))).then(max(hours, days)).otherwise(hours)
    return pairs.filter(pl.col("slot").is_not_null() & (pl.col("time_ms") - pl.col("shown_ms") <= patience))
