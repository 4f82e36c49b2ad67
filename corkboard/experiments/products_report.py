"""The report on products and queries: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from corkboard import __version__
from corkboard.experiments import products_claims as name
from corkboard.experiments.graph_claims import TOLD
from corkboard.experiments.grids import MISSING, Grid, Pages, figure, interval, seed_by_seed, troubles, verdict
from corkboard.experiments.measured import MAIN
from corkboard.experiments.products import CONTROLLED, FIRST, OPTIONAL, SECOND, ProductsResult
from corkboard.experiments.products_claims import CLAIMS, CONTROLS, TASKS, recall
from corkboard.experiments.products_models import OMNIS, RARE, SEARCHES

SCHEMA = "corkboard.products/1"
_NO_TIME = "Not measured, for lack of time."


def grids(result: ProductsResult) -> list[Grid]:
    """Every table of the report, claims first."""
    return [
        _claims(result),
        _controls(result),
        _cells(result, 10),
        _cells(result, 1),
        _told(result),
        _search(result),
        seed_by_seed(result, CLAIMS),
    ]


def protocol(result: ProductsResult) -> list[str]:
    """What was asked and how, in sentences."""
    c, seeds = result.config, result.seeds
    world, graph = c.graph.world, c.graph
    return [
        f"Each seed is a world of its own (seeds {seeds[0]} to {seeds[-1]}): {world.users:,} people, {world.items:,} items, {world.days} "
        f"days. All that learns ends at the cut; the test is the {graph.calendar.test_days} days after it.",
        "A cell is a kind of query (the item that a product stood beside, or what was searched for) and an action. Asked is what nobody "
        "had chosen before the cut for the same query, each query and product once a cell; all products that are there at the end are "
        "ranked, new ones included, and equal scores count against the wanted one.",
        "The mean counts each cell once, however many pairs it has.",
        "Queries and products lie in the space of MultiBiSage on picture vectors, which reads no text; 'as released' it reads content "
        "vectors, too, and queries are placed in that space.",
        "An image token is where the product stands in the graph at the cut, so 'image' knows what people did. 'Pictures alone' are made "
        "without any neighbours, and so are those of the control, for what a graph knows is no picture.",
        "Every variant of ItemSage has the same queries, steps and batches; with fewer tasks each has more of a batch. Early stopping "
        "looks at queries that nothing was learned from.",
        "The best single one is chosen in each seed on the test itself, which flatters it.",
        "BM25 is asked with the words of the query, or with the title of the image's item; raw image vectors have no answer to words.",
        f"Search: all items are ranked, in the same space; rare items have fewer than {RARE} pairs before the cut. The encoder of 'frozen "
        "encoder + linear' is frozen as it started, untrained: a pre-trained text model is not part of this.",
        "OmniSearchSage ranks items by its own vectors, which read their texts, boards, engaged queries and the vectors of the space; 'old "
        "index': the same query asks the vectors of the space, which it was trained beside.",
        f"Over seeds: Student's t interval ({c.evaluation.level:.0%}) of the paired differences; reproduced above 0, contradicted below; "
        "at least five seeds.",
        "All sizes of simulated worlds are theirs alone: orderings are evidence, sizes are not.",
    ]


# ---------------------------------------------------------------------------------------------------------------- tables


def _claims(result: ProductsResult) -> Grid:
    rows = []
    for claim in CLAIMS:
        found = result.claim(claim)
        rows.append([claim.name, claim.label, interval(found, claim), verdict(found)])
    return Grid("Claims", ("claim", "", "difference", "verdict"), rows, ["A difference above 0 is what the claim says."])


def _controls(result: ProductsResult) -> Grid:
    rows = []
    for control in CONTROLS:
        found = result.control(control)
        rows.append([control.name, *(interval(one, control.claim) for one in (found.on, found.off, found.fallen)), found.ending])
    notes = ["The same difference in worlds as they are, in worlds without its cause, and what fell away, paired over seeds."]
    return Grid("Controls", ("control", "with its cause", "without", "fell away", "ending"), rows, notes)


def _rows(result: ProductsResult, world: str, variants: Sequence[str], measures: Sequence[str]) -> list[list[str]]:
    rows = []
    for variant in variants:
        cells = [figure(result.over_seeds(world, variant, measure)) for measure in measures]
        if any(cell != MISSING for cell in cells):
            rows.append([variant, *cells])
    return rows


def _columns(k: int) -> list[str]:
    return [recall(k, part) for part in ("mean", *name.QUERIES, *TASKS)]


def _cells(result: ProductsResult, k: int) -> Grid:
    measures = _columns(k)
    rows = _rows(result, MAIN, [one for one in (*FIRST, *SECOND, *OPTIONAL) if one not in (*SEARCHES, *OMNIS)], measures)
    columns = ("", *(measure.partition(" ")[2] for measure in measures))
    return Grid(f"Recall@{k} of products", columns, rows, (_counts(result) if k == max(name.CUTS) else []) if rows else [_NO_TIME])


def _told(result: ProductsResult) -> Grid:
    measures = _columns(max(name.CUTS))
    rows = _rows(result, TOLD, CONTROLLED, measures)
    columns = ("", *(measure.partition(" ")[2] for measure in measures))
    return Grid(f"Recall@{max(name.CUTS)} where the text tells all that pictures show", columns, rows, [] if rows else [_NO_TIME])


def _search(result: ProductsResult) -> Grid:
    measures = (name.SEARCH, name.SEARCH_RARE, name.COVERAGE, name.OLD_INDEX, "pairs learned from", "search pairs")
    rows = _rows(result, MAIN, [*SEARCHES, *OMNIS], measures)
    return Grid("Search: queries and items", ("", *measures), rows, [] if rows else [_NO_TIME])


def _counts(result: ProductsResult) -> list[str]:
    found = [one for seed in result.seeds if (one := result.figures(MAIN, name.POPULAR, seed))]
    if not found:
        return []
    told = [*(f"pairs {task.replace('_', ' ')}" for task in TASKS), "products", "texts", "image queries", "users"]
    return ["Mean over seeds: " + ", ".join(f"{fact} {np.mean([one[fact] for one in found]):,.0f}" for fact in told) + "."]


# --------------------------------------------------------------------------------------------------------------- outputs


def to_dict(result: ProductsResult) -> dict[str, Any]:
    """Plain JSON values: every claim, the control, and every figure of every seed."""
    controls = []
    for control in CONTROLS:
        found = result.control(control)
        parts = {part: asdict(getattr(found, part)) for part in ("on", "off", "fallen")}
        controls.append({"name": control.name, "world": control.world, "ending": found.ending, **parts})
    runs = [(run, result.figures(run.world, run.variant, run.seed)) for run in result.runs.values()]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "seeds": list(result.seeds),
        "config": result.config.model_dump(mode="json"),
        "protocol": protocol(result),
        "claims": [{"name": one.name, "label": one.label, "weight": one.weight, **asdict(result.claim(one))} for one in CLAIMS],
        "controls": controls,
        "runs": [{"world": run.world, "variant": run.variant, "seed": run.seed, "figures": found} for run, found in runs if found],
        "this_call": asdict(result.finished),
    }


def report(result: ProductsResult) -> Pages:
    """The report, to be printed or written."""
    return Pages(f"Products and queries: {len(result.seeds)} worlds", grids(result), protocol(result), troubles(result.finished))


def write_reports(result: ProductsResult, folder: Path) -> dict[str, Path]:
    """Write ``products.json``, ``products.md`` and ``products.html`` to ``folder``; returns the files by ending."""
    return report(result).write(folder, "products", json.dumps(to_dict(result), indent=1, default=str))


def summary(result: ProductsResult) -> dict[str, Any]:
    """The bar in figures over seeds: several views and tasks, and the best single one of each; "not measured" where a seed is missing."""
    found: dict[str, Any] = {}

    def put(key: str, variants: Sequence[str]) -> None:
        judged = {variant: result.over_seeds(MAIN, variant, name.MEAN) for variant in variants}
        if any(one.mean is None or len(one.seeds) < len(result.seeds) for one in judged.values()):
            found[key] = "not measured"
            return
        best = max(judged, key=lambda variant: judged[variant].mean or 0.0)
        found[key] = judged[best].mean
        if judged[best].low is not None:
            found.update({f"{key}_low": judged[best].low, f"{key}_high": judged[best].high})
        if len(variants) > 1:
            found[key.replace("recall10_mean_", "")] = best

    put("recall10_mean", [name.ITEMSAGE])
    put("recall10_mean_best_single_modality", [name.IMAGE_ONLY, name.TEXT_ONLY])
    put("recall10_mean_best_single_task", name.SINGLE)
    for claim in CLAIMS[:2]:
        judged, key = result.claim(claim), "above_best_single_modality" if claim is CLAIMS[0] else "above_best_single_task"
        found.update({key: judged.mean, f"{key}_low": judged.low, f"{key}_high": judged.high})
    for task in TASKS:
        found[f"recall10_{task}"] = result.over_seeds(MAIN, name.ITEMSAGE, recall(10, task)).mean
    return found
