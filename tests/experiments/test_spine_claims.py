"""Verdicts of claims and controls by arithmetic."""

import math

import numpy as np
import pytest

from corkboard.experiments import spine_claims as claims
from corkboard.experiments.spine_claims import CLAIMS, CONTROLS, judge, judge_control
from corkboard.experiments.spine_models import OBJECTIVES, RANKERS
from corkboard.metrics.intervals import PerUser

SEEDS = range(5)


def test_the_interval_is_students_over_seeds():
    """Mean 3, standard deviation sqrt(2.5): 2.776 * 1.581 / sqrt(5) = 1.963."""
    found = judge(dict(zip(SEEDS, [1.0, 2.0, 3.0, 4.0, 5.0], strict=True)))
    assert found.verdict == "reproduced"
    assert found.mean == 3
    assert (found.low, found.high) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)
    assert judge(dict(zip(SEEDS, [-1.0, -2.0, -3.0, -4.0, -5.0], strict=True))).verdict == "contradicted"
    assert judge(dict(zip(SEEDS, [-1.0, 1.0, 0.5, -0.5, 0.1], strict=True))).verdict == "undecided"


def test_a_missing_seed_is_not_measured_and_what_there_is_is_told():
    found = judge({0: 1.0, 1: None, 2: math.nan})
    assert (found.verdict, found.mean, list(found.seeds)) == ("not measured", 1.0, [0])
    assert judge({0: 1.0, 1: 1.1, 2: 1.05}).verdict == "undecided"  # three seeds are too few for a verdict


def test_contrasts_by_hand():
    figures = {
        (claims.V11, claims.SAVE): 11.0,
        (claims.NONE, claims.SAVE): 10.0,
        (claims.V11, claims.HIDE): 6.0,
        (claims.NO_TYPES, claims.HIDE): 9.0,
        (claims.NONE, claims.HIDE): 10.0,
        (claims.DENSE, claims.REALTIME): 0.20,
        (claims.DENSE, claims.DAILY): 0.18,
        (claims.SASREC, claims.REALTIME): 0.10,
        (claims.SASREC, claims.DAILY): 0.08,
        (claims.V11, claims.SAVE + claims.LOW_HISTORY): 3.0,
        (claims.NONE, claims.SAVE + claims.LOW_HISTORY): 2.0,
    }
    get = lambda variant, measure: figures[variant, measure]  # noqa: E731
    assert claims.more(claims.V11, claims.NONE, claims.SAVE)(get) == 1
    assert claims.lift(claims.V11, claims.NONE, claims.SAVE, at_least=0.05)(get) == pytest.approx(0.05)
    assert claims.cut(claims.V11, claims.NONE, claims.HIDE)(get) == pytest.approx(0.4)
    assert claims.smaller_loss(claims.DENSE, claims.SASREC)(get) == pytest.approx(0.2 - 0.1)
    # of a gain of 4 hides, 3 go with the types and 1 stays
    assert claims.most_of_the_cut(claims.V11, claims.NO_TYPES, claims.NONE, claims.HIDE)(get) == pytest.approx((3 - 1) / 10)
    assert claims.larger_lift_of_few(claims.V11, claims.NONE, claims.SAVE)(get) == pytest.approx(0.5 - 0.1)


def test_every_claim_and_control_speaks_of_variants_and_measures_that_exist():
    known = {*OBJECTIVES, *RANKERS, claims.POPULAR, claims.DECAYED, claims.KNN, claims.EASE}
    for claim in (*CLAIMS, *(control.claim for control in CONTROLS)):
        assert {variant for variant, _ in claim.needs()} <= known
        if claim.by_truth:
            assert all(measure.startswith("HIT@3") for _, measure in claim.needs())
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)


def test_the_name_of_an_expected_measure_keeps_its_group_last():
    assert claims.expected_name("HIT@3 save") == "HIT@3 save expected"
    assert claims.expected_name("HIT@3 save low history") == "HIT@3 save expected low history"


NOISE, OTHER = np.array([-0.04, 0.02, 0.05, -0.02, -0.01]), np.array([0.03, -0.05, 0.01, 0.02, -0.01])
SURE, UNSURE = np.array([0.04, 0.045, 0.05, 0.055, 0.06]), np.array([0.12, -0.02, 0.08, 0.01, 0.06])
"""As large on average: one surely above 0, one not."""


@pytest.mark.parametrize(
    ("on", "off", "ending"),
    [
        (1.0 + NOISE, 0.0 + OTHER, "gone with its cause"),
        (1.0 + NOISE, -1.0 + OTHER, "gone with its cause"),
        (1.0 + NOISE, 1.0 + OTHER, "stays without its cause"),
        (1.0 + NOISE, 0.4 + OTHER, "smaller without its cause"),
        (0.0 + NOISE, 0.0 + OTHER, "nothing to explain"),
        (0.0 + NOISE, -1.0 + OTHER, "nothing to explain"),
        (SURE, UNSURE, "undecided"),  # without the cause it is noisier, and not less
        (UNSURE, SURE, "stays without its cause"),  # it is there without the cause: something else makes it
        (-1.0 + NOISE, 1.0 + OTHER, "stays without its cause"),
    ],
)
def test_what_becomes_of_an_ordering_without_its_cause(on, off, ending):
    found = judge_control(CONTROLS[0], dict(zip(SEEDS, on, strict=True)), dict(zip(SEEDS, off, strict=True)))
    assert found.ending == ending
    assert found.fallen.mean == pytest.approx(np.mean(on - off), abs=1e-9)


def test_a_control_that_was_not_reached_says_so():
    assert judge_control(CONTROLS[0], dict.fromkeys(SEEDS, 1.0), {0: 0.1}).ending == "not measured"


def test_within_a_seed_the_same_users_are_drawn_for_both_sides():
    """Equal figures differ by nothing in every resample; a figure twice as large has a lift of exactly one in each."""
    total, saw = np.arange(1.0, 301.0), np.ones(300)
    figures = {("x", "m"): PerUser(total * 2, saw), ("y", "m"): PerUser(total, saw)}
    same = claims.within_seed(claims.more("x", "x", "m"), figures, 200, 0, 0.95)
    assert (same.low, same.high) == (0, 0)
    double = claims.within_seed(claims.lift("x", "y", "m"), figures, 200, 0, 0.95)
    assert (double.low, double.high) == pytest.approx((1, 1))
