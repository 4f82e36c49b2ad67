"""The graph: does MultiBiSage find more than PinSage, do walks and vectors behave as their papers say, and is it for the reasons they give?

`corkboard experiment graph --seeds 5 --data FOLDER`: each seed is a world of its own and, on public data, another training. Runs are
resumable (:mod:`corkboard.experiments.spine_runs`), claims and controls are judged over seeds (:mod:`corkboard.experiments.graph_claims`);
the report is :mod:`corkboard.experiments.graph_report`. The protocol is told in docs/how-to/experiments.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corkboard.artifacts import content_hash
from corkboard.errors import NotFound
from corkboard.experiments import graph_claims as name
from corkboard.experiments.graph_claims import CARRIES, COPIES, SWITCHED_ON, TOLD
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.graph_data import LASTFM, MOVIELENS, public_files
from corkboard.experiments.graph_models import BASELINES, ENCODERS, ITEM_CODE, settings_of
from corkboard.experiments.graph_people import FORMERS, PEOPLE, PEOPLE_CODE, pinnersage_config
from corkboard.experiments.graph_walks import WALK_CODE, variants
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.real_data import digest
from corkboard.experiments.spine_runs import Job, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.world.config import WORLD_VERSION

PICTURED = (name.MULTI, name.PICTURED, name.CONTENT, name.PICTURES)
"""What is asked of pictures; `corkboard experiment vision` runs it."""
FIRST = (name.PINSAGE, name.MULTI, name.MULTI_BASE, name.MEAN, name.MAX, name.NO_GRAPH, *BASELINES)
"""What is measured first: MultiBiSage against PinSage, pooling (G1), and baselines."""
UNSEEN = (name.HIDDEN, name.HIDDEN_NO_GRAPH)
SINGLE = (*map(name.alone, name.FAMILY_OF), *map(name.added, name.FAMILY_OF))
"""One graph alone, and beside the boards (G5)."""
OPTIONAL = (
    *(name.MARGIN, name.MARGIN_MEAN, name.CURRICULUM, name.AT_ONCE, name.UNIFORM, name.ONE_LAYER),
    *(name.FEW, name.MANY, name.FLAT),
)
"""What is measured last, where minutes are left."""
CONTROLLED = (name.PINSAGE, name.MULTI_BASE, name.MULTI)
PUBLIC = (LASTFM, MOVIELENS)
PUBLIC_ENCODERS = (name.PINSAGE, name.MULTI, name.MULTI_BASE)

_JOBS = "corkboard.experiments"
_SMALL = frozenset({name.CONTENT, name.KNN, name.PIXIE})
_SLOW = {name.MULTI: 22.0, name.HIDDEN: 25.0, name.MANY: 60.0, name.FLAT: 30.0, name.FEW: 16.0, name.EASE: 8.0, name.PIXIE_ALL: 3.0}


@dataclass(frozen=True)
class GraphResult(Measured[GraphExperimentConfig]):
    """Every figure there is, by world or public set, variant and seed; ``missing`` are public sets that were not there."""

    missing: Sequence[str] = field(default=())

    def sets(self) -> list[str]:
        """The public sets that were there."""
        return [one for one in PUBLIC if one not in self.missing]


def run_graph(
    folder: Path, config: GraphExperimentConfig, seeds: int, minutes: float, say: Say, workers: int = 2, data: Path | None = None
) -> GraphResult:
    """Measure what is missing below ``folder`` within ``minutes``, weightiest first, and hand back everything there is.

    ``data`` is the folder that holds the public sets, each in a folder of its own name; those that are not there are skipped.
    """
    numbers = [config.first_seed + n for n in range(seeds)]
    digests, missing = {}, []
    for one in PUBLIC:
        try:
            digests[one] = digest(public_files(one, data or Path("not given")))
        except NotFound:
            missing.append(one)
    if missing:
        say(f"skipped: {', '.join(missing)}; name the folder that holds them with --data")
    jobs = graph_jobs(config, numbers, data, digests)
    store = UserRunStore(folder / "runs", data=f"world {WORLD_VERSION}", code=code_hash("world"))
    finished = run_jobs(jobs, store, folder, minutes, say, workers)
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    return GraphResult(config, numbers, runs, store, finished, missing=missing)


def graph_jobs(config: GraphExperimentConfig, seeds: Sequence[int], data: Path | None, digests: Mapping[str, str]) -> list[Job]:
    """Every job in the order of its weight; neighbouring ones are of different seeds, so two workers never wait for one world."""
    jobs: list[Job] = []
    for first in range(0, len(seeds), 2):
        two = seeds[first : first + 2]
        jobs += [_items_job(config, MAIN, seed, FIRST) for seed in two]
        jobs += [_items_job(config, MAIN, seed, UNSEEN, "unseen items") for seed in two]
        jobs += [_walks_job(config, seed) for seed in two]
        jobs += [_people_job(config, seed) for seed in two]
    for seed in seeds:
        jobs += [_public_job(config, one, seed, PUBLIC_ENCODERS, data, digests[one]) for one in digests]
    if config.controls:
        jobs += [_items_job(config, CARRIES, seed, CONTROLLED) for seed in seeds]
        jobs += [_items_job(config, COPIES, seed, CONTROLLED) for seed in seeds]
    jobs += [_items_job(config, MAIN, seed, SINGLE, "single graphs") for seed in seeds]
    jobs += [_public_job(config, one, seeds[0], BASELINES, data, digests[one], "baselines") for one in digests]
    if config.optional:
        jobs += [_items_job(config, MAIN, seed, OPTIONAL, "optional") for seed in seeds]
    return jobs


def _run(config: GraphExperimentConfig, world: str, variant: str, seed: int, **place: Any) -> Run:
    """A run of an item model, with everything that its figures depend on."""
    given = config.model_dump(mode="json")
    shared = ("calendar", "content", "pairs", "graph", "graphs", "evaluation", "hidden_share")
    kept = {part: given[part] for part in (*shared, *(("public",) if place.get("set") else ("world",)))}
    if variant in ENCODERS:
        one = ENCODERS[variant]
        kept["encoder"] = settings_of(config, variant).model_dump(mode="json")
        kept["neighbours"] = (one.graphs, one.neighbours, one.hard, one.unseen, config.few, config.many, config.hard_ranks)
    if variant == name.PICTURES or (variant in ENCODERS and ENCODERS[variant].pictures):
        from corkboard.vision.trunk import built_in_file

        kept["pictures"] = (given["visual"], code_hash("vision"), content_hash(built_in_file().read_bytes().hex()))
    if world == COPIES and variant != name.MULTI:
        place = {**place, "copies": False}  # it reads the boards alone: the run of the world as it is
    guess = 2.0 if variant in _SMALL else _SLOW.get(variant, 11.0)
    return Run(world, variant, seed, {"variant": variant, "code": code_hash(*ITEM_CODE), **kept, **place}, guess)


def pictured_jobs(config: GraphExperimentConfig, seeds: Sequence[int]) -> list[Job]:
    """MultiBiSage with and without pictures, in worlds whose items carry some; and in worlds whose text tells all that pictures show."""
    return [_items_job(config, world, seed, PICTURED, "pictures") for world in (MAIN, TOLD) for seed in seeds]


def _items_job(config: GraphExperimentConfig, world: str, seed: int, wanted: Sequence[str], note: str = "") -> Job:
    place = {"on": SWITCHED_ON.get(world, ()), "copies": world == COPIES}
    runs = [_run(config, world, variant, seed, **place) for variant in wanted]
    given = {"graph": config.model_dump(mode="json"), "seed": seed, **place}
    title = f"{world}, seed {seed}" + (f", {note}" if note else "")
    return Job(title, f"{_JOBS}.graph_models:items", runs, Run(world, f"{note or 'items'}, before", seed, {}, 50.0), given)


def _public_job(
    config: GraphExperimentConfig, one: str, seed: int, wanted: Sequence[str], data: Path | None, files: str, note: str = ""
) -> Job:
    place = {"set": one, "files": files}
    runs = [_run(config, one, variant, seed, **place) for variant in wanted]
    given = {"graph": config.model_dump(mode="json"), "seed": seed, "set": one, "data": str(data)}
    title = f"{one}, seed {seed}" + (f", {note}" if note else "")
    return Job(title, f"{_JOBS}.graph_models:items", runs, Run(one, f"{note or 'items'}, before", seed, {}, 60.0), given)


def _walks_job(config: GraphExperimentConfig, seed: int) -> Job:
    given = config.model_dump(mode="json")
    shared = {part: given[part] for part in ("world", "calendar", "content", "graph", "walks", "evaluation")}
    code = code_hash(*ITEM_CODE, *WALK_CODE)
    runs = [Run(MAIN, one, seed, {"walks of": one, "code": code, **shared}, 8.0 if one == name.WHOLE else 1.0) for one in variants(config)]
    before = Run(MAIN, "walks, before", seed, {}, 20.0)
    return Job(f"walks, seed {seed}", f"{_JOBS}.graph_walks:walks", runs, before, {"graph": given, "seed": seed, "on": ()})


def _people_job(config: GraphExperimentConfig, seed: int) -> Job:
    given = config.model_dump(mode="json")
    vectors = _run(config, MAIN, name.MULTI, seed, on=(), copies=False).config
    code = code_hash(*ITEM_CODE, *PEOPLE_CODE)

    def of(variant: str) -> Run:
        former = variant in FORMERS
        settings = (config.pinnerformer if former else pinnersage_config(config, variant)).model_dump(mode="json")
        kept = {"people": variant, "settings": settings, "code": code, "vectors": vectors}
        return Run(MAIN, variant, seed, kept, 25.0 if former else 3.0)

    before, job = Run(MAIN, "people, before", seed, {}, 30.0), {"graph": given, "seed": seed, "on": ()}
    return Job(f"people, seed {seed}", f"{_JOBS}.graph_people:people", [of(variant) for variant in (*PEOPLE, *FORMERS)], before, job)


def all_variants(config: GraphExperimentConfig) -> Iterator[str]:
    """Every row of the world as it is."""
    yield from (*FIRST, *UNSEEN, *SINGLE, *OPTIONAL, *variants(config), *PEOPLE, *FORMERS)
