"""The experiment on looks: contrasts and figures by hand, posteriors of a wanted accuracy, splits that hold, and all of it once."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import Space
from corkboard.errors import NotFound
from corkboard.experiments import looks_claims as name
from corkboard.experiments.looks import OUTFITS, SHOP, TOLD, run_looks, run_shop
from corkboard.experiments.looks_claims import CLAIMS, OUTFIT_FIRST, SHOP_CLAIMS, above, across, between, gains_more
from corkboard.experiments.looks_config import LooksConfig
from corkboard.experiments.looks_data import CLASS_NAMES, Asked, InScenes, LookStage, at_accuracy, matches
from corkboard.experiments.looks_detection import VARIANTS as DETECTORS
from corkboard.experiments.looks_detection import NewPositions, detection_job
from corkboard.experiments.looks_matching import Answers, by_scene, rejection, told
from corkboard.experiments.looks_report import to_dict, write_reports
from corkboard.experiments.looks_scenes import VARIANTS as SCENE_MODELS
from corkboard.experiments.looks_scenes import SceneStage
from corkboard.experiments.measured import MAIN
from corkboard.metrics.looks import LookOutcomes
from corkboard.shopping.objects import SCHEMA, FoundObjects
from corkboard.vision.detection import Detections
from corkboard.vision.detector import built_in_detector_file
from corkboard.world.world import World

QUICK = LooksConfig.quick()


def detector_is_there() -> bool:
    try:
        return built_in_detector_file().is_file()
    except NotFound:
        return False


with_detector = pytest.mark.skipif(not detector_is_there(), reason="this copy has no weights of a detector: corkboard experiment detector")


def figures(values):
    return lambda variant, measure: values[variant, measure]


def test_contrasts_by_hand():
    values = {("a", "m"): 0.5, ("b", "m"): 0.3, ("c", "m"): 0.45, ("d", "m"): 0.4, ("a", "n"): 0.1}
    assert between("a", "m", "n")(figures(values)) == pytest.approx(0.4)
    assert across(("b", "m"), ("c", "m"), 0.1)(figures(values)) == pytest.approx(-0.05)
    assert above("a", "m", 0.2)(figures(values)) == pytest.approx(0.3)
    assert gains_more(("a", "b"), ("c", "d"), "m")(figures(values)) == pytest.approx(0.2 - 0.05)


def test_every_claim_asks_for_variants_that_exist_and_the_first_ones_weigh_most():
    known = {*SHOP, *TOLD, *DETECTORS, *SCENE_MODELS, name.WITH_SINGLES, name.SCENES_ALONE}
    assert {variant for claim in CLAIMS for variant, _ in claim.needs()} <= known
    assert {variant for claim in OUTFIT_FIRST for variant, _ in claim.needs()} <= set(OUTFITS)
    assert {claim.label for claim in OUTFIT_FIRST} == {"B1", "B2", "B3"}
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    asked = {measure for claim in SHOP_CLAIMS for variant, measure in claim.needs() if variant == name.CATEGORY}
    levels = LooksConfig().accuracies
    assert asked <= {name.at(mode, level) for mode in (name.OWN, name.ONE, name.FALLBACK) for level in levels}
    first = ("L1", "L2", "L5", "D2", "D4")
    assert min(one.weight for one in CLAIMS if one.label in first) > max(one.weight for one in CLAIMS if one.label not in first)


# --------------------------------------------------------------------------------------------------------------- by hand


def asked_three() -> Asked:
    """Two scenes: a thing that is sold and one that is not, and one that is sold."""
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]], np.float32)
    images = np.zeros((2, 8, 8, 3), np.uint8)
    return Asked(images, np.array([0, 0, 1]), boxes, np.array([0, 1, 2]), np.array([3, 9, 4]), sold=5)


def test_figures_by_hand():
    asked = asked_three()
    assert asked.listed.tolist() == [True, False, True]
    assert asked.of(0).tolist() == [0, 1]
    outcomes = LookOutcomes(
        np.array([1, 1, 0], bool), np.array([1, 1, 0], bool), np.array([1, -1, -1]), np.array([0, -1, -1]), np.array([0, -1, -1])
    )
    of = Answers(outcomes, np.array([0.9, 0.4, -np.inf]), np.zeros(3), np.array([2, 1, 0]), np.array([4, 4, 0]), np.array([1, 1, 0], bool))
    found, facts = told(asked, of)
    assert found[name.P1].value == 0.5
    assert found[name.P1].weight.tolist() == [1, 1]
    assert found[name.RETRIEVED].value == 0.0
    assert found[name.CROP].value == 1.0  # of what was found
    assert found[name.ABSENT].value == 1.0
    assert found[name.REMOVED].value == 0.75
    assert found[name.REJECTION].value == 1.0
    assert facts[name.rate("detected")] == 0.5
    assert facts["product of the rates"] == 0.5


def test_rejection_counts_ties_as_half_and_only_what_counts():
    asked = asked_three()
    assert rejection(asked, np.array([0.4, 0.4, 0.1]), np.ones(3, bool)).value == 0.25
    assert rejection(asked, np.array([0.4, 0.4, 0.1]), np.array([1, 1, 0], bool)).value == 0.5
    assert np.isnan(rejection(asked, np.zeros(3), np.array([1, 0, 1], bool)).value)
    assert by_scene(asked, np.array([1, 1, 0]), np.array([2, 0, 1])).total.tolist() == [1, 0]


def detections(boxes, scores, categories):
    return Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.eye(len(CLASS_NAMES), dtype=np.float32)[categories])


def test_things_are_matched_to_what_overlaps_them_by_half():
    asked = asked_three()
    found = [
        detections([[0.5, 0.5, 1, 0.95], [0, 0, 0.5, 0.45], [0, 0, 0.5, 0.4]], [0.9, 0.8, 0.7], [1, 0, 0]),
        detections([[0.9, 0.9, 1, 1]], [0.9], [2]),
    ]
    assert matches(asked, found).tolist() == [1, 0, -1]


def test_other_categories_change_what_was_matched_and_nothing_else():
    rows = [("", "", [0, 0, 1, 1], "Lamp", None, 0.7, 0.0, 0.9, "detector", False)] * 2
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    arrays = (np.zeros((2, 4), np.int8), np.ones(2, np.float32), np.zeros((2, 1), np.uint8), np.zeros((2, 3), np.uint8))
    objects = FoundObjects(table, *arrays, Space("test", "a"), Space("test", "b"))
    asked = replace(asked_three(), scene=np.array([0, 0, 0]), images=np.zeros((1, 8, 8, 3), np.uint8))
    found = InScenes([objects], np.array([1, -1, -1]))
    posteriors = np.zeros((3, len(CLASS_NAMES)))
    posteriors[0, 3], posteriors[0, 5] = 0.6, 0.4
    changed = found.with_categories(asked, posteriors).objects[0].table
    assert changed["category"].to_list() == ["Lamp", CLASS_NAMES[3]]
    assert changed["second_category"].to_list() == [None, CLASS_NAMES[5]]
    assert changed["posterior"].to_list() == pytest.approx([0.7, 0.6])
    assert found.with_categories(asked, None).objects[0].table["category"].to_list() == [None, None]


@pytest.mark.parametrize("accuracy", [0.95, 0.75, 0.4])
def test_posteriors_are_made_right_as_often_as_wanted_and_know_it(accuracy):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 16, 800)
    sure = rng.uniform(0.4, 0.9, 800)
    said = np.repeat((1 - sure)[:, None] / 15, 16, axis=1)
    said[np.arange(800), np.where(rng.random(800) < 0.85, truth, (truth + 1) % 16)] = sure
    made = at_accuracy(said, truth, accuracy, 1)
    assert (made.argmax(axis=1) == truth).mean() == pytest.approx(accuracy, abs=0.01)
    assert made.max(axis=1).mean() == pytest.approx(accuracy, abs=0.01)
    assert made.sum(axis=1) == pytest.approx(np.ones(800))


# --------------------------------------------------------------------------------------------------------------- the parts


class Nothing:
    """A detector that finds nothing."""

    class_names, version = CLASS_NAMES, "nothing"

    def detect(self, images):
        return [detections(np.zeros((0, 4)), [], []) for _ in images]


def test_where_nothing_is_found_nothing_is_shown_and_every_stage_has_an_answer():
    from corkboard.experiments.looks_matching import ShopBench

    stage = LookStage(QUICK, 101, Nothing())
    keys = set(stage.products.key.tolist())
    assert not keys & set(stage.learned.key.tolist())
    assert len(stage.asked()) > 20
    assert set(stage.asked().product[stage.asked().listed].tolist()) <= set(range(QUICK.shown.catalogue))
    bench = ShopBench(stage)
    served, facts = bench.measured(name.SERVED)
    assert served[name.P1].value == 0.0
    assert facts[name.rate("detected")] == 0.0
    assert facts[name.AP50] == 0.0
    assert bench.measured(name.TRUE_ALL)[0][name.RANKED].value > 0.2  # the truth needs no detector
    assert bench.measured(name.HISTOGRAM)[0][name.P1].value == 0.0


def test_pairs_of_scenes_hold_no_product_and_their_splits_hold():
    stage = SceneStage(QUICK.pairs, 101, World(QUICK.pairs.world.model_copy(update={"seed": 101})))
    pairs, table = stage.pairs, stage.table
    assert len(pairs) == len(table) > 30
    shown = stage.world.objects().filter(pl.col("kind") == "scene")
    ids = stage.world.item_ids
    for scene, product, part in table.select("scene", "product", "part").head(20).iter_rows():
        (left, top, right, bottom), *_ = (
            shown.filter((pl.col("item_id") == ids[scene]) & (pl.col("product_id") == ids[product]))
            .select("left", "top", "right", "bottom")
            .rows()
        )
        across_, down = min(part[2], right) - max(part[0], left), min(part[3], bottom) - max(part[1], top)
        assert min(across_, down) <= 1e-6  # what stays and what was cut away do not overlap
    learned, asked = stage.splits[name.BY_PRODUCT]
    assert not set(pairs.product[learned].tolist()) & set(pairs.product[asked].tolist())
    assert not set(pairs.scene[learned].tolist()) & set(pairs.scene[asked].tolist())
    truth, _ = stage.measured(name.SCENE_ORACLE, lambda at, of: None)
    assert truth[name.BY_SCENE].value > 0.65


def test_positions_that_are_drawn_anew_leave_all_else_as_it_was(monkeypatch, tmp_path):
    import torch

    from corkboard.experiments import looks_detection
    from corkboard.vision.config import TrunkConfig
    from corkboard.vision.trunk import build_trunk

    job = detection_job(tmp_path, QUICK.detection, 101)
    assert [run.variant for run in job.runs] == list(DETECTORS)
    known = {run.variant: run.config for run in job.runs}
    assert known[name.VIT_ANEW] != known[name.VIT_PRE]
    settings = TrunkConfig(kind="vit", side=32, patch=8, dim=16, layers=1, heads=2)
    trunk = build_trunk(settings, 1)
    monkeypatch.setattr(looks_detection.Bench, "_trunk", lambda self, variant: trunk)
    other = NewPositions(QUICK.detection, None, None)._trunk(None)
    assert other.side == QUICK.detection.side
    assert not torch.allclose(other.positions[other.prefix :], trunk.with_side(other.side).positions[other.prefix :])
    same = {key for key, value in trunk.state_dict().items() if key != "positions" and torch.equal(value, other.state_dict()[key])}
    assert same == set(trunk.state_dict()) - {"positions"}


# ------------------------------------------------------------------------------------------------------------------ whole


@with_detector
def test_all_of_it_with_tiny_sizes_is_resumed_and_reported(tmp_path, monkeypatch):
    from corkboard.experiments import looks
    from corkboard.experiments.outfits import ORACLE

    monkeypatch.setattr(looks, "OUTFITS", (ORACLE,))  # models of outfits have tests of their own
    result = run_looks(tmp_path, QUICK, 1, 10, lambda line: None, workers=0)
    assert not result.finished.failed
    assert not result.finished.skipped
    again = run_shop(tmp_path, QUICK, 1, 5, lambda line: None, workers=0)
    assert again.finished.made == 0
    figures = again.figures(MAIN, name.SERVED, 101)
    assert {name.P1, name.R10, name.REJECTION, name.AP50, "product of the rates"} <= set(figures)
    assert again.figures(MAIN, name.JUDGED, 101)["judged pairs"] > 0
    assert again.figures(MAIN, name.TRUE_BOXES, 101)[name.rate("detected")] == 1.0
    files = write_reports(result, tmp_path)
    told_so = json.loads(files["json"].read_text())
    assert len(told_so["claims"]) == len(CLAIMS) + len(OUTFIT_FIRST) == len(to_dict(result)["claims"])
    verdicts = {claim["label"]: claim["verdict"] for claim in told_so["claims"]}
    assert verdicts["B1"] == "not measured"
    assert verdicts["D4"] == "not resolved"  # one seed tells nothing
    assert "Where the right product is lost" in files["md"].read_text()
