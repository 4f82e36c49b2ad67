"""The report on products and queries: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from corkboard.experiments import products_claims as name
from corkboard.experiments.graph_claims import TOLD
from corkboard.experiments.grids import (
    Grid,
    Pages,
    claims_grid,
    controls_grid,
    frame,
    over_seeds,
    seed_by_seed,
    told_claim,
    told_control,
    troubles,
)
from corkboard.experiments.measured import MAIN
from corkboard.experiments.products import CONTROLLED, FIRST, OPTIONAL, SECOND, ProductsResult
from corkboard.experiments.products_claims import CLAIMS, CONTROLS, TASKS, recall
from corkboard.experiments.products_models import OMNIS, RARE, SEARCHES

SCHEMA = "corkboard.products/1"


def grids(result: ProductsResult) -> list[Grid]:
    """Every table of the report, claims first."""
    return [
        claims_grid([(claim, result.claim(claim)) for claim in CLAIMS]),
        controls_grid(result, CONTROLS),
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


def _columns(k: int) -> list[str]:
    return [recall(k, part) for part in ("mean", *name.QUERIES, *TASKS)]


def _cells(result: ProductsResult, k: int) -> Grid:
    variants = [one for one in (*FIRST, *SECOND, *OPTIONAL) if one not in (*SEARCHES, *OMNIS)]
    grid = _by_query_and_task(over_seeds(result, f"Recall@{k} of products", variants, _columns(k)))
    return replace(grid, notes=_counts(result)) if grid.rows and k == max(name.CUTS) else grid


def _told(result: ProductsResult) -> Grid:
    title = f"Recall@{max(name.CUTS)} where the text tells all that pictures show"
    return _by_query_and_task(over_seeds(result, title, CONTROLLED, _columns(max(name.CUTS)), TOLD))


def _by_query_and_task(grid: Grid) -> Grid:
    """With columns that say once what the title says."""
    return replace(grid, columns=("", *(column.partition(" ")[2] for column in grid.columns[1:])))


def _search(result: ProductsResult) -> Grid:
    measures = (name.SEARCH, name.SEARCH_RARE, name.COVERAGE, name.OLD_INDEX, "pairs learned from", "search pairs")
    return over_seeds(result, "Search: queries and items", [*SEARCHES, *OMNIS], measures)


def _counts(result: ProductsResult) -> list[str]:
    found = [one for seed in result.seeds if (one := result.figures(MAIN, name.POPULAR, seed))]
    if not found:
        return []
    told = [*(f"pairs {task.replace('_', ' ')}" for task in TASKS), "products", "texts", "image queries", "users"]
    return ["Mean over seeds: " + ", ".join(f"{fact} {np.mean([one[fact] for one in found]):,.0f}" for fact in told) + "."]


# --------------------------------------------------------------------------------------------------------------- outputs


def to_dict(result: ProductsResult) -> dict[str, Any]:
    """Plain JSON values: every claim, the control, and every figure of every seed."""
    claims = [told_claim(one, result.claim(one)) for one in CLAIMS]
    controls = [{"name": one.name, "world": one.world, **told_control(result.control(one))} for one in CONTROLS]
    return frame(SCHEMA, result, protocol(result), claims=claims, controls=controls)


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
