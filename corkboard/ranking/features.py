"""Request features: one function for replay and for live pages, so that training sees what serving will compute.

Every feature is defined for every user and item: an unknown user, an item without vector, price or counters gives zeros
and a flag that says so. Nothing is padded: a short history is a short array. The candidates' sources are not a feature,
because a log written by another policy knows other sources.
"""

from __future__ import annotations

import numpy as np

from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.ranking.user_side import FAST_HOURS, GROUPS, HOUR_MS, SESSION_HOURS, SLOW_HOURS, Past, UserSide, user_side
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.state.user_state import UserState

MEAN_SIMILARITIES: tuple[str, ...] = (
    "similar_last",
    "similar_last_3",
    "similar_session",
    "similar_10",
    "similar_100",
    "similar_fading_hours",
    "similar_fading_days",
    *(f"similar_{group}" for group in GROUPS),
)
"""Cosines of content vectors with positive actions: means over a window, or sums that fade with age."""
MAX_SIMILARITIES: tuple[str, ...] = ("nearest_session", "nearest_10", "nearest_100", "nearest_fading_hours", "nearest_fading_days")
"""The largest cosine with a positive action of a window, or of all of them, each fading with age."""
HIDE_SIMILARITIES: tuple[str, ...] = ("similar_hides", "similar_hides_fading", "nearest_hide", "has_vector")
MATCHES: tuple[str, ...] = tuple(
    f"same_{what}_{window}" for what in ("category", "creator", "brand") for window in ("fading_hours", "fading_days", "10", "100", "hides")
)
"""log(1 + number of actions on items of the same category, creator or brand)."""
ITEM_NAMES: tuple[str, ...] = ("age", "is_product", "has_price", "price_gap", "price_distance")
SHOWN_NAMES: tuple[str, ...] = ("times_shown", "hours_since_shown", "category_shown", "category_shown_lately", "category_rate")
TIE_NAMES: tuple[str, ...] = ("follows_creator", "item_knn", "item_knn_history")
REQUEST_NAMES: tuple[str, ...] = (
    "activity",
    "hours_since_action",
    "hide_share",
    "has_history",
    "hour_sin",
    "hour_cos",
    "week_sin",
    "week_cos",
)
FEATURE_NAMES: tuple[str, ...] = (
    *STAT_NAMES,
    *ITEM_NAMES,
    *MEAN_SIMILARITIES,
    *MAX_SIMILARITIES,
    *HIDE_SIMILARITIES,
    *MATCHES,
    *SHOWN_NAMES,
    *TIE_NAMES,
    *REQUEST_NAMES,
    "log_position",
)
"""The columns of :func:`request_features`, in order."""

POSITION_COLUMN = FEATURE_NAMES.index("log_position")
_CODED = ("category", "creator_id", "brand_id")
_LATELY_HOURS = 10.0
_HISTORY, _HISTORY_HOURS = 60, 14 * 24.0


def request_features(
    state: UserState, now_ms: int, rows: np.ndarray, items: ItemSide, positions: np.ndarray | None = None, user: UserSide | None = None
) -> np.ndarray:
    """float32 ``(len(rows), len(FEATURE_NAMES))`` for catalogue ``rows`` as they stand for this user at ``now_ms``.

    ``positions`` (0 = top) is what a training row was shown at; serving leaves it out and every candidate counts as shown
    at the top. ``user`` is :func:`user_side` of the same state, time and items, where it is already there.
    """
    user = user or user_side(state, now_ms, items)
    rows = np.asarray(rows, np.int64)
    out = np.empty((len(rows), len(FEATURE_NAMES)), np.float32)
    at = 0
    for block in (
        items.stats_at(rows),
        _item_block(user, rows, items),
        _similarity_block(user, rows, items),
        _match_block(user, rows, items),
        _shown_block(user, rows, items),
        _tie_block(user, rows, items),
    ):
        out[:, at : at + block.shape[1]] = block
        at += block.shape[1]
    out[:, at : at + len(REQUEST_NAMES)] = user.request
    out[:, POSITION_COLUMN] = 0.0 if positions is None else np.log1p(positions)
    return out


def _item_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    catalogue = items.catalogue
    hours = np.maximum(user.now_ms - catalogue.created_ms[rows], 0) / HOUR_MS
    price = items.log_price(rows)
    has_price = ~np.isnan(price)
    gap = np.nan_to_num(price - np.float32(user.usual_log_price))
    product = catalogue.codes("kind")[rows] == catalogue.code("kind", "product")
    return np.stack([np.log1p(hours), product, has_price, gap, np.abs(gap)], axis=1)


def _similarity_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    vectors, known = items.vectors(rows)
    out = np.zeros((len(rows), len(MEAN_SIMILARITIES) + len(MAX_SIMILARITIES) + len(HIDE_SIMILARITIES)), np.float32)
    means, maxima = len(MEAN_SIMILARITIES), len(MEAN_SIMILARITIES) + len(MAX_SIMILARITIES)
    if len(user.positives):
        cosines = vectors @ user.positive_vectors.T
        out[:, :means] = cosines @ user.similarity_weights
        in_session = int(np.searchsorted(user.positives.hours, SESSION_HOURS, side="right"))
        for column, count in enumerate((in_session, 10, cosines.shape[1])):
            if count:
                out[:, means + column] = cosines[:, :count].max(axis=1)
        for column, fade in ((3, FAST_HOURS), (4, SLOW_HOURS)):
            out[:, means + column] = (cosines * np.exp(-user.positives.hours / fade)).max(axis=1)
    if len(user.hides):
        cosines = vectors @ user.hide_vectors.T
        out[:, maxima : maxima + 2] = cosines @ user.hide_weights
        out[:, maxima + 2] = cosines.max(axis=1)
    out[:, maxima + 3] = known
    return out


def _match_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    out = np.zeros((len(rows), len(MATCHES)), np.float32)
    hours = user.positives.hours
    windows = [np.exp(-hours / FAST_HOURS), np.exp(-hours / SLOW_HOURS), np.arange(len(hours)) < 10, np.ones(len(hours))]
    weights = np.stack(windows, axis=1).astype(np.float32)
    for place, column in enumerate(_CODED):
        codes = items.catalogue.codes(column)
        mine = codes[rows]
        out[:, 5 * place : 5 * place + 4] = _same(mine, codes, user.positives).astype(np.float32) @ weights
        out[:, 5 * place + 4] = _same(mine, codes, user.hides).sum(axis=1)
    return np.log1p(out)


def _same(mine: np.ndarray, codes: np.ndarray, past: Past) -> np.ndarray:
    """bool ``(n, p)``: the candidate's code is that of the past item; "none" equals nothing."""
    return (mine[:, None] == codes[past.rows][None, :]) & (mine >= 0)[:, None]


def _shown_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    """Showings of the item itself, and of its category: in all, lately, and how often something came of it."""
    out = np.zeros((len(rows), len(SHOWN_NAMES)), np.float32)
    seen = user.shown
    if not len(seen):
        return out
    place = np.minimum(np.searchsorted(seen.rows, rows), len(seen) - 1)
    there = seen.rows[place] == rows
    out[there, 0], out[there, 1] = seen.times[place[there]], seen.hours[place[there]]
    codes = items.catalogue.codes("category")
    n = len(items.catalogue.names("category")) + 1
    mine = codes[rows] + 1
    shown, liked = codes[seen.rows] + 1, codes[user.positives.rows] + 1
    out[:, 2] = np.bincount(shown, seen.times, minlength=n)[mine]
    out[:, 3] = np.bincount(shown, np.exp(-seen.hours / _LATELY_HOURS), minlength=n)[mine]
    total = (len(liked) + 1) / (float(seen.times.sum()) + 10)
    rate = (np.bincount(liked, minlength=n) + 10 * total) / (np.bincount(shown, seen.times, minlength=n) + 10)
    out[:, :4] = np.log1p(out[:, :4])
    out[:, 4] = np.log(rate / total)[mine]
    return out


def _tie_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    out = np.zeros((len(rows), len(TIE_NAMES)), np.float32)
    if len(user.followed):
        out[:, 0] = np.isin(items.catalogue.codes("creator_id")[rows], user.followed)
    if items.neighbours is not None and len(user.positives) and len(rows):
        past, faded = user.positives, 0.5 ** (user.positives.hours / _HISTORY_HOURS)
        out[:, 1] = _knn(past.rows[:10], np.ones(min(10, len(past))), rows, items.neighbours)
        out[:, 2] = _knn(past.rows[:_HISTORY], faded[:_HISTORY], rows, items.neighbours)
    return out


def _knn(acted: np.ndarray, weights: np.ndarray, rows: np.ndarray, table: NeighbourTable) -> np.ndarray:
    """float32 ``(n,)``: how strongly the acted-on items point at each candidate, log(1 + weighted sum of similarities)."""
    acted, weights = acted[acted < len(table.rows)], weights[acted < len(table.rows)]
    place = np.full(len(table.rows) + 1, -1, np.int32)  # the last cell is for "no neighbour", which is -1
    frozen = np.flatnonzero(rows < len(table.rows))
    place[rows[frozen]] = frozen
    candidate = place[table.rows[acted]].ravel()
    found = candidate >= 0
    scores = (table.scores[acted] * weights[:, None]).ravel()[found]
    return np.log1p(np.maximum(np.bincount(candidate[found], scores, minlength=len(rows)), 0.0))
