"""Measures of detection: average precision, how often one thing is found twice, and boxes that look at no picture.

Found boxes are matched to true ones of their class, the surest first, each true box once. As in COCO, average precision is the mean of the
precision at 101 recalls, over classes and over overlaps of .50, .55, ..., .95. Where we differ: a recall of 0.7 reached exactly counts as
reached whatever its rounding, found boxes of equal score come in an order of chance and not of their writing, and sizes are terciles of
the true boxes, because 32 and 96 px say nothing of pictures of 128 px.

Boxes are float ``(n, 4)``: left, top, right, bottom, of one unit throughout (shares of the picture, or px).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from corkboard.errors import InputError
from corkboard.metrics.intervals import Interval, PerUser, percentile_interval
from corkboard.seeds import generator

OVERLAPS = np.arange(50, 100, 5) / 100
"""Shares of intersection over union that make a match, float64 (10,)."""
RECALLS = np.linspace(0.0, 1.0, 101)
SIZES = ("small", "medium", "large")
_HAIR = 1e-9
"""A share that is reached but for rounding is reached."""
_AT_ONCE = 1 << 22
"""Numbers of a resample that are held at once."""

FoundIn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What was found in one picture: boxes ``(n, 4)``, scores ``(n,)``, classes int ``(n,)``."""
TruthIn = tuple[np.ndarray, np.ndarray]
"""What is in one picture: boxes ``(n, 4)``, classes int ``(n,)``."""


@dataclass(frozen=True)
class DetectionReport:
    """Average precision in [0, 1]; NaN where no class (of that size) is in any picture."""

    ap: float
    """Mean over classes and over overlaps of .50 to .95."""
    ap50: float
    ap75: float
    by_size: dict[str, float]
    """AP of true boxes that are :data:`SIZES`; found ones of other sizes that match nothing do not count."""
    bounds: tuple[float, float]
    """Areas, in squares of the boxes' unit, at which small ends and large begins."""
    by_class: dict[int, float]
    """AP of each class that is in some picture."""
    ap50_by_class: dict[int, float]
    ap50_interval: Interval
    """Of AP50, over pictures (95 %)."""
    ap50_by_picture: PerUser
    """AP50 with each picture's influence on it: what intervals over pictures and seeds at once are made of."""
    truths: int
    found: int
    """Boxes that were counted."""


@dataclass(frozen=True)
class OverDetection:
    """What was found too much, above one score. After each true box its surest match is a primary."""

    threshold: float
    primaries: int
    duplicates: int
    """They match a true box that had been found already."""
    background: int
    """They overlap no true box of any class by a tenth."""
    found: int
    truths: int

    @property
    def recall(self) -> float:
        """Share of the true boxes that were found; NaN where there are none."""
        return _share(self.primaries, self.truths)

    @property
    def rate(self) -> float:
        """Duplicates a primary; NaN where there are no primaries."""
        return _share(self.duplicates, self.primaries)

    @property
    def background_rate(self) -> float:
        """Share of the found boxes that show background; NaN where nothing was found."""
        return _share(self.background, self.found)


def average_precision(
    found: Sequence[FoundIn],
    truth: Sequence[TruthIn],
    *,
    bounds: tuple[float, float] | None = None,
    most: int = 100,
    seed: int = 0,
    replicates: int = 300,
    level: float = 0.95,
) -> DetectionReport:
    """Average precision of what was ``found`` in each picture against the ``truth`` of the same pictures.

    The surest ``most`` boxes of a picture count. Classes that no picture has are left out, with whatever was found of them. ``bounds`` are
    areas at which small ends and large begins (None: terciles of the true boxes). ``seed`` decides the order of equal scores and the
    resamples. Raises :class:`InputError` where the two are not of the same pictures or a box is none.
    """
    boxes = _Boxes.of(found, truth, most, seed)
    matched = boxes.matched(OVERLAPS)
    every = np.ones((1, boxes.pictures))
    curves = boxes.precision(matched.hit, matched.counts, every, np.ones(len(boxes.true), bool))[:, :, 0]  # (overlaps, classes)
    bounds = bounds or boxes.terciles()
    at_50 = matched.hit[:1], matched.counts[:1]
    whole = np.ones(len(boxes.true), bool)

    def ap50(weights: np.ndarray) -> np.ndarray:
        return _mean(boxes.precision(*at_50, weights, whole)[0], axis=0)

    drawn = generator(seed, "bootstrap", "detection").multinomial(boxes.pictures, [1 / boxes.pictures] * boxes.pictures, replicates)
    return DetectionReport(
        ap=float(_mean(curves)),
        ap50=float(_mean(curves[0])),
        ap75=float(_mean(curves[5])),
        by_size={name: boxes.of_size(*limits) for name, limits in zip(SIZES, _ranges(bounds), strict=True)},
        bounds=bounds,
        by_class=dict(zip(boxes.classes.tolist(), curves.mean(axis=0).tolist(), strict=True)),
        ap50_by_class=dict(zip(boxes.classes.tolist(), curves[0].tolist(), strict=True)),
        ap50_interval=percentile_interval(ap50(drawn.astype(np.float64)), level),
        ap50_by_picture=_influences(ap50, boxes.pictures),
        truths=len(boxes.true),
        found=len(boxes.found),
    )


def threshold_at_recall(found: Sequence[FoundIn], truth: Sequence[TruthIn], recall: float, *, overlap: float = 0.5, seed: int = 0) -> float:
    """The highest score above which ``recall`` of all true boxes are found; NaN where all that was found does not suffice.

    Models are compared at equal recall: a timid one would else look clean.
    """
    boxes = _Boxes.of(found, truth, None, seed)
    hits = np.cumsum(boxes.matched(np.array([overlap])).hit[0])
    if not len(boxes.true) or not len(hits) or hits[-1] < recall * len(boxes.true) - _HAIR:
        return float("nan")
    return float(boxes.scores[np.searchsorted(hits, recall * len(boxes.true) - _HAIR)])


def over_detection(
    found: Sequence[FoundIn], truth: Sequence[TruthIn], threshold: float, *, overlap: float = 0.5, background: float = 0.1, seed: int = 0
) -> OverDetection:
    """How often something is found twice, or where nothing is, among boxes of a score of at least ``threshold``.

    A box is a duplicate where it overlaps a true box of its class by ``overlap`` and all such are taken by surer ones; background where it
    overlaps no true box of any class by ``background``. Classes that no picture has are left out. Meant for boxes before suppression (or
    after a weak one), at the threshold of :func:`threshold_at_recall`.
    """
    boxes = _Boxes.of(found, truth, None, seed)
    sure = boxes.scores >= threshold
    primary = boxes.matched(np.array([overlap])).hit[0]
    again = boxes.most_overlap(of_class=True) >= overlap - _HAIR
    nothing = boxes.most_overlap(of_class=False) < background - _HAIR
    counts = [int((mask & sure).sum()) for mask in (primary, again & ~primary, nothing, np.ones(len(sure), bool))]
    return OverDetection(float(threshold), *counts, truths=len(boxes.true))


def nms_reliance(
    suppressed: Sequence[FoundIn], all_found: Sequence[FoundIn], truth: Sequence[TruthIn], *, most: int = 100, seed: int = 0
) -> float:
    """AP of boxes after non-maximum suppression less that of ``all_found`` before: 0 for a detector that finds each thing once."""
    with_nms, without = (average_precision(one, truth, most=most, seed=seed, replicates=1) for one in (suppressed, all_found))
    return with_nms.ap - without.ap


def mean_boxes(truth: Sequence[TruthIn], classes: int, pictures: int) -> list[FoundIn]:
    """The trivial baseline: in each of ``pictures`` the mean box of every class of ``truth`` (training pictures), scored by its share.

    A class that ``truth`` has not is not guessed.
    """
    boxes, kinds = _concatenated(truth)
    counts = np.bincount(kinds, minlength=classes)
    known = np.flatnonzero(counts)
    sums = np.stack([np.bincount(kinds, boxes[:, side], classes) for side in range(4)], axis=1)
    guess = (sums[known] / counts[known, None], counts[known] / max(counts.sum(), 1), known)
    return [guess] * pictures


# --------------------------------------------------------------------------------------------------------------- matching


@dataclass(frozen=True)
class _Matched:
    hit: np.ndarray
    """bool (overlaps, found): it matches a true box that counts."""
    counts: np.ndarray
    """bool (overlaps, found): it is a hit or a miss; the others are of no account."""


@dataclass(frozen=True)
class _Boxes:
    """All pictures in one: ``found`` float64 (n, 4) from the surest on, ``true`` float64 (m, 4); classes are rows of ``classes``."""

    pictures: int
    classes: np.ndarray
    found: np.ndarray
    scores: np.ndarray
    found_class: np.ndarray
    found_in: np.ndarray
    true: np.ndarray
    true_class: np.ndarray
    true_in: np.ndarray

    @classmethod
    def of(cls, found: Sequence[FoundIn], truth: Sequence[TruthIn], most: int | None, seed: int) -> _Boxes:
        if len(found) != len(truth) or not len(truth):
            raise InputError("Found and true boxes are of other pictures", found=(len(found), len(truth)), expected="as many, at least one")
        true, kinds = _concatenated(truth)
        classes = np.unique(kinds)
        boxes, labels = _concatenated([(one[0], one[2]) for one in found])
        scores = np.concatenate([np.asarray(one[1], np.float64).ravel() for one in found])
        if len(scores) != len(boxes) or not np.isfinite(scores).all():
            raise InputError("Every found box has a score", found=(len(boxes), len(scores)), expected="as many numbers")
        inside = np.repeat(np.arange(len(found)), [len(one[2]) for one in found])
        order = np.lexsort((generator(seed, "detection", "ties").random(len(scores)), -scores))
        if most is not None:
            order = order[_places(inside[order]) < most]
        order = order[np.isin(labels[order], classes)]
        where = np.repeat(np.arange(len(truth)), [len(one[1]) for one in truth])
        return cls(
            pictures=len(truth),
            classes=classes,
            found=boxes[order],
            scores=scores[order],
            found_class=np.searchsorted(classes, labels[order]),
            found_in=inside[order],
            true=true,
            true_class=np.searchsorted(classes, kinds),
            true_in=where,
        )

    @cached_property
    def groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True boxes by picture and class: rows int64 (groups, most) with -1 for none, the group of each found box (-1: none), and what
        overlaps, float64 (found, most)."""
        return self._grouped(self.true_in * len(self.classes) + self.true_class, self.found_in * len(self.classes) + self.found_class)

    def _grouped(self, true_key: np.ndarray, found_key: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, group, sizes = np.unique(true_key, return_inverse=True, return_counts=True)
        slots = np.full((len(keys), sizes.max(initial=0)), -1, np.int64)
        slots[group, _places(group)] = np.arange(len(true_key))
        place = np.minimum(np.searchsorted(keys, found_key), max(len(keys) - 1, 0))
        mine = np.where(keys[place] == found_key, place, -1) if len(keys) else np.full(len(found_key), -1)
        overlaps = np.zeros((len(found_key), slots.shape[1]))
        rows = np.flatnonzero(mine >= 0)
        there = slots[mine[rows]]
        overlaps[rows] = np.where(there >= 0, _overlap(self.found[rows, None], self.true[there]), 0.0)
        return slots, mine, overlaps

    def matched(self, overlaps: np.ndarray, low: float = 0.0, high: float = np.inf) -> _Matched:
        """Greedy matching at each of ``overlaps`` at once. True boxes with an area outside of [low, high) are of no account, and so are
        found ones that match them, or that match nothing and have such an area themselves."""
        slots, group, shared = self.groups
        counted = _inside(_area(self.true), low, high)
        hit, counts = np.zeros((2, len(overlaps), len(self.found)), bool)
        counts[:] = _inside(_area(self.found), low, high)
        taken = np.zeros((len(overlaps), *slots.shape), bool)
        turn = _places(self.found_in * len(self.classes) + self.found_class)
        rows = np.flatnonzero(group >= 0)
        each = np.arange(len(overlaps))[:, None]
        for now in np.split(rows[np.argsort(turn[rows], kind="stable")], np.cumsum(np.bincount(turn[rows]))[:-1]) if len(rows) else ():
            mine = group[now]
            free = (shared[now] >= overlaps[:, None, None] - _HAIR) & ~taken[:, mine] & (slots[mine] >= 0)
            value = np.where(free, shared[now] + 2.0 * counted[slots[mine]], -1.0)  # those that count come first
            best = value.argmax(axis=2)
            matches = np.take_along_axis(free, best[:, :, None], axis=2)[:, :, 0]
            real = counted[slots[mine, best]]
            taken[each, mine, best] |= matches
            hit[:, now] = matches & real
            counts[:, now] = np.where(matches, real, counts[:, now])
        return _Matched(hit, counts)

    def precision(self, hit: np.ndarray, counts: np.ndarray, weights: np.ndarray, true: np.ndarray) -> np.ndarray:
        """AP float64 (overlaps, classes, resamples) for ``weights`` (resamples, pictures); NaN for a class without ``true`` boxes."""
        out = np.full((len(hit), len(self.classes), len(weights)), np.nan)
        for kind in range(len(self.classes)):
            rows = np.flatnonzero(self.found_class == kind)
            total = weights @ np.bincount(self.true_in[true & (self.true_class == kind)], minlength=self.pictures)
            step = max(1, _AT_ONCE // max(len(rows), 1))
            for at in range(len(hit)):
                for start in range(0, len(weights), step):
                    part = slice(start, start + step)
                    given = weights[part][:, self.found_in[rows]]
                    out[at, kind, part] = _area_under(given * hit[at, rows], given * (counts[at, rows] & ~hit[at, rows]), total[part])
        return out

    def of_size(self, low: float, high: float) -> float:
        """AP of true boxes with an area in [low, high)."""
        matched = self.matched(OVERLAPS, low, high)
        true = _inside(_area(self.true), low, high)
        return float(_mean(self.precision(matched.hit, matched.counts, np.ones((1, self.pictures)), true)))

    def terciles(self) -> tuple[float, float]:
        """Areas at which the smallest third of the true boxes ends and the largest begins; NaN where there are none."""
        low, high = np.quantile(_area(self.true), [1 / 3, 2 / 3]) if len(self.true) else (np.nan, np.nan)
        return float(low), float(high)

    def most_overlap(self, of_class: bool) -> np.ndarray:
        """float64 (found,): the largest overlap with a true box of the same picture, of the same class or of any."""
        shared = self.groups[2] if of_class else self._grouped(self.true_in, self.found_in)[2]
        return shared.max(axis=1, initial=0.0)


def _area_under(hits: np.ndarray, misses: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean precision at :data:`RECALLS` of weighted hits and misses (resamples, n) from the surest on; NaN where ``total`` is 0."""
    found, wrong = np.cumsum(hits, axis=1), np.cumsum(misses, axis=1)
    both = found + wrong
    precision = np.divide(found, both, out=np.zeros_like(both), where=both > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.pad(envelope, ((0, 0), (0, 1)))  # a recall that is never reached has precision 0
    out = np.full(len(total), np.nan)
    for row in np.flatnonzero(total > 0):
        out[row] = reached[row, np.searchsorted(found[row], RECALLS * total[row] - _HAIR)].mean()
    return out


def _influences(value_of, pictures: int) -> PerUser:
    """The jackknife: a figure of all pictures as a mean over them, its spread that of leaving each one out."""
    whole = float(value_of(np.ones((1, pictures)))[0])
    if pictures < 2 or not np.isfinite(whole):
        return PerUser(np.full(pictures, np.nan_to_num(whole)), np.full(pictures, float(np.isfinite(whole))))
    without = np.nan_to_num(value_of(1.0 - np.eye(pictures)), nan=whole)
    return PerUser(whole + (pictures - 1) * (without.mean() - without), np.ones(pictures))


def _concatenated(boxes: Sequence[TruthIn]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float64 (n, 4) and classes int64 (n,) of all pictures."""
    corners = [np.asarray(one[0], np.float64).reshape(-1, 4) for one in boxes]
    kinds = [np.asarray(one[1], np.int64).ravel() for one in boxes]
    if [len(one) for one in corners] != [len(one) for one in kinds]:
        raise InputError(
            "Every box has a class", found=[(len(a), len(b)) for a, b in zip(corners, kinds, strict=True) if len(a) != len(b)][:5]
        )
    flat = np.concatenate(corners) if corners else np.zeros((0, 4))
    if not np.isfinite(flat).all() or (flat[:, 2:] < flat[:, :2]).any():
        raise InputError("A box is left, top, right, bottom", found=flat[~(flat[:, 2:] >= flat[:, :2]).all(axis=1)][:3].tolist())
    return flat, np.concatenate(kinds) if kinds else np.zeros(0, np.int64)


def _places(keys: np.ndarray) -> np.ndarray:
    """int64 (n,): how many before each one have its key."""
    order = np.argsort(keys, kind="stable")
    sizes = np.unique(keys, return_counts=True)[1]
    out = np.empty(len(keys), np.int64)
    out[order] = np.arange(len(keys)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return out


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4), broadcast; 0 where both are empty."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    union = _area(a) + _area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _inside(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values >= low) & (values < high)


def _ranges(bounds: tuple[float, float]) -> list[tuple[float, float]]:
    return [(0.0, bounds[0]), bounds, (bounds[1], np.inf)]


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The mean of what is no NaN; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
