"""What the experiment on pictures claims: names of its variants and measures, and contrasts between them.

Contrasts, intervals and verdicts are those of the spine (:mod:`corkboard.experiments.spine_claims`). Labels: U as in the claims on the
unified embedding (Zhai et al., KDD 2019), W on weakly supervised pre-training (Beal et al., WACV 2022), P on
pictures as features of MultiBiSage, in simulated worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corkboard.experiments import graph_claims as worlds
from corkboard.experiments.spine_claims import Control, Figures, SpineClaim, lift, more
from corkboard.experiments.visual_retrieval import BROWSE, EXACT, LENS

UNIFIED, CATALOGUE = "unified", "catalogue pictures alone"
CAMERA, CATEGORY = "camera P@1", "camera category P@1"
ON_ITS_OWN: Mapping[str, str] = {BROWSE: BROWSE, LENS: LENS, EXACT: CAMERA}
"""Task -> the measure that is its own."""
NO_NORM = "no layer norm"
TAIL_BALANCED, TAIL_PLAIN = "long tail, balanced classes", "long tail, as they come"
SUBSET = "a tenth of the classes a step"

SCRATCH, WEAK, CLUSTERED, RAW = "from scratch", "weak labels", "weak labels, not refined", "raw phrases"
NATURAL, ROOT, EVEN = "long tail, q = 1", "long tail, q = 0.5", "long tail, q = 0"
TAIL, HEAD = "of rare topics", "of frequent topics"
TRANSFORMER, TRANSFORMER_WEAK = "transformer from scratch", "transformer, weak labels"
TOGETHER = "attributes together"
ATTRIBUTES = ("topic", "pattern", "shade", "style")
CONSTANT, BALANCE = "constant bits", "distance of bits from half"


def alone(name: str) -> str:
    """The model of one task, or of one attribute."""
    return f"{name} alone"


def bits(measure: str, count: int) -> str:
    """A measure of codes instead of vectors."""
    return f"{measure}, {count} bits"


def outputs(measure: str, count: int) -> str:
    """A measure of codes whose outputs were trained on the unified model's trunk, which stood still: only the bits differ."""
    return f"{measure}, outputs of {count} bits"


def narrow(measure: str) -> str:
    """A measure of vectors of 32 numbers, which have the bytes of 1,024 bits; outputs on the same trunk."""
    return f"{measure}, outputs of 32 numbers"


def at(measure: str, share: float) -> str:
    """A measure where a share of the labels is known."""
    return f"{measure} at {share:.0%}"


def accuracy(attribute: str) -> str:
    """The share of test pictures whose attribute is told rightly."""
    return f"accuracy of {attribute}"


# ------------------------------------------------------------------------------------------------------------- contrasts


def between(variant: str, better: str, worse: str) -> Callable[[Figures], Any]:
    """One variant has more of ``better`` than of ``worse``."""
    return lambda f: f(variant, better) - f(variant, worse)


def above_all(better: str, others: Sequence[str], measure: str) -> Callable[[Figures], Any]:
    """``better`` has more of ``measure`` than the best of ``others``."""
    return lambda f: f(better, measure) - np.max(np.stack([np.asarray(f(other, measure)) for other in others]), axis=0)


def larger_gain(better: str, worse: str, here: str, there: str) -> Callable[[Figures], Any]:
    """What ``better`` is above ``worse`` by is more in the measure ``here`` than in ``there``."""
    return lambda f: (f(better, here) - f(worse, here)) - (f(better, there) - f(worse, there))


def fewer(better: str, worse: str, measure: str) -> Callable[[Figures], Any]:
    """``better`` has less of ``measure``."""
    return lambda f: f(worse, measure) - f(better, measure)


_OFF = {task: [alone(other) for other in ON_ITS_OWN if other != task] for task in ON_ITS_OWN}
_FEW, _SOME, _ALL = 0.05, 0.2, 1.0

CLAIMS: Sequence[SpineClaim] = (
    *(SpineClaim(f"unified >= {task} alone, on {task}", more(UNIFIED, alone(task), own), 10, "U1") for task, own in ON_ITS_OWN.items()),
    *(
        SpineClaim(f"unified > models of other tasks, on {task}", above_all(UNIFIED, _OFF[task], own), 10, "U1")
        for task, own in ON_ITS_OWN.items()
    ),
    SpineClaim("256 numbers >= 256 bits", between(UNIFIED, CAMERA, bits(CAMERA, 256)), 10, "U2"),
    *(
        SpineClaim(f"{n:,} bits >= 256 bits", between(UNIFIED, outputs(CAMERA, n), outputs(CAMERA, 256)), 10, "U2")
        for n in (512, 1024, 2048)
    ),
    SpineClaim("1,024 bits > 32 numbers, equal bytes", between(UNIFIED, outputs(CAMERA, 1024), narrow(CAMERA)), 10, "U2"),
    SpineClaim("all domains > catalogue alone, camera to catalogue", more(UNIFIED, CATALOGUE, CAMERA), 10, "U5"),
    *(
        SpineClaim(f"pre-trained > from scratch, {own} at {share:.0%}", more(WEAK, SCRATCH, at(own, share)), 9, "W1")
        for share in (_FEW, _SOME, _ALL)
        for own in ON_ITS_OWN.values()
    ),
    *(
        SpineClaim(f"the gain is larger at 5 % than at 100 %, {own}", larger_gain(WEAK, SCRATCH, at(own, _FEW), at(own, _ALL)), 9, "W1")
        for own in ON_ITS_OWN.values()
    ),
    *(
        SpineClaim(f"clustered and filtered > raw phrases, at {share:.0%}", more(CLUSTERED, RAW, at(CAMERA, share)), 9, "W2")
        for share in (_FEW, _SOME)
    ),
    *(SpineClaim(f"refined >= not refined, at {share:.0%}", more(WEAK, CLUSTERED, at(CAMERA, share)), 9, "W2") for share in (_FEW, _SOME)),
    SpineClaim("layer norm > none, 256 bits", more(UNIFIED, NO_NORM, bits(CAMERA, 256)), 5, "U3"),
    SpineClaim("layer norm > none, 1,024 bits", more(UNIFIED, NO_NORM, bits(CAMERA, 1024)), 5, "U3"),
    SpineClaim("bits are nearer to half with layer norm", fewer(UNIFIED, NO_NORM, BALANCE), 5, "U3"),
    SpineClaim("classes balanced > as they come, long tail", more(TAIL_BALANCED, TAIL_PLAIN, BROWSE), 5, "U4"),
    SpineClaim("classes balanced > as they come, rare topics", more(TAIL_BALANCED, TAIL_PLAIN, f"{BROWSE} {TAIL}"), 5, "U4"),
    SpineClaim("all classes a step > a tenth of them", more(UNIFIED, SUBSET, CAMERA), 5, "U6"),
    SpineClaim("classes by root > as they come, rare topics", more(ROOT, NATURAL, f"{CATEGORY} {TAIL}"), 4, "W3"),
    SpineClaim("classes alike > as they come, rare topics", more(EVEN, NATURAL, f"{CATEGORY} {TAIL}"), 4, "W3"),
    SpineClaim("convolutions >= transformer, from scratch", more(SCRATCH, TRANSFORMER, at(CAMERA, _ALL)), 4, "W5"),
    *(SpineClaim(f"attributes together > alone, {one}", more(TOGETHER, alone(one), accuracy(one)), 4, "W6") for one in ATTRIBUTES),
)
"""Claims in the order of the report; the weight says what is measured first where minutes are short."""

WORLD_CLAIMS: Sequence[SpineClaim] = tuple(
    SpineClaim(f"MultiBiSage with pictures > without, {told}", lift(worlds.PICTURED, worlds.MULTI, measure), 8, "P", lift=True)
    for told, measure in (
        ("engaged pairs", worlds.R10),
        ("engaged pairs, first 100", worlds.R100),
        ("cold items", f"{worlds.R10} cold"),
        ("cold items, first 100", f"{worlds.R100} cold"),
        ("new pins of boards, first 100", worlds.BOARDS100),
    )
)
"""In simulated worlds whose items carry pictures: what pictures bring to the encoder that everything else reads."""
CONTROLS: Sequence[Control] = tuple(
    Control(f"the text tells all that pictures show: no gain for {claim.name.rpartition(', ')[2]}", worlds.TOLD, (), claim)
    for claim in (WORLD_CLAIMS[0], WORLD_CLAIMS[2], WORLD_CLAIMS[3])
)
"""The gain in worlds where pictures have nothing to add."""
WORDS: Mapping[str, str] = {"reproduced": "holds", "contradicted": "reversed"}
"""Verdicts as this report says them; the others keep their names."""
