"""What the graph experiment claims: names of its variants, contrasts between them, controls, and figures that should be alike.

Contrasts and verdicts are those of the spine (:mod:`corkboard.experiments.spine_claims`). New here is *likeness*: two figures that should
be about the same, judged by their ratio and a margin that is stated beforehand, because "no difference was seen" shows nothing.
Labels: G as in the claims on PinSage (Ying et al., KDD'18) and MultiBiSage (Gurukar et al., VLDB'22), X on Pixie (Eksombatchai et al.,
WWW'18), S on PinnerSage (Pal et al., KDD'20).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from corkboard.experiments.claims import ENOUGH_SEEDS, paired_interval
from corkboard.experiments.spine_claims import Control, Figures, SpineClaim, lift, more

CONTENT, NO_GRAPH = "content only", "PinSage without neighbours"
PINSAGE, MEAN, MAX = "PinSage", "PinSage, mean pooling", "PinSage, max pooling"
MULTI, MULTI_BASE = "MultiBiSage", "MultiBiSage, boards only"
PICTURED, PICTURES = "MultiBiSage with pictures", "pictures only"
KNN, EASE, PIXIE, PIXIE_ALL = "item-kNN", "EASE", "Pixie, boards", "Pixie, all graphs"
HIDDEN, HIDDEN_NO_GRAPH = "MultiBiSage, a fifth unseen", "without neighbours, a fifth unseen"
CURRICULUM, AT_ONCE = "PinSage, hard negatives later", "PinSage, hard negatives at once"
MARGIN, MARGIN_MEAN = "PinSage, margin loss", "PinSage, mean pooling, margin loss"
UNIFORM, ONE_LAYER = "PinSage, uniform neighbours", "PinSage, one layer"
FEW, MANY = "MultiBiSage, 5 neighbours", "MultiBiSage, 30 neighbours"
FLAT = "MultiBiSage, all neighbours in one list"

FAMILY_OF: Mapping[str, str] = {"user_save": "save", "user_click": "click", "user_close_up": "close-up", "user_cart": "cart"}
"""Graphs of people's actions, and the action whose pairs are their own."""
ACTIONS = tuple(FAMILY_OF.values())


def alone(graph: str) -> str:
    """The MultiBiSage that reads one graph."""
    return f"MultiBiSage, {graph} only"


def added(graph: str) -> str:
    """The MultiBiSage that reads the boards and one more graph."""
    return f"MultiBiSage, boards and {graph}"


FORMER, FORMER_CONTENT = "PinnerFormer on MultiBiSage", "PinnerFormer on content"

R10, R100 = "recall@10", "recall@100"
RARE = "recall@100 rare"
NO_EDGES = ", without edges"
"""End of a measure: at inference the unseen items have no edges either."""
UNSEEN, NO_BOARD, FEW_BOARDS, MANY_BOARDS = "unseen", "on no board", "on few boards", "on many boards"
"""Parts of the pairs: the wanted item was hidden from training by one of the variants; how many boards it lies on."""

SUM, EQUAL = "Pixie, plain sum", "Pixie, equal visits"
WHOLE = "Pixie"
UNDIVERSE = "Pixie, without diverse boards"
OVERLAP, VISITS_SHARE = "stopped early: overlap with the whole walk", "stopped early: share of the visits"


def pruned(exponent: float) -> str:
    """Pixie on a graph whose items keep their degree to that power of edges; 1 is the whole graph."""
    return WHOLE if exponent == 1 else f"Pixie, degree ^ {exponent:g}"


def seed_overlap(visits: int) -> str:
    """The measure: what the lists of two walks of so many visits have in common."""
    return f"overlap of two seeds, {visits:,} visits"


BOARDS10, BOARDS100 = "boards recall@10", "boards recall@100"

SEVERAL, LAST, DECAYED_MEAN, ONE_GROUP = "PinnerSage", "last item", "decayed mean", "PinnerSage, one vector"
COMPLETE, KMEANS, CENTROID = "complete linkage", "k-means", "PinnerSage, centroids"
NO_FADE, FAST_FADE = "PinnerSage, lambda 0", "PinnerSage, lambda 0.1"
TWO, TEN = "PinnerSage, 2 vectors", "PinnerSage, 10 vectors"


@dataclass(frozen=True)
class Likeness:
    """Two figures that should be about the same: ``of`` gives one over the other. ``enough`` also takes more for alike."""

    name: str
    of: Callable[[Figures], Any]
    label: str = ""
    enough: bool = False


LikenessVerdict = Literal["alike", "no worse", "worse", "better", "undecided", "not measured"]


@dataclass(frozen=True)
class Compared:
    """A ratio over seeds; bounds are None under two seeds."""

    verdict: LikenessVerdict
    seeds: Sequence[int]
    values: Sequence[float]
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def compare_likeness(likeness: Likeness, values: Mapping[int, float | None], margin: float, level: float = 0.95) -> Compared:
    """The verdict on a ratio from its value in each seed: its interval lies within 1 plus or minus ``margin`` (alike), above the lower
    end only (no worse, where more is ``enough``), below it (worse) or above the upper one (better).
    """
    known = {seed: float(value) for seed, value in values.items() if value is not None and math.isfinite(value)}
    seeds, ratios = list(known), list(known.values())
    mean = float(np.mean(ratios)) if ratios else None
    low, high = paired_interval(ratios, level)
    if len(known) < len(values) or not known:
        return Compared("not measured", seeds, ratios, mean, *((None, None) if math.isnan(low) else (low, high)))
    if math.isnan(low):
        return Compared("undecided", seeds, ratios, mean)
    verdict: LikenessVerdict = "undecided"
    if len(seeds) >= ENOUGH_SEEDS:
        if 1 - margin < low and high < 1 + margin:
            verdict = "alike"
        elif low >= 1 + margin:
            verdict = "better"
        elif high <= 1 - margin:
            verdict = "worse"
        elif likeness.enough and low > 1 - margin:
            verdict = "no worse"
    return Compared(verdict, seeds, ratios, mean, low, high)


# ------------------------------------------------------------------------------------------------------------- contrasts


def more_than_best(better: str, others: Sequence[str], measure: str) -> Callable[[Figures], Any]:
    """``better`` has more of ``measure`` than the best of ``others``, as a share of it."""

    def contrast(f: Figures) -> Any:
        best = np.max(np.stack([np.asarray(f(other, measure)) for other in others]), axis=0)
        return (f(better, measure) - best) / best

    return contrast


def larger_gain(better: str, worse: str, measure: str, here: str, there: str) -> Callable[[Figures], Any]:
    """The lift of ``better`` over ``worse`` is larger in the part ``here`` than in the part ``there``."""
    return lambda f: lift(better, worse, f"{measure} {here}")(f) - lift(better, worse, f"{measure} {there}")(f)


def at_least(variant: str, measure: str, least: float) -> Callable[[Figures], Any]:
    """A figure lies above ``least``."""
    return lambda f: f(variant, measure) - least


def at_most(variant: str, measure: str, most: float) -> Callable[[Figures], Any]:
    """A figure lies below ``most``."""
    return lambda f: most - f(variant, measure)


def _lift(name: str, better: str, worse: str, measure: str, weight: float, label: str) -> SpineClaim:
    return SpineClaim(name, lift(better, worse, measure), weight, label, lift=True)


_PER_ACTION = tuple(_lift(f"MultiBiSage > PinSage, {name} pairs", MULTI, PINSAGE, f"{R10} {name}", 10, "") for name in ACTIONS)
_OWN_ACTION = tuple(
    _lift(f"{graph} beside boards helps {name} pairs", added(graph), MULTI_BASE, f"{R10} {name}", 8, "G5")
    for graph, name in FAMILY_OF.items()
)
_SINGLE_VECTORS = (LAST, DECAYED_MEAN, ONE_GROUP)

CLAIMS: Sequence[SpineClaim] = (
    _lift("MultiBiSage > PinSage", MULTI, PINSAGE, R10, 10, ""),
    _lift("MultiBiSage > PinSage, first 100", MULTI, PINSAGE, R100, 10, ""),
    *_PER_ACTION,
    _lift("all graphs > boards only", MULTI, MULTI_BASE, R10, 10, "G5"),
    SpineClaim("all graphs > the best single one", more_than_best(MULTI, [MULTI_BASE, *map(alone, FAMILY_OF)], R10), 9, "G5", lift=True),
    *_OWN_ACTION,
    SpineClaim(
        "more graphs gain more for items on no board", larger_gain(MULTI, MULTI_BASE, R10, NO_BOARD, MANY_BOARDS), 8, "G5", lift=True
    ),
    _lift("MultiBiSage > content only", MULTI, CONTENT, R10, 9, ""),
    _lift("MultiBiSage > item-kNN", MULTI, KNN, R10, 7, ""),
    _lift("MultiBiSage > EASE", MULTI, EASE, R10, 7, ""),
    _lift("MultiBiSage > Pixie on all graphs", MULTI, PIXIE_ALL, R10, 7, ""),
    _lift("PinSage > Pixie on boards", PINSAGE, PIXIE, R10, 7, ""),
    _lift("importance > mean pooling", PINSAGE, MEAN, R10, 9, "G1"),
    _lift("mean > max pooling", MEAN, MAX, R10, 9, "G1"),
    _lift("max pooling > no neighbours", MAX, NO_GRAPH, R10, 9, "G1"),
    _lift("importance pooling > no neighbours", PINSAGE, NO_GRAPH, R10, 9, "G1"),
    _lift("hard negatives later > none", CURRICULUM, PINSAGE, R10, 3, "G2"),
    _lift("hard negatives later > at once", CURRICULUM, AT_ONCE, R10, 3, "G2"),
    _lift("margin loss > softmax, mean pooling", MARGIN_MEAN, MEAN, R10, 3, "G3"),
    _lift("softmax with logQ > margin loss", PINSAGE, MARGIN, R10, 3, "G3"),
    _lift("12 neighbours > 5", MULTI, FEW, R10, 3, "G4"),
    _lift("30 neighbours > 12", MANY, MULTI, R10, 3, "G4"),
    _lift("two layers > one", PINSAGE, ONE_LAYER, R10, 3, "G4"),
    _lift("per graph, then across > one list", MULTI, FLAT, R10, 3, "G6"),
    _lift("neighbours by walks > uniform ones", PINSAGE, UNIFORM, R10, 3, "G7"),
    SpineClaim("degree ^ 0.91 > no pruning", more(pruned(0.91), WHOLE, BOARDS100), 9, "X1"),
    SpineClaim("degree ^ 0.91 > degree ^ 0.5", more(pruned(0.91), pruned(0.5), BOARDS100), 9, "X1"),
    SpineClaim("degree ^ 0.7 > no pruning", more(pruned(0.7), WHOLE, BOARDS100), 9, "X1"),
    SpineClaim("degree ^ 0.7 > degree ^ 0.5", more(pruned(0.7), pruned(0.5), BOARDS100), 9, "X1"),
    SpineClaim("without diverse boards > with them", more(UNDIVERSE, WHOLE, BOARDS100), 9, "X1"),
    SpineClaim("multi-hit boost > plain sum", more(WHOLE, SUM, BOARDS100), 9, "X2"),
    SpineClaim("multi-hit boost > plain sum, first 10", more(WHOLE, SUM, BOARDS10), 9, "X2"),
    SpineClaim("visits by degree > equal visits", more(WHOLE, EQUAL, BOARDS100), 5, "X3"),
    SpineClaim("stopping early takes at most 60 % of the visits", at_most(WHOLE, VISITS_SHARE, 0.6), 5, "X5"),
    SpineClaim("stopping early keeps at least 80 % of the list", at_least(WHOLE, OVERLAP, 0.8), 5, "X5"),
    SpineClaim("two seeds agree by 90 % at 100,000 visits", at_least(WHOLE, seed_overlap(100_000), 0.9), 5, "X6"),
    SpineClaim("several vectors > the best single one", more_than_best(SEVERAL, _SINGLE_VECTORS, R10), 9, "S1", lift=True),
    SpineClaim("the same, first 100", more_than_best(SEVERAL, _SINGLE_VECTORS, R100), 9, "S1", lift=True),
    _lift("PinnerFormer > PinnerSage", FORMER, SEVERAL, R10, 9, "P7"),
    _lift("PinnerFormer > PinnerSage, first 100", FORMER, SEVERAL, R100, 9, "P7"),
    _lift("PinnerFormer on MultiBiSage > on content", FORMER, FORMER_CONTENT, R10, 9, "users"),
    _lift("PinnerFormer on MultiBiSage > on content, first 100", FORMER, FORMER_CONTENT, R100, 9, "users"),
    _lift("PinnerFormer on MultiBiSage > on content, items of little history", FORMER, FORMER_CONTENT, RARE, 9, "users"),
    _lift("Ward > complete linkage", SEVERAL, COMPLETE, R100, 5, "S2"),
    _lift("Ward > k-means", SEVERAL, KMEANS, R100, 5, "S2"),
    _lift("medoids > centroids", SEVERAL, CENTROID, R100, 5, "S3"),
    _lift("lambda 0.01 > 0", SEVERAL, NO_FADE, R100, 5, "S4"),
    _lift("lambda 0.01 > 0.1", SEVERAL, FAST_FADE, R100, 5, "S4"),
    _lift("three vectors > two", SEVERAL, TWO, R100, 5, "S5"),
)
"""Claims in the order of the report; the weight says what is measured first where minutes are short."""

LIKENESSES: Sequence[Likeness] = (
    Likeness(
        "an item that training has not seen, with edges / the same item, seen",
        lambda f: f(HIDDEN, f"{R10} {UNSEEN}") / f(MULTI, f"{R10} {UNSEEN}"),
        "G8",
        enough=True,
    ),
    Likeness(
        "an unseen item without edges / without any graph",
        lambda f: f(HIDDEN, f"{R10} {UNSEEN}{NO_EDGES}") / f(HIDDEN_NO_GRAPH, f"{R10} {UNSEEN}"),
        "G8",
        enough=True,
    ),
    Likeness("centroids / medoids", lambda f: f(CENTROID, R100) / f(SEVERAL, R100), "S3"),
    Likeness(
        "items without actions: MultiBiSage / content only", lambda f: f(MULTI, f"{R100} cold") / f(CONTENT, f"{R100} cold"), enough=True
    ),
    Likeness(
        "items on no board: MultiBiSage / content only",
        lambda f: f(MULTI, f"{R100} {NO_BOARD}") / f(CONTENT, f"{R100} {NO_BOARD}"),
        enough=True,
    ),
)

CARRIES, COPIES = "boards carry everything", "copies of the boards"
TOLD = "text tells what pictures show"
SWITCHED_ON: Mapping[str, tuple[str, ...]] = {CARRIES: ("boards_carry_everything",), TOLD: ("text_complete",)}
"""Mechanisms that are off in the world as it is."""
_GAIN = SpineClaim("MultiBiSage with all graphs > with boards only", lift(MULTI, MULTI_BASE, R10), 6, lift=True)

CONTROLS: Sequence[Control] = (
    Control("products are saved like pins: no gain from more graphs", CARRIES, (), _GAIN),
    Control("other graphs are thinned copies of the boards: no gain from them", COPIES, (), _GAIN),
)
"""The gain from more graphs without its cause: in a world whose boards know what carts follow, and, stricter, in the same world with
graphs that know nothing else."""
