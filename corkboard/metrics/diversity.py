"""Measures of what lists are made of: how many topics a person gets, how much of the catalogue anybody gets."""

from __future__ import annotations

import numpy as np

from corkboard.metrics.intervals import PerUser


def interest_entropy(lists: np.ndarray, topics: np.ndarray, n_topics: int) -> np.ndarray:
    """Entropy in nats of the topics in each user's list: float64 ``(users,)`` in [0, log(list length)]; NaN for an empty list.

    ``lists`` is int ``(users, k)`` of item rows, -1 past the end; ``topics`` int ``(items,)`` in [0, n_topics). Personal diversity
    of PinnerFormer's tables, over the top 50; the published base of the logarithm is not stated.
    """
    listed = lists >= 0
    users = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)[listed]
    counts = np.bincount(users * n_topics + topics[lists[listed]], minlength=len(lists) * n_topics).reshape(len(lists), n_topics)
    sizes = counts.sum(axis=1)
    plogp = np.where(counts > 0, counts * np.log(np.maximum(counts, 1)), 0.0).sum(axis=1)
    known = np.maximum(sizes, 1)
    return np.where(sizes > 0, np.maximum(np.log(known) - plogp / known, 0.0), np.nan)


def coverage(lists: np.ndarray, n_items: int, share: float = 0.9) -> float:
    """Smallest part of the catalogue that makes up ``share`` of everything listed, in [0, 1]; NaN where nothing is listed.

    P90 coverage@10 of PinnerFormer's tables with the top 10 and share 0.9: near 0 when lists collapse to a few popular items.
    ``lists`` as in :func:`interest_entropy`.
    """
    return coverage_of_counts(np.bincount(lists[lists >= 0], minlength=n_items), share)


def coverage_of_counts(counts: np.ndarray, share: float = 0.9) -> float:
    """:func:`coverage` from how often each item was listed, int ``(items,)``, for lists too many to hold at once."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    # Rounding guards against 0.9 * 10 lying a hair above 9: exact multiples must not need one item more.
    needed = np.ceil(round(share * total, 6))
    return float((np.searchsorted(np.cumsum(np.sort(counts)[::-1]), needed) + 1) / len(counts))


def impression_diversity(users: np.ndarray, days: np.ndarray, topics: np.ndarray, n_users: int) -> PerUser:
    """Distinct topics among the impressions of a user on a day, mean over user-days.

    All three are int ``(impressions,)``; ``users`` in [0, n_users).
    """
    if not len(users):
        return PerUser(np.zeros(n_users), np.zeros(n_users))
    seen = np.unique(np.stack([users, days, topics], axis=1), axis=0)
    user_days = np.unique(seen[:, :2], axis=0)
    total = np.bincount(seen[:, 0], minlength=n_users).astype(np.float64)
    return PerUser(total, np.bincount(user_days[:, 0], minlength=n_users).astype(np.float64))
