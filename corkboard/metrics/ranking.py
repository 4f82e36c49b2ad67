"""Measures of a ranked list: recall, NDCG, hits, for lists from a whole catalogue and for pages of one request.

Lists are int64 ``(users, k)`` rows of items, best first, -1 where a list ends early. A *pair* is one positive item of one user.
"""

from __future__ import annotations

import numpy as np

from corkboard.metrics.intervals import PerUser

NOT_LISTED = -1
"""What a list holds past its end, and the position of an item that is not in a list."""


def top_k(scores: np.ndarray, k: int, tie_order: np.ndarray, excluded: np.ndarray | None = None) -> np.ndarray:
    """The ``k`` best items of each row of ``scores``, best first: int64 ``(users, min(k, items))``, -1 past the end of a list.

    ``scores`` is float32 ``(users, items)``; -inf means "not to be listed", NaN raises ValueError. ``excluded`` is bool of the same
    shape. ``tie_order`` is a permutation of the items that decides between equal scores: one that knows nothing of the truth, and
    the same for every model, makes ties a fair draw and the result reproducible. A sort that is merely unstable does neither.
    """
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    if np.isnan(scores).any():
        raise ValueError("A scorer returned NaN, which has no place in an order")
    k = min(k, scores.shape[1])
    if k == 0:
        return np.empty((len(scores), 0), np.int64)
    keys = _ordered_bits(scores).astype(np.int64) << 32
    keys |= tie_order.astype(np.int64)[None, :]
    unlisted = np.isneginf(scores)
    if excluded is not None:
        unlisted |= excluded
    lowest = np.iinfo(np.int64).min
    keys[unlisted] = lowest
    best = np.argpartition(keys, -k, axis=1)[:, -k:] if k < keys.shape[1] else np.broadcast_to(np.arange(k), keys.shape)
    best_keys = np.take_along_axis(keys, best, axis=1)
    order = np.argsort(best_keys, axis=1)[:, ::-1]
    rows = np.take_along_axis(best, order, axis=1)
    return np.where(np.take_along_axis(best_keys, order, axis=1) == lowest, NOT_LISTED, rows)


def positions_in_lists(lists: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Position (0 = top) of each pair's item in its user's list: int64 ``(pairs,)``, -1 where it is not listed.

    ``users`` and ``items`` are int ``(pairs,)``: rows of ``lists`` and of the catalogue.
    """
    if lists.shape[1] == 0:
        return np.full(len(users), NOT_LISTED, np.int64)
    found = lists[users] == np.asarray(items)[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1), NOT_LISTED)


def recall_at_k(positions: np.ndarray, users: np.ndarray, n_users: int, k: int) -> PerUser:
    """Share of (user, positive) pairs whose item is among the first ``k``; ``.macro()`` is the same with each user counting once.

    ``positions`` as from :func:`positions_in_lists`. A listed item is a hit if fewer than ``k`` items stand above it (spec: user
    retrieval as evaluated by PinnerFormer, Pancha et al. 2022; there against a million random items, here against the catalogue).
    """
    hits = (positions >= 0) & (positions < k)
    return PerUser(np.bincount(users, hits, n_users), np.bincount(users, minlength=n_users).astype(np.float64), len(users))


def ndcg_at_k(positions: np.ndarray, users: np.ndarray, n_users: int, k: int) -> PerUser:
    """Normalised discounted cumulative gain with binary gain, mean over users (Järvelin and Kekäläinen 2002).

    The ideal list of a user has min(k, positives) hits on top.
    """
    hits = (positions >= 0) & (positions < k)
    gains = np.where(hits, 1.0 / np.log2(np.where(hits, positions, 0) + 2.0), 0.0)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    counts = np.bincount(users, minlength=n_users)
    reached = np.bincount(users, gains, n_users)
    has = counts > 0
    best = ideal[np.minimum(counts, k)]
    return PerUser(np.divide(reached, best, out=np.zeros(n_users), where=has), has.astype(np.float64), len(users))


def hit_at_k(positive: np.ndarray, distractors: np.ndarray, k: int) -> np.ndarray:
    """Whether each pair's positive ranks among the first ``k`` beside its distractors: bool ``(pairs,)``. Ties count against.

    ``positive`` is ``(pairs,)``, ``distractors`` ``(pairs, n)`` or ``(n,)`` where all pairs share them. Pair retrieval as ItemSage
    and SearchSage are measured.
    """
    not_below = np.count_nonzero(distractors >= positive[:, None], axis=1)
    return not_below < k


def order_in_pages(utility: np.ndarray, offsets: np.ndarray, tie_order: np.ndarray) -> np.ndarray:
    """Position (0 = top) of each slot once its page is sorted by ``utility``, best first: int64 ``(slots,)``.

    Page p has the slots ``offsets[p]:offsets[p + 1]``. ``tie_order`` decides between equal utilities; the position at which the
    slot was shown must not, or the policy that made the log would win every tie.
    """
    page = page_of_slot(offsets)
    order = np.lexsort((tie_order, -utility, page))
    positions = np.empty(len(utility), np.int64)
    positions[order] = np.arange(len(utility)) - offsets[page]
    return positions


def hits_at_top(positions: np.ndarray, labels: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Beta of HIT@K: how many of a page's first ``k`` slots carry the label. Float64 ``(pages,)``.

    ``positions`` as from :func:`order_in_pages`; ``labels`` is ``(slots,)``, bool, or a gain to be summed.
    """
    counted = np.where(positions < k, labels, 0.0)
    return np.bincount(page_of_slot(offsets), counted, len(offsets) - 1)


def hit_at_k_per_user(beta: np.ndarray, page_users: np.ndarray, n_users: int, positives: int | None = None) -> PerUser:
    """HIT@K/h: the sum of ``beta`` over a user's pages, mean over users who saw a page (TransAct, Xia et al. 2023).

    ``beta`` is ``(pages,)`` from :func:`hits_at_top`, ``page_users`` the user of each page. Higher is better for save and click,
    lower for hide.
    """
    saw = np.bincount(page_users, minlength=n_users) > 0
    return PerUser(np.bincount(page_users, beta, n_users), saw.astype(np.float64), positives)


def page_of_slot(offsets: np.ndarray) -> np.ndarray:
    """The page of each slot: int64 ``(slots,)``."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _ordered_bits(scores: np.ndarray) -> np.ndarray:
    """int32 numbers in the same order as the float32 ``scores``; -0 counts as 0."""
    bits = (scores + np.float32(0.0)).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
