"""Pictures: does one embedding serve all tasks, do bits suffice, do captions teach a trunk, and is it for the reasons the papers give?

`corkboard experiment vision --seeds 5`: each seed has products of its own. Runs are resumable (:mod:`corkboard.experiments.spine_runs`),
claims are judged over seeds (:mod:`corkboard.experiments.vision_claims`); the report is :mod:`corkboard.experiments.vision_report`. The
protocol is told in docs/how-to/experiments.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corkboard.experiments import vision_claims as name
from corkboard.experiments.graph import pictured_jobs
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.spine_runs import Job, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.experiments.vision_config import VisionExperimentConfig
from corkboard.experiments.vision_models import MODEL_CODE
from corkboard.experiments.visual_retrieval import BROWSE, EXACT, LENS
from corkboard.world.config import WORLD_VERSION
from corkboard.world.rendering import PICTURES_VERSION

EMBEDDING = (name.UNIFIED, *(name.alone(task) for task in (EXACT, LENS, BROWSE)), name.CATALOGUE)
"""What is measured first: one model for all tasks (U1), bits (U2), domains (U5)."""
CAPTIONS = (name.SCRATCH, name.WEAK, name.CLUSTERED, name.RAW)
"""Then weak labels (W1, W2)."""
ABLATIONS = (name.NO_NORM, name.TAIL_BALANCED, name.TAIL_PLAIN, name.SUBSET)
OPTIONAL = (
    *(name.NATURAL, name.ROOT, name.EVEN),
    *(name.TOGETHER, *map(name.alone, name.ATTRIBUTES)),
    name.TRANSFORMER,
)
"""What is measured last, where minutes are left."""
BLOCKS = {"embedding": EMBEDDING, "captions": CAPTIONS, "ablations": ABLATIONS, "optional": OPTIONAL}

_WORK = "corkboard.experiments.vision_models:work"
_STEPS_A_SECOND = 10.0
"""Of a batch of 96 on one core, about; what runs took is kept and used instead."""

VisionResult = Measured[VisionExperimentConfig]
"""Every figure there is, by variant and seed."""


def run_vision(folder: Path, config: VisionExperimentConfig, seeds: int, minutes: float, say: Say, workers: int = 2) -> VisionResult:
    """Measure what is missing below ``folder`` within ``minutes``, weightiest first, and hand back everything there is."""
    numbers = [config.first_seed + n for n in range(seeds)]
    jobs = vision_jobs(config, numbers)
    store = UserRunStore(folder / "runs", data=f"world {WORLD_VERSION}, pictures {PICTURES_VERSION}", code=code_hash("world"))
    finished = run_jobs(jobs, store, folder, minutes, say, workers)
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    return VisionResult(config, numbers, runs, store, finished)


def vision_jobs(config: VisionExperimentConfig, seeds: Sequence[int]) -> list[Job]:
    """Every job in the order of its weight; neighbouring ones are of different seeds, so two workers seldom wait for one another."""
    blocks = {block: variants for block, variants in BLOCKS.items() if config.optional or block != "optional"}
    jobs = {block: [_job(config, block, variants, seed) for seed in seeds] for block, variants in blocks.items()}
    jobs["captions"] += pictured_jobs(config.worlds, seeds)
    return [job for block in jobs.values() for job in block]


def _job(config: VisionExperimentConfig, block: str, variants: Sequence[str], seed: int) -> Job:
    runs = [_run(config, variant, seed) for variant in variants]
    given = {"vision": config.model_dump(mode="json"), "seed": seed}
    return Job(f"{block}, seed {seed}", _WORK, runs, Run(MAIN, "pictures", seed, {}, 30.0), given)


def _run(config: VisionExperimentConfig, variant: str, seed: int) -> Run:
    """A run with everything that its figures depend on."""
    given = config.model_dump(mode="json", exclude={"first_seed", "optional", "evaluation", "worlds"})
    if variant in (*EMBEDDING, *ABLATIONS):
        given = {part: given[part] for part in ("products", "trunk", "start", "visual", "heads", "tail")}
    kept = {"variant": variant, "code": code_hash(*MODEL_CODE), **given}
    return Run(MAIN, variant, seed, kept, _steps(config, variant) / _STEPS_A_SECOND)


def _steps(config: VisionExperimentConfig, variant: str) -> float:
    """Steps of a trunk in a run, about: what its duration is guessed by."""
    start, shares = config.start.training.steps, len(config.shares)
    embedding, tuned = start + config.visual.training.steps, (start + config.tuned.training.steps) * shares
    captions, attributes = config.weak.pretraining.training.steps, config.attributes.training.steps
    if variant in CAPTIONS:
        return tuned + {name.SCRATCH: 0, name.WEAK: 2}.get(variant, 1) * captions
    if variant in OPTIONAL:
        return 4 * tuned if variant == name.TRANSFORMER else captions + attributes
    return embedding
