"""PinnerSage: a user as a few of their own items, each standing for a group of what they acted on (Pal et al., KDD 2020).

Nothing is learned here. Items are grouped by Ward's criterion on fixed unit vectors, so how many groups there are depends on the user;
a group is searched with its medoid, a real item, and weighs the sum of ``exp(-lambda x days)`` over its items. What the paper compares
this with is here too: complete linkage, k-means, the centroid in place of the medoid, and a single vector for all (the last item, the
decayed mean).

Where we differ: an item counts once, at its newest action; lists of groups are merged in turns and overlap is filled up, where the paper
takes ``floor(k / e)`` of each; and equal medoids are decided for the newer item, so two items always stand for themselves the same way.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import squareform

from corkboard.embeddings.config import PinnerSageConfig
from corkboard.errors import InputError
from corkboard.seeds import generator

_STARTS = 8


@dataclass(frozen=True)
class Interests:
    """Groups of one user's items, the most important first; places are those of the vectors that were given.

    ``medoids`` int64 ``(c,)``: the item that stands for each group; ``importance`` float32 ``(c,)``; ``members``: places of each
    group's items, int64, newest first; ``vectors`` float32 ``(c, dim)``, unit length: what each group is searched with.
    """

    medoids: np.ndarray
    importance: np.ndarray
    members: Sequence[np.ndarray]
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.medoids)

    def take(self, groups: np.ndarray) -> Interests:
        """The groups ``groups``, in that order."""
        return Interests(self.medoids[groups], self.importance[groups], [self.members[group] for group in groups], self.vectors[groups])

    def sampled(self, n: int, seed: int) -> Interests:
        """At most ``n`` of the groups, drawn one after another with chances in proportion to importance, in the order drawn."""
        noise = generator(seed, "interests").gumbel(size=len(self))
        with np.errstate(divide="ignore"):  # what faded away altogether comes last
            keys = np.log(self.importance.astype(np.float64)) + noise
        return self.take(np.argsort(-keys, kind="stable")[:n])


def interests(
    vectors: np.ndarray, ages_days: np.ndarray, config: PinnerSageConfig | None = None, allowed: np.ndarray | None = None
) -> Interests:
    """The interests of a user who acted on items with ``vectors`` ``(m, dim)``, ``ages_days`` ``(m,)`` ago.

    Vectors of zeros are left out, and of the others the ``max_items`` newest are grouped. ``allowed`` bool ``(m,)`` says which items may
    stand for a group: in place of a medoid that may not stands the nearest member that may, and a group without one is left out. Raises
    :class:`InputError` for vectors that are not finite or do not fit the ages.
    """
    config = config or PinnerSageConfig()
    vectors, ages_days = np.asarray(vectors, np.float64), np.asarray(ages_days, np.float64)
    if vectors.ndim != 2 or ages_days.shape != vectors.shape[:1]:
        raise InputError("Every vector needs an age", found=(vectors.shape, ages_days.shape), expected="(m, dim) and (m,)")
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.isfinite(lengths).all() and np.isfinite(ages_days).all()):
        raise InputError("Vectors and ages must be finite numbers", found=int((~np.isfinite(lengths)).sum()))
    newest_first = np.argsort(ages_days, kind="stable")
    places = newest_first[lengths[newest_first] > 0][: config.max_items]
    if not len(places):
        return Interests(np.empty(0, np.int64), np.empty(0, np.float32), [], np.empty((0, vectors.shape[1]), np.float32))
    unit, fades = vectors[places] / lengths[places, None], np.exp(-config.fade_per_day * np.maximum(ages_days[places], 0))
    labels = _grouped(unit, config)
    found = _represented(unit, fades, labels, config)
    if allowed is not None:
        found = _with_stand_ins(found, unit, np.asarray(allowed, bool)[places], config)
    return Interests(places[found.medoids], found.importance, [places[group] for group in found.members], found.vectors)


def recommend(
    items: np.ndarray,
    rows: np.ndarray,
    ages_days: np.ndarray,
    k: int,
    config: PinnerSageConfig | None = None,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """int64, at most ``k`` rows of ``items``, best first: what lies nearest to the most important interests of one user, in turns.

    ``items`` float32 ``(n, dim)`` are unit vectors or zeros, which nothing finds; ``rows`` ``(m,)`` the items acted on, ``ages_days`` ago;
    ``allowed`` bool ``(n,)`` what may be listed (all, items acted on included, where it is not given). The first rows of a list are the
    shorter list.
    """
    config = config or PinnerSageConfig()
    found = interests(items[rows], ages_days, config)
    vectors = found.vectors[: config.searched]
    findable = items.any(axis=1) if allowed is None else items.any(axis=1) & allowed
    candidates = np.flatnonzero(findable)
    taken = min(k, len(candidates))
    if not taken or not len(vectors):
        return np.empty(0, np.int64)
    scores = vectors @ items[candidates].T
    near = np.argpartition(-scores, taken - 1, axis=1)[:, :taken]
    order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1, kind="stable")
    return in_turns(candidates[np.take_along_axis(near, order, axis=1)], k)[0]


def in_turns(lists: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first ``k`` distinct rows of ``lists`` int64 ``(c, n)``, the best of each list before the second best of any; -1 is nothing.

    Returns the rows, the list that brought each and its place there, all int64.
    """
    flat = lists.T.ravel()
    rows, first = np.unique(flat, return_index=True)
    first = np.sort(first[rows >= 0])[:k]
    return flat[first], first % max(len(lists), 1), first // max(len(lists), 1)


def cohesion(found: Interests, vectors: np.ndarray) -> float:
    """The mean cosine of two items of one group, over all such pairs of a user; NaN where no group has two. ``vectors`` as given."""
    total, pairs = 0.0, 0
    for group in found.members:
        unit = vectors[group] / np.linalg.norm(vectors[group], axis=1, keepdims=True)
        total += float((unit.sum(axis=0) ** 2).sum()) - len(group)
        pairs += len(group) * (len(group) - 1)
    return total / pairs if pairs else float("nan")


def _grouped(unit: np.ndarray, config: PinnerSageConfig) -> np.ndarray:
    """int64 ``(m,)``: the group of each item, 0 to c - 1, none empty.

    The paper updates squared distances (Lance-Williams). SciPy's Ward distance is exactly the root of that number, so the cut is the
    root of alpha.
    """
    if config.grouping == "one" or len(unit) == 1:
        return np.zeros(len(unit), np.int64)
    if config.grouping == "kmeans":
        labels = _by_means(unit, min(config.means, len(np.unique(unit, axis=0))))
    else:
        alpha = config.alpha if config.grouping == "ward" else config.complete_alpha
        distances = squareform(np.sqrt(np.maximum(2 - 2 * unit @ unit.T, 0)), checks=False)  # a fourth of the time of SciPy's own
        labels = fcluster(linkage(distances, config.grouping), np.sqrt(alpha), "distance")
    return np.unique(labels, return_inverse=True)[1]


def _by_means(unit: np.ndarray, groups: int) -> np.ndarray:
    """The best of several runs of k-means, for a single one too often ends with a lump in two and two in one."""
    found, draw = [], generator(0, "kmeans")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        for _ in range(_STARTS):
            means, labels = kmeans2(unit, groups, iter=20, minit="++", rng=draw)
            found.append((float(((unit - means[labels]) ** 2).sum()), labels))
    return min(found, key=lambda each: each[0])[1]


def _represented(unit: np.ndarray, fades: np.ndarray, labels: np.ndarray, config: PinnerSageConfig) -> Interests:
    """Groups in order of importance, each with its medoid and the vector it is searched with. Items come newest first.

    The sum of squared distances of unit vectors is least where the product with their sum is largest, so no pairs are needed.
    """
    groups = int(labels.max()) + 1
    belongs = (labels == np.arange(groups)[:, None]).astype(np.float64)
    importance, sums = belongs @ fades, belongs @ unit
    closeness = np.round(np.einsum("md,md->m", unit, sums[labels]), 9)
    begins = np.concatenate([[0], np.cumsum(belongs.sum(axis=1))[:-1]]).astype(np.int64)
    newest_first = np.argsort(labels, kind="stable")
    newest = newest_first[begins]
    medoids = newest if config.representative == "newest" else np.lexsort((-closeness, labels))[begins]
    vectors = unit[medoids]
    if config.representative in ("centroid", "decayed_mean"):
        means = sums if config.representative == "centroid" else (belongs * fades) @ unit
        lengths = np.linalg.norm(means, axis=1)
        there = lengths > 1e-9
        vectors[there] = means[there] / lengths[there, None]
    order = np.lexsort((newest, -importance))
    found = Interests(medoids, importance.astype(np.float32), np.split(newest_first, begins[1:]), vectors.astype(np.float32))
    return found.take(order)


def _with_stand_ins(found: Interests, unit: np.ndarray, allowed: np.ndarray, config: PinnerSageConfig) -> Interests:
    medoids, vectors, kept = found.medoids.copy(), found.vectors.copy(), np.ones(len(found), bool)
    for group in np.flatnonzero(~allowed[medoids]):
        others = found.members[group][allowed[found.members[group]]]
        kept[group] = len(others) > 0
        if len(others):
            nearest = others[np.argmax(unit[others] @ unit[medoids[group]])]
            if config.representative in ("medoid", "newest"):
                vectors[group] = unit[nearest]
            medoids[group] = nearest
    return Interests(medoids, found.importance, found.members, vectors).take(np.flatnonzero(kept))
