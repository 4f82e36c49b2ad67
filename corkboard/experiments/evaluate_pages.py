"""Ranking of logged pages: the same slots ordered by each model, measured by what was done with them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate import HISTORY_BUCKETS
from corkboard.experiments.leaks import beats_the_ceiling
from corkboard.experiments.pages import Pages
from corkboard.experiments.result import Breakdown, Cell, Curve, Measure, Plot, Row, Table
from corkboard.experiments.scorers import PageScorer, PageScores
from corkboard.experiments.tabulate import breakdown, number, rows_of
from corkboard.lake.schema import NEGATIVE, POSITIVE
from corkboard.metrics.intervals import PerUser, intervals
from corkboard.metrics.prediction import auc_by_user, calibration, logloss, mean_by_user
from corkboard.metrics.ranking import hit_at_k_per_user, hits_at_top, order_in_pages
from corkboard.ranking.config import UtilityWeights
from corkboard.seeds import generator

POPULARITY = "popularity 7 d"
"""The baseline row that others are compared with."""

MAX_POSITION = 50
"""Positions that the position curve goes down to."""

BY_WEIGHT = ("save", "click", "long_click", "add_to_cart", "checkout", "close_up", "hide", "report")
"""Order of the columns."""

HEADLINE = ("save", "click", "add_to_cart", "hide")
"""Actions whose columns stand in the headline table; all that occur where none of these does."""


def evaluate_ranking(
    pages: Pages,
    scorers: Mapping[str, PageScorer],
    config: EvaluationConfig | None = None,
    *,
    weights: UtilityWeights | None = None,
    baseline: str = POPULARITY,
    ceilings: Sequence[str] = ("oracle",),
) -> Table:
    """Order each page by each scorer and measure what stands on top.

    Measures: HIT@K for each action that occurs, the worth of the first K slots under ``weights``, and AUC by action; log loss and
    calibration error where a scorer answers with probabilities. A scorer without a head for an action is judged by its utility
    there, turned over for hide and report.
    """
    config, weights = config or EvaluationConfig(), weights or UtilityWeights()
    start = time.perf_counter()
    ties = generator(config.seed, "evaluation", "slot ties").permutation(len(pages.slots))
    scores, seconds = {}, {}
    for name, scorer in scorers.items():
        began = time.perf_counter()
        scores[name] = _checked(name, scorer.score_pages(pages), pages)
        seconds[name] = round(time.perf_counter() - began, 3)
    places = {name: order_in_pages(found.utility, pages.offsets, ties) for name, found in scores.items()}
    figures = {name: _figures(pages, found, places[name], weights, config) for name, found in scores.items()}
    measures = _measures(pages, config, any(found.heads for found in scores.values()))
    rows = rows_of(figures, measures, baseline, config, [name for name in ceilings if name in scorers])
    rows = [_finished(row, scores[row.name], seconds[row.name], pages) for row in rows]
    table = Table(
        name="ranking",
        title=("SAMPLED NEGATIVES: " if pages.sampled_negatives else "")
        + f"Ranking of {len(pages):,} pages"
        + (" in random order" if pages.random_order else ""),
        baseline=baseline,
        measures=measures,
        rows=rows,
        protocol=_protocol(pages, weights, config),
        warnings=pages.warnings,
        facts=_facts(pages),
        breakdowns=[_by_history(pages, places, config)],
        plots=[*_position_plot(pages, config), *_calibration_plots(pages, scores)],
        seconds=time.perf_counter() - start,
    )
    return beats_the_ceiling(table, _ceiling_measures(pages, scores, ceilings, config), figures, config)


def _checked(name: str, found: PageScores, pages: Pages) -> PageScores:
    for label, values in {"utility": found.utility, **found.heads}.items():
        if np.shape(values) != (len(pages.slots),) or not np.isfinite(values).all():
            raise ValueError(f"{name} scored {label} with shape {np.shape(values)}, expected {len(pages.slots)} finite numbers")
    return found


def _known(pages: Pages, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a head where they are known, and which are: bool ``(known,)`` and bool ``(slots,)``."""
    labels = pages.labels[:, pages.heads.index(head)]
    known = ~np.isnan(labels)
    return labels[known] > 0, known


def _figures(pages: Pages, found: PageScores, place: np.ndarray, weights: UtilityWeights, config: EvaluationConfig) -> dict[str, PerUser]:
    n_users, users = len(pages.user_ids), pages.slot_users
    labels = np.nan_to_num(pages.labels)
    worth = np.array([getattr(weights, head) for head in pages.heads])
    done = int(np.count_nonzero(np.count_nonzero(labels, axis=1)))
    figures = {f"worth@{config.hit_k}": _hits(pages, place, labels @ worth, done, config)}
    for column, head in enumerate(pages.heads):
        figures[f"HIT@{config.hit_k} {head}"] = _hits(pages, place, labels[:, column], int(labels[:, column].sum()), config)
        did, known = _known(pages, head)
        sign = -1.0 if head in NEGATIVE else 1.0
        figures[f"AUC {head}"] = auc_by_user(found.heads.get(head, sign * found.utility)[known], did, users[known], n_users)
        if head in found.heads:
            loss = logloss(found.heads[head][known], did)
            figures[f"log loss {head}"] = mean_by_user(loss, users[known], n_users, int(did.sum()))
    return figures


def _hits(pages: Pages, place: np.ndarray, labels: np.ndarray, positives: int, config: EvaluationConfig) -> PerUser:
    beta = hits_at_top(place, labels, pages.offsets, config.hit_k)
    return hit_at_k_per_user(beta, pages.page_users, len(pages.user_ids), positives)


def _measures(pages: Pages, config: EvaluationConfig, has_heads: bool) -> list[Measure]:
    """Columns by weight of the action, the further ones of rare or minor actions out of the headline."""
    k, heads = config.hit_k, [head for head in BY_WEIGHT if head in pages.heads]
    first = [head for head in heads if head in HEADLINE] or heads
    hits = f"in the first {k} slots, summed over a user's pages, mean over users"
    measures = [Measure(f"HIT@{k} {head}", f"{head} actions {hits}", head not in NEGATIVE, headline=head in first) for head in heads]
    measures.append(Measure(f"worth@{k}", f"all actions {hits}, each times its utility weight"))
    chance = "scores above one without, by the head or the utility"
    for head in heads:
        measures.append(Measure(f"AUC {head}", f"chance that a slot with {head} {chance}", headline=head in first, from_zero=False))
    if has_heads:
        loss, gap = "nats; of the predicted probability of", "mean gap between predicted and observed share of"
        measures += [Measure(f"log loss {head}", f"{loss} {head}", False, headline=False) for head in heads]
        measures += [Measure(f"calibration error {head}", f"{gap} {head}", False, headline=False) for head in heads]
    return measures


def _finished(row: Row, found: PageScores, seconds: float, pages: Pages) -> Row:
    """The row with its calibration errors: they are of all rows together, and have no interval."""
    cells = dict(row.cells)
    for head in pages.heads:
        if head in found.heads:
            did, known = _known(pages, head)
            error = calibration(found.heads[head][known], did).error
            cells[f"calibration error {head}"] = Cell(number(error), len(pages.user_ids), int(did.sum()))
    return replace(row, cells=cells, seconds=seconds)


def _ceiling_measures(pages: Pages, scores: Mapping[str, PageScores], ceilings: Sequence[str], config: EvaluationConfig) -> list[str]:
    """Where the truth really is a ceiling: the worth it is ordered by, and the AUC of heads whose probability it tells."""
    told = [head for head in pages.heads if any(head in scores[name].heads for name in ceilings if name in scores)]
    return [f"worth@{config.hit_k}", *(f"AUC {head}" for head in told)]


def _by_history(pages: Pages, places: Mapping[str, np.ndarray], config: EvaluationConfig) -> Breakdown:
    liked = _any_of(pages, POSITIVE)
    bounds = np.array([low for low, _ in HISTORY_BUCKETS])
    bucket = np.searchsorted(bounds, pages.earlier, side="right") - 1
    by_user = np.bincount(pages.slot_users, liked, len(pages.user_ids))
    figures: dict[str, list[PerUser]] = {}
    for name, place in places.items():
        whole = _hits(pages, place, liked, 0, config)
        figures[name] = [
            PerUser(whole.total * (bucket == b), whole.weight * (bucket == b), int(by_user[bucket == b].sum())) for b in range(len(bounds))
        ]
    return breakdown("by length of history", f"HIT@{config.hit_k} any positive", [name for _, name in HISTORY_BUCKETS], figures, config)


def _any_of(pages: Pages, actions: Sequence[str]) -> np.ndarray:
    """bool ``(slots,)``: one of ``actions`` was done."""
    columns = [column for column, head in enumerate(pages.heads) if head in actions]
    return np.count_nonzero(np.nan_to_num(pages.labels[:, columns]), axis=1) > 0


def _position_plot(pages: Pages, config: EvaluationConfig) -> list[Plot]:
    """How often something positive was done at each position: on random pages, what the position alone does."""
    if pages.sampled_negatives:
        return []
    kinds = {"any positive": POSITIVE, "hide or report": NEGATIVE}
    curves = [_position_curve(name, _any_of(pages, actions), pages, config) for name, actions in kinds.items()]
    name = "By position (order of the logging policy: not the effect of the position)"
    if pages.random_order:
        name = "What the position alone does (pages in random order)"
    return [Plot(name, "position (0 = top)", "share of slots", [curve for curve in curves if any(curve.y)])]


def _position_curve(name: str, did: np.ndarray, pages: Pages, config: EvaluationConfig) -> Curve:
    positions, users = pages.slots["position"].to_numpy(), pages.slot_users
    shown = [p for p in range(min(int(positions.max(initial=0)) + 1, MAX_POSITION)) if np.count_nonzero(positions == p)]
    parts = [mean_by_user(did[positions == p].astype(float), users[positions == p], len(pages.user_ids)) for p in shown]
    bounds = intervals(parts, replicates=config.replicates, seed=config.seed, level=config.level)
    return Curve(
        name,
        x=shown,
        y=[one.value for one in parts],
        count=[int(one.weight.sum()) for one in parts],
        low=[number(one.low) for one in bounds],
        high=[number(one.high) for one in bounds],
    )


def _calibration_plots(pages: Pages, scores: Mapping[str, PageScores]) -> list[Plot]:
    plots = []
    for name, found in scores.items():
        curves = []
        for head in pages.heads:
            if head in found.heads:
                did, known = _known(pages, head)
                bins = calibration(found.heads[head][known], did)
                curves.append(Curve(head, bins.predicted.tolist(), bins.observed.tolist(), bins.count.astype(int).tolist()))
        if curves:
            plots.append(Plot(f"Calibration of {name}", "predicted", "observed", curves, diagonal=True))
    return plots


def _protocol(pages: Pages, weights: UtilityWeights, config: EvaluationConfig) -> list[str]:
    k = config.hit_k
    worth = ", ".join(f"{head} {getattr(weights, head):g}" for head in pages.heads)
    return [
        "Global split by time: models end at B; what a user did is known up to the moment of each page, as live.",
        _source(pages, config),
        f"HIT@{k} of an action: such actions among the {k} slots that a row puts on top, summed over a user's pages, mean over users.",
        f"worth@{k} adds up all actions by weight: {worth}.",
        "Late actions that may still come are left out of AUC and calibration.",
        "Equal scores are ordered by one seeded permutation, never by the logged position.",
        f"Intervals: {config.level:.0%} percentile bootstrap over users, {config.replicates:,} resamples, paired between rows.",
    ]


def _source(pages: Pages, config: EvaluationConfig) -> str:
    if pages.sampled_negatives:
        return (
            "Sampled negatives: the lake has no impressions. A page is an item that a user first acted on in the test, "
            f"among {config.negatives} drawn ones: half by popularity, half evenly."
        )
    if pages.random_order:
        return (
            "Only pages whose whole order was random are used, so the position of a slot tells nothing of the item. "
            "A row that repeats the logged order shows there what the position alone does: what stands on top is looked at more."
        )
    return "All pages of the test are used, in the order of the policy that made the log."


def _facts(pages: Pages) -> dict[str, int | float | str | None]:
    labels = np.nan_to_num(pages.labels)
    facts: dict[str, int | float | str | None] = {
        "pages": len(pages),
        "slots": len(pages.slots),
        "users": len(pages.user_ids),
        "order": "sampled negatives" if pages.sampled_negatives else "random" if pages.random_order else "logging policy",
    }
    return facts | {f"{head} actions": int(labels[:, column].sum()) for column, head in enumerate(pages.heads)}
