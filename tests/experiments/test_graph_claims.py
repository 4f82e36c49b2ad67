"""Contrasts that only the graph experiment has, and figures that should be alike, by hand."""

import numpy as np
import pytest

from corkboard.experiments import graph_claims as name
from corkboard.experiments.graph_claims import Likeness, compare_likeness, larger_gain, more_than_best
from corkboard.experiments.spine_claims import within_seed
from corkboard.metrics.intervals import PerUser

SEEDS = range(5)


def ratios(*values):
    return dict(zip(SEEDS, values, strict=True))


@pytest.mark.parametrize(
    ("values", "enough", "verdict"),
    [
        (ratios(0.99, 1.0, 1.01, 1.0, 0.99), False, "alike"),
        (ratios(1.2, 1.21, 1.19, 1.2, 1.2), False, "better"),
        (ratios(0.7, 0.71, 0.69, 0.7, 0.7), True, "worse"),
        (ratios(1.05, 1.15, 1.0, 1.2, 1.1), True, "no worse"),
        (ratios(1.05, 1.15, 1.0, 1.2, 1.1), False, "undecided"),
        (ratios(0.5, 1.5, 1.0, 0.8, 1.2), True, "undecided"),
        (ratios(1.0, None, 1.0, 1.0, 1.0), True, "not measured"),
        (dict(zip(range(4), [1.0, 1.01, 0.99, 1.0], strict=True)), True, "undecided"),
        ({0: 1.0}, True, "undecided"),
    ],
)
def test_alike_is_shown_by_an_interval_inside_a_margin(values, enough, verdict):
    assert compare_likeness(Likeness("", lambda f: 1.0, enough=enough), values, margin=0.1).verdict == verdict


def test_the_best_of_several_is_taken_in_each_resample():
    figures = {("a", "m"): 0.3, ("b", "m"): 0.2, ("c", "m"): 0.25}
    contrast = more_than_best("a", ["b", "c"], "m")
    assert float(contrast(lambda variant, measure: figures[variant, measure])) == pytest.approx(0.05 / 0.25)
    arrays = {("a", "m"): np.array([0.3, 0.3]), ("b", "m"): np.array([0.2, 0.4]), ("c", "m"): np.array([0.25, 0.1])}
    assert contrast(lambda variant, measure: arrays[variant, measure]).tolist() == pytest.approx([0.2, -0.25])
    users = {key: PerUser(np.full(50, value), np.ones(50)) for key, value in figures.items()}
    assert within_seed(contrast, users, 100, 0, 0.95).low == pytest.approx(0.2)


def test_a_gain_is_larger_here_than_there():
    figures = {("a", "m here"): 0.2, ("b", "m here"): 0.1, ("a", "m there"): 0.3, ("b", "m there"): 0.2}
    contrast = larger_gain("a", "b", "m", "here", "there")
    assert float(contrast(lambda variant, measure: figures[variant, measure])) == pytest.approx(1.0 - 0.5)


def test_claims_that_must_come_first_weigh_most():
    weights = {label: max(claim.weight for claim in name.CLAIMS if claim.label == label) for label in ("G1", "G5", "X1", "X2", "S1")}
    assert min(weights.values()) >= max(claim.weight for claim in name.CLAIMS if claim.label in ("G2", "G3", "G4", "G6", "G7"))
    assert {likeness.label for likeness in name.LIKENESSES} >= {"G8"}
    assert len({claim.name for claim in name.CLAIMS}) == len(name.CLAIMS)
