"""What the experiment on products asks: which product somebody chose after a query, in eight cells, with all products ranked.

A query is the item beside which products were shown, or what was searched for; a cell is a kind of query and an action. Only what nobody
had chosen before the cut for the same query is asked, and once: what a model may have seen is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.embeddings.config import ItemSageConfig
from corkboard.experiments.products_claims import CUTS, GROUPS, TASKS, recall
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE
from corkboard.metrics.intervals import PerUser

_QUERY = ("query", "query_item_id")
_AT_ONCE = 512

Score = Callable[[np.ndarray], np.ndarray]
"""float32 ``(m, products)`` for the rows of m queries; NaN and -inf never find anything."""


@dataclass(frozen=True)
class Grid:
    """The pairs of the test, each with its cell.

    ``texts`` and ``items`` are the distinct queries of both kinds. ``tasks`` (places in :data:`TASKS`), ``queries`` (places in ``texts`` or
    ``items``), ``targets`` (places in ``product_ids``) and ``users`` (below ``n_users``) are int64 ``(pairs,)``.
    """

    product_ids: Sequence[str]
    texts: Sequence[str]
    items: Sequence[str]
    tasks: np.ndarray
    queries: np.ndarray
    targets: np.ndarray
    users: np.ndarray
    n_users: int

    @classmethod
    def of(cls, pairs: pl.DataFrame, product_ids: Sequence[str]) -> Grid:
        """``pairs`` of :data:`corkboard.embeddings.product_pairs.PRODUCT_PAIR_SCHEMA`; those of other products are left out."""
        place = {product: row for row, product in enumerate(product_ids)}
        pairs = pairs.filter(pl.col("item_id").is_in(list(place)))
        texts, items = (pairs[name].drop_nulls().unique().sort().to_list() for name in _QUERY)
        rows = {**{("text", text): row for row, text in enumerate(texts)}, **{("image", item): row for row, item in enumerate(items)}}
        asked = [
            rows["image", item] if item is not None else rows["text", text]
            for text, item in zip(*(pairs[name].to_list() for name in _QUERY), strict=True)
        ]
        users = np.unique(pairs["user"].to_numpy(), return_inverse=True)
        return cls(
            list(product_ids),
            texts,
            items,
            np.array([TASKS.index(task) for task in pairs["task"].to_list()], np.int64),
            np.array(asked, np.int64),
            np.array([place[item] for item in pairs["item_id"].to_list()], np.int64),
            users[1].astype(np.int64),
            len(users[0]),
        )

    @property
    def of_text(self) -> np.ndarray:
        """bool ``(pairs,)``: asked by words."""
        return self.tasks >= len(TASKS) // 2

    def counts(self) -> dict[str, float]:
        """How many pairs a cell has, and what was asked."""
        found = {f"pairs {task.replace('_', ' ')}": float((self.tasks == place).sum()) for place, task in enumerate(TASKS)}
        sizes = {"products": self.product_ids, "texts": self.texts, "image queries": self.items}
        return {**found, **{name: float(len(one)) for name, one in sizes.items()}, "users": float(self.n_users)}

    def positions(self, by_text: Score | None, by_item: Score | None) -> np.ndarray:
        """int64 ``(pairs,)``: how many other products score at least as much as the wanted one. A kind that cannot be asked finds none."""
        positions = np.full(len(self.tasks), len(self.product_ids), np.int64)
        for score, pairs in ((by_text, np.flatnonzero(self.of_text)), (by_item, np.flatnonzero(~self.of_text))):
            if score is not None:
                positions[pairs] = ranks(score, self.queries[pairs], self.targets[pairs])
        return positions

    def figures(self, positions: np.ndarray, kinds: Sequence[str] = ("image", "text")) -> dict[str, PerUser]:
        """Recall of every cell at every cut and its means over :data:`GROUPS`, without the cells of other ``kinds``.

        A mean counts each cell that has pairs once. A user's part of it is what his or her pairs add, so that its value is exactly that
        mean; resampled over users, the sizes of cells stand still.
        """
        asked = [task for place, task in enumerate(TASKS) if (self.tasks == place).any() and task.startswith(tuple(kinds))]
        found = {}
        for k in CUTS:
            cells = {task: self._cell(positions < k, task) for task in asked}
            found |= {recall(k, task): cell for task, cell in cells.items()}
            for group, tasks in GROUPS.items():
                inside = [cells[task] for task in tasks if task in cells]
                if inside and all(task in cells or not (self.tasks == TASKS.index(task)).any() for task in tasks):
                    found[recall(k, group)] = mean_of(inside)
        return found

    def _cell(self, found: np.ndarray, task: str) -> PerUser:
        here = self.tasks == TASKS.index(task)
        return per_user(found[here], self.users[here], self.n_users)


def per_user(found: np.ndarray, users: np.ndarray, n_users: int) -> PerUser:
    """The share of the pairs that ``found``, bool ``(pairs,)``, marks, by user."""
    total, weight = np.bincount(users, found, n_users), np.bincount(users, minlength=n_users).astype(np.float64)
    return PerUser(total, weight, len(found))


def mean_of(cells: Sequence[PerUser]) -> PerUser:
    """The mean of the values of cells, each counting once however many pairs it has."""
    weight = np.sum([cell.weight for cell in cells], axis=0)
    total = np.sum([cell.total * (weight.sum() / cell.weight.sum() / len(cells)) for cell in cells], axis=0)
    return PerUser(total, weight, sum(cell.positives or 0 for cell in cells))


def ranks(score: Score, queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """int64 ``(pairs,)``: how many other candidates score at least as much as the target; ties count against it.

    A target without a finite score is behind all.
    """
    distinct, place = np.unique(queries, return_inverse=True)
    found = np.zeros(len(queries), np.int64)
    for start in range(0, len(distinct), _AT_ONCE):
        scores = np.asarray(score(distinct[start : start + _AT_ONCE]), np.float32)
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        here = np.flatnonzero((place >= start) & (place < start + len(scores)))
        rows = scores[place[here] - start]
        wanted = rows[np.arange(len(here)), targets[here]]
        found[here] = np.where(np.isfinite(wanted), (rows >= wanted[:, None]).sum(axis=1) - 1, scores.shape[1])
    return found


def cosines(queries: np.ndarray, candidates: np.ndarray) -> Score:
    """Scores by cosine of unit rows; a query or candidate of zeros is near to nothing."""
    known = candidates.any(axis=1)

    def score(rows: np.ndarray) -> np.ndarray:
        asked = queries[rows]
        scores = asked @ candidates.T
        scores[:, ~known] = -np.inf
        scores[~asked.any(axis=1)] = -np.inf
        return scores

    return score


def first_time(pairs: pl.DataFrame, cut_ms: int, keys: Sequence[str], per: Sequence[str] = ()) -> pl.DataFrame:
    """Those of ``pairs`` at and after the cut whose ``keys`` were together nowhere before it; each once, or once for each of ``per``."""
    before, after = pairs.filter(pl.col("time_ms") < cut_ms), pairs.filter(pl.col("time_ms") >= cut_ms)
    new = after.join(before.select(keys).unique(), on=list(keys), how="anti", nulls_equal=True, maintain_order="left")
    return new.sort("time_ms", maintain_order=True).unique([*per, *keys], keep="first", maintain_order=True)


def product_grid(lake: Lake, cut_ms: int, end_ms: int, product_ids: Sequence[str], config: ItemSageConfig) -> Grid:
    """Every pair from the cut to the end, whoever it is of, however often its product was chosen."""
    from corkboard.embeddings.product_pairs import product_pairs

    all_of_them = config.model_copy(update={"cap_per_item": 1 << 30})
    pairs = product_pairs(lake, end_ms, all_of_them)
    return Grid.of(first_time(pairs, cut_ms, [*_QUERY, "item_id"], per=["task"]), product_ids)


def popularity(lake: Lake, cut_ms: int, days: int, product_ids: Sequence[str]) -> np.ndarray:
    """float32 ``(products,)``: positive actions in the ``days`` before the cut."""
    actions = lake.actions(cut_ms - days * 86_400_000, cut_ms).filter(pl.col("action").is_in(list(POSITIVE)))
    counts: Mapping[str, int] = dict(actions.drop_nulls("item_id").group_by("item_id").len().iter_rows())
    return np.array([counts.get(product, 0) for product in product_ids], np.float32)
