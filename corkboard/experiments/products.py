"""Products and queries: do several views and several tasks make better vectors of products than any one of them, and for the reasons given?

`corkboard experiment products --seeds 5`: each seed is a world of its own. Runs are resumable (:mod:`corkboard.experiments.spine_runs`),
claims and the control are judged over seeds (:mod:`corkboard.experiments.products_claims`); the report is
:mod:`corkboard.experiments.products_report`. The protocol is told in docs/how-to/experiments.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from corkboard.artifacts import content_hash
from corkboard.experiments import products_claims as name
from corkboard.experiments.graph_claims import SWITCHED_ON, TOLD
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.products_config import ProductsConfig
from corkboard.experiments.products_models import (
    BASELINES,
    OMNIS,
    PRODUCT_CODE,
    PRODUCTS,
    SEARCHES,
    itemsage_settings,
    searchsage_settings,
)
from corkboard.experiments.spine_runs import Job, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.world.config import WORLD_VERSION

BAR = (name.ITEMSAGE, name.IMAGE_ONLY, name.TEXT_ONLY, *name.SINGLE)
"""Several views and tasks against the best single one."""
FIRST = (*BAR, name.BY_PICTURE, *BASELINES)
SECOND = (
    *(name.CONCAT, name.SUM_MLP, name.SUM, name.IN_BATCH, name.RANDOM, name.MIXED),
    *(name.CLICKS, name.CARTS, *SEARCHES, *OMNIS),
)
"""I1, I3, I4, Q1, Q3 and Q6."""
CONTROLLED = (name.BY_PICTURE, name.TEXT_ONLY)
OPTIONAL = (name.IMAGE_QUERIES, name.TEXT_QUERIES, name.PICTURE_ONLY, name.RELEASED, name.GRAPH_RELEASED)
"""What is measured last, where minutes are left."""

_WORK = "corkboard.experiments.products_models:work"
_SMALL = frozenset({*BASELINES, name.SUM})

ProductsResult = Measured[ProductsConfig]
"""Every figure there is, by world, variant and seed."""


def run_products(
    folder: Path, config: ProductsConfig, seeds: int, minutes: float, say: Say, workers: int = 2, only: Sequence[str] | None = None
) -> ProductsResult:
    """Measure what is missing below ``folder`` within ``minutes``, weightiest first, and hand back everything there is.

    ``only`` names the variants to measure in the worlds as they are, and leaves out the control.
    """
    numbers = [config.first_seed + n for n in range(seeds)]
    jobs = products_jobs(config, numbers) if only is None else [_job(config, MAIN, seed, only) for seed in numbers]
    store = UserRunStore(folder / "runs", data=f"world {WORLD_VERSION}", code=code_hash("world"))
    finished = run_jobs(jobs, store, folder, minutes, say, workers)
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    return ProductsResult(config, numbers, runs, store, finished)


def products_jobs(config: ProductsConfig, seeds: Sequence[int]) -> list[Job]:
    """Every job in the order of its weight; neighbouring ones are of different seeds, so two workers never wait for one world."""
    jobs = [_job(config, MAIN, seed, FIRST) for seed in seeds]
    jobs += [_job(config, MAIN, seed, SECOND, "variants") for seed in seeds]
    if config.controls:
        jobs += [_job(config, TOLD, seed, CONTROLLED) for seed in seeds]
    if config.optional:
        jobs += [_job(config, MAIN, seed, OPTIONAL, "optional") for seed in seeds]
    return jobs


def _job(config: ProductsConfig, world: str, seed: int, wanted: Sequence[str], note: str = "") -> Job:
    on = SWITCHED_ON.get(world, ())
    given = {"products": config.model_dump(mode="json"), "seed": seed, "on": on}
    title = f"{world}, seed {seed}" + (f", {note}" if note else "")
    before = Run(world, f"{note or 'world'}, before", seed, {}, 5.0 if note else 150.0)
    return Job(title, _WORK, [_run(config, world, variant, seed, on) for variant in wanted], before, given)


def _run(config: ProductsConfig, world: str, variant: str, seed: int, on: Sequence[str]) -> Run:
    """A run with everything that its figures depend on."""
    given = config.model_dump(mode="json")
    graph = ("world", "calendar", "content", "pairs", "graph", "graphs", "multibisage", "visual")
    kept = {"graph": {part: given["graph"][part] for part in graph}, "searchsage": given["searchsage"], "on": on}
    kept["trunk"] = _trunk()
    if variant in PRODUCTS:
        one = PRODUCTS[variant]
        kept["itemsage"] = (itemsage_settings(config, variant).model_dump(mode="json"), one.tokens, one.space, config.learned_on)
    elif variant in SEARCHES:
        kept["searched"] = searchsage_settings(config, variant).model_dump(mode="json")
    elif variant in OMNIS:
        kept["searched"] = (given["omnisearchsage"], given["enrichment"])
    else:
        kept["asked"] = (given["itemsage"]["attribution_days"], config.popular_days)
    guess = 3.0 if variant in _SMALL else 25.0
    return Run(world, variant, seed, {"variant": variant, "code": code_hash(*PRODUCT_CODE), **kept}, guess)


@cache
def _trunk() -> str:
    """12 hex digits over the weights that read the pictures."""
    from corkboard.vision.trunk import built_in_file

    return content_hash(built_in_file().read_bytes().hex())
