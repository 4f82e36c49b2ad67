"""Intervals over users and seeds, against what is known by hand."""

import numpy as np
import pytest

from corkboard.errors import InputError, NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.result import Measure
from corkboard.experiments.seeded import resampled_over_seeds, seeded_rows
from corkboard.experiments.tabulate import rows_of
from corkboard.metrics.intervals import PerUser

HIT = Measure("hit", "")
CONFIG = EvaluationConfig(replicates=4000)


def hits(values):
    values = np.asarray(values, float)
    return {"hit": PerUser(values, np.ones(len(values)), len(values))}


def test_one_seed_is_the_paired_bootstrap_over_users():
    rng = np.random.default_rng(0)
    base, better = hits(rng.random(400) < 0.2), hits(rng.random(400) < 0.35)
    mine = seeded_rows({"base": [base], "better": [better]}, [HIT], "base", CONFIG)
    theirs = rows_of({"base": base, "better": better}, [HIT], "base", CONFIG)
    for one, other in zip(mine, theirs, strict=True):
        for name in ("value", "low", "high", "difference", "difference_low", "difference_high", "lift", "verdict"):
            assert getattr(one.cells["hit"], name) == pytest.approx(getattr(other.cells["hit"], name))


def test_the_spread_of_seeds_alone_by_hand():
    """Users are all alike within a seed: values .2, .3 and .4, so users add nothing, and the variance of the mean is .01 / 3."""
    figures = [PerUser(np.full(300, value), np.ones(300)) for value in (0.2, 0.3, 0.4)]
    values = resampled_over_seeds(figures, "model", CONFIG)
    assert values.mean() == pytest.approx(0.3, abs=0.005)
    assert values.var() == pytest.approx(0.01 / 3, rel=0.1)


def test_seeds_with_users_of_their_own_are_each_resampled_by_itself():
    """Halves of users hit, 200 of one seed and 800 of the other: variances .25 / 200 and .25 / 800, of their mean a quarter of the sum."""
    figures = [PerUser(np.tile([0.0, 1.0], users // 2), np.ones(users)) for users in (200, 800)]
    values = resampled_over_seeds(figures, "model", CONFIG)
    assert values.mean() == pytest.approx(0.5, abs=0.005)
    assert values.var() == pytest.approx((0.25 / 200 + 0.25 / 800) / 4 * 2, rel=0.15)  # drawing two of two seeds doubles it


def test_seeds_widen_the_interval_and_can_undo_a_verdict():
    rng = np.random.default_rng(1)
    base = [hits(rng.random(1000) < 0.2)]
    alike = [hits(rng.random(1000) < 0.26) for _ in range(3)]
    apart = [hits(rng.random(1000) < share) for share in (0.16, 0.26, 0.36)]
    rows = {row.name: row.cells["hit"] for row in seeded_rows({"base": base, "alike": alike, "apart": apart}, [HIT], "base", CONFIG)}
    assert rows["base"].verdict == "baseline"
    assert rows["alike"].verdict == "better"
    assert rows["apart"].verdict == "undecided"
    assert rows["apart"].value == pytest.approx(np.mean([one["hit"].value for one in apart]))


def test_few_users_tell_nothing():
    cells = seeded_rows({"base": [hits([0] * 50)], "other": [hits([1] * 50)]}, [HIT], "base", CONFIG)[1].cells
    assert cells["hit"].verdict == "too few to tell"
    assert cells["hit"].lift is None


def test_a_missing_baseline_and_a_row_without_seeds_are_refused():
    with pytest.raises(NotFound, match="compare with"):
        seeded_rows({"other": [hits([1])]}, [HIT], "base", CONFIG)
    with pytest.raises(InputError, match="no seed"):
        seeded_rows({"base": [hits([1])], "other": []}, [HIT], "base", CONFIG)
