"""Rows that every ranking table has: the logged order, popularity, content similarity, and the truth where it is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable
from corkboard.experiments.pages import Pages
from corkboard.experiments.scorers import PageScores
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import POSITIVE, user_key_expr


class LoggedOrder:
    """The order in which the page was shown. On pages in random order it is chance."""

    def score_pages(self, pages: Pages) -> PageScores:
        return PageScores(-pages.slots["position"].to_numpy().astype(np.float64))


@dataclass(frozen=True)
class PopularityOfDays:
    """Positive actions on the item in the ``window_days`` whole UTC days before the day of the page."""

    actions: pl.DataFrame
    window_days: int = 7

    def score_pages(self, pages: Pages) -> PageScores:
        slots = pages.slots.select("item_id", day=pl.col("time_ms") // DAY_MS).with_row_index("slot")
        positive = self.actions.filter(pl.col("action").is_in(list(POSITIVE)) & pl.col("item_id").is_not_null())
        daily = positive.group_by("item_id", day=pl.col("time_ms") // DAY_MS).len("n")
        parts = []
        for day in slots["day"].unique().sort().to_list():
            window = daily.filter(pl.col("day").is_between(day - self.window_days, day, closed="left"))
            parts.append(window.group_by("item_id").agg(score=pl.col("n").sum()).with_columns(day=pl.lit(day, pl.Int64)))
        found = slots.join(pl.concat(parts), on=["item_id", "day"], how="left", maintain_order="left") if parts else slots
        return PageScores(found["score"].fill_null(0).to_numpy().astype(np.float64) if parts else np.zeros(0))


@dataclass(frozen=True)
class ContentSimilarity:
    """Cosine of the item to the mean vector of the user's last positive actions before the page; 0 where either is unknown."""

    vectors: EmbeddingTable
    actions: pl.DataFrame
    last: int = 10

    def score_pages(self, pages: Pages) -> PageScores:
        unit, known = self._unit_rows()
        slot_rows = unit_lookup(self.vectors, pages.slots["item_id"].to_list())
        user_rows = self._users(pages, unit, known)
        slot_vectors = np.where((slot_rows >= 0)[:, None], unit[slot_rows], 0.0)
        page = np.repeat(np.arange(len(pages)), np.diff(pages.offsets))
        return PageScores(np.einsum("sd,sd->s", slot_vectors, user_rows[page]).astype(np.float64))

    def _unit_rows(self) -> tuple[np.ndarray, np.ndarray]:
        norms = np.linalg.norm(self.vectors.vectors, axis=1, keepdims=True)
        return self.vectors.vectors / np.maximum(norms, 1e-12), norms[:, 0] > 0

    def _users(self, pages: Pages, unit: np.ndarray, known: np.ndarray) -> np.ndarray:
        """float32 ``(pages, dim)``: unit mean of the last positives strictly before each page."""
        users = pl.DataFrame({"user_key": pages.user_ids}, schema={"user_key": pl.String}).with_row_index("u")
        done = self.actions.filter(pl.col("action").is_in(list(POSITIVE)) & pl.col("item_id").is_not_null())
        done = (
            done.select("item_id", "time_ms", user_key=user_key_expr()).join(users, on="user_key").sort("u", "time_ms", maintain_order=True)
        )
        rows = unit_lookup(self.vectors, done["item_id"].to_list())
        usable = (rows >= 0) & known[rows]
        rows, user_of, time_ms = rows[usable], done["u"].to_numpy().astype(np.int64)[usable], done["time_ms"].to_numpy()[usable]
        page_time = pages.slots["time_ms"].to_numpy()[pages.offsets[:-1]]
        first_ms = min(time_ms.min(initial=2**62), page_time.min(initial=2**62))
        span = max(time_ms.max(initial=0), page_time.max(initial=0)) - first_ms + 1
        ends = np.searchsorted(user_of * span + (time_ms - first_ms), pages.page_users * span + (page_time - first_ms), side="left")
        starts = np.maximum(np.searchsorted(user_of, pages.page_users, side="left"), ends - self.last)
        sums = np.concatenate([np.zeros((1, unit.shape[1])), np.cumsum(unit[rows], axis=0, dtype=np.float64)])
        means = sums[ends] - sums[np.minimum(starts, ends)]
        return (means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)).astype(np.float32)


@dataclass(frozen=True)
class PageOracle:
    """The truth of a simulated world: ``utility(user_id, item_ids, time_ms, action)`` is ``(items,)``.

    ``heads`` names the actions whose true probability the world can tell, asked for with that name as ``action``.
    """

    utility: Callable[[str, Sequence[str], int, str], np.ndarray]
    heads: Sequence[str] = ()

    def score_pages(self, pages: Pages) -> PageScores:
        items, times = pages.slots["item_id"].to_list(), pages.slots["time_ms"].to_numpy()
        wanted = ("utility", *self.heads)
        found = {name: np.empty(len(items)) for name in wanted}
        for page, user in enumerate(pages.page_users):
            start, end = pages.offsets[page], pages.offsets[page + 1]
            for name in wanted:
                found[name][start:end] = self.utility(pages.user_ids[int(user)], items[start:end], int(times[start]), name)
        return PageScores(found.pop("utility"), found)


def unit_lookup(vectors: EmbeddingTable, item_ids: Sequence[str]) -> np.ndarray:
    """int64 ``(len(item_ids),)`` rows of the table, -1 where unknown; each distinct id is looked up once."""
    names = pl.Series(item_ids, dtype=pl.String)
    distinct = names.unique(maintain_order=True)
    rows = vectors.rows(distinct.to_list())
    return (
        rows[names.replace_strict(distinct.to_list(), list(range(len(distinct))), return_dtype=pl.Int64).to_numpy()] if len(names) else rows
    )
