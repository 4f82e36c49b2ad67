"""What tables of item-to-item retrieval share: a catalogue, queries that rank it, and the items that were wanted.

A query is one item, or all items of a board. Each query ranks the whole catalogue once, however many people asked it; a *pair* is one
wanted item of one query, and belongs to a user, over whom intervals are resampled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from corkboard.errors import NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.result import Breakdown, Measure, Row
from corkboard.experiments.tabulate import breakdown, rows_of
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE
from corkboard.metrics.intervals import PerUser
from corkboard.metrics.ranking import positions_in_lists, recall_at_k, top_k
from corkboard.seeds import generator

CONTENT = "content only"
"""The row that others are compared with: what an item says of itself, without any graph."""

CUTS = (10, 100)
"""Lengths of the lists that recall looks at."""

LEVELS = ("created after B", "no action before B", "1-4", "5-19", "20+")
"""How much was known of an item at B: positive actions on it."""

_LEAST = (0, 1, 5, 20)
"""The fewest actions of each level but the first."""

Score = Callable[[int, int], np.ndarray]
"""Scores of the queries ``[start, stop)``: float32 ``(stop - start, items)``, higher is better, -inf for "never list this"."""


@dataclass(frozen=True)
class KnownItems:
    """The catalogue at the end of the test, and what was known of its items at B.

    ``earlier`` is int64 ``(items,)``, positive actions before B; ``new`` bool ``(items,)``, items that were not there before B.
    """

    item_ids: Sequence[str]
    earlier: np.ndarray
    new: np.ndarray

    @classmethod
    def of(cls, lake: Lake, calendar: Calendar) -> KnownItems:
        """Items that could be shown at the end of the calendar, sorted by id."""
        items = lake.items(calendar.end_ms).filter(pl.col("available").fill_null(True)).select("item_id", "created_ms").sort("item_id")
        before = lake.actions(calendar.start_ms, calendar.rank_cut_ms).filter(pl.col("action").is_in(list(POSITIVE)))
        counted = items.join(before.group_by("item_id").len("n"), on="item_id", how="left", maintain_order="left")
        return cls(
            item_ids=items["item_id"].to_list(),
            earlier=counted["n"].fill_null(0).to_numpy().astype(np.int64),
            new=(items["created_ms"] >= calendar.rank_cut_ms).to_numpy(),
        )

    @cached_property
    def levels(self) -> np.ndarray:
        """int64 ``(items,)``: places in :data:`LEVELS`."""
        return np.where(self.new, 0, np.searchsorted(np.array(_LEAST), self.earlier, side="right"))

    def rows(self) -> pl.DataFrame:
        """The ids with their rows, to join: item_id, row (Int64)."""
        return pl.DataFrame({"item_id": list(self.item_ids)}, {"item_id": pl.String}).with_row_index("row").cast({"row": pl.Int64})


@dataclass(frozen=True)
class Part:
    """Some of the pairs, bool ``(pairs,)``, that have columns of their own."""

    name: str
    about: str
    inside: np.ndarray


@dataclass(frozen=True)
class Split:
    """All pairs, split into buckets: ``bucket_of`` is int64 ``(pairs,)``, places in ``buckets``."""

    name: str
    buckets: Sequence[str]
    bucket_of: np.ndarray


@dataclass(frozen=True)
class Questions:
    """Queries, and which items were wanted of each.

    ``users`` (rows of ``n_users`` users), ``queries`` (places in ``n_queries``) and ``targets`` (catalogue rows) are int64 ``(pairs,)``.
    The items ``own_items`` are not to be listed for the queries ``own_queries``, int64 ``(m,)`` each.
    """

    known: KnownItems
    n_users: int
    n_queries: int
    users: np.ndarray
    queries: np.ndarray
    targets: np.ndarray
    own_queries: np.ndarray
    own_items: np.ndarray
    parts: Sequence[Part]
    splits: Sequence[Split]

    @property
    def cold(self) -> np.ndarray:
        """bool ``(pairs,)``: nobody had acted on the wanted item before B."""
        return self.known.levels[self.targets] < LEVELS.index("1-4")

    @cached_property
    def columns(self) -> list[Part]:
        """The parts that hold any pair, cold items last."""
        cold = Part("cold", "the same, for wanted items that were created after B or that nobody had acted on before B", self.cold)
        return [part for part in [*self.parts, cold] if part.inside.any()]


@dataclass(frozen=True)
class Answers:
    """Where each pair's item stands in the list of its query: int64 ``(pairs,)``, 0 = top, -1 behind the longest cut."""

    positions: np.ndarray
    seconds: float


def answers(questions: Questions, score: Score, config: EvaluationConfig) -> Answers:
    """Rank the catalogue for every query, in chunks. Equal scores are ordered by one seeded permutation, the same for every row."""
    start, items = time.perf_counter(), len(questions.known.item_ids)
    ties = generator(config.seed, "evaluation", "ties").permutation(items)
    positions = np.full(len(questions.targets), -1, np.int64)
    step = max(1, config.chunk_scores // max(items, 1))
    for first in range(0, questions.n_queries, step):
        last = min(first + step, questions.n_queries)
        scores = np.asarray(score(first, last), np.float32)
        if scores.shape != (last - first, items):
            raise ValueError(f"A scorer returned scores of shape {scores.shape}, expected {(last - first, items)}")
        own = (questions.own_queries >= first) & (questions.own_queries < last)
        excluded = np.zeros(scores.shape, bool)
        excluded[questions.own_queries[own] - first, questions.own_items[own]] = True
        lists = top_k(scores, max(CUTS), ties, excluded)
        here = np.flatnonzero((questions.queries >= first) & (questions.queries < last))
        positions[here] = positions_in_lists(lists, questions.queries[here] - first, questions.targets[here])
    return Answers(positions, time.perf_counter() - start)


def measures_of(questions: Questions) -> list[Measure]:
    """The columns: recall at both cuts of all pairs, then of each part; the long lists of parts are no headline."""
    found = [Measure(f"recall@{k}", f"share of pairs whose wanted item is among the query's first {k}") for k in CUTS]
    found += [Measure(f"recall@{k} {part.name}", part.about, headline=k == CUTS[0]) for k in CUTS for part in questions.columns]
    found += [Measure(f"recall@{k} by user", "share of pairs, with each user counting once", headline=False) for k in CUTS]
    return found


def figures_of(questions: Questions, found: Answers) -> dict[str, PerUser]:
    """A figure by user for each of :func:`measures_of`."""
    everything = {k: _recall(questions, found, np.ones(len(questions.targets), bool), k) for k in CUTS}
    figures = {f"recall@{k}": figure for k, figure in everything.items()}
    figures |= {f"recall@{k} {part.name}": _recall(questions, found, part.inside, k) for k in CUTS for part in questions.columns}
    return figures | {f"recall@{k} by user": figure.macro() for k, figure in everything.items()}


def rows_and_breakdowns(
    questions: Questions, found: Mapping[str, Answers], baseline: str, config: EvaluationConfig
) -> tuple[list[Row], list[Breakdown]]:
    """The rows of a table, each against ``baseline``, and a breakdown for each split and cut.

    Raises :class:`NotFound` where there is no row ``baseline``.
    """
    figures = {name: figures_of(questions, one) for name, one in found.items()}
    rows = rows_of(figures, measures_of(questions), baseline, config)
    timed = [Row(row.name, row.cells, row.ceiling, round(found[row.name].seconds, 3)) for row in rows]
    breakdowns = []
    for split in questions.splits:
        inside = [split.bucket_of == bucket for bucket in range(len(split.buckets))]
        for k in CUTS:
            parts = {name: [_recall(questions, one, here, k) for here in inside] for name, one in found.items()}
            breakdowns.append(breakdown(split.name, f"recall@{k}", split.buckets, parts, config))
    return timed, breakdowns


def ask(questions: Questions, scores: Mapping[str, Score], baseline: str, config: EvaluationConfig) -> dict[str, Answers]:
    """What every row answers. Raises :class:`NotFound`, before any work is done, where there is no row ``baseline``."""
    if baseline not in scores:
        raise NotFound("There is no row to compare with", found=baseline, expected=list(scores))
    return {name: answers(questions, score, config) for name, score in scores.items()}


def _recall(questions: Questions, found: Answers, inside: np.ndarray, k: int) -> PerUser:
    return recall_at_k(found.positions[inside], questions.users[inside], questions.n_users, k)
