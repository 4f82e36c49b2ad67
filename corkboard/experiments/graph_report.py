"""The report of the graph experiment: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from corkboard.experiments import graph_claims as name
from corkboard.experiments import spine_claims as judging
from corkboard.experiments.graph import BASELINES, FIRST, OPTIONAL, PUBLIC_ENCODERS, SINGLE, UNSEEN, GraphResult
from corkboard.experiments.graph_claims import ACTIONS, CLAIMS, CONTROLS, LIKENESSES, R10, R100, Compared, compare_likeness
from corkboard.experiments.graph_people import PEOPLE
from corkboard.experiments.graph_walks import variants
from corkboard.experiments.grids import (
    MISSING,
    Grid,
    Pages,
    claims_grid,
    controls_grid,
    figure,
    frame,
    interval,
    percent,
    seed_by_seed,
    told_claim,
    told_control,
    troubles,
)
from corkboard.experiments.measured import MAIN
from corkboard.experiments.result import Cell, Measure, Row
from corkboard.experiments.seeded import seeded_rows
from corkboard.experiments.spine_claims import SpineClaim, lift

SCHEMA = "corkboard.graph/1"
_PARTS = (name.NO_BOARD, name.FEW_BOARDS, name.MANY_BOARDS, "cold")


def grids(result: GraphResult) -> list[Grid]:
    """Every table of the report, claims first."""
    public = [_public(result, one) for one in result.sets()]
    return [
        claims_grid([(claim, result.claim(claim)) for claim in CLAIMS]),
        _alike(result),
        _controls(result),
        _items(result),
        *public,
        _parts(result),
        *_rest(result),
        seed_by_seed(result, CLAIMS),
    ]


def protocol(result: GraphResult) -> list[str]:
    """What was asked and how, in sentences."""
    c, seeds = result.config, result.seeds
    return [
        f"Each seed is a world of its own (seeds {seeds[0]} to {seeds[-1]}): {c.world.users:,} people, {c.world.items:,} items, "
        f"{c.world.days} days. Graphs, pairs and models end at B; the test is the {c.calendar.test_days} days after it.",
        "Recall: the share of engaged pairs (an item, and what the same person engaged next or on its related page) whose wanted item is "
        "among the first 10 or 100 of the full catalogue; per action, pairs whose wanted item got that action.",
        "All encoders learn from the same pairs with the same budget, read the same content vectors, and neighbours that the same walks "
        f"have chosen, {c.graph.neighbours.count} a graph unless the name says otherwise. MultiBiSage reads {', '.join(c.graphs)}.",
        "Boards: what lay on a board before B is asked about, what was added after it is wanted.",
        f"Over seeds: Student's t interval ({c.evaluation.level:.0%}) of the paired differences; reproduced above 0, contradicted below; "
        f"at least five seeds. Alike: the interval of the ratio lies within 1 ± {c.margin:g}, a margin set before.",
        f"Unseen: {c.hidden_share:.0%} of the items were in no graph and no pair that training read.",
        "Copies: each of the other graphs is half of the board edges, drawn, with random boards made one: nothing in it is new.",
        "Public data: one cut in time; each seed is another training. Intervals are over users and seeds at once. Undated listens and "
        "friends of the Last.fm set are left out, because they were collected after the test. Content: titles and tags, by a tower that "
        "read what came before the cut.",
        "People: the vectors are MultiBiSage's; lists are made once, at B.",
        "All sizes of simulated worlds are theirs alone: orderings are evidence, sizes are not.",
    ]


# ---------------------------------------------------------------------------------------------------------------- tables


def likeness(result: GraphResult, one: name.Likeness) -> Compared:
    """A ratio over seeds."""
    values = result.contrast(SpineClaim(one.name, one.of), MAIN)
    return compare_likeness(one, values, result.config.margin, result.config.evaluation.level)


def _alike(result: GraphResult) -> Grid:
    rows = []
    for one in LIKENESSES:
        found = likeness(result, one)
        bounds = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
        rows.append([one.name, one.label, MISSING if found.mean is None else f"{found.mean:.3f}{bounds}", found.verdict])
    margin = result.config.margin
    notes = [f"Alike within {margin:.0%}; no worse: surely above {1 - margin:.0%}."]
    return Grid("What should be alike", ("one / other", "", "ratio", "verdict"), rows, notes)


def _controls(result: GraphResult) -> Grid:
    grid, rows = controls_grid(result, CONTROLS), []
    for control in CONTROLS:
        against = SpineClaim("", lift(name.MULTI, name.PINSAGE, R10), lift=True)
        found = result.control(judging.Control(control.name, control.world, control.off, against))
        parts = (interval(one, against) for one in (found.on, found.off, found.fallen))
        rows.append([f"the same against PinSage: {control.name}", *parts, found.ending])
    return replace(grid, rows=[*grid.rows, *rows])


def _items(result: GraphResult) -> Grid:
    columns = (R10, R100, *(f"{R10} {one}" for one in ACTIONS), f"{R10} cold", name.BOARDS100)
    rows = []
    for variant in (*FIRST, *UNSEEN, *SINGLE, *OPTIONAL):
        cells = [figure(result.over_seeds(MAIN, variant, measure)) for measure in columns]
        if all(cell == MISSING for cell in cells):
            continue
        change = SpineClaim("", lift(variant, name.PINSAGE, R10))
        rows.append([variant, *cells, "" if variant == name.PINSAGE else percent(result.claim(change))])
    facts = _facts(result, name.PINSAGE, ("users", "pairs", "queries", "items", "cold pairs", "boards", "new pins"))
    return Grid("Which item comes next", ("", *columns, f"{R10} against PinSage"), rows, facts)


def _parts(result: GraphResult) -> Grid:
    rows = []
    for variant in (name.PINSAGE, name.MULTI_BASE, name.MULTI, name.CONTENT, name.NO_GRAPH, name.PIXIE_ALL):
        cells = [figure(result.over_seeds(MAIN, variant, f"{R10} {part}")) for part in _PARTS]
        rows.append([variant, *cells])
    gains = []
    for part in _PARTS:
        gains.append(percent(result.claim(SpineClaim("", lift(name.MULTI, name.MULTI_BASE, f"{R10} {part}")))))
    rows.append(["gain from more graphs", *gains])
    return Grid("By boards of the wanted item", (R10, *_PARTS), rows)


def _rest(result: GraphResult) -> list[Grid]:
    walks = []
    for variant in variants(result.config):
        measures = (name.BOARDS10, name.BOARDS100, "edges kept")
        walks.append([variant, *(figure(result.over_seeds(MAIN, variant, measure)) for measure in measures)])
    single = (name.OVERLAP, name.VISITS_SHARE, *map(name.seed_overlap, result.config.walks.lengths))
    told = [[measure, figure(result.over_seeds(MAIN, name.WHOLE, measure))] for measure in single]
    people = []
    for variant in PEOPLE:
        measures = (R10, R100, f"{R10} by user", "groups, median")
        people.append([variant, *(figure(result.over_seeds(MAIN, variant, measure)) for measure in measures)])
    k = result.config.walks.k
    return [
        Grid("Walks: what comes onto a board", ("", name.BOARDS10, name.BOARDS100, "edges kept"), walks),
        Grid("Walks: how long", ("", "mean"), told, [f"Overlaps of the first {k}, of walks from single items."]),
        Grid("People: what is engaged next", ("", R10, R100, f"{R10} by user", "groups, median"), people),
    ]


def _public(result: GraphResult, one: str) -> Grid:
    measures = [Measure(R10, ""), Measure(R100, ""), *(Measure(f"{k} {action}", "") for k in (R10, R100) for action in ACTIONS)]
    rows = public_rows(result, one)
    known = [measure.name for measure in measures if any(measure.name in row.cells for row in rows)]
    lines = []
    for row in rows:
        lines.append([row.name, *(_cell(row.cells.get(measure)) for measure in known)])
    notes = ["Lift over PinSage with its interval over users and, for encoders, seeds."]
    baseline = _facts(result, name.PINSAGE, ("users", "pairs", "queries", "items", "cold pairs"), one)
    missing = [] if rows else ["Not measured, for lack of time."]
    return Grid(f"{one}: which item comes next", ("", *known), lines, [*notes, *baseline, *missing])


def public_rows(result: GraphResult, one: str) -> list[Row]:
    """The rows of a public set whose seeds are all measured, each against PinSage; none where PinSage is missing."""
    figures = {}
    for variant in (*PUBLIC_ENCODERS, *BASELINES):
        seeds = [seed for (world, row, seed) in result.runs if (world, row) == (one, variant)]
        found = [result.by_user(one, variant, seed) for seed in seeds]
        if found and all(found):
            figures[variant] = found
    if name.PINSAGE not in figures:
        return []
    shared = set.intersection(*(set(seed) for seeds in figures.values() for seed in seeds))
    wanted = [f"{k}{end}" for k in (R10, R100) for end in ("", *(f" {action}" for action in ACTIONS))]
    return seeded_rows(figures, [Measure(measure, "") for measure in wanted if measure in shared], name.PINSAGE, result.config.evaluation)


def _cell(cell: Cell | None) -> str:
    if cell is None or cell.value is None:
        return MISSING
    if cell.lift is None or cell.lift_low is None or cell.lift_high is None:
        return f"{cell.value:.4f}"
    return f"{cell.value:.4f} {cell.lift:+.1%} [{cell.lift_low:+.1%}, {cell.lift_high:+.1%}] {cell.verdict}"


def _facts(result: GraphResult, variant: str, names: Sequence[str], world: str = MAIN) -> list[str]:
    found = [one for seed in result.seeds if (one := result.figures(world, variant, seed))]
    if not found:
        return []
    means = [(fact, float(np.mean([one[fact] for one in found]))) for fact in names if fact in found[0]]
    return ["Mean over seeds: " + ", ".join(f"{fact} {value:,.0f}" for fact, value in means) + "."]


# --------------------------------------------------------------------------------------------------------------- outputs


def to_dict(result: GraphResult) -> dict[str, Any]:
    """Plain JSON values: every claim, likeness and control, and every figure of every seed."""
    return frame(
        SCHEMA,
        result,
        protocol(result),
        claims=[told_claim(one, result.claim(one)) for one in CLAIMS],
        alike=[{"name": one.name, "label": one.label, **asdict(likeness(result, one))} for one in LIKENESSES],
        controls=[{"name": one.name, "world": one.world, **told_control(result.control(one))} for one in CONTROLS],
        public={one: [asdict(row) for row in public_rows(result, one)] for one in result.sets()},
        missing=list(result.missing),
    )


def report(result: GraphResult) -> Pages:
    """The report, to be printed or written."""
    gone = [f"{one} was not there: not measured. Name the folder that holds it with --data." for one in result.missing]
    return Pages(f"The graph: {len(result.seeds)} worlds", grids(result), protocol(result), [*gone, *troubles(result.finished)])


def write_reports(result: GraphResult, folder: Path) -> dict[str, Path]:
    """Write ``graph.json``, ``graph.md`` and ``graph.html`` to ``folder``; returns the files by ending."""
    return report(result).write(folder, "graph", json.dumps(to_dict(result), indent=1, default=str))
