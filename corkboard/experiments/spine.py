"""The spine: do PinnerFormer and TransAct do in a world of known causes what their papers say, and is it for the reasons they give?

`corkboard experiment spine --seeds 5`: each seed is a world of its own. Runs are resumable (:mod:`corkboard.experiments.spine_runs`),
claims and controls are judged over seeds (:mod:`corkboard.experiments.spine_claims`); the report is
:mod:`corkboard.experiments.spine_report`. The protocol is told in docs/how-to/experiments.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corkboard.experiments import spine_claims as claims
from corkboard.experiments.spine_claims import CONTROLS, Control, ControlResult, Judged, SpineClaim
from corkboard.experiments.spine_config import SpineConfig
from corkboard.experiments.spine_models import CONTENT, OBJECTIVES, RANKERS, RANKING_CODE, RETRIEVAL_CODE, TRUTH
from corkboard.experiments.spine_runs import Finished, Job, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.metrics.intervals import Interval, PerUser
from corkboard.world.config import WORLD_VERSION

MAIN = "as it is"
"""The world with all of its causes."""

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


@dataclass(frozen=True)
class SpineResult:
    """Every figure there is, by world, variant and seed, and what follows from them."""

    config: SpineConfig
    seeds: Sequence[int]
    runs: Mapping[tuple[str, str, int], Run]
    store: UserRunStore
    finished: Finished
    _read: dict[tuple[str, str, int], tuple[dict[str, float], dict[str, PerUser]]] = field(default_factory=dict, repr=False)

    def figures(self, world: str, variant: str, seed: int) -> dict[str, float]:
        """Figures and facts of one run; empty where it was not measured."""
        return self._run(world, variant, seed)[0]

    def _run(self, world: str, variant: str, seed: int) -> tuple[dict[str, float], dict[str, PerUser]]:
        """Figures and figures by user, each file read once."""
        key = (world, variant, seed)
        if key not in self._read:
            run = self.runs.get(key)
            self._read[key] = ((self.store.get(run.config, seed) or {}), self.store.by_user(run)) if run else ({}, {})
        return self._read[key]

    def contrast(self, claim: SpineClaim, world: str, by_truth: bool = False) -> dict[int, float | None]:
        """The value of a claim's contrast in each seed; None where a figure is missing."""
        of = claims.by_truth(claim.contrast) if by_truth else claim.contrast
        return {seed: self._value(of, world, seed) for seed in self.seeds}

    def _value(self, contrast: Any, world: str, seed: int) -> float | None:
        def figure(variant: str, measure: str) -> float:
            return self.figures(world, variant, seed)[measure]

        try:
            return float(contrast(figure))
        except (KeyError, ZeroDivisionError):
            return None

    def claim(self, claim: SpineClaim, by_truth: bool = False) -> Judged:
        """A claim over seeds."""
        return claims.judge(self.contrast(claim, MAIN, by_truth), self.config.evaluation.level)

    def control(self, control: Control, by_truth: bool = False) -> ControlResult:
        """A control over seeds."""
        on, off = (self.contrast(control.claim, world, by_truth) for world in (MAIN, control.world))
        return claims.judge_control(control, on, off, self.config.evaluation.level)

    def within(self, claim: SpineClaim, seed: int) -> Interval | None:
        """The interval of a claim in one seed, over users; None where a figure is missing."""
        figures: dict[tuple[str, str], PerUser] = {}
        for variant, measure in sorted(claim.needs()):
            found = self._run(MAIN, variant, seed)[1]
            if measure not in found:
                return None
            figures[variant, measure] = found[measure]
        evaluation = self.config.evaluation
        return claims.within_seed(claim.contrast, figures, evaluation.replicates, evaluation.seed, evaluation.level)


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
