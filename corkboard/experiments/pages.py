"""What ranking is asked: the pages of the test, what was done with each slot, and which of them were in random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.task import catalogue_at
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.metrics.intervals import ENOUGH
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.labels import heads_in, label_slots
from corkboard.ranking.pages import HOME, SLOT_COLUMNS, impression_pages
from corkboard.ranking.sampling import acted_items
from corkboard.seeds import generator


@dataclass(frozen=True)
class Pages:
    """Pages of the test, in order of time; page p has the slots ``offsets[p]:offsets[p + 1]``.

    ``slots`` has the columns of :data:`corkboard.ranking.pages.SLOT_COLUMNS`; ``labels`` is float32 ``(slots, heads)``, NaN where a
    late action may still come; ``page_users`` int64 ``(pages,)`` numbers ``user_ids``; ``earlier`` int64 ``(users,)`` counts the
    positive actions of each user before the test.
    """

    slots: pl.DataFrame
    heads: tuple[str, ...]
    labels: np.ndarray
    offsets: np.ndarray
    page_users: np.ndarray
    user_ids: Sequence[str]
    earlier: np.ndarray
    random_order: bool
    sampled_negatives: bool = False
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.page_users)

    @property
    def slot_users(self) -> np.ndarray:
        """int64 ``(slots,)``: the user of each slot."""
        return np.repeat(self.page_users, np.diff(self.offsets))


def logged_pages(lake: Lake, calendar: Calendar, config: EvaluationConfig | None = None, rows: RowsConfig | None = None) -> Pages:
    """The pages of [B, end), labelled as training rows are; sampled ones where the lake has no impressions.

    Only pages in random order are taken where there are at least 200 of them: on others, what stood on top was seen more, and any
    ranker that repeats the logged order looks good. Raises :class:`InputError` where nothing was done in the test.
    """
    config, rows = config or EvaluationConfig(), rows or RowsConfig()
    before_ms, end_ms = calendar.rank_cut_ms, calendar.end_ms
    lake = lake.until(end_ms)
    actions = lake.actions(before_ms, end_ms)
    heads = heads_in(actions)
    if not heads:
        raise InputError("Nothing was done in the test days", expected="actions on items from the cut on", hint="Choose another test span.")
    slots = impression_pages(lake, before_ms, end_ms, HOME)
    if slots.is_empty():
        return sampled_pages(lake, calendar, config)
    slots, random_order, warnings = _random_slice(slots)
    slots = _drawn(slots, config, warnings)
    labels = label_slots(slots, actions, heads, end_ms, rows)
    return _pages(lake, before_ms, slots, heads, labels, random_order=random_order, sampled_negatives=False, warnings=warnings)


def sampled_pages(lake: Lake, calendar: Calendar, config: EvaluationConfig | None = None) -> Pages:
    """A page for each item that a user first acted on in the test, with ``config.negatives`` items drawn beside it.

    Half are drawn by popularity before the test, half evenly, all from the catalogue at B, none engaged by that user until the end.
    Sampled negatives flatter every model, and some more than others (Krichene and Rendle 2020): compare rows of one table only.
    """
    config = config or EvaluationConfig()
    before_ms, end_ms = calendar.rank_cut_ms, calendar.end_ms
    catalogue = catalogue_at(lake, before_ms).with_row_index("item")
    engaged = lake.actions(end_ms=end_ms).filter(pl.col("item_id").is_not_null()).with_columns(user_key=user_key_expr())
    before = engaged.filter(pl.col("time_ms") < before_ms)
    acted = acted_items(lake, before_ms, end_ms, 2**31, config.seed).unique(["user_key", "item_id"], keep="first", maintain_order=True)
    acted = acted.join(before, on=["user_key", "item_id"], how="anti", maintain_order="left").join(
        catalogue, on="item_id", how="inner", maintain_order="left"
    )
    if len(acted) > config.max_pages:
        acted = acted[np.sort(generator(config.seed, "evaluation", "pages").choice(len(acted), config.max_pages, replace=False))]
    if acted.is_empty():
        raise InputError("Nothing new was done in the test days with items of the catalogue", expected="actions on items from the cut on")
    users = acted["user_key"].unique(maintain_order=True)
    taken = engaged.join(catalogue, on="item_id").join(users.to_frame().with_row_index("u"), on="user_key")
    popularity = before.filter(pl.col("action").is_in(list(POSITIVE))).join(catalogue, on="item_id")
    counts = np.bincount(popularity["item"].to_numpy().astype(np.int64), minlength=len(catalogue))
    user_of = acted["user_key"].replace_strict(users.to_list(), list(range(len(users))), return_dtype=pl.Int64).to_numpy()
    forbidden = np.unique(taken["u"].to_numpy().astype(np.int64) * len(catalogue) + taken["item"].to_numpy().astype(np.int64))
    drawn = _negatives(user_of, counts, forbidden, config)
    heads = heads_in(lake.actions(before_ms, end_ms))
    slots, labels = _with_negatives(acted, drawn, catalogue["item_id"].to_list(), heads)
    warnings = ["Sampled negatives: the lake does not say what was shown. Figures of different samples cannot be compared."]
    return _pages(lake, before_ms, slots, heads, labels, random_order=False, sampled_negatives=True, warnings=warnings)


def _random_slice(slots: pl.DataFrame) -> tuple[pl.DataFrame, bool, list[str]]:
    whole = slots.with_columns(whole=pl.col("randomised").all().over("page"))
    random = whole.filter(pl.col("whole")).drop("whole")
    pages = random["page"].n_unique()
    if pages >= ENOUGH:
        return random, True, []
    some = f"only {pages} pages of the test were" if pages else "no page of the test was"
    bias = "so all pages are taken, and rows that repeat the logged order look better than they are."
    return slots, False, [f"Position bias: {some} in random order, {bias}"]


def _drawn(slots: pl.DataFrame, config: EvaluationConfig, warnings: list[str]) -> pl.DataFrame:
    pages = slots["page"].unique(maintain_order=True)
    if len(pages) > config.max_pages:
        kept = generator(config.seed, "evaluation", "pages").choice(len(pages), config.max_pages, replace=False)
        warnings.append(f"{config.max_pages:,} of {len(pages):,} pages were drawn by seed.")
        slots = slots.filter(pl.col("page").is_in(pages.gather(np.sort(kept)).implode()))
    return slots.with_columns(page=pl.col("page").rle_id())


def _negatives(user_of: np.ndarray, counts: np.ndarray, forbidden: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    """int64 ``(pages, negatives)`` of distinct catalogue rows that are not forbidden (sorted user * items + row); -1 where none is left."""
    rng = generator(config.seed, "evaluation", "negatives")
    half, pages, items = 2 * config.negatives, len(user_of), len(counts)
    cumulative = np.cumsum(counts + 1.0)
    popular = np.searchsorted(cumulative, rng.random((pages, half)) * cumulative[-1], side="right")
    even = rng.integers(0, items, size=(pages, half))
    drawn = np.stack([popular, even], axis=2).reshape(pages, 2 * half).astype(np.int64)
    keys = user_of[:, None] * items + drawn
    place = np.minimum(np.searchsorted(forbidden, keys), max(len(forbidden) - 1, 0))
    usable = forbidden[place] != keys if len(forbidden) else np.ones(keys.shape, bool)
    order = np.argsort(drawn, axis=1, kind="stable")
    ordered = np.take_along_axis(drawn, order, axis=1)
    repeated = np.zeros(keys.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    usable &= ~repeated
    # Four times as many were drawn as are needed, by turns from either kind: the first usable ones keep the halves about even.
    first = np.argsort(~usable, axis=1, kind="stable")[:, : config.negatives]
    return np.where(np.take_along_axis(usable, first, axis=1), np.take_along_axis(drawn, first, axis=1), -1)


def _with_negatives(
    acted: pl.DataFrame, drawn: np.ndarray, item_ids: Sequence[str], heads: Sequence[str]
) -> tuple[pl.DataFrame, np.ndarray]:
    rows = np.concatenate([acted["item"].to_numpy().astype(np.int64)[:, None], drawn], axis=1)
    pages, columns = np.nonzero(rows >= 0)
    names = pl.Series(item_ids, dtype=pl.String)
    slots = (
        acted.select("tenant", "user_key", "time_ms")
        .with_row_index("page")[pages]
        .with_columns(
            request_id=pl.lit("sampled-") + pl.col("page").cast(pl.String),
            item_id=names.gather(rows[pages, columns]),
            position=pl.lit(-1, pl.Int32),
            randomised=pl.lit(False),
            weight=pl.lit(1.0),
        )
    )
    did = acted["actions"]
    by_page = np.stack([did.list.contains(head).to_numpy() for head in heads], axis=1)
    labels = np.where((columns == 0)[:, None], by_page[pages], False).astype(np.float32)
    return slots.select(*SLOT_COLUMNS), labels


def _pages(
    lake: Lake,
    before_ms: int,
    slots: pl.DataFrame,
    heads: tuple[str, ...],
    labels: np.ndarray,
    *,
    random_order: bool,
    sampled_negatives: bool,
    warnings: list[str],
) -> Pages:
    firsts = slots.group_by("page", maintain_order=True).agg(pl.col("user_key").first(), pl.len())
    users = firsts["user_key"].unique(maintain_order=True)
    positives = lake.actions(end_ms=before_ms).filter(pl.col("action").is_in(list(POSITIVE))).select(user_key=user_key_expr())
    earlier = users.to_frame().join(positives.group_by("user_key").len("n"), on="user_key", how="left", maintain_order="left")
    return Pages(
        slots=slots,
        heads=heads,
        labels=labels,
        offsets=np.concatenate([[0], np.cumsum(firsts["len"].to_numpy())]).astype(np.int64),
        page_users=firsts["user_key"].replace_strict(users.to_list(), list(range(len(users))), return_dtype=pl.Int64).to_numpy(),
        user_ids=users.to_list(),
        earlier=earlier["n"].fill_null(0).to_numpy().astype(np.int64),
        random_order=random_order,
        sampled_negatives=sampled_negatives,
        warnings=warnings,
    )
