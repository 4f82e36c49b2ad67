"""Claims over seeds: verdicts by arithmetic, resuming, budgets and order, all with fakes."""

import math

import pytest

from corkboard.errors import InputError
from corkboard.experiments import claims as claims_module
from corkboard.experiments.claims import Claim, RunStore, compare_over_seeds, paired_interval

VARIANTS = {"new": {"layers": 2}, "old": {"layers": 1}, "odd": {"layers": 3}}
CLAIM = Claim("two layers beat one", "new", "old", "recall")


class Measured:
    """Counts its runs; figures are given by layers and seed."""

    def __init__(self, figures):
        self.figures, self.runs = figures, []

    def __call__(self, config, seed):
        self.runs.append((config["layers"], seed))
        return {"recall": self.figures(config["layers"], seed)}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path, data="lake-1", code="code-1")


def verdict(store, figures, **options):
    return compare_over_seeds([options.pop("claim", CLAIM)], VARIANTS, Measured(figures), store, **options)[0]


def test_a_paired_interval_by_hand():
    # differences 1, 2, 3: mean 2, standard error 1/sqrt(3), and t with 2 degrees of freedom is 4.3027
    low, high = paired_interval([1, 2, 3])
    assert low == pytest.approx(2 - 4.3027 / math.sqrt(3), abs=1e-3)
    assert high == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=1e-3)
    assert math.isnan(paired_interval([1.0])[0])


def test_a_steady_gain_is_reproduced_though_seeds_differ_widely(store):
    found = verdict(store, lambda layers, seed: 10.0 * seed + layers + 0.1 * (seed % 2) * layers)
    assert found.verdict == "reproduced"
    assert found.difference == pytest.approx(1.04)  # 1 and, for the two odd seeds of five, 0.1 more
    assert found.low > 0
    assert list(found.seeds) == [0, 1, 2, 3, 4]
    assert found.to_dict()["claim"]["name"] == "two layers beat one"


def test_a_steady_loss_contradicts_and_noise_decides_nothing(store, tmp_path):
    assert verdict(store, lambda layers, seed: -layers - 0.01 * seed * layers).verdict == "contradicted"
    noise = RunStore(tmp_path / "noise", "d", "c")
    assert verdict(noise, lambda layers, seed: (-1) ** seed * layers).verdict == "undecided"


def test_where_lower_is_better_the_signs_turn(store):
    lower = Claim("two layers hide less", "new", "old", "recall", higher_is_better=False)
    assert verdict(store, lambda layers, seed: -layers - 0.01 * seed * layers, claim=lower).verdict == "reproduced"


def test_fewer_than_five_seeds_decide_nothing(store):
    found = verdict(store, lambda layers, seed: layers + 0.001 * seed * layers, seeds=(0, 1, 2, 3))
    assert found.verdict == "undecided"
    assert found.low > 0


def test_finished_runs_are_not_run_again_unless_config_data_or_code_change(store, tmp_path):
    first = Measured(lambda layers, seed: layers)
    compare_over_seeds([CLAIM], VARIANTS, first, store)
    again = Measured(lambda layers, seed: layers)
    assert compare_over_seeds([CLAIM], VARIANTS, again, store)[0].verdict == "reproduced"
    assert (len(first.runs), len(again.runs)) == (10, 0)
    for other in (RunStore(tmp_path, "lake-2", "code-1"), RunStore(tmp_path, "lake-1", "code-2")):
        compare_over_seeds([CLAIM], VARIANTS, again, other)
    assert len(again.runs) == 20
    compare_over_seeds([CLAIM], {**VARIANTS, "new": {"layers": 4}}, again, store)
    assert len(again.runs) == 25  # the old variant was there already


def test_an_interrupted_session_goes_on_where_it_stopped(store):
    def failing(config, seed):
        if seed == 3:
            raise RuntimeError("out of memory")
        return {"recall": config["layers"]}

    with pytest.raises(RuntimeError, match="out of memory"):
        compare_over_seeds([CLAIM], VARIANTS, failing, store)
    rest = Measured(lambda layers, seed: layers)
    compare_over_seeds([CLAIM], VARIANTS, rest, store)
    assert sorted(rest.runs) == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_minutes_go_to_the_weightiest_claim_and_the_rest_is_not_measured(store, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(claims_module.time, "monotonic", lambda: clock[0])

    def minute(config, seed):
        clock[0] += 60.0
        return {"recall": config["layers"] + 0.001 * seed * config["layers"]}

    light = Claim("three layers beat one", "odd", "old", "recall", weight=0.5)
    found = compare_over_seeds([light, CLAIM], VARIANTS, minute, store, budget_min=12)
    assert [one.verdict for one in found] == ["not measured", "reproduced"]
    assert clock[0] == 12 * 60.0  # ten runs for the heavy claim, two for the light one, and no run that would not fit
    assert list(found[0].seeds) == [0, 1]
    assert found[0].difference is None


def test_a_missing_variant_or_measure_is_named(store):
    with pytest.raises(InputError, match="variant that is not there"):
        compare_over_seeds([Claim("x", "newer", "old", "recall")], VARIANTS, Measured(lambda layers, seed: 0), store)
    with pytest.raises(InputError, match="do not report"):
        verdict(store, lambda layers, seed: layers, claim=Claim("x", "new", "old", "coverage"))
