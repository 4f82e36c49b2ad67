"""Training rows: what was shown to whom, the features of that moment, and what was done with it.

Three ways lead to the same table. Pages that this system served carry the features they were ranked by, and those are
taken as they are. Pages of another log are replayed: the user's state just before the page, the counters of its day, item
models cut before the span. A log without impressions gives each acted-on item with sampled ones beside it, and the table
says so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.features import FEATURE_NAMES, POSITION_COLUMN, request_features
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.labels import heads_in, label_slots
from corkboard.ranking.pages import impression_pages, sample_pages, served_pages
from corkboard.ranking.sampling import CandidateFunction, Sampled
from corkboard.ranking.table import TrainingRows, table_of
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.user_state import LIMITS

Progress = Callable[[int, int], None]
_REPORT_EVERY = 200

__all__ = ["TrainingRows", "replayed_features", "rows_from_served", "training_rows"]


def training_rows(
    lake: Lake,
    calendar: Calendar,
    items: ItemDays,
    config: RowsConfig,
    seed: int,
    candidates: CandidateFunction | None = None,
    progress: Progress | None = None,
    limits: LimitsConfig = LIMITS,
) -> TrainingRows:
    """Rows from the pages of [A, B). ``items`` must be made of models cut at A; nothing at or after B is read.

    ``limits`` must be those of the store that serves: a state that remembers more would have other features.
    ``candidates`` draws half of the negatives where the lake has no impressions. Raises :class:`InputError` where the span
    has neither pages nor actions.
    """
    start_ms, end_ms = calendar.item_cut_ms, calendar.rank_cut_ms
    lake = lake.until(end_ms)
    actions = lake.actions(start_ms, end_ms)
    heads = heads_in(actions)
    if not heads:
        raise InputError(
            "There are no actions on items to learn from",
            expected=f"actions from {start_ms} to {end_ms}",
            hint="Give the ranking span more days.",
        )
    slots = impression_pages(lake, start_ms, end_ms, config.surfaces)
    if slots.is_empty():
        # Nothing says what was passed over, so a head for hides would learn who is shown things rather than what they dislike:
        # what was hidden is an example against every other head instead.
        liked = tuple(head for head in heads if head in POSITIVE)
        return Sampled(lake, (start_ms, end_ms), config, seed, limits).rows(items, liked or heads, candidates, progress)
    slots, labels = _within_budget(slots, label_slots(slots, actions, heads, end_ms, config), config, seed)
    features = _features(lake, slots, served_pages(lake, start_ms, end_ms), items, progress, limits)
    known = ~np.isnan(features).any(axis=1)
    return table_of(slots, features, labels, heads).take(np.flatnonzero(known))


def rows_from_served(lake: Lake, start_ms: int, end_ms: int, config: RowsConfig) -> TrainingRows:
    """Rows from the served log of [start_ms, end_ms), with the features as they were logged.

    The one column that is not taken is the position: pages are scored as if every item stood at the top, and a row is
    learned from where it was shown. Pages whose log lacks a feature of this version are left out.
    """
    lake = lake.until(end_ms)
    actions = lake.actions(start_ms, end_ms)
    slots = served_pages(lake, start_ms, end_ms)
    heads = heads_in(actions)
    if slots.is_empty() or not heads:
        raise InputError(
            "The served log has nothing to learn from",
            found=f"{slots.height} slots, heads {list(heads)}",
            expected="served pages with actions",
        )
    slots, labels = _within_budget(slots, label_slots(slots, actions, heads, end_ms, config), config, seed=0)
    return table_of(slots, logged_features(slots), labels, heads)


def logged_features(slots: pl.DataFrame) -> np.ndarray:
    """float32 ``(slots, len(FEATURE_NAMES))``: the logged features, with the position where each slot was shown."""
    features = np.ascontiguousarray(slots["features"].to_numpy().astype(np.float32))
    features[:, POSITION_COLUMN] = np.log1p(slots["position"].to_numpy())
    return features


def replayed_features(
    lake: Lake, slots: pl.DataFrame, items: ItemDays, progress: Progress | None = None, limits: LimitsConfig = LIMITS
) -> np.ndarray:
    """float32 ``(slots, len(FEATURE_NAMES))`` of slots sorted by page: the state just before each page, by the same code as serving.

    Rows of items that the catalogue of the day does not have are NaN.
    """
    pages = slots.unique("page", keep="first", maintain_order=True).select("page", "time_ms", "tenant", user_id="user_key")
    out = np.full((slots.height, len(FEATURE_NAMES)), np.nan, np.float32)
    page, ids, position = slots["page"].to_numpy(), slots["item_id"].to_list(), slots["position"].to_numpy()
    starts = np.searchsorted(page, pages["page"].to_numpy())
    ends = np.append(starts[1:], len(page))
    place = {number: k for k, number in enumerate(pages["page"].to_list())}
    for done, (moment, state) in enumerate(replay(lake, pages, limits)):
        k, now_ms = place[moment["page"]], moment["time_ms"]
        side = items.at(now_ms // DAY_MS)
        here = np.arange(starts[k], ends[k])
        rows = side.catalogue.rows(ids[starts[k] : ends[k]])
        here, rows = here[rows >= 0], rows[rows >= 0]
        out[here] = request_features(state, now_ms, rows, side, position[here])
        if progress and done % _REPORT_EVERY == 0:
            progress(done, pages.height)
    return out


def _within_budget(slots: pl.DataFrame, labels: np.ndarray, config: RowsConfig, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    weights = sample_pages(slots, np.nansum(labels, axis=1) > 0, config.max_rows, seed)
    kept = weights > 0
    return slots.with_columns(weight=pl.Series(weights)).filter(pl.Series(kept)), labels[kept]


def _features(
    lake: Lake, slots: pl.DataFrame, served: pl.DataFrame, items: ItemDays, progress: Progress | None, limits: LimitsConfig
) -> np.ndarray:
    """Logged features where the page was served by this system, replayed ones for every other page."""
    logged = (
        slots.with_row_index("slot").join(served.select("request_id", "item_id", "features"), on=["request_id", "item_id"]).sort("slot")
    )
    own = np.zeros(slots.height, bool)
    own[logged["slot"].to_numpy()] = True
    out = np.empty((slots.height, len(FEATURE_NAMES)), np.float32)
    if own.any():
        out[own] = logged_features(logged)
    if not own.all():
        out[~own] = replayed_features(lake, slots.filter(pl.Series(~own)), items, progress, limits)
    return out
