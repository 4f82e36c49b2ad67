"""The report on pictures: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corkboard.experiments import graph_claims as worlds
from corkboard.experiments import vision_claims as name
from corkboard.experiments.graph import PICTURED
from corkboard.experiments.grids import (
    MISSING,
    NO_TIME,
    Grid,
    Pages,
    claims_grid,
    controls_grid,
    figure,
    frame,
    over_seeds,
    seed_by_seed,
    told_claim,
    troubles,
    worded,
)
from corkboard.experiments.measured import MAIN
from corkboard.experiments.vision import ABLATIONS, CAPTIONS, EMBEDDING, OPTIONAL, VisionResult
from corkboard.experiments.vision_claims import CAMERA, CLAIMS, CONTROLS, WORDS, WORLD_CLAIMS
from corkboard.experiments.visual_retrieval import BROWSE, LENS, facts
from corkboard.world.rendering import PICTURES_VERSION

SCHEMA = "corkboard.vision/1"
_STEPS = ("phrases", "best phrases", "coherent", "classes", "refined")


def grids(result: VisionResult) -> list[Grid]:
    """Every table of the report, claims first."""
    return [
        claims_grid([(claim, result.claim(claim)) for claim in (*CLAIMS, *WORLD_CLAIMS)], WORDS),
        controls_grid(result, CONTROLS),
        _worlds(result),
        _embedding(result),
        _codes(result),
        _captions(result),
        _labels(result),
        *_rest(result),
    ]


def protocol(result: VisionResult) -> list[str]:
    """What was asked and how, in sentences."""
    c, seeds = result.config, result.seeds
    known = facts(c.products)
    batch = c.visual.batch_classes * c.visual.images_per_class
    return [
        f"Rendered pictures of {c.products.side} px, generator version {PICTURES_VERSION}: orderings are evidence, sizes are not.",
        f"Each seed ({seeds[0]} to {seeds[-1]}) has products of its own: {c.products.training:,} to learn from, with "
        f"{known['training_pictures']:,} pictures, and {c.products.test} that no step has seen, asked about by {known['queries']:,} camera "
        "and as many web pictures.",
        "camera: a camera picture finds the product's one catalogue picture; browse: a web picture finds a web picture of another product "
        "of its topic and pattern; lens: a camera picture finds a web picture of another product of its category and style.",
        f"Every trunk first learns the attributes of the pictures that it has ({c.start.training.steps} steps of {c.start.batch}), then "
        f"proxies ({c.visual.training.steps} steps of {batch}, whatever the tasks; {c.tuned.training.steps} where labels are few). "
        f"Pre-training on captions, before both: {c.weak.pretraining.training.steps} steps, twice with refinement.",
        f"Captions are of training products alone: {c.captions.noise:.0%} noise, {c.captions.wrong:.0%} of the words wrong.",
        f"Over seeds: Student's t interval ({c.evaluation.level:.0%}) of the paired differences; holds above 0, reversed below; at least "
        "five seeds.",
    ]


# ---------------------------------------------------------------------------------------------------------------- tables


def _worlds(result: VisionResult) -> Grid:
    rows = []
    columns = (worlds.R10, worlds.R100, f"{worlds.R10} cold", f"{worlds.R100} cold", worlds.BOARDS100)
    for world in (MAIN, worlds.TOLD):
        for variant in PICTURED:
            cells = [figure(result.over_seeds(world, variant, measure)) for measure in columns]
            if any(cell != MISSING for cell in cells):
                rows.append([f"{variant}, {world}", *cells])
    return Grid("In worlds whose items carry pictures: which item comes next", ("", *columns), rows, [] if rows else [NO_TIME])


def _embedding(result: VisionResult) -> Grid:
    measures = (CAMERA, "camera R@10", name.CATEGORY, "web P@1", BROWSE, LENS)
    return over_seeds(result, "One embedding", (*EMBEDDING, *ABLATIONS), measures)


def _codes(result: VisionResult) -> Grid:
    codes = (name.bits(CAMERA, n) for n in (256, 512, 1024))
    measures = [CAMERA, *codes, *(name.outputs(CAMERA, n) for n in (256, 512, 1024, 2048)), name.narrow(CAMERA)]
    rows = [[measure, figure(result.over_seeds(MAIN, name.UNIFIED, measure))] for measure in measures]
    bits = [
        f"{variant}: {figure(result.over_seeds(MAIN, variant, name.CONSTANT))} constant bits, "
        f"{figure(result.over_seeds(MAIN, variant, name.BALANCE))} from half"
        for variant in (name.UNIFIED, name.NO_NORM)
    ]
    return Grid("Vectors and codes of the unified model", ("", "mean over seeds"), rows, bits)


def _captions(result: VisionResult) -> Grid:
    measures = [name.at(measure, share) for share in result.config.shares for measure in (CAMERA, BROWSE, LENS)]
    return over_seeds(result, "Pre-training on captions, by share of the labels", (*CAPTIONS, name.TRANSFORMER), measures)


def _labels(result: VisionResult) -> Grid:
    rows = []
    for variant in (name.WEAK, name.RAW):
        for step in _STEPS:
            cells = [
                figure(result.over_seeds(MAIN, variant, f"{fact} after {step}")) for fact in ("labels", "images", "precision", "recall")
            ]
            if any(cell != MISSING for cell in cells):
                rows.append([f"{variant}: {step}", *cells])
    return Grid("Labels from captions against what is drawn", ("after", "labels", "pictures", "precision", "recall"), rows)


def _rest(result: VisionResult) -> list[Grid]:
    tails = [f"{measure} {part}" for measure in (CAMERA, name.CATEGORY, BROWSE) for part in (name.TAIL, name.HEAD)]
    accuracies = [name.accuracy(one) for one in name.ATTRIBUTES]
    return [
        over_seeds(result, "Long tails", (name.TAIL_BALANCED, name.TAIL_PLAIN, name.NATURAL, name.ROOT, name.EVEN), tails),
        over_seeds(result, "Attributes from the fewest labels", OPTIONAL, accuracies),
        seed_by_seed(result, [*CLAIMS, *WORLD_CLAIMS]),
    ]


# --------------------------------------------------------------------------------------------------------------- outputs


def to_dict(result: VisionResult) -> dict[str, Any]:
    """Plain JSON values: every claim and every figure of every seed."""
    claims = []
    for one in (*CLAIMS, *WORLD_CLAIMS):
        found = result.claim(one)
        claims.append(told_claim(one, found, verdict=worded(found, WORDS)))
    controls = [{"name": control.name, "ending": result.control(control).ending} for control in CONTROLS]
    return frame(SCHEMA, result, protocol(result), claims=claims, controls=controls)


def report(result: VisionResult) -> Pages:
    """The report, to be printed or written."""
    return Pages(f"Pictures: {len(result.seeds)} seeds", grids(result), protocol(result), troubles(result.finished))


def write_reports(result: VisionResult, folder: Path) -> dict[str, Path]:
    """Write ``vision.json``, ``vision.md`` and ``vision.html`` to ``folder``; returns the files by ending."""
    return report(result).write(folder, "vision", json.dumps(to_dict(result), indent=1, default=str))
