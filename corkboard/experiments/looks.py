"""Looks: are things found, matched and completed for the reasons that the papers give?

`corkboard experiment looks --seeds 5`: each seed has products, scenes and worlds of its own. Runs are resumable
(:mod:`corkboard.experiments.spine_runs`), claims are judged over seeds (:mod:`corkboard.experiments.looks_claims`); the report is
:mod:`corkboard.experiments.looks_report`. The protocol is told in docs/how-to/experiments.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corkboard.artifacts import content_hash
from corkboard.experiments import looks_claims as name
from corkboard.experiments import outfits
from corkboard.experiments.detection import built_in_version
from corkboard.experiments.looks_config import LooksConfig
from corkboard.experiments.looks_detection import detection_job, singles_job
from corkboard.experiments.looks_scenes import scene_runs
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.outfits import OutfitsResult, run_outfits
from corkboard.experiments.spine_runs import Context, Finished, Job, Measure, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.experiments.visual_retrieval import PICTURE_CODE
from corkboard.world.config import WORLD_VERSION
from corkboard.world.rendering import PICTURES_VERSION

SHOP = (
    *(name.SERVED, name.WHOLE, name.CATEGORY, name.JUDGED),
    *(name.TRUE_BOXES, name.TRUE_CATEGORIES, name.TRUE_ALL, name.EVERYTHING, name.ON_SEEN, *name.BASELINES),
)
"""Shop The Look, the weightiest first; all of them together take some 20 s after what they share."""
TOLD = (name.UNTOLD, name.ATTRIBUTED)
"""What another training of the encoder is for."""
OUTFITS = (outfits.ORACLE, outfits.VISUAL, outfits.MODEL, outfits.ANY, outfits.UNCONDITIONED, outfits.TRIPLET, outfits.TRIPLET_ANY)
"""What the claims on outfits need, and what is possible."""
SHOP_CODE = (
    *(f"experiments/{one}.py" for one in ("looks_data", "looks_matching", "visual_retrieval", "detector")),
    *("shopping/objects.py", "shopping/look_index.py", "shopping/matcher.py", "shopping/similarity_gate.py", "shopping/shop_the_look.py"),
    *("shopping/judging.py", "metrics/looks.py", "metrics/detection.py", "world/judges.py", "world/scenes.py", "vision/images.py"),
    *("embeddings/visual.py", "embeddings/visual_network.py", "embeddings/visual_training.py", "learning/training.py"),
)
SCENE_CODE = (
    *("experiments/looks_scenes.py", "shopping/scene_model.py", "shopping/scene_network.py", "shopping/scene_training.py"),
    *("learning/training.py", "vision/images.py", "vision/encoder.py"),
)
"""Sources that figures depend on, beside those of pictures and worlds."""


@dataclass(frozen=True)
class LooksResult(Measured[LooksConfig]):
    """Every figure there is; those of outfits are a result of their own, None where they were not asked for."""

    outfits: OutfitsResult | None = None


def run_looks(folder: Path, config: LooksConfig, seeds: int, minutes: float, say: Say, workers: int = 2) -> LooksResult:
    """Measure what is missing below ``folder`` within ``minutes``, weightiest first, and hand back everything there is."""
    numbers = [config.first_seed + n for n in range(seeds)]
    end = time.monotonic() + 60 * minutes
    first = [shop_job(config, seed, SHOP) for seed in numbers]
    rest = [detection_job(folder, config.detection, seed) for seed in numbers] + [scene_job(config, seed) for seed in numbers]
    if config.optional:
        rest += [shop_job(config, seed, TOLD) for seed in numbers] + [singles_job(folder, config.singles, seed) for seed in numbers]
    store = _store(folder)
    finished = [run_jobs(first, store, folder, minutes, say, workers)]
    together = None
    if not finished[-1].interrupted:
        given = config.outfits.model_copy(update={"first_seed": config.first_seed})
        together = run_outfits(folder / "outfits", given, seeds, (end - time.monotonic()) / 60, say, workers, OUTFITS)
        finished.append(together.finished)
    if not finished[-1].interrupted:
        finished.append(run_jobs(rest, store, folder, (end - time.monotonic()) / 60, say, workers))
    runs = {(run.world, run.variant, run.seed): run for job in (*first, *rest) for run in job.runs}
    return LooksResult(config, numbers, runs, store, _added(finished), outfits=together)


def run_shop(
    folder: Path, config: LooksConfig, seeds: int, minutes: float, say: Say, workers: int = 2, only: Sequence[str] = SHOP
) -> LooksResult:
    """The part of :func:`run_looks` that is about Shop The Look."""
    numbers = [config.first_seed + n for n in range(seeds)]
    jobs = [shop_job(config, seed, only) for seed in numbers]
    store = _store(folder)
    finished = run_jobs(jobs, store, folder, minutes, say, workers)
    return LooksResult(config, numbers, {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}, store, finished)


def _store(folder: Path) -> UserRunStore:
    data = f"world {WORLD_VERSION}, pictures {PICTURES_VERSION}"
    return UserRunStore(folder / "runs", data=data, code=code_hash("world"))


def _added(parts: Sequence[Finished]) -> Finished:
    """How several calls went together."""
    whole = Finished()
    for one in parts:
        whole.made, whole.seconds = whole.made + one.made, whole.seconds + one.seconds
        whole.skipped += one.skipped
        whole.failed |= one.failed
        whole.interrupted |= one.interrupted
    return whole


# ----------------------------------------------------------------------------------------------------------------- jobs


def shop_job(config: LooksConfig, seed: int, variants: Sequence[str]) -> Job:
    """Variants of Shop The Look on the scenes of a seed. Raises :class:`NotFound` where this copy has no detector."""
    from corkboard.vision.trunk import built_in_file

    parts = config.model_dump(mode="json", include={"shown", "encoder", "shop", "accuracies"})
    made = {"detector": built_in_version() or _no_detector(), "trunk": content_hash(built_in_file().read_bytes().hex())}
    kept = {**parts, **made, "code": code_hash(*SHOP_CODE, *PICTURE_CODE)}
    runs = [Run(MAIN, one, seed, {"variant": one, **kept}, 45.0 if one == name.ATTRIBUTED else 4.0) for one in variants]
    note = "" if variants[0] == SHOP[0] else ", attributes"
    before = Run(MAIN, "encoder and scenes" + note, seed, {}, 75.0)
    return Job(
        f"shop the look, seed {seed}{note}", f"{__name__}:shop", runs, before, {"looks": config.model_dump(mode="json"), "seed": seed}
    )


def _no_detector() -> str:
    """Raises what the package raises that has no detector."""
    from corkboard.vision.detector import built_in_detector

    return built_in_detector().version


def shop(context: Context) -> None:
    """The work of a job of Shop The Look."""

    def measuring() -> Measure:
        from corkboard.experiments.looks_data import LookStage
        from corkboard.experiments.looks_matching import ShopBench
        from corkboard.vision.detector import built_in_detector

        config, seed = LooksConfig.model_validate(context.job.config["looks"]), int(context.job.config["seed"])
        stage = LookStage(config, seed, built_in_detector(), lambda at: context.doing("training the encoder", at.step, at.steps))
        stage.index  # noqa: B018 — what all variants share is made before the first is timed
        bench = ShopBench(stage)
        return lambda run: bench.measured(run.variant)

    context.each(measuring)


def scene_job(config: LooksConfig, seed: int) -> Job:
    """Every scene model of one world."""
    from corkboard.vision.trunk import built_in_file

    code = code_hash(*SCENE_CODE, *PICTURE_CODE) + content_hash(built_in_file().read_bytes().hex())
    given = {"pairs": config.pairs.model_dump(mode="json"), "seed": seed}
    before = Run(MAIN, "world of scenes", seed, {}, 60.0)
    return Job(f"scenes, seed {seed}", "corkboard.experiments.looks_scenes:work", scene_runs(config.pairs, seed, code), before, given)
