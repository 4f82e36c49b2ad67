"""Rows of models that were trained with several seeds: intervals over users and seeds at once.

A figure of a learned model moves for two reasons: who was asked, and which seed it was trained with. A resample draws users with
replacement, the same for all rows and seeds, and for each row seeds with replacement; a row that has no seed, such as popularity, has
one and keeps it. With few seeds drawing them again shows too little of their spread, a share ``(S - 1) / S`` of the variance; what a
resample adds for its seeds is therefore stretched by ``sqrt(S / (S - 1))``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from corkboard.errors import InputError, NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.result import Cell, Measure, Row
from corkboard.experiments.tabulate import number
from corkboard.metrics.intervals import PerUser, percentile_interval, resampled_values
from corkboard.seeds import generator

SeededFigures = Mapping[str, Sequence[Mapping[str, PerUser]]]
"""Row -> one mapping a seed -> measure -> figure. All figures of a measure are over the same users."""


def seeded_rows(figures: SeededFigures, measures: Sequence[Measure], baseline: str, config: EvaluationConfig) -> list[Row]:
    """The rows of a table: mean over seeds, and the paired difference to the row ``baseline`` with its interval.

    Raises :class:`NotFound` where there is no row ``baseline``, :class:`InputError` where a row has no seed at all.
    """
    if baseline not in figures:
        raise NotFound("There is no row to compare with", found=baseline, expected=list(figures))
    empty = [row for row, seeds in figures.items() if not seeds]
    if empty:
        raise InputError("A row has no seed", found=empty)
    rows: dict[str, dict[str, Cell]] = {row: {} for row in figures}
    for measure in measures:
        values = {row: resampled_over_seeds([seed[measure.name] for seed in seeds], row, config) for row, seeds in figures.items()}
        means = {row: float(np.mean([seed[measure.name].value for seed in seeds])) for row, seeds in figures.items()}
        for row, seeds in figures.items():
            other = None if row == baseline else (means[baseline], values[baseline])
            rows[row][measure.name] = _cell(seeds[0][measure.name], means[row], values[row], other, measure, config.level)
    return [Row(row, cells) for row, cells in rows.items()]


def resampled_over_seeds(figures: Sequence[PerUser], row: str, config: EvaluationConfig) -> np.ndarray:
    """float64 ``(replicates,)``: the mean over seeds in each resample of users and of the seeds of ``row``.

    Seeds that ask the same users are resampled together; where a seed has users of its own, another number of them, each by itself.
    """
    together = [figures] if len({len(figure.total) for figure in figures}) == 1 else [[figure] for figure in figures]
    values = np.hstack([resampled_values(some, replicates=config.replicates, seed=config.seed) for some in together])
    seeds = len(figures)
    centre = values.mean(axis=1)
    if seeds == 1:
        return centre
    drawn = generator(config.seed, "seeds", row).integers(0, seeds, size=(len(values), seeds))
    return centre + (np.take_along_axis(values, drawn, axis=1).mean(axis=1) - centre) * math.sqrt(seeds / (seeds - 1))


def _cell(figure: PerUser, mean: float, values: np.ndarray, other: tuple[float, np.ndarray] | None, measure: Measure, level: float) -> Cell:
    own = percentile_interval(values, level)
    known = {"value": number(mean), "users": figure.users, "positives": figure.positives, "low": number(own.low), "high": number(own.high)}
    if other is None:
        return Cell(**known, verdict="baseline" if figure.enough else "too few to tell")
    base, base_values = other
    difference = percentile_interval(values - base_values, level)
    lifts = percentile_interval(np.divide(values, base_values, out=np.full(len(values), np.nan), where=base_values != 0) - 1, level)
    return Cell(
        **known,
        difference=number(mean - base),
        difference_low=number(difference.low),
        difference_high=number(difference.high),
        lift=number(mean / base - 1) if base else None,
        lift_low=number(lifts.low),
        lift_high=number(lifts.high),
        verdict=_verdict(difference.low, difference.high, measure.higher_is_better, figure.enough),
    )


def _verdict(low: float, high: float, higher_is_better: bool | None, enough: bool) -> str:
    if not enough:
        return "too few to tell"
    if not (low > 0 or high < 0):
        return "undecided"
    if higher_is_better is None:
        return "higher" if low > 0 else "lower"
    return "better" if (low > 0) == higher_is_better else "worse"
