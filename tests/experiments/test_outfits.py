"""The experiment on outfits: figures of labels and boxes by known answers, splits that hold, and all of it once with tiny sizes."""

import gzip
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.experiments import outfits as name
from corkboard.experiments.measured import MAIN
from corkboard.experiments.outfits import OutfitStage, by, facets_as_numbers, labels_alone, read_labels, run_outfits
from corkboard.experiments.outfits_config import OutfitsConfig
from corkboard.metrics.outfits import AUC, FITB, TRIPLETS, apart, fill_in_the_blank
from corkboard.world.world import World

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here") / "pinterest-look" / "complete_the_look_raw_test.tsv.gz"
QUICK = OutfitsConfig.quick()


@pytest.fixture(scope="module")
def stage():
    return OutfitStage(QUICK, 101, World(QUICK.world.model_copy(update={"seed": 101})))


def test_facets_are_numbers_and_what_does_not_show_has_none():
    facets = pl.DataFrame({"pattern": ["plain", "dotted", None], "shade": ["red", None, "red"], "style": ["boho", "boho", "nordic"]})
    assert facets_as_numbers(facets).sum(axis=1).tolist() == [3, 2, 2]
    assert facets_as_numbers(facets).shape == (3, 5)


def test_splits_hold_in_a_world(stage):
    for split, (learned, asked) in stage.splits.items():
        assert len(learned)
        assert len(asked)
        apart(learned, asked, split)


def test_the_worlds_truth_is_the_mean_of_its_compatibilities(stage):
    learned, asked = stage.splits["outfit"]
    scorer, _ = stage.scorer(name.ORACLE, learned)
    questions = fill_in_the_blank(asked, stage.category, 0)
    given = questions.given[:1]
    items = [stage.world.item_ids[row] for row in given[0][given[0] >= 0]]
    answer = stage.world.item_ids[questions.missing[0]]
    by_hand = stage.world.compatibility(items, [answer] * len(items)).mean()
    assert scorer(given, questions.category[:1], questions.missing[:1, None])[0, 0] == pytest.approx(by_hand)


def test_the_truth_is_told_better_than_anything_else_and_a_constant_is_chance(stage):
    truth, constant = stage.figures(name.ORACLE), stage.figures(name.CONSTANT)
    assert truth[by(FITB, "outfit")].value > 0.5
    assert truth[by(TRIPLETS, "outfit")].value > 0.65
    assert constant[by(AUC, "outfit")].value == 0.5
    assert stage.figures(name.POPULAR)[by(FITB, "outfit")].value < truth[by(FITB, "outfit")].value


def test_other_grounds_are_other_pictures_of_the_same_items(stage):
    one, other = stage.pictures(0), stage.pictures(1)
    there = one[0].any(axis=1)
    assert (there == other[0].any(axis=1)).all()
    assert not np.allclose(one[0][there], other[0][there])


def test_the_whole_of_it_goes_on_where_it_stopped(tmp_path):
    said = []
    first = run_outfits(tmp_path, QUICK, 1, 5.0, said.append, workers=0, only=[name.POPULAR, name.MODEL])
    assert first.finished.failed == {}
    figures = first.figures(MAIN, name.MODEL, QUICK.first_seed)
    assert {by(name.SWAPPED, "item"), by("recall@10", "outfit"), by(FITB, "item")} <= set(figures)
    again = run_outfits(tmp_path, QUICK, 1, 5.0, said.append, workers=0, only=[name.POPULAR, name.MODEL])
    assert again.finished.made == 0
    assert again.figures(MAIN, name.MODEL, QUICK.first_seed) == figures


def test_every_claim_asks_for_variants_that_are_measured():
    for claim in name.CLAIMS:
        assert {variant for variant, _ in claim.needs()} <= {*name.FIRST, *name.SECOND}


def labelled(count=200):
    """Outfits of a hat on top and a shoe below it, whose box is as wide as the hat's."""
    rng = np.random.default_rng(0)
    rows = []
    for outfit in range(count):
        width = 0.1 + 0.8 * rng.random()
        rows += [(f"o{outfit}", 0.0, 0.0, width, 0.2, "Hats"), (f"o{outfit}", 0.0, 0.5, width, 0.2, "Shoes")]
    return pl.DataFrame(rows, schema=["image_signature", "left", "top", "width", "height", "label"], orient="row")


def test_boxes_tell_the_answer_where_they_follow_from_each_other():
    figures = {key: figure.value for key, figure in labels_alone(labelled(1000), 0).items()}
    assert figures[FITB] > 0.9
    assert figures["label"] == 1.0  # a hat is beside a shoe
    assert figures["label, most usual"] == 0.5


def test_boxes_that_follow_from_nothing_tell_nothing():
    rng = np.random.default_rng(1)
    table = labelled(1000).with_columns(pl.Series("width", rng.random(2000)))
    assert abs(labels_alone(table, 0)[FITB].value - 0.25) < 0.05


def test_the_file_of_labels_is_read_without_its_header(tmp_path):
    file = tmp_path / "raw.tsv.gz"
    file.write_bytes(gzip.compress(b"image_signature bounding_x label\nab\t0.1\t0.2\t0.3\t0.4\tHats\n"))
    assert read_labels(file).rows() == [("ab", 0.1, 0.2, 0.3, 0.4, "Hats")]


@pytest.mark.skipif(not DATA.exists(), reason="set CORKBOARD_DATA to the folder that holds pinterest-look")
def test_outfits_of_people():
    table = read_labels(DATA)
    assert table.shape == (25_140, 6)
    figures = labels_alone(table, 0)
    assert abs(figures[f"{FITB}, constant"].value - 0.25) < 0.02
    assert figures["label"].value > figures["label, most usual"].value
