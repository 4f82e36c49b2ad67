"""Detectors whose start differs: pre-trained or not, with positions that were stretched or drawn anew, with single products or without.

The comparison on rendered scenes is that of :mod:`corkboard.experiments.detection`, with shorter trainings; positions that are drawn anew
are its pre-trained transformer, less what it knew of places. Single products are those of the detector that comes with the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from corkboard.experiments.detection import CODE, Bench, Plan, Variant, pictures_of
from corkboard.experiments.detection_config import DetectionConfig
from corkboard.experiments.detector import DETECTOR_CODE, BoxedPictures, found_in, learned_pictures, products_of, trained
from corkboard.experiments.detector_config import DetectorExperimentConfig
from corkboard.experiments.looks_claims import (
    CNN_PRE,
    CNN_SCRATCH,
    RENDERED,
    SCENE_AP50,
    SCENES_ALONE,
    SINGLE_AP50,
    VIT_ANEW,
    VIT_PRE,
    VIT_SCRATCH,
    WITH_SINGLES,
)
from corkboard.experiments.measured import MAIN
from corkboard.experiments.spine_runs import Context, Job, Measure, Run, code_hash
from corkboard.experiments.visual_retrieval import PICTURE_CODE
from corkboard.learning.training import seeded
from corkboard.metrics.detection import average_precision
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import derive
from corkboard.world.scenes import scenes, single_pictures

VARIANTS = (CNN_PRE, CNN_SCRATCH, VIT_PRE, VIT_SCRATCH, VIT_ANEW)
_HERE = "corkboard.experiments.looks_detection"


def detection_job(folder: Path, config: DetectionConfig, seed: int) -> Job:
    """Every detector on the scenes of one seed."""
    plan = Plan(None, folder, config, (RENDERED,))
    code = code_hash(*CODE, *PICTURE_CODE, "world/scenes.py", "experiments/looks_detection.py")
    job = plan.job(RENDERED, [name for name in VARIANTS if name != VIT_ANEW], seed)
    known = {run.variant: run for run in job.runs}
    anew = replace(known[VIT_PRE], variant=VIT_ANEW, config={**known[VIT_PRE].config, "variant": VIT_ANEW})
    runs = [replace(run, config={**run.config, "code": code}) for run in (*job.runs, anew)]
    return Job(f"detectors, seed {seed}", f"{_HERE}:compare", runs, Run(RENDERED, "pictures", seed, {}, 15.0), job.config)


def compare(context: Context) -> None:
    """The work of a job of detectors."""

    def measuring() -> Measure:
        config = DetectionConfig.model_validate(context.job.config["config"])
        pictures = pictures_of(RENDERED, config, None, context.job.runs[0].seed)
        given = (config, pictures, context)

        def measured(run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
            return NewPositions(*given).measured(replace(run, variant=VIT_PRE)) if run.variant == VIT_ANEW else Bench(*given).measured(run)

        return measured

    context.each(measuring)


class NewPositions(Bench):
    """A pre-trained transformer that has forgotten where its patches are: positions are drawn as those of a new one."""

    def _trunk(self, variant: Variant) -> Any:
        import torch
        from torch import nn

        trunk = super()._trunk(variant).with_side(self.config.side)
        with torch.no_grad(), seeded(derive(0, "looks", "positions"), "positions"):
            nn.init.normal_(trunk.positions[trunk.prefix :], std=0.02)
        return trunk


# --------------------------------------------------------------------------------------------------------- single products


def singles_job(folder: Path, config: DetectorExperimentConfig, seed: int) -> Job:
    """A detector that learns from scenes alone, and one that learns from single products, too."""
    given = config.model_dump(mode="json", exclude={"evaluation"})
    code = code_hash(*DETECTOR_CODE, *PICTURE_CODE, "world/scenes.py", "experiments/looks_detection.py")
    guess = 15.0 + 0.17 * config.detector.training.steps * config.detector.batch / 16
    runs = [Run(MAIN, one, seed, {"variant": one, "code": code, **given}, guess) for one in (WITH_SINGLES, SCENES_ALONE)]
    settings = {"detector": config.model_dump(mode="json"), "seed": seed, "folder": str(folder)}
    return Job(f"single products, seed {seed}", f"{_HERE}:learn_singles", runs, Run(MAIN, "products", seed, {}, 2.0), settings)


def learn_singles(context: Context) -> None:
    """The work of a job of single products."""

    def measuring() -> Measure:
        config = DetectorExperimentConfig.model_validate(context.job.config["detector"])
        seed, folder = int(context.job.config["seed"]), Path(context.job.config["folder"])
        learned, asked = products_of(config.pictures, derive(seed, "looks", "singles"))
        side, count = config.detector.side, config.pictures.test
        rows = np.arange(count) % len(asked)
        pictures = {
            SINGLE_AP50: BoxedPictures.of(single_pictures(asked, rows, "catalogue", side=side, seed=seed, threads=1)),
            SCENE_AP50: BoxedPictures.of(
                scenes(asked, count, derive(seed, "looks", "singles asked"), side, backgrounds="held_out", threads=1)
            ),
        }

        def measured(run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
            singles = config.pictures.singles if run.variant == WITH_SINGLES else 0
            given = config.model_copy(update={"pictures": config.pictures.model_copy(update={"singles": singles})})
            return _learned(given, learned, pictures, run, folder, context.doing), {"single products": 3.0 * singles}

        return measured

    context.each(measuring)


def _learned(
    config: DetectorExperimentConfig, learned: Any, asked: dict[str, BoxedPictures], run: Run, folder: Path, say: Callable[[str], None]
) -> dict[str, PerUser]:
    pictures = learned_pictures(learned, config.pictures, config.detector.side, derive(run.seed, "looks", "singles learned"))
    detector = trained(pictures, config, run.seed, folder / "checkpoints", say).at(config.asked_threshold)
    return {
        name: average_precision(found_in(detector, one.images), one.truth(), replicates=1).ap50_by_picture for name, one in asked.items()
    }
