"""What the spine claims, and how figures of several worlds become verdicts.

A claim is a contrast: a number that is above 0 where the claim holds, computed from the figures of one seed. Over seeds it is judged by
Student's t interval of its mean (:func:`corkboard.experiments.claims.paired_interval`), within one seed by a bootstrap over users, to
which the same function is applied. A control computes a contrast in a world with its cause and in one without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from corkboard.experiments.claims import ENOUGH_SEEDS, paired_interval
from corkboard.experiments.spine_requests import EXPECTED, LOW_HISTORY
from corkboard.metrics.intervals import PerUser, percentile_interval, resampled_values

Verdict = Literal["reproduced", "contradicted", "undecided", "not measured"]
Ending = Literal[
    "gone with its cause", "stays without its cause", "smaller without its cause", "nothing to explain", "undecided", "not measured"
]

Figures = Callable[[str, str], Any]
"""(variant, measure) -> a number, or an array of resampled ones."""

ONCE, DAILY, REALTIME = (f"recall@10 {cadence}" for cadence in ("once", "daily", "realtime"))
SAVE, HIDE = "HIT@3 save", "HIT@3 hide"

DENSE, ALL, SASREC, NEXT = "PinnerFormer dense", "PinnerFormer all action", "SASRec", "PinnerFormer next action"
POPULAR, DECAYED, KNN, EASE = "popularity 7 d", "popularity decayed", "item-kNN", "EASE"
NONE, MEAN, V10, V11 = "no sequence", "mean pool", "TransAct V1.0", "TransAct V1.1"
NO_USER, NO_TYPES = "V1.1 without user vector", "V1.1 without action types"
DEEP = "V1.1, two layers, 100 actions"
COUNTERS, BOTH = "hand-made features", "V1.1 + hand-made features"


@dataclass(frozen=True)
class SpineClaim:
    """``contrast`` is above 0 where the claim holds. ``lift`` says whether it is a share, to be printed in per cent.

    ``by_truth`` claims count hits, and are computed once more from the world's own probabilities.
    """

    name: str
    contrast: Callable[[Figures], Any]
    weight: float = 1.0
    label: str = ""
    lift: bool = False
    by_truth: bool = False

    def needs(self) -> set[tuple[str, str]]:
        """(variant, measure) of every figure that the contrast asks for."""
        asked: set[tuple[str, str]] = set()

        def note(variant: str, measure: str) -> float:
            asked.add((variant, measure))
            return 1.0

        self.contrast(note)
        return asked


@dataclass(frozen=True)
class Control:
    """A contrast that should be gone in a world whose mechanisms ``off`` are switched off."""

    name: str
    world: str
    off: tuple[str, ...]
    claim: SpineClaim


@dataclass(frozen=True)
class Judged:
    """A contrast over seeds: ``values[i]`` belongs to ``seeds[i]``; bounds are None under two seeds."""

    verdict: Verdict
    seeds: Sequence[int]
    values: Sequence[float]
    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ControlResult:
    """A contrast with its cause, without it, and what fell away (paired over seeds)."""

    control: Control
    ending: Ending
    on: Judged
    off: Judged
    fallen: Judged


def judge(values: Mapping[int, float | None], level: float = 0.95) -> Judged:
    """The verdict on a contrast from its value in each seed; None or NaN where a seed was not measured."""
    known = {seed: float(value) for seed, value in values.items() if value is not None and math.isfinite(value)}
    seeds, numbers = list(known), list(known.values())
    mean = float(np.mean(numbers)) if numbers else None
    low, high = paired_interval(numbers, level)
    bounds = (None, None) if math.isnan(low) else (low, high)
    if len(known) < len(values) or not known:
        return Judged("not measured", seeds, numbers, mean, *bounds)
    verdict: Verdict = "undecided"
    if len(seeds) >= ENOUGH_SEEDS and (low > 0 or high < 0):
        verdict = "reproduced" if low > 0 else "contradicted"
    return Judged(verdict, seeds, numbers, mean, *bounds)


def judge_control(control: Control, on: Mapping[int, float | None], off: Mapping[int, float | None], level: float = 0.95) -> ControlResult:
    """Whether an ordering goes with its cause: an ordering that holds without it is an artefact of something else.

    ``gone``: the ordering surely holds with the cause, not surely without it, and what fell away is surely above 0. ``stays``: it surely
    holds without the cause, whatever it does with it, and what fell away is not surely above 0. ``smaller``: it surely holds without the
    cause, and is surely less than with it, so something else carries the rest. ``nothing to explain``: it surely holds neither with nor
    without. ``undecided``: it holds with the cause alone, but what fell away may be noise; or there are too few seeds to say any of it.
    """
    with_cause, without = judge(on, level), judge({seed: off.get(seed) for seed in on}, level)
    both = {seed: _minus(on[seed], off.get(seed)) for seed in on}
    fallen = judge(both, level)
    fell = fallen.verdict == "reproduced"
    if "not measured" in (with_cause.verdict, without.verdict):
        ending: Ending = "not measured"
    elif len(on) < ENOUGH_SEEDS:
        ending = "undecided"
    elif without.verdict == "reproduced":
        ending = "smaller without its cause" if fell else "stays without its cause"
    elif with_cause.verdict != "reproduced":
        ending = "nothing to explain"
    else:
        ending = "gone with its cause" if fell else "undecided"
    return ControlResult(control, ending, with_cause, without, fallen)


def within_seed(contrast: Callable[[Figures], Any], figures: Mapping[tuple[str, str], PerUser], replicates: int, seed: int, level: float):
    """Interval of a contrast in one seed, over users: every figure is resampled with the same draws of users."""
    values = resampled_values(list(figures.values()), replicates=replicates, seed=seed)
    column = {name: values[:, k] for k, name in enumerate(figures)}
    with np.errstate(divide="ignore", invalid="ignore"):
        return percentile_interval(np.asarray(contrast(lambda variant, measure: column[variant, measure]), float), level)


def by_truth(contrast: Callable[[Figures], Any]) -> Callable[[Figures], Any]:
    """The same contrast from expected hits instead of drawn ones."""

    def expected(figures: Figures) -> Any:
        return contrast(lambda variant, measure: figures(variant, expected_name(measure)))

    return expected


def expected_name(measure: str) -> str:
    """The name of a measure of hits, counted in probabilities: the group stays at the end."""
    if measure.endswith(LOW_HISTORY):
        return measure.removesuffix(LOW_HISTORY) + EXPECTED + LOW_HISTORY
    return measure + EXPECTED


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


# ------------------------------------------------------------------------------------------------------------- contrasts


def more(better: str, worse: str, measure: str) -> Callable[[Figures], Any]:
    """``better`` has more of ``measure``."""
    return lambda f: f(better, measure) - f(worse, measure)


def lift(better: str, worse: str, measure: str, at_least: float = 0.0) -> Callable[[Figures], Any]:
    """``better`` has more of ``measure``, as a share of what ``worse`` has, beyond ``at_least``."""
    return lambda f: (f(better, measure) - f(worse, measure)) / f(worse, measure) - at_least


def cut(better: str, worse: str, measure: str) -> Callable[[Figures], Any]:
    """``better`` has less of ``measure``, as a share of what ``worse`` has."""
    return lambda f: (f(worse, measure) - f(better, measure)) / f(worse, measure)


def loss(variant: str) -> Callable[[Figures], Any]:
    """What a model loses, of its recall in realtime, when its vectors are made nightly."""
    return lambda f: (f(variant, REALTIME) - f(variant, DAILY)) / f(variant, REALTIME)


def smaller_loss(better: str, worse: str) -> Callable[[Figures], Any]:
    """``better`` loses less between realtime and daily than ``worse``, in shares of each one's own recall in realtime."""
    return lambda f: loss(worse)(f) - loss(better)(f)


def most_of_the_cut(full: str, reduced: str, without: str, measure: str) -> Callable[[Figures], Any]:
    """Taking a part away (``reduced``) costs more than half of what ``full`` cuts off ``measure`` against ``without``."""
    return lambda f: ((f(reduced, measure) - f(full, measure)) - (f(without, measure) - f(reduced, measure))) / f(without, measure)


def larger_lift_of_few(better: str, worse: str, measure: str) -> Callable[[Figures], Any]:
    """The lift is larger for users of low history than for all."""
    return lambda f: lift(better, worse, measure + LOW_HISTORY)(f) - lift(better, worse, measure)(f)


def _hits(name: str, contrast: Callable[[Figures], Any], weight: float, label: str = "") -> SpineClaim:
    return SpineClaim(name, contrast, weight, label, lift=True, by_truth=True)


CLAIMS: Sequence[SpineClaim] = (
    SpineClaim("dense all action > popularity of 7 days", more(DENSE, POPULAR, ONCE), 10),
    SpineClaim("dense all action > decayed popularity", more(DENSE, DECAYED, ONCE), 10),
    SpineClaim("dense all action > item-kNN", more(DENSE, KNN, ONCE), 10),
    SpineClaim("dense all action >= EASE", more(DENSE, EASE, ONCE), 9),
    SpineClaim("dense all action > next action", more(DENSE, NEXT, ONCE), 9),
    SpineClaim("dense all action >= all action", more(DENSE, ALL, ONCE), 8, "P1"),
    SpineClaim("all action > SASRec", more(ALL, SASREC, ONCE), 6, "P1"),
    SpineClaim("SASRec > next action", more(SASREC, NEXT, ONCE), 6, "P1"),
    SpineClaim("realtime to daily costs dense less than SASRec", smaller_loss(DENSE, SASREC), 7, "P2", lift=True),
    SpineClaim("dense all action > next action in realtime", more(DENSE, NEXT, REALTIME), 7, "P3"),
    _hits("V1.1 saves at least 5 % above no sequence", lift(V11, NONE, SAVE, at_least=0.05), 10),
    _hits("V1.1 saves > no sequence", lift(V11, NONE, SAVE), 10),
    _hits("V1.1 hides < no sequence", cut(V11, NONE, HIDE), 10),
    _hits("V1.1 saves > mean pool", lift(V11, MEAN, SAVE), 9, "T1"),
    _hits("V1.1 hides < mean pool", cut(V11, MEAN, HIDE), 8, "T1"),
    _hits("V1.1 saves > V1.0", lift(V11, V10, SAVE), 8),
    _hits("V1.1 saves > without user vector", lift(V11, NO_USER, SAVE), 8, "T5"),
    _hits("V1.1 hides < without action types", cut(V11, NO_TYPES, HIDE), 7, "T4"),
    _hits("action types carry most of the hide gain", most_of_the_cut(V11, NO_TYPES, NONE, HIDE), 6, "T4"),
    _hits("lift of saves at low history >= of all", larger_lift_of_few(V11, NONE, SAVE), 6, "T7"),
    _hits("V1.1 saves > hand-made features", lift(V11, COUNTERS, SAVE), 5),
    _hits("V1.1 hides < hand-made features", cut(V11, COUNTERS, HIDE), 5),
    _hits("two layers and 100 actions add saves to V1.1", lift(DEEP, V11, SAVE), 4),
    _hits("two layers and 100 actions take hides from V1.1", cut(DEEP, V11, HIDE), 4),
    _hits("V1.1 adds saves to hand-made features", lift(BOTH, COUNTERS, SAVE), 3),
    _hits("V1.1 takes hides from hand-made features", cut(BOTH, COUNTERS, HIDE), 3),
)
"""Claims in the order of the report; the weight says what is measured first where minutes are short. P and T as in the papers' claims:
PinnerFormer (Pancha et al., KDD'22) and TransAct (Xia et al., KDD'23)."""

CONTROLS: Sequence[Control] = (
    Control(
        "without session intents V1.1 equals mean pool",
        "no intent",
        ("intent",),
        _hits("V1.1 saves > mean pool", lift(V11, MEAN, SAVE), 5),
    ),
    Control(
        "without intents and drift dense equals next action",
        "no intent, no drift",
        ("intent", "drift"),
        SpineClaim("dense > next action", lift(DENSE, NEXT, ONCE), 5, lift=True),
    ),
    Control(
        "without dislikes action types cut no hides",
        "no dislikes",
        ("dislikes",),
        _hits("V1.1 hides < without action types", cut(V11, NO_TYPES, HIDE), 5),
    ),
)
"""Each effect in a world without its cause."""
