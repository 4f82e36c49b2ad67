"""What the experiment on looks claims: names of its variants and measures, and contrasts between them.

Contrasts, intervals and verdicts are those of the spine (:mod:`corkboard.experiments.spine_claims`). Labels: L as in Shop The Look (KDD
2020), D as in ViT-FRCNN (Beal et al., 2020), A and B as in Complete The Look (Kang et al., CVPR 2019; Li et al., KDD 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corkboard.experiments.outfits import CLAIMS as OUTFIT_CLAIMS
from corkboard.experiments.spine_claims import Figures, SpineClaim, more

SERVED, ON_SEEN, JUDGED = "as it is served", "backgrounds of training", "with judgements"
TRUE_BOXES, TRUE_CATEGORIES, TRUE_ALL, EVERYTHING = "true boxes", "true categories", "true boxes and categories", "every candidate"
WHOLE, CATEGORY = "whole scenes", "by category"
HISTOGRAM, PIXELS = "colour histogram", "raw pixels"
BASELINES = (HISTOGRAM, PIXELS)
ATTRIBUTED, UNTOLD = "told attributes", "told no attributes"

P1, R10, RANKED, RETRIEVED, CROP = "P@1", "R@10", "P@1 before the gate", "P@1 retrieved", "P@1 of what was found"
SHOWN, ABSENT, REMOVED = "shown, in the catalogue", "shown, not in the catalogue", "results removed, not in the catalogue"
REJECTION, REJECTION_COSINE = "rejection AUC", "rejection AUC of the cosine"
AP50, CATEGORIES_RIGHT = "AP50", "categories right"
OWN, ONE, FALLBACK = "index of the likeliest", "one index", "two likeliest where unsure"
COLOUR_MATCH, PATTERN_MATCH, EXACT = "colour match@1", "pattern match@1", "exact P@1"

RENDERED = "rendered"
"""The set on which detectors are compared."""
CNN_PRE, CNN_SCRATCH = "CNN frcnn, pre-trained", "CNN frcnn, scratch"
VIT_PRE, VIT_SCRATCH, VIT_ANEW = "ViT 16 frcnn, pre-trained", "ViT 16 frcnn, scratch", "ViT 16 frcnn, positions anew"
SCENES_ALONE, WITH_SINGLES = "scenes alone", "scenes and single products"
SINGLE_AP50, SCENE_AP50 = "AP50 of catalogue pictures", "AP50 of scenes"

HYBRID, LOCAL, GLOBAL, UNIFORM = "global and local", "local alone", "global alone", "uniform mean"
SIAMESE, FEATURES, SCENE_ORACLE = "whole vectors, one head", "pre-trained features", "the world's truth"
BY_PRODUCT, BY_SCENE = "triplets, other products", "triplets, other scenes"


def at(name: str, level: float | None) -> str:
    """The name of a figure at a share of right categories; at the detector's own for None."""
    return name if level is None else f"{name} at {level:.0%}"


def rate(stage: str) -> str:
    """The name of the conditional rate of a stage."""
    return f"rate of {stage}"


def between(variant: str, better: str, worse: str) -> Callable[[Figures], Any]:
    """One variant has more of ``better`` than of ``worse``."""
    return lambda f: f(variant, better) - f(variant, worse)


def across(one: tuple[str, str], other: tuple[str, str], points: float = 0.0) -> Callable[[Figures], Any]:
    """A figure (variant, measure) is above another, or less than ``points`` below it."""
    return lambda f: f(*one) - f(*other) + points


def above(variant: str, measure: str, least: float) -> Callable[[Figures], Any]:
    """A figure is above a number."""
    return lambda f: f(variant, measure) - least


def gains_more(one: tuple[str, str], other: tuple[str, str], measure: str) -> Callable[[Figures], Any]:
    """The first of ``one`` is further above the second than the first of ``other`` is."""
    return lambda f: (f(one[0], measure) - f(one[1], measure)) - (f(other[0], measure) - f(other[1], measure))


def _levels(high: Sequence[float] = (0.95, 0.9), low: Sequence[float] = (0.75, 0.6)) -> list[SpineClaim]:
    found = [SpineClaim(f"index by category > one index, {k:.0%} right", between(CATEGORY, at(OWN, k), at(ONE, k)), 10, "L1") for k in high]
    found += [SpineClaim(f"one index > index by category, {k:.0%} right", between(CATEGORY, at(ONE, k), at(OWN, k)), 10, "L1") for k in low]
    for k in (0.9, 0.75):
        found += [
            SpineClaim(f"two categories > {mode}, {k:.0%} right", between(CATEGORY, at(FALLBACK, k), at(mode, k)), 10, "L1")
            for mode in (OWN, ONE)
        ]
    return found


SHOP_CLAIMS: Sequence[SpineClaim] = (
    *_levels(),
    SpineClaim("crop > whole scene", across((SERVED, P1), (WHOLE, P1)), 10, "L2"),
    SpineClaim("crop > whole scene, category known", across((SERVED, P1), (WHOLE, f"{P1}, category known")), 10, "L2"),
    SpineClaim("crop > whole scene, any of its products", across((SERVED, P1), (WHOLE, f"{P1}, any of the scene")), 10, "L2"),
    SpineClaim("rerank >= retrieval order, weights by hand", between(SERVED, RANKED, RETRIEVED), 10, "L5"),
    SpineClaim("rerank >= retrieval order, weights by judgements", between(JUDGED, RANKED, RETRIEVED), 10, "L5"),
    SpineClaim("gate removes most results of absent products", above(SERVED, REMOVED, 0.5), 10, "L5"),
    SpineClaim("so does the gate by judgements", above(JUDGED, REMOVED, 0.5), 10, "L5"),
    SpineClaim("it shows less for absent than for present products", between(SERVED, SHOWN, ABSENT), 10, "L5"),
    SpineClaim("true boxes > detected ones", more(TRUE_BOXES, SERVED, P1), 8, "L6"),
    SpineClaim("by less than 10 points", across((SERVED, P1), (TRUE_BOXES, P1), 0.1), 8, "L6"),
    SpineClaim("crops > colour histogram", across((SERVED, RANKED), (HISTOGRAM, P1)), 8),
    SpineClaim("crops > raw pixels", across((SERVED, RANKED), (PIXELS, P1)), 8),
    SpineClaim("attributes told > not, colour match@1", more(ATTRIBUTED, UNTOLD, COLOUR_MATCH), 5, "L3"),
    SpineClaim("attributes told > not, pattern match@1", more(ATTRIBUTED, UNTOLD, PATTERN_MATCH), 5, "L3"),
    SpineClaim("attributes cost less than 1 point of exact P@1", across((ATTRIBUTED, EXACT), (UNTOLD, EXACT), 0.01), 5, "L3"),
)
DETECTION_CLAIMS: Sequence[SpineClaim] = (
    SpineClaim("pre-trained > from scratch, CNN", more(CNN_PRE, CNN_SCRATCH, AP50), 9, "D2"),
    SpineClaim("pre-trained > from scratch, ViT", more(VIT_PRE, VIT_SCRATCH, AP50), 9, "D2"),
    SpineClaim("pre-training matters more for ViT", gains_more((VIT_PRE, VIT_SCRATCH), (CNN_PRE, CNN_SCRATCH), AP50), 9, "D2"),
    SpineClaim("positions stretched > drawn anew", more(VIT_PRE, VIT_ANEW, AP50), 9, "D4"),
)
SCENE_CLAIMS: Sequence[SpineClaim] = (
    SpineClaim("global and local > local alone", more(HYBRID, LOCAL, BY_PRODUCT), 7, "A"),
    SpineClaim("global and local > global alone", more(HYBRID, GLOBAL, BY_PRODUCT), 7, "A5"),
    SpineClaim("local alone > whole vectors", more(LOCAL, SIAMESE, BY_PRODUCT), 7, "A"),
    SpineClaim("global alone > whole vectors", more(GLOBAL, SIAMESE, BY_PRODUCT), 7, "A"),
    SpineClaim("whole vectors > pre-trained features", more(SIAMESE, FEATURES, BY_PRODUCT), 7, "A"),
    SpineClaim("global and local > pre-trained features", more(HYBRID, FEATURES, BY_PRODUCT), 7, "A"),
    SpineClaim("attention by category > uniform mean", more(HYBRID, UNIFORM, BY_PRODUCT), 7, "A"),
    SpineClaim("the same where products are known", more(HYBRID, UNIFORM, BY_SCENE), 7, "A"),
)
SINGLES_CLAIMS: Sequence[SpineClaim] = (
    SpineClaim("single products learned > scenes alone, catalogue pictures", more(WITH_SINGLES, SCENES_ALONE, SINGLE_AP50), 4, "L4"),
    SpineClaim("they cost less than 2 points on scenes", across((WITH_SINGLES, SCENE_AP50), (SCENES_ALONE, SCENE_AP50), 0.02), 4, "L4"),
)
CLAIMS: Sequence[SpineClaim] = (*SHOP_CLAIMS, *DETECTION_CLAIMS, *SCENE_CLAIMS, *SINGLES_CLAIMS)
"""Claims in the order of the report, but for those on outfits; the weight says what is measured first where minutes are short."""
OUTFIT_FIRST: Sequence[SpineClaim] = tuple(claim for claim in OUTFIT_CLAIMS if claim.label in ("B1", "B2", "B3"))
"""Those of the experiment on outfits that are measured here, too."""
WORDS: Mapping[str, str] = {"reproduced": "holds", "contradicted": "reversed", "undecided": "not resolved"}
"""Verdicts as this report says them; the others keep their names."""
