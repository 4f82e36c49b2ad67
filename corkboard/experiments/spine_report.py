"""The spine's report: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from corkboard.experiments import spine_claims as claims
from corkboard.experiments.grids import (
    Grid,
    Pages,
    figure,
    frame,
    interval,
    percent,
    seed_by_seed,
    told_claim,
    told_control,
    troubles,
    verdict,
)
from corkboard.experiments.measured import MAIN
from corkboard.experiments.spine import BASELINES, SpineResult
from corkboard.experiments.spine_cadence import BY_USER
from corkboard.experiments.spine_claims import CLAIMS, CONTROLS, Judged, SpineClaim
from corkboard.experiments.spine_models import OBJECTIVES, RANKERS, TRUTH
from corkboard.experiments.spine_requests import LOW_HISTORY

SCHEMA = "corkboard.spine/1"


def grids(result: SpineResult) -> list[Grid]:
    """Every table of the report, claims first."""
    return [_claims(result), _controls(result), _retrieval(result), _ranking(result), _low_history(result), seed_by_seed(result, CLAIMS)]


def protocol(result: SpineResult) -> list[str]:
    """What was asked and how, in sentences."""
    c = result.config
    seeds, days = result.seeds, c.calendar
    return [
        f"Each seed is a world of its own (seeds {seeds[0]} to {seeds[-1]}): {c.world.users:,} people, {c.world.items:,} items, "
        f"{c.world.days} days. Item and user models read days before A, rankers the {days.rank_days} days [A, B), "
        f"the test is the {days.test_days} days after B.",
        "Recall@10: share of (user, first new positive) pairs with fewer than ten unseen items above. The full catalogue at B is "
        "ranked; users, pairs, catalogue and seen rule are the same in every row and column. PinnerFormer is trained once, before B.",
        "Once: what was known at B. Daily: what was known a day before the midnight that began the day. Realtime: everything before the "
        "moment of the positive. Popularity is counted again (in realtime every six hours); item-kNN and EASE stay as fitted, their "
        "histories move.",
        f"HIT@3: {c.requests:,} requests a world at the moments of its home pages of the test, in random order, answered anew apart from "
        "the log. Rankers see the moment's features, its sequence and a user vector of the night before last; unless their name says so "
        "they read no features made by hand from the last actions. TransAct has one layer and 50 actions, as served, where nothing else is "
        "said. By truth: the same hits in the world's own probabilities, without the luck of the draw.",
        "Over seeds: Student's t interval (95 %) of the paired differences. Reproduced: it lies above 0; contradicted: below it; at "
        "least five seeds. Within a seed: 95 % bootstrap over users.",
        f"Low history: under {c.low_history} actions before the test.",
        "All sizes are those of a simulated world: orderings are evidence, sizes are not.",
    ]


# ---------------------------------------------------------------------------------------------------------------- tables


def _claims(result: SpineResult) -> Grid:
    rows = []
    for claim in CLAIMS:
        drawn = result.claim(claim)
        truth = result.claim(claim, by_truth=True) if claim.by_truth else None
        rows.append([claim.name, claim.label, interval(drawn, claim), verdict(drawn), *_truth(truth, claim)])
    columns = ("claim", "", "difference", "verdict", "by truth", "verdict by truth")
    notes = ["A difference above 0 is what the claim says; in per cent where it is a share of the second one's figure."]
    return Grid("Claims", columns, rows, notes)


def _controls(result: SpineResult) -> Grid:
    rows = []
    for control in CONTROLS:
        for truth in (False, True) if control.claim.by_truth else (False,):
            found = result.control(control, truth)
            how = "by truth" if truth else "drawn" if control.claim.by_truth else ""
            parts = [interval(one, control.claim) for one in (found.on, found.off, found.fallen)]
            rows.append([control.name, how, *parts, found.ending])
    notes = [
        "The same difference in a world with the cause, in one without it, and what fell away, paired over seeds.",
        '"Stays without its cause": the ordering is an artefact of something else.',
    ]
    return Grid("Controls", ("control", "", "with its cause", "without", "fell away", "ending"), rows, notes)


def _retrieval(result: SpineResult) -> Grid:
    rows = []
    for variant in (*OBJECTIVES, *BASELINES):
        measures = (claims.ONCE, claims.DAILY, claims.REALTIME, claims.ONCE + BY_USER)
        cells = [figure(result.over_seeds(MAIN, variant, measure)) for measure in measures]
        loss = claims.judge(result.contrast(SpineClaim("", claims.loss(variant)), MAIN))
        over = claims.judge(result.contrast(SpineClaim("", claims.lift(variant, claims.POPULAR, claims.ONCE)), MAIN))
        rows.append([variant, *cells, percent(loss), percent(over)])
    columns = ("recall@10", "once", "daily", "realtime", "once, by user", "lost realtime to daily", "once, against popularity 7 d")
    return Grid("Retrieval at three cadences", columns, rows, _facts(result, claims.POPULAR, ("users", "pairs", "unreachable share")))


def _ranking(result: SpineResult) -> Grid:
    rows = []
    for variant in (*RANKERS, TRUTH):
        cells = [variant]
        for measure in (claims.SAVE, claims.HIDE):
            cells.append(figure(result.over_seeds(MAIN, variant, measure)))
            for by_truth in (False, True):
                change = SpineClaim("", claims.lift(variant, claims.NONE, measure))
                cells.append("" if variant == claims.NONE else percent(claims.judge(result.contrast(change, MAIN, by_truth))))
        rows.append(cells)
    columns = ("", "HIT@3 save", "against no sequence", "by truth", "HIT@3 hide", "against no sequence", "by truth")
    facts = ("requests", "pages", "users", "save drawn", "hide drawn", "rows", "save in rows", "hide in rows")
    return Grid("Ranking of random requests", columns, rows, _facts(result, claims.NONE, facts))


def _low_history(result: SpineResult) -> Grid:
    rows = []
    for variant in RANKERS:
        cells = [variant]
        for measure in (claims.SAVE, claims.HIDE):
            few = claims.lift(variant, claims.NONE, measure + LOW_HISTORY)
            everybody = claims.lift(variant, claims.NONE, measure)
            cells += [percent(claims.judge(result.contrast(SpineClaim("", of), MAIN, by_truth=True))) for of in (few, everybody)]
        rows.append(cells)
    columns = ("against no sequence, by truth", "save, low history", "save, all", "hide, low history", "hide, all")
    return Grid("Users of low history", columns, rows[1:], _facts(result, claims.NONE, ("users", "users of low history")))


def _facts(result: SpineResult, variant: str, names: Sequence[str]) -> list[str]:
    found = [result.figures(MAIN, variant, seed) for seed in result.seeds]
    known = [one for one in found if one]
    if not known:
        return []
    means = [(name, float(np.mean([one.get(name, np.nan) for one in known]))) for name in names]
    return ["Mean over seeds: " + ", ".join(f"{name} {value:,.0f}" if value >= 1 else f"{name} {value:.2f}" for name, value in means) + "."]


def _truth(found: Judged | None, claim: SpineClaim) -> list[str]:
    return ["", ""] if found is None else [interval(found, claim), verdict(found)]


# --------------------------------------------------------------------------------------------------------------- outputs


def to_dict(result: SpineResult) -> dict[str, Any]:
    """Plain JSON values: every claim and control, and every figure of every seed."""
    claims = []
    for claim in CLAIMS:
        truth = asdict(result.claim(claim, by_truth=True)) if claim.by_truth else None
        claims.append(told_claim(claim, result.claim(claim), by_truth=truth))
    controls = []
    for control in CONTROLS:
        for truth in (False, True) if control.claim.by_truth else (False,):
            told = {"name": control.name, "off_mechanisms": control.off, "by_truth": truth}
            controls.append({**told, **told_control(result.control(control, truth))})
    return frame(SCHEMA, result, protocol(result), claims=claims, controls=controls)


def report(result: SpineResult) -> Pages:
    """The report, to be printed or written."""
    return Pages(f"Spine: {len(result.seeds)} worlds", grids(result), protocol(result), troubles(result.finished))


def write_reports(result: SpineResult, folder: Path) -> dict[str, Path]:
    """Write ``spine.json``, ``spine.md`` and ``spine.html`` to ``folder``; returns the files by ending."""
    return report(result).write(folder, "spine", json.dumps(to_dict(result), indent=1, default=str))
