"""From figures kept apart by user to rows with paired intervals. One set of resamples serves a whole table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from corkboard.errors import NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.result import Breakdown, Cell, Measure, Row
from corkboard.metrics.intervals import Interval, PerUser, comparison, percentile_interval, resampled_values

Figures = Mapping[str, Mapping[str, PerUser]]
"""Figures by row and measure."""


def rows_of(
    figures: Figures, measures: Sequence[Measure], baseline: str, config: EvaluationConfig, ceilings: Sequence[str] = ()
) -> list[Row]:
    """The rows of a table, in the order of ``figures``: each cell against the row ``baseline``, paired over the same users.

    Raises :class:`NotFound` where there is no row ``baseline``.
    """
    if baseline not in figures:
        raise NotFound("There is no row to compare with", found=baseline, expected=list(figures))
    names = [(row, measure.name) for row in figures for measure in measures if measure.name in figures[row]]
    flat = [figures[row][measure] for row, measure in names]
    values = resampled_values(flat, replicates=config.replicates, seed=config.seed)
    column = {name: i for i, name in enumerate(names)}
    rows = []
    for row in figures:
        cells = {}
        for measure in measures:
            here, there = column.get((row, measure.name)), column.get((baseline, measure.name))
            if here is not None:
                other = None if there is None else (flat[there], values[:, there])
                cells[measure.name] = _cell(flat[here], values[:, here], other, measure, config.level, row == baseline)
        rows.append(Row(row, cells, ceiling=row in ceilings))
    return rows


def breakdown(
    name: str, measure: str, buckets: Sequence[str], figures: Mapping[str, Sequence[PerUser]], config: EvaluationConfig
) -> Breakdown:
    """One measure by bucket, each with its own interval; ``figures[row][i]`` belongs to ``buckets[i]``. Empty buckets are dropped."""
    rows = list(figures)
    kept = [i for i in range(len(buckets)) if any(figures[row][i].users for row in rows)]
    flat = [figures[row][i] for row in rows for i in kept]
    values = resampled_values(flat, replicates=config.replicates, seed=config.seed)
    cells = [
        _with_interval(figure, percentile_interval(values[:, i], config.level), "not compared" if figure.enough else "too few to tell")
        for i, figure in enumerate(flat)
    ]
    by_row = {row: cells[r * len(kept) : (r + 1) * len(kept)] for r, row in enumerate(rows)}
    return Breakdown(name, measure, [buckets[i] for i in kept], by_row)


def number(value: float) -> float | None:
    """The value for a cell: None where it is not a number."""
    return float(value) if math.isfinite(value) else None


def _cell(
    figure: PerUser, values: np.ndarray, other: tuple[PerUser, np.ndarray] | None, measure: Measure, level: float, is_baseline: bool
) -> Cell:
    own = percentile_interval(values, level)
    if is_baseline or other is None:
        verdict = "too few to tell" if not figure.enough else "baseline" if is_baseline else "not compared"
        return _with_interval(figure, own, verdict)
    found = comparison(figure, other[0], values, other[1], level)
    return Cell(
        value=number(figure.value),
        users=figure.users,
        positives=figure.positives,
        low=number(own.low),
        high=number(own.high),
        difference=number(found.difference),
        difference_low=number(found.difference_interval.low),
        difference_high=number(found.difference_interval.high),
        lift=number(found.lift),
        lift_low=number(found.lift_interval.low),
        lift_high=number(found.lift_interval.high),
        verdict=_judged(found.verdict, measure.higher_is_better),
    )


def _with_interval(figure: PerUser, own: Interval, verdict: str) -> Cell:
    return Cell(number(figure.value), figure.users, figure.positives, number(own.low), number(own.high), verdict=verdict)


def _judged(verdict: str, higher_is_better: bool | None) -> str:
    if verdict not in ("above", "below"):
        return verdict
    if higher_is_better is None:
        return "higher" if verdict == "above" else "lower"
    return "better" if (verdict == "above") == higher_is_better else "worse"
