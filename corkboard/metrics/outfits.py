"""Measures of what goes with what: fill in the blank, triplets, real against mixed-up outfits, and the held-out item among all of its kind.

    outfits = Outfits.of(outfit_ids, items)                     rows of items, outfit by outfit
    learned, asked = split_outfits(outfits, by="item", ...)     no item on both sides; "outfit": no outfit on both sides
    questions = fill_in_the_blank(asked, category, seed)        one place left out, four answers of its category, shuffled
    figures = outfit_figures(scorer, asked, category, seed)     everything, by outfit, for intervals over outfits

Wrong answers come from other outfits that are asked about, drawn evenly over their places: an item that is in many outfits is as often a
wrong answer as it is a right one, so that popularity alone says nothing. Ties are broken at random, and the place of the right answer is
even: whoever scores everything alike is right in a quarter of the questions (Han et al. 2017; Complete The Look, KDD 2020, whose file has
the right answer always first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from corkboard.errors import InputError, LeakError
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator

ANSWERS = 4
"""Answers of a question, the right one counted."""
RECALL_AT = (10, 30)
FITB, TRIPLETS, AUC = "fitb", "triplets", "auc"
NOTHING = -1
"""Fills rows of items that are shorter than others."""
_CHUNK = 1 << 20

Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(given int64 ``(q, most)`` rows of items filled up with -1, wanted category int64 ``(q,)``, candidates int64 ``(q, c)``) to float
``(q, c)``: how well each candidate goes with what is given, more is better."""


@dataclass(frozen=True)
class Outfits:
    """Outfit i is ``items[starts[i] : starts[i + 1]]``, rows of items, int64; ``starts`` int64 ``(n + 1,)``."""

    items: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, outfit_ids: Sequence[str], items: np.ndarray) -> Outfits:
        """Outfits of one id a place, in the order in which ids first come. An item that an outfit has twice counts once."""
        ids = np.asarray(outfit_ids)
        items = np.asarray(items, np.int64)
        if ids.shape != items.shape:
            raise InputError("Outfits need one id a place", found=(ids.shape, items.shape), expected="two rows of one length")
        _, first, numbers = np.unique(ids, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        pairs = np.stack([rank[numbers.ravel()], items], axis=1)
        kept = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
        order = kept[np.argsort(pairs[kept, 0], kind="stable")]
        return cls(items[order], np.searchsorted(pairs[order, 0], np.arange(len(first) + 1)))

    @property
    def sizes(self) -> np.ndarray:
        """int64 ``(n,)``."""
        return np.diff(self.starts)

    @property
    def owner(self) -> np.ndarray:
        """int64: the outfit of each place."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def take(self, rows: np.ndarray) -> Outfits:
        """Some outfits, in the order of ``rows``."""
        rows = np.asarray(rows, np.int64)
        sizes = self.sizes[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        return Outfits(self.items[np.repeat(self.starts[rows] - starts[:-1], sizes) + np.arange(starts[-1])], starts)

    def rows(self) -> np.ndarray:
        """int64 ``(n, most)``: the items of each outfit, filled up with -1."""
        out = np.full((len(self), int(self.sizes.max(initial=0))), NOTHING, np.int64)
        out[self.owner, np.arange(len(self.items)) - self.starts[self.owner]] = self.items
        return out


# -------------------------------------------------------------------------------------------------------------- splits


def split_outfits(outfits: Outfits, by: Literal["outfit", "item"], share: float, seed: int) -> tuple[Outfits, Outfits]:
    """(to learn from, to ask about), the latter about ``share`` of all outfits or items.

    By "outfit", what has the same items is on one side. By "item", every item is on one side, and outfits with items of both are left out:
    of outfits of four with a share of 0.4, some 13 % can be learned from and 3 % asked about. Raises :class:`LeakError` if a side knew
    the other, which is checked whatever was drawn.
    """
    rng = generator(seed, "outfits", "split", by)
    if by == "outfit":
        groups = np.unique(np.sort(outfits.rows(), axis=1), axis=0, return_inverse=True)[1].ravel()
        asked = (rng.random(groups.max(initial=-1) + 1) < share)[groups]
        learned = ~asked
    else:
        held_out = (rng.random(outfits.items.max(initial=-1) + 1) < share)[outfits.items].astype(np.int64)
        count = np.bincount(outfits.owner, held_out, len(outfits)).astype(np.int64)
        asked, learned = count == outfits.sizes, count == 0
    sides = outfits.take(np.flatnonzero(learned)), outfits.take(np.flatnonzero(asked))
    apart(*sides, by=by)
    return sides


def apart(learned: Outfits, asked: Outfits, by: Literal["outfit", "item"]) -> None:
    """Raise :class:`LeakError` where an item, or an outfit of the same items, is on both sides."""
    if by == "item":
        both: set = set(learned.items.tolist()) & set(asked.items.tolist())
    else:
        both = _as_sets(learned) & _as_sets(asked)
    if both:
        raise LeakError(f"An {by} is both learned from and asked about", found=len(both), expected=0)


def _as_sets(outfits: Outfits) -> set[tuple[int, ...]]:
    return {tuple(sorted(part.tolist())) for part in np.split(outfits.items, outfits.starts[1:-1])}


# ----------------------------------------------------------------------------------------------------------- questions


@dataclass(frozen=True)
class Questions:
    """Outfits with one place left out, one row a question."""

    given: np.ndarray
    """int64 ``(q, most)``: what is left of the outfit, filled up with -1."""
    category: np.ndarray
    """int64 ``(q,)``: the category of what is missing."""
    answers: np.ndarray
    """int64 ``(q, 4)``: rows of items of that category."""
    right: np.ndarray
    """int64 ``(q,)``: the place of the right one."""
    outfit: np.ndarray
    """int64 ``(q,)``: which outfit it is of."""

    def __len__(self) -> int:
        return len(self.right)

    @property
    def missing(self) -> np.ndarray:
        """int64 ``(q,)``: the right answers."""
        return self.answers[np.arange(len(self)), self.right]


def fill_in_the_blank(outfits: Outfits, category: np.ndarray, seed: int, answers: int = ANSWERS) -> Questions:
    """A question for every place of every outfit of two or more; ``category`` int64 is that of each row of items.

    Wrong answers are distinct items that other outfits have in that place's category. Places whose category has too few are not asked.
    """
    rng = generator(seed, "outfits", "questions")
    rows = outfits.rows()
    places = np.flatnonzero((outfits.sizes >= 2)[outfits.owner])
    owner, missing = outfits.owner[places], outfits.items[places]
    given = np.where(rows[owner] == missing[:, None], NOTHING, rows[owner])
    wrong = np.full((len(places), answers - 1), NOTHING, np.int64)
    for kind in np.unique(category[missing]):
        pool = outfits.items[category[outfits.items] == kind]  # by place: an item of many outfits is drawn as often
        mine = np.flatnonzero(category[missing] == kind)
        wrong[mine] = _distinct(pool, rows[owner[mine]], answers - 1, rng)
    kept = (wrong != NOTHING).all(axis=1)
    places, owner, missing, given, wrong = places[kept], owner[kept], missing[kept], given[kept], wrong[kept]
    right = rng.integers(0, answers, len(places))
    shown = np.empty((len(places), answers), np.int64)
    others = np.argsort(np.arange(answers)[None, :] == right[:, None], axis=1, kind="stable")[:, :-1]
    np.put_along_axis(shown, others, wrong, axis=1)
    shown[np.arange(len(places)), right] = missing
    return Questions(given, category[missing], shown, right, owner)


def _distinct(pool: np.ndarray, excluded: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """int64 ``(n, count)``: different items of ``pool`` for each row, none of ``excluded`` ``(n, m)``; rows of -1 where it has too few."""
    out = np.full((len(excluded), count), NOTHING, np.int64)
    for mine, taken in zip(out, excluded, strict=True):
        drawn = pool[rng.integers(0, len(pool), 8 * count)]
        found = list(dict.fromkeys(drawn[~np.isin(drawn, taken)].tolist()))
        if len(found) < count:
            found = list(dict.fromkeys(rng.permutation(pool[~np.isin(pool, taken)]).tolist()))
        if len(found) >= count:
            mine[:] = found[:count]
    return out


# ------------------------------------------------------------------------------------------------------------- figures


def outfit_figures(scorer: Scorer, outfits: Outfits, category: np.ndarray, seed: int, *, pools: bool = True) -> dict[str, PerUser]:
    """All measures of ``scorer`` on ``outfits``, kept by outfit: FITB (and by how much is given), triplets, AUC, recall@10 and @30.

    ``category`` int64 is that of each row of items. Questions and draws depend on ``seed`` and the outfits alone, so that figures of two
    scorers are paired. Without ``pools`` there is no recall, which scores every item of a category.
    """
    questions = fill_in_the_blank(outfits, category, seed)
    right = answered(questions, scorer(questions.given, questions.category, questions.answers), seed)
    figures = {FITB: _by_outfit(right, questions.outfit, len(outfits))}
    count = (questions.given != NOTHING).sum(axis=1)
    for size in np.unique(count):
        mine = count == size
        figures[f"{FITB}, {size} given"] = _by_outfit(right[mine], questions.outfit[mine], len(outfits))
    figures[TRIPLETS] = triplet_accuracy(scorer, questions, len(outfits))
    figures[AUC] = compatibility_auc(scorer, outfits, category, seed)
    if pools:
        positions = positions_in_pools(scorer, questions, np.unique(outfits.items), category)
        figures |= {f"recall@{k}": _by_outfit(positions < k, questions.outfit, len(outfits)) for k in RECALL_AT}
    return figures


def answered(questions: Questions, scores: np.ndarray, seed: int) -> np.ndarray:
    """bool ``(q,)``: the right answer has the highest of ``scores`` ``(q, 4)``, drawn among equals. NaN raises :class:`InputError`."""
    scores = np.asarray(scores, np.float64)
    if scores.shape != questions.answers.shape or np.isnan(scores).any():
        raise InputError("Every answer needs a score", found=scores.shape, expected=f"{questions.answers.shape} numbers")
    order = generator(seed, "outfits", "ties").random(scores.shape)
    best = np.where(scores == scores.max(axis=1, keepdims=True), order, -1.0).argmax(axis=1)
    return best == questions.right


def triplet_accuracy(scorer: Scorer, questions: Questions, outfits: int) -> PerUser:
    """How often an item goes better with another one of its outfit than with one of the same category from another outfit; ties are half.

    One triplet for each item given in each question; the negative is the first wrong answer.
    """
    row, place = np.nonzero(questions.given != NOTHING)
    wrong = np.where(questions.right == 0, questions.answers[:, 1], questions.answers[:, 0])
    both = np.stack([questions.missing, wrong], axis=1)[row]
    scores = scorer(questions.given[row, place][:, None], questions.category[row], both)
    right = (scores[:, 0] > scores[:, 1]) + 0.5 * (scores[:, 0] == scores[:, 1])
    return _by_outfit(right, questions.outfit[row], outfits)


def compatibility_auc(scorer: Scorer, outfits: Outfits, category: np.ndarray, seed: int) -> PerUser:
    """The chance that a real outfit scores above one whose items were replaced by others of their categories; ties are half.

    An outfit's score is the mean over its places of what its item scores beside the rest. Weights are those of real outfits of two or more.
    """
    rng = generator(seed, "outfits", "replaced")
    items = outfits.items.copy()
    for kind in np.unique(category[items]):
        mine = np.flatnonzero(category[outfits.items] == kind)
        items[mine] = outfits.items[rng.choice(mine, len(mine))]
    whole = outfits.sizes >= 2
    real = outfit_scores(scorer, outfits, category)[whole]
    mixed = np.sort(outfit_scores(scorer, Outfits(items, outfits.starts), category)[whole])
    below, up_to = np.searchsorted(mixed, real, "left"), np.searchsorted(mixed, real, "right")
    total = np.zeros(len(outfits))
    total[whole] = (below + up_to) / (2.0 * max(len(mixed), 1))
    return PerUser(total, whole.astype(np.float64), int(whole.sum()))


def outfit_scores(scorer: Scorer, outfits: Outfits, category: np.ndarray) -> np.ndarray:
    """float64 ``(n,)``: the mean over an outfit's places of the score of its item beside the others; 0 for outfits of one item."""
    rows, owner = outfits.rows(), outfits.owner
    given = rows[owner]
    given[np.arange(len(owner)), np.arange(len(owner)) - outfits.starts[owner]] = NOTHING
    asked = (given != NOTHING).any(axis=1)
    scores = np.zeros(len(owner))
    scores[asked] = scorer(given[asked], category[outfits.items[asked]], outfits.items[asked][:, None])[:, 0]
    return np.bincount(owner, scores, len(outfits)) / np.maximum(outfits.sizes, 1)


def positions_in_pools(scorer: Scorer, questions: Questions, items: np.ndarray, category: np.ndarray) -> np.ndarray:
    """int64 ``(q,)``: how many of ``items`` of the missing one's category score above it (0: none); equals are counted as half of them."""
    positions = np.zeros(len(questions), np.int64)
    for kind in np.unique(questions.category):
        pool = items[category[items] == kind]
        mine = np.flatnonzero(questions.category == kind)
        step = max(1, _CHUNK // max(len(pool), 1))
        for rows in (mine[start : start + step] for start in range(0, len(mine), step)):
            candidates = np.concatenate([questions.missing[rows][:, None], np.broadcast_to(pool, (len(rows), len(pool)))], axis=1)
            scores = scorer(questions.given[rows], questions.category[rows], candidates)
            others = candidates[:, 1:] != candidates[:, :1]
            above = ((scores[:, 1:] > scores[:, :1]) & others).sum(axis=1)
            equal = ((scores[:, 1:] == scores[:, :1]) & others).sum(axis=1)
            positions[rows] = above + equal // 2
    return positions


def pair_mean(pair: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Scorer:
    """The scorer that takes the mean of ``pair(left rows, right rows)``, float ``(n,)``, over what is given."""

    def score(given: np.ndarray, category: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        total = np.zeros(candidates.shape)
        for column in given.T:
            rows = np.flatnonzero(column != NOTHING)
            left = np.broadcast_to(column[rows, None], (len(rows), candidates.shape[1]))
            total[rows] += pair(left.ravel(), candidates[rows].ravel()).reshape(left.shape)
        return total / np.maximum((given != NOTHING).sum(axis=1, keepdims=True), 1)

    return score


def _by_outfit(right: np.ndarray, owner: np.ndarray, outfits: int) -> PerUser:
    weight = np.bincount(owner, minlength=outfits).astype(np.float64)
    return PerUser(np.bincount(owner, right, outfits).astype(np.float64), weight, len(owner))
