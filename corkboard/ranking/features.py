"""Request features: one function for replay and for live pages, so that training sees what serving will compute.

Every feature is defined for every user and item: an unknown user, an item without vector, price or counters gives zeros
and a flag that says so. Nothing is padded: a short history is a short array. The candidates' sources are not a feature,
because a log written by another policy knows other sources. On a page beside an item, that item is part of the question and
is compared with every candidate; on other pages those features are zero.
"""

from __future__ import annotations

import numpy as np

from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.ranking.user_side import (
    HIDE_WINDOWS,
    HOUR_MS,
    LAST_FADE,
    LONG_HIDES_FADE,
    POSITIVE_WINDOWS,
    SESSION_HOURS,
    Past,
    UserSide,
    user_side,
)
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.state.user_state import UserState

SIMILARITIES: tuple[str, ...] = (*(f"similar_{window}" for window in POSITIVE_WINDOWS), *(f"similar_{window}" for window in HIDE_WINDOWS))
"""Cosines of content vectors with past actions, by window."""
NEAREST: tuple[str, ...] = ("nearest_session", "nearest_10", "nearest_fading_days", "nearest_hide", "has_vector")
"""Largest cosine with one past action of a window, fading with its age. Without fading, one burst of saves would never be forgotten."""
_MATCH_WINDOWS = ("fading_hours", "fading_days", "10", "100")
MATCHES: tuple[str, ...] = tuple(
    f"same_{what}_{window}" for what in ("category", "creator", "brand") for window in (*_MATCH_WINDOWS, *HIDE_WINDOWS)
)
"""Weight of past actions on items of the same category, creator or brand, by window."""
ITEM_NAMES: tuple[str, ...] = ("age", "is_product", "has_price", "price_gap", "price_distance")
SHOWN_NAMES: tuple[str, ...] = ("times_shown", "hours_since_shown", "category_shown", "category_shown_lately")
TIE_NAMES: tuple[str, ...] = ("follows_creator", "item_knn", "item_knn_history", "acted", "acted_fading_days")
BESIDE_NAMES: tuple[str, ...] = (
    "beside_known",
    *("beside_content", "beside_embedding", "beside_graph"),
    *("beside_category", "beside_creator", "beside_brand"),
    "beside_item_knn",
)
"""How a candidate of a related page goes with the item that the page is beside: cosines in each kind of vector, the same category,
creator or brand, log(1 + similarity) as its item-kNN neighbour. ``beside_known`` is 1 on such pages and tells the ranker of the surface."""
PRODUCT_NAMES: tuple[str, ...] = ("itemsage_session", "itemsage_fading_days", "itemsage_similar", "itemsage_beside", "has_itemsage")
"""Cosines of the ItemSage vector of what can be bought with the graph vectors of past actions (largest of the last half hour, largest
fading with age, sum over days), and with that of the item that the page is beside."""
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
    *SIMILARITIES,
    *NEAREST,
    *MATCHES,
    *SHOWN_NAMES,
    *TIE_NAMES,
    *BESIDE_NAMES,
    *PRODUCT_NAMES,
    *REQUEST_NAMES,
    "log_position",
)
"""The columns of :func:`request_features`, in order."""

POSITION_COLUMN = FEATURE_NAMES.index("log_position")
_CODED = ("category", "creator_id", "brand_id")
RELATED, SHOP = "related", "shop"
"""The surfaces whose pages are beside an item: always, and where they came with one."""
BESIDE_SURFACES = (RELATED, SHOP)
_DAYS = POSITIVE_WINDOWS.index("fading_days")
_SUMS = [SIMILARITIES.index(f"similar_{window}") for window in ("fading_hours", "fading_days", "hides_fading")]
_MATCH_COLUMNS = [POSITIVE_WINDOWS.index(window) for window in _MATCH_WINDOWS]
_LATELY_HOURS = 10.0
_HISTORY, _HISTORY_HOURS, _HISTORY_PRIOR = 60, 20 * 24.0, 10.0


def request_features(
    state: UserState,
    now_ms: int,
    rows: np.ndarray,
    items: ItemSide,
    positions: np.ndarray | None = None,
    user: UserSide | None = None,
    beside: int = -1,
) -> np.ndarray:
    """float32 ``(len(rows), len(FEATURE_NAMES))`` for catalogue ``rows`` as they stand for this user at ``now_ms``.

    ``positions`` (0 = top) is what a training row was shown at; serving leaves it out and every candidate counts as shown
    at the top. ``user`` is :func:`user_side` of the same state, time and items, where it is already there. ``beside`` is the row
    of the item that a related page belongs to (:func:`beside_row`), -1 on every other page.
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
        _beside_block(beside, rows, items),
        _product_block(user, beside, rows, items),
    ):
        out[:, at : at + block.shape[1]] = block
        at += block.shape[1]
    out[:, at : at + len(REQUEST_NAMES)] = user.request
    out[:, POSITION_COLUMN] = 0.0 if positions is None else np.log1p(np.maximum(positions, 0))
    return out


def beside_row(surface: str, item_id: str | None, items: ItemSide) -> int:
    """The row of the item that a page is beside; -1 on other surfaces than :data:`BESIDE_SURFACES`, and where the catalogue lacks it."""
    return items.catalogue.row(item_id) if surface in BESIDE_SURFACES and item_id is not None else -1


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
    out = np.zeros((len(rows), len(SIMILARITIES) + len(NEAREST)), np.float32)
    windows, nearest = len(POSITIVE_WINDOWS), len(SIMILARITIES)
    past = user.positives
    if len(past):
        cosines = vectors @ user.positive_vectors.T
        out[:, :windows] = cosines @ user.positive_windows
        session = int(np.searchsorted(past.hours, SESSION_HOURS, side="right"))
        if session:
            out[:, nearest] = cosines[:, :session].max(axis=1)
        out[:, nearest + 1] = (cosines[:, :10] * np.exp(-past.hours[:10] / LAST_FADE)).max(axis=1)
        out[:, nearest + 2] = (cosines * user.positive_windows[:, _DAYS]).max(axis=1)
    if len(user.hides):
        cosines = vectors @ user.hide_vectors.T
        out[:, windows:nearest] = cosines @ user.hide_windows
        out[:, nearest + 3] = (cosines * np.exp(-user.hides.hours / LONG_HIDES_FADE)).max(axis=1)
    sums = out[:, _SUMS]
    out[:, _SUMS] = np.sign(sums) * np.log1p(np.abs(sums))
    out[:, nearest + 4] = known
    return out


def _match_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    out = np.zeros((len(rows), len(MATCHES)), np.float32)
    windows, width = len(_MATCH_WINDOWS), len(_MATCH_WINDOWS) + len(HIDE_WINDOWS)
    weights = user.positive_windows[:, _MATCH_COLUMNS]
    hides = np.stack([np.exp(-user.hides.hours / LONG_HIDES_FADE), user.hide_windows[:, 1]], axis=1)
    for place, column in enumerate(_CODED):
        codes = items.catalogue.codes(column)
        mine = codes[rows]
        block = out[:, width * place : width * (place + 1)]
        block[:, :windows] = _same(mine, codes, user.positives).astype(np.float32) @ weights
        block[:, windows:] = _same(mine, codes, user.hides).astype(np.float32) @ hides
        block[:, :2] = np.log1p(block[:, :2])
        block[:, windows] = 1.0 - np.exp(-block[:, windows])
        block[:, windows + 1] = np.log1p(block[:, windows + 1])
    return out


def _same(mine: np.ndarray, codes: np.ndarray, past: Past) -> np.ndarray:
    """bool ``(n, p)``: the candidate's code is that of the past item; "none" equals nothing."""
    return (mine[:, None] == codes[past.rows][None, :]) & (mine >= 0)[:, None]


def _shown_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    """Showings of the item itself, and of its category: in all, and lately."""
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
    shown = codes[seen.rows] + 1
    out[:, 2] = np.bincount(shown, seen.times, minlength=n)[mine]
    out[:, 3] = np.bincount(shown, np.exp(-seen.hours / _LATELY_HOURS), minlength=n)[mine]
    return np.log1p(out)


def _tie_block(user: UserSide, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    out = np.zeros((len(rows), len(TIE_NAMES)), np.float32)
    if len(user.followed):
        out[:, 0] = np.isin(items.catalogue.codes("creator_id")[rows], user.followed)
    if len(user.positives):
        same = rows[:, None] == user.positives.rows[None, :]
        out[:, 3], out[:, 4] = same.any(axis=1), np.log1p(same @ user.positive_windows[:, _DAYS])
    if items.neighbours is not None and len(user.positives):
        acted, hours = user.positives.rows[:_HISTORY], user.positives.hours[:_HISTORY]
        out[:, 1] = _knn(acted[:10], np.exp(-hours[:10] / LAST_FADE), rows, items.neighbours)
        faded = np.exp(-hours / _HISTORY_HOURS)
        out[:, 2] = _knn(acted, faded * (_HISTORY_PRIOR / (faded.sum() + _HISTORY_PRIOR)), rows, items.neighbours)
    return out


def _beside_block(beside: int, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    """Nothing here depends on the user: what goes with the item is the same for everybody."""
    out = np.zeros((len(rows), len(BESIDE_NAMES)), np.float32)
    if beside < 0 or not len(rows):
        return out
    one = np.array([beside], np.int64)
    out[:, 0] = 1.0
    for column, vectors in enumerate((items.vectors, items.embeddings, items.graph_vectors), start=1):
        out[:, column] = vectors(rows)[0] @ vectors(one)[0][0]
    for column, name in enumerate(_CODED, start=4):
        codes = items.catalogue.codes(name)
        out[:, column] = (codes[rows] == codes[beside]) & (codes[beside] >= 0)
    if items.neighbours is not None:
        out[:, 7] = _knn(one, np.ones(1), rows, items.neighbours)
    return out


def _product_block(user: UserSide, beside: int, rows: np.ndarray, items: ItemSide) -> np.ndarray:
    """Zeros for what can not be bought."""
    out = np.zeros((len(rows), len(PRODUCT_NAMES)), np.float32)
    if items.products is None:
        return out
    products, known = items.product_vectors(rows)
    if len(user.positives):
        cosines = products @ user.positive_graph_vectors.T
        session = int(np.searchsorted(user.positives.hours, SESSION_HOURS, side="right"))
        if session:
            out[:, 0] = cosines[:, :session].max(axis=1)
        faded = cosines * user.positive_windows[:, _DAYS]
        out[:, 1], sums = faded.max(axis=1), faded.sum(axis=1)
        out[:, 2] = np.sign(sums) * np.log1p(np.abs(sums))
    if beside >= 0:
        out[:, 3] = products @ items.graph_vectors(np.array([beside], np.int64))[0][0]
    out[:, 4] = known
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
