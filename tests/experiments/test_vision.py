"""The experiment on pictures: contrasts by hand, jobs in their order, and all of it once with tiny sizes."""

import json
from pathlib import Path

import numpy as np
import pytest

from corkboard.experiments import graph_claims as worlds
from corkboard.experiments import vision_claims as name
from corkboard.experiments.grids import worded
from corkboard.experiments.measured import MAIN
from corkboard.experiments.spine_claims import judge
from corkboard.experiments.vision import BLOCKS, EMBEDDING, run_vision, vision_jobs
from corkboard.experiments.vision_claims import CAMERA, CLAIMS, CONTROLS, WORDS, WORLD_CLAIMS, above_all, at, between, fewer, larger_gain
from corkboard.experiments.vision_config import VisionExperimentConfig
from corkboard.experiments.vision_models import VARIANTS, Stage, labelled, tail_of
from corkboard.experiments.vision_report import to_dict, write_reports
from corkboard.experiments.visual_retrieval import ProductPictures
from corkboard.world.picture_set import PictureSet
from corkboard.world.rendering import Products

QUICK = VisionExperimentConfig.quick()


def figures(values):
    return lambda variant, measure: values[variant, measure]


def test_contrasts_by_hand():
    values = {("a", "m"): 0.5, ("b", "m"): 0.3, ("c", "m"): 0.4, ("a", "n"): 0.45, ("b", "n"): 0.4}
    assert above_all("a", ["b", "c"], "m")(figures(values)) == pytest.approx(0.1)
    assert between("a", "m", "n")(figures(values)) == pytest.approx(0.05)
    assert larger_gain("a", "b", "m", "n")(figures(values)) == pytest.approx(0.2 - 0.05)
    assert fewer("b", "a", "m")(figures(values)) == pytest.approx(0.2)
    resampled = {key: np.array([value, value]) for key, value in values.items()}
    assert above_all("a", ["b", "c"], "m")(figures(resampled)).tolist() == pytest.approx([0.1, 0.1])


def test_every_claim_asks_for_variants_that_exist_and_the_first_ones_weigh_most():
    assert {variant for claim in CLAIMS for variant, _ in claim.needs()} <= set(VARIANTS)
    assert {variant for block in BLOCKS.values() for variant in block} == set(VARIANTS)
    assert len({claim.name for claim in (*CLAIMS, *WORLD_CLAIMS)}) == len(CLAIMS) + len(WORLD_CLAIMS)
    first = [claim.weight for claim in CLAIMS if claim.label in ("U1", "U2", "U5", "W1", "W2")]
    assert min(first) > max(claim.weight for claim in CLAIMS if claim.label not in ("U1", "U2", "U5", "W1", "W2"))
    shares = VisionExperimentConfig().shares
    asked = {measure for claim in CLAIMS for variant, measure in claim.needs() if variant == name.SCRATCH}
    assert asked == {at(own, share) for own in name.ON_ITS_OWN.values() for share in shares}


def test_jobs_come_in_the_order_of_their_weight():
    jobs = vision_jobs(VisionExperimentConfig(), [1, 2])
    assert [job.name for job in jobs][:4] == ["embedding, seed 1", "embedding, seed 2", "captions, seed 1", "captions, seed 2"]
    assert not any(job.name.startswith("optional") for job in vision_jobs(VisionExperimentConfig(optional=False), [1]))
    unified = jobs[0].runs[0]
    other = vision_jobs(VisionExperimentConfig(captions={"noise": 0.5}), [1])
    assert other[0].runs[0].config == unified.config  # captions do not change what reads none
    assert other[1].runs[1].config != jobs[2].runs[1].config
    first = [run for job in jobs[::2] if job.name.startswith(("embedding", "captions")) for run in job.runs]
    assert 5 * sum(run.guess_s for run in first) / 2 < 55 * 60


def test_verdicts_in_the_words_of_this_report():
    assert worded(judge(dict(enumerate([0.1, 0.11, 0.12, 0.1, 0.11]))), WORDS) == "holds"
    assert worded(judge(dict(enumerate([-0.1, -0.11, -0.12, -0.1, -0.11]))), WORDS) == "reversed"
    assert worded(judge({0: 0.1, 1: None}), WORDS) == "not measured (1 seeds)"


def test_labelled_products_are_nested_and_tails_are_long():
    parts = [PictureSet(Products.drawn(400, 1), 16, {}, Path())] * 5
    stage = Stage(QUICK, 101, ProductPictures(*parts), Path(), lambda at, of: None)
    few, many = labelled(stage, 0.05), labelled(stage, 0.2)
    assert (len(few), len(many)) == (20, 80)
    assert set(few) <= set(many)
    topics = parts[0].products.topic
    kept = np.bincount(topics[tail_of(stage)], minlength=40) / np.bincount(topics, minlength=40).clip(1)
    assert kept.max() == 1.0
    assert np.median(kept) < 0.2


def test_all_of_it_with_tiny_sizes_is_resumed_and_reported(tmp_path):
    said = []
    config = QUICK.model_copy(update={"optional": False, "shares": (0.5,)})
    first = run_vision(tmp_path, config, 1, 10, said.append, workers=0)
    assert not first.finished.failed
    assert first.finished.made == len(first.runs) + 5  # and the pictures, or the world, once a job
    again = run_vision(tmp_path, config, 1, 10, said.append, workers=0)
    assert again.finished.made == 0
    found = again.figures(MAIN, name.UNIFIED, 101)
    assert {CAMERA, name.outputs(CAMERA, 2048), name.narrow(CAMERA), name.CONSTANT} <= set(found)
    assert {at(CAMERA, 0.5), "precision after classes"} <= set(again.figures(MAIN, name.WEAK, 101))
    assert len(again.by_user(MAIN, EMBEDDING[1], 101)[CAMERA].total) == config.products.test
    files = write_reports(again, tmp_path)
    told = json.loads(files["json"].read_text())
    assert [control["ending"] for control in told["controls"]] == ["undecided"] * len(CONTROLS)  # one seed tells nothing
    assert len(told["claims"]) == len(CLAIMS) + len(WORLD_CLAIMS) == len(to_dict(again)["claims"])
    pictured = again.figures(MAIN, worlds.PICTURED, 101)
    assert {measure for claim in WORLD_CLAIMS for _, measure in claim.needs()} <= set(pictured)
    assert "Not measured, for lack of time." in files["md"].read_text()
