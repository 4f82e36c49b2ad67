"""The spine: do PinnerFormer and TransAct do in a world of known causes what their papers say, and is it for the reasons they give?

`corkboard experiment spine --seeds 5`: each seed is a world of its own. Runs are resumable (:mod:`corkboard.experiments.spine_runs`),
claims and controls are judged over seeds (:mod:`corkboard.experiments.spine_claims`); the report is
:mod:`corkboard.experiments.spine_report`. The protocol is told in docs/how-to/experiments.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corkboard.experiments import spine_claims as claims
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.spine_claims import CONTROLS
from corkboard.experiments.spine_config import SpineConfig
from corkboard.experiments.spine_models import CONTENT, OBJECTIVES, RANKERS, RANKING_CODE, RETRIEVAL_CODE, TRUTH
from corkboard.experiments.spine_runs import Job, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.world.config import WORLD_VERSION

BASELINES = (claims.POPULAR, claims.DECAYED, claims.KNN, claims.EASE, CONTENT)
_GUESS = {
    claims.V11: 110.0,
    claims.NO_USER: 110.0,
    claims.NO_TYPES: 110.0,
    claims.BOTH: 110.0,
    claims.DEEP: 300.0,
    claims.V10: 60.0,
    claims.MEAN: 25.0,
}
_OPTIONAL = (claims.DEEP, claims.BOTH)
"""Rankers that are run last, where minutes are left."""


SpineResult = Measured[SpineConfig]
"""Every figure of the spine there is, by world, variant and seed."""


def run_spine(folder: Path, config: SpineConfig, seeds: int, minutes: float, say: Say, workers: int = 2) -> SpineResult:
    """Measure what is missing below ``folder`` within ``minutes``, weightiest first, and hand back everything there is."""
    jobs = spine_jobs(config, [config.first_seed + n for n in range(seeds)])
    store = UserRunStore(folder / "runs", data=f"world {WORLD_VERSION}", code=code_hash("world"))
    finished = run_jobs(jobs, store, folder, minutes, say, workers)
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    return SpineResult(config, [config.first_seed + n for n in range(seeds)], runs, store, finished)


def spine_jobs(config: SpineConfig, seeds: Sequence[int]) -> list[Job]:
    """Every job in the order of its weight: both tables of two seeds by turns, then the controls, then what is optional.

    Neighbouring jobs are of different worlds, so that two workers never wait for one world to be made.
    """
    jobs: list[Job] = []
    for first in range(0, len(seeds), 2):
        jobs += [
            _ranking_job(config, MAIN, (), seed, [*(v for v in RANKERS if v not in _OPTIONAL), TRUTH]) for seed in seeds[first : first + 2]
        ]
        jobs += [_retrieval_job(config, MAIN, (), seed, [claims.DENSE, *BASELINES, *OBJECTIVES]) for seed in seeds[first : first + 2]]
    for control in CONTROLS if config.controls else ():
        variants = {variant for variant, _ in control.claim.needs()}
        kind, known = (_ranking_job, RANKERS) if variants <= set(RANKERS) else (_retrieval_job, OBJECTIVES)
        jobs += [kind(config, control.world, control.off, seed, [v for v in known if v in variants]) for seed in seeds]
    return jobs + [_ranking_job(config, MAIN, (), seed, _OPTIONAL, "optional") for seed in seeds]


def _retrieval_job(config: SpineConfig, world: str, off: tuple[str, ...], seed: int, variants: Sequence[str]) -> Job:
    given = config.model_dump(mode="json")
    shared = {part: given[part] for part in ("world", "calendar", "content", "evaluation", "requests", "times")}
    code = code_hash(*RETRIEVAL_CODE)

    def run(variant: str) -> Run:
        part = {"pinnerformer": given["pinnerformer"]} if variant in OBJECTIVES else {}
        return Run(world, variant, seed, {"off": off, "variant": variant, "code": code, **shared, **part}, 60.0 if part else 6.0)

    before = Run(world, "retrieval, before", seed, {"off": off}, 45.0)
    runs = [run(variant) for variant in dict.fromkeys(variants)]
    return Job(f"{world}, retrieval, seed {seed}", f"{_MODELS}:retrieval", runs, before, {"spine": given, "seed": seed, "off": list(off)})


def _ranking_job(config: SpineConfig, world: str, off: tuple[str, ...], seed: int, variants: Sequence[str], note: str = "") -> Job:
    given = config.model_dump(mode="json")
    code = code_hash(*RANKING_CODE)
    shared = {part: value for part, value in given.items() if part not in ("first_seed", "controls")}
    runs = [Run(world, v, seed, {"off": off, "variant": v, "code": code, **shared}, _GUESS.get(v, 15.0)) for v in variants]
    before = Run(world, "ranking, before", seed, {"off": off}, 150.0)
    name = f"{world}, ranking, seed {seed}" + (f", {note}" if note else "")
    return Job(name, f"{_MODELS}:ranking", runs, before, {"spine": given, "seed": seed, "off": list(off)})


_MODELS = "corkboard.experiments.spine_models"
