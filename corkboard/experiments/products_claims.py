"""What the experiment on products and queries claims: names of its variants and measures, and contrasts between them.

Contrasts, intervals and verdicts are those of the spine (:mod:`corkboard.experiments.spine_claims`). Labels: I as in the claims on ItemSage
(Baltescu et al., KDD 2022), Q on SearchSage and OmniSearchSage (Agarwal et al., WWW 2024). The bar is that several modalities, and several
tasks, find more than the best single one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corkboard.experiments.graph_claims import TOLD
from corkboard.experiments.spine_claims import Control, Figures, SpineClaim, more

QUERIES = ("image", "text")
"""Kinds of queries: the item beside which a product is shown, and what was typed."""
ACTIONS = ("click", "save", "cart", "checkout")
TASKS = tuple(f"{query}_{action}" for query in QUERIES for action in ACTIONS)
"""The eight cells, which are the eight tasks of ItemSage."""
CUTS = (1, 10)
GROUPS: Mapping[str, Sequence[str]] = {
    "mean": TASKS,
    **{query: [task for task in TASKS if task.startswith(query)] for query in QUERIES},
    "clicks and saves": [task for task in TASKS if task.endswith(("click", "save"))],
    "carts and checkouts": [task for task in TASKS if task.endswith(("cart", "checkout"))],
}
"""Means over cells, each cell counting once."""


def recall(k: int, part: str) -> str:
    """A measure: of one cell, or the mean over a group of them."""
    return f"recall@{k} {part.replace('_', ' ')}"


MEAN, IMAGE, TEXT = (recall(10, part) for part in ("mean", *QUERIES))
LIGHT, HEAVY = recall(10, "clicks and saves"), recall(10, "carts and checkouts")

ITEMSAGE, CONCAT, SUM_MLP, SUM = "ItemSage", "MLP-Concat-MLP", "Sum-MLP", "Sum"
IMAGE_ONLY, TEXT_ONLY = "image only", "text only"
BY_PICTURE, PICTURE_ONLY = "ItemSage, pictures alone", "image only, pictures alone"
"""Image tokens are made from the picture without any neighbours."""
IN_BATCH, RANDOM, MIXED = "negatives of the batch", "random negatives", "both in one softmax"
IMAGE_QUERIES, TEXT_QUERIES = "image queries only", "text queries only"
CLICKS, CARTS = "clicks and saves only", "carts and checkouts only"
RELEASED = "ItemSage, as released"
"""The graph vectors also read text."""
GRAPH_RELEASED = "graph vectors, as released"
GRAPH, VISUAL, BM25, POPULAR = "graph vectors", "raw image vectors", "BM25", "popularity"


def alone(task: str) -> str:
    """The model of one task."""
    return f"{task.replace('_', ' ')} only"


SINGLE = tuple(map(alone, TASKS))

SEARCHSAGE, FROZEN, BAG, NO_CAP, LOW_CAP = "SearchSage", "frozen encoder + linear", "bag of n-grams", "no cap", "low cap"
OMNI, OMNI_FREE = "OmniSearchSage", "OmniSearchSage without compatibility"
SEARCH, SEARCH_RARE, COVERAGE = "recall@10 of items", "recall@10 of rare items", "coverage@10"
OLD_INDEX = "recall@10 of items, old index"
"""Queries of a new encoder ask an index of the frozen vectors of items."""


# ------------------------------------------------------------------------------------------------------------- contrasts


def above_best(better: str, others: Sequence[str], measure: str) -> Callable[[Figures], Any]:
    """``better`` has more of ``measure`` than whichever of ``others`` has most of it."""
    return lambda f: f(better, measure) - np.max(np.stack([np.asarray(f(other, measure)) for other in others]), axis=0)


def wider(better: str, worse: str, here: str, there: str) -> Callable[[Figures], Any]:
    """``better`` is further above ``worse`` in the measure ``here`` than in ``there``."""
    return lambda f: (f(better, here) - f(worse, here)) - (f(better, there) - f(worse, there))


def loses_less(one: str, other: str, measure: str, points: float) -> Callable[[Figures], Any]:
    """``one`` is less than ``points`` below ``other``."""
    return lambda f: f(one, measure) - f(other, measure) + points


def loses_less_across(one: tuple[str, str], other: tuple[str, str], points: float) -> Callable[[Figures], Any]:
    """A figure (variant, measure) is less than ``points`` below another."""
    return lambda f: f(*one) - f(*other) + points


def transfer(measure_of: Mapping[str, str]) -> Callable[[Figures], Any]:
    """What carts and checkouts win by being learned beside clicks and saves is more than the reverse.

    ``measure_of``: the model of clicks and saves, then that of carts and checkouts, each with the measure that is its own.
    """
    (light, of_light), (heavy, of_heavy) = measure_of.items()
    return lambda f: (f(ITEMSAGE, of_heavy) - f(heavy, of_heavy)) - (f(ITEMSAGE, of_light) - f(light, of_light))


_BY_PICTURE = SpineClaim("image + text > text, image tokens from pictures alone", more(BY_PICTURE, TEXT_ONLY, MEAN), 9, "I2")

CLAIMS: Sequence[SpineClaim] = (
    SpineClaim("image + text > the best single one, mean of the cells", above_best(ITEMSAGE, (IMAGE_ONLY, TEXT_ONLY), MEAN), 10, "bar"),
    SpineClaim("eight tasks > the best single one, mean of the cells", above_best(ITEMSAGE, SINGLE, MEAN), 10, "bar"),
    SpineClaim("transformer >= MLP-Concat-MLP", more(ITEMSAGE, CONCAT, MEAN), 9, "I1"),
    SpineClaim("MLP-Concat-MLP > Sum-MLP", more(CONCAT, SUM_MLP, MEAN), 9, "I1"),
    SpineClaim("Sum-MLP > Sum", more(SUM_MLP, SUM, MEAN), 9, "I1"),
    SpineClaim("the transformer's lead is larger for text queries", wider(ITEMSAGE, CONCAT, TEXT, IMAGE), 9, "I1"),
    SpineClaim("image + text > image, image queries", more(ITEMSAGE, IMAGE_ONLY, IMAGE), 9, "I2"),
    SpineClaim("image > text, image queries", more(IMAGE_ONLY, TEXT_ONLY, IMAGE), 9, "I2"),
    SpineClaim("image + text > image, text queries", more(ITEMSAGE, IMAGE_ONLY, TEXT), 9, "I2"),
    SpineClaim("image + text > text, text queries", more(ITEMSAGE, TEXT_ONLY, TEXT), 9, "I2"),
    SpineClaim("the image's lead over text is larger for image queries", wider(IMAGE_ONLY, TEXT_ONLY, IMAGE, TEXT), 9, "I2"),
    _BY_PICTURE,
    SpineClaim("two softmaxes > one over both pools", more(ITEMSAGE, MIXED, MEAN), 9, "I3"),
    SpineClaim("one over both pools > random negatives", more(MIXED, RANDOM, MEAN), 9, "I3"),
    SpineClaim("random negatives > those of the batch", more(RANDOM, IN_BATCH, MEAN), 9, "I3"),
    SpineClaim("all tasks > carts and checkouts only, on these", more(ITEMSAGE, CARTS, HEAVY), 9, "I4"),
    SpineClaim("all tasks > clicks and saves only, on carts and checkouts", more(ITEMSAGE, CLICKS, HEAVY), 9, "I4"),
    SpineClaim("clicks and saves lose under 2 points to their own model", loses_less(ITEMSAGE, CLICKS, LIGHT, 0.02), 9, "I4"),
    SpineClaim("carts and checkouts win more than clicks and saves", transfer({CLICKS: LIGHT, CARTS: HEAVY}), 9, "I4"),
    SpineClaim("end to end > frozen encoder + linear", more(SEARCHSAGE, FROZEN, SEARCH), 9, "Q1"),
    SpineClaim("bag of n-grams > frozen encoder + linear", more(BAG, FROZEN, SEARCH), 9, "Q1"),
    SpineClaim("end to end > bag of n-grams", more(SEARCHSAGE, BAG, SEARCH), 9, "Q1"),
    SpineClaim("a cap covers more than none", more(SEARCHSAGE, NO_CAP, COVERAGE), 9, "Q3"),
    SpineClaim("a low cap covers more than none", more(LOW_CAP, NO_CAP, COVERAGE), 9, "Q3"),
    SpineClaim("a low cap loses under 1 point of recall", loses_less(LOW_CAP, NO_CAP, SEARCH, 0.01), 9, "Q3"),
    SpineClaim("a low cap finds more of the rare items", more(LOW_CAP, NO_CAP, SEARCH_RARE), 9, "Q3"),
    SpineClaim("compatibility costs under 1 point of recall", loses_less(OMNI, OMNI_FREE, SEARCH, 0.01), 9, "Q6"),
    SpineClaim(
        "it asks the old index under 1 point below SearchSage",
        loses_less_across((OMNI, OLD_INDEX), (SEARCHSAGE, SEARCH), 0.01),
        9,
        "Q6",
    ),
    SpineClaim("OmniSearchSage > SearchSage, each with its own items", more(OMNI, SEARCHSAGE, SEARCH), 5, "Q8"),
    SpineClaim("under 2 points below image queries only, on these", loses_less(ITEMSAGE, IMAGE_QUERIES, IMAGE, 0.02), 5, "I5"),
    SpineClaim("under 2 points below text queries only, on these", loses_less(ITEMSAGE, TEXT_QUERIES, TEXT, 0.02), 5, "I5"),
)
"""Claims in the order of the report; the weight says what is measured first where minutes are short."""

CONTROLS: Sequence[Control] = (Control("the text tells all that pictures show: no gain from images", TOLD, (), _BY_PICTURE),)
"""The gain in worlds where pictures have nothing to add."""
