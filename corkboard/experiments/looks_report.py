"""The report on looks: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corkboard.experiments import looks_claims as name
from corkboard.experiments.grids import (
    NO_TIME,
    Grid,
    Pages,
    claims_grid,
    figure,
    frame,
    over_seeds,
    seed_by_seed,
    told_claim,
    troubles,
    worded,
)
from corkboard.experiments.looks import LooksResult
from corkboard.experiments.looks_claims import CLAIMS, DETECTION_CLAIMS, OUTFIT_FIRST, SCENE_CLAIMS, SHOP_CLAIMS, SINGLES_CLAIMS, WORDS
from corkboard.experiments.looks_detection import VARIANTS as DETECTORS
from corkboard.experiments.looks_scenes import VARIANTS as SCENE_MODELS
from corkboard.experiments.measured import MAIN
from corkboard.experiments.outfits import FITB, by
from corkboard.experiments.spine_claims import Judged, SpineClaim
from corkboard.metrics.looks import STAGES
from corkboard.metrics.outfits import AUC, TRIPLETS
from corkboard.world.rendering import PICTURES_VERSION

SCHEMA = "corkboard.looks/1"
_ANSWERS = (
    *(name.SERVED, name.JUDGED, name.TRUE_BOXES, name.TRUE_CATEGORIES, name.TRUE_ALL, name.EVERYTHING, name.ON_SEEN),
    *(name.WHOLE, *name.BASELINES),
)


def judged(result: LooksResult) -> list[tuple[SpineClaim, Judged]]:
    """Every claim with what it came to, in the order of the report."""
    found = [(claim, result.claim(claim)) for claim in SHOP_CLAIMS]
    found += [(claim, result.claim(claim, world=name.RENDERED)) for claim in DETECTION_CLAIMS]
    found += [(claim, result.claim(claim)) for claim in (*SCENE_CLAIMS, *SINGLES_CLAIMS)]
    none = Judged("not measured", [], [])
    return found + [(claim, none if result.outfits is None else result.outfits.claim(claim)) for claim in OUTFIT_FIRST]


def grids(result: LooksResult) -> list[Grid]:
    """Every table of the report, claims first."""
    shown = (name.P1, name.R10, name.RANKED, name.RETRIEVED, name.SHOWN, name.ABSENT, name.REMOVED, name.REJECTION)
    detectors = over_seeds(result, "Detectors on rendered scenes", DETECTORS, (name.AP50, "AP", "training s"), name.RENDERED)
    learned = (name.WITH_SINGLES, name.SCENES_ALONE)
    return [
        claims_grid(judged(result), WORDS),
        over_seeds(result, "Shop The Look", _ANSWERS, shown),
        over_seeds(result, "Where the right product is lost", _ANSWERS[:7], (*map(name.rate, STAGES), "product of the rates", name.P1)),
        _categories(result),
        over_seeds(result, "Attributes", (name.UNTOLD, name.ATTRIBUTED), (name.COLOUR_MATCH, name.PATTERN_MATCH, name.EXACT)),
        detectors,
        over_seeds(result, "Single products in the detector's training", learned, (name.SINGLE_AP50, name.SCENE_AP50)),
        over_seeds(result, "What goes with a scene", SCENE_MODELS, (name.BY_PRODUCT, name.BY_SCENE)),
        _outfits(result),
        seed_by_seed(result, [claim for claim in CLAIMS if claim not in DETECTION_CLAIMS]),
    ]


def _categories(result: LooksResult) -> Grid:
    rows = []
    modes = (name.OWN, name.FALLBACK, name.ONE)
    for level in (None, *result.config.accuracies):
        cells = [figure(result.over_seeds(MAIN, name.CATEGORY, name.at(measure, level))) for measure in (name.CATEGORIES_RIGHT, *modes)]
        rows.append(["as detected" if level is None else f"made {level:.0%}", *cells])
    return Grid("P@1 of retrieval by share of right categories, of what was found", ("", "right", *modes), rows)


def _outfits(result: LooksResult) -> Grid:
    title, measures = "Outfits: what is missing", [by(measure, "item") for measure in (FITB, TRIPLETS, AUC)]
    if result.outfits is None:
        return Grid(title, ("", *measures), [], [NO_TIME])
    return over_seeds(result.outfits, title, list(dict.fromkeys(run.variant for run in result.outfits.runs.values())), measures)


def protocol(result: LooksResult) -> list[str]:
    """What was asked and how, in sentences."""
    c, seeds = result.config, result.seeds
    return [
        f"Rendered pictures of {c.shown.side} px, generator version {PICTURES_VERSION}: orderings are evidence, sizes are not.",
        f"Shop The Look: {c.shown.catalogue:,} products are sold, {c.shown.scenes} scenes of two to four things before a background that "
        f"nothing has learned; {c.shown.listed:.0%} of the things are sold. The encoder learned {c.encoder.products:,} other products; the "
        "detector and the trunk come with the package and learned others still. P@1 counts what is shown, after the gate; what the "
        "detector misses counts as missed.",
        "Shares of right categories are made by noise, or the truth, on the detector's own posteriors, which then know how sure they are.",
        f"Detectors: {c.detection.steps.rendered} steps of {c.detection.batch} pictures, held-out products and background.",
        "What goes with a scene: a product is cut out of a scene of a world, and asked for among products of its category; claims are "
        "about products and scenes that were not learned.",
        f"Outfits: {c.outfits.learned:,} to learn from, {c.outfits.asked} to ask about, no item in both.",
        f"Seeds {seeds[0]} to {seeds[-1]}. Over seeds: Student's t interval ({c.evaluation.level:.0%}) of the paired differences; holds "
        "above 0, reversed below, else not resolved; at least five seeds.",
    ]


def to_dict(result: LooksResult) -> dict[str, Any]:
    """Plain JSON values: every claim and every figure of every seed."""
    claims = [told_claim(claim, found, verdict=worded(found, WORDS)) for claim, found in judged(result)]
    return frame(SCHEMA, result, protocol(result), *([] if result.outfits is None else [result.outfits]), claims=claims)


def report(result: LooksResult) -> Pages:
    """The report, to be printed or written."""
    return Pages(f"Looks: {len(result.seeds)} seeds", grids(result), protocol(result), troubles(result.finished))


def write_reports(result: LooksResult, folder: Path) -> dict[str, Path]:
    """Write ``looks.json``, ``looks.md`` and ``looks.html`` to ``folder``; returns the files by ending."""
    return report(result).write(folder, "looks", json.dumps(to_dict(result), indent=1, default=str))
