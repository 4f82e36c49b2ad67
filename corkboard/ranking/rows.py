"""Training rows: what was shown to whom, the features and the history of that moment, and what was done with it.

Three ways lead to the same table. Pages that this system served carry the features and the sequence that they were ranked
by, and those are taken as they are. Pages of another log are replayed: the user's state just before the page, the counters
of its day, item models cut before the span. A log without impressions gives each acted-on item with sampled ones beside it,
and the table says so. User vectors always come from the model that the rows are for, because spaces rotate: of that model
the one that its nightly batch would have made, and none where the served log says that the user had none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS, Calendar, day_of
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.features import FEATURE_NAMES, POSITION_COLUMN, RELATED, beside_row, request_features
from corkboard.ranking.history import (
    HISTORY_LENGTH,
    NO_HISTORY,
    PageHistories,
    RequestHistory,
    UserVectorsAsOf,
    logged_history,
    request_history,
)
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.labels import heads_in, label_slots
from corkboard.ranking.pages import BESIDE, impression_pages, sample_pages, served_pages, served_requests
from corkboard.ranking.sampling import CandidateFunction, Sampled
from corkboard.ranking.table import TrainingRows, table_of
from corkboard.ranking.user_side import HOUR_MS
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.user_state import LIMITS, UserState

Progress = Callable[[int, int], None]
_REPORT_EVERY = 200

__all__ = ["TrainingRows", "page_rows", "replayed_pages", "rows_from_served", "training_rows"]


def training_rows(
    lake: Lake,
    calendar: Calendar,
    items: ItemDays,
    config: RowsConfig,
    seed: int,
    candidates: CandidateFunction | None = None,
    progress: Progress | None = None,
    limits: LimitsConfig = LIMITS,
    history_length: int = HISTORY_LENGTH,
    user_vectors: UserVectorsAsOf | None = None,
) -> TrainingRows:
    """Rows from the pages of [A, B). ``items`` must be made of models cut at A; nothing at or after B is read.

    ``limits`` must be those of the store that serves: a state that remembers more would have other features.
    ``candidates`` draws half of the negatives where the lake has no impressions. ``user_vectors`` come from a model cut at A,
    too. Raises :class:`InputError` where the span has neither pages nor actions.
    """
    start_ms, end_ms = calendar.item_cut_ms, calendar.rank_cut_ms
    lake = lake.until(end_ms)
    actions = lake.actions(start_ms, end_ms)
    heads = heads_in(actions)
    if not heads:
        raise InputError(
            "There are no actions on items to learn from",
            expected=f"actions from {start_ms} to {end_ms}",
            hint="Give the ranking span more days.",
        )
    slots = impression_pages(lake, start_ms, end_ms, config.surfaces)
    if slots.is_empty():
        # Nothing says what was passed over, so a head for hides would learn who is shown things rather than what they dislike:
        # what was hidden is an example against every other head instead.
        liked = tuple(head for head in heads if head in POSITIVE)
        sampled = Sampled(lake, (start_ms, end_ms), config, seed, limits)
        return _with_user_vectors(sampled.rows(items, liked or heads, candidates, progress, history_length), user_vectors)
    slots, labels = _within_budget(slots, label_slots(slots, actions, heads, end_ms, config), config, seed)
    rows = page_rows(lake, slots, labels, heads, items, user_vectors, history_length, progress, limits, logged=True)
    return rows.take(np.flatnonzero(~np.isnan(rows.features).any(axis=1)))


def page_rows(
    lake: Lake,
    slots: pl.DataFrame,
    labels: np.ndarray,
    heads: tuple[str, ...],
    items: ItemDays,
    user_vectors: UserVectorsAsOf | None = None,
    history_length: int = HISTORY_LENGTH,
    progress: Progress | None = None,
    limits: LimitsConfig = LIMITS,
    logged: bool = False,
) -> TrainingRows:
    """A row for each of ``slots`` (:data:`corkboard.ranking.pages.SLOT_COLUMNS`), in their order, as rankers are scored on them.

    ``labels`` is float32 ``(slots, heads)``. The pages may be any: those of a test, or requests that the lake never had; without a
    column ``beside`` (:data:`corkboard.ranking.pages.BESIDE`) none of them is beside an item. Everything
    is replayed, or, with ``logged``, taken from the served log where that has it. Features of an item that the catalogue of
    the day does not have are NaN.
    """
    known = _Logged.of(lake, slots) if logged else None
    features, histories = replayed_pages(lake, slots, items, history_length, progress, limits, known)
    rows = table_of(slots, features, labels, heads, histories=histories)
    return _with_user_vectors(rows, user_vectors, None if known is None else known.requests)


def rows_from_served(
    lake: Lake,
    start_ms: int,
    end_ms: int,
    config: RowsConfig,
    items: ItemDays | None = None,
    history_length: int = HISTORY_LENGTH,
    user_vectors: UserVectorsAsOf | None = None,
) -> TrainingRows:
    """Rows from the served log of [start_ms, end_ms), with features and, where ``items`` is given, histories as they were logged.

    The one column that is not taken is the position: pages are scored as if every item stood at the top, and a row is
    learned from where it was shown. Pages whose log lacks a feature of this version are left out.
    """
    lake = lake.until(end_ms)
    actions = lake.actions(start_ms, end_ms)
    slots = served_pages(lake, start_ms, end_ms)
    heads = heads_in(actions)
    if slots.is_empty() or not heads:
        raise InputError(
            "The served log has nothing to learn from",
            found=f"{slots.height} slots, heads {list(heads)}",
            expected="served pages with actions",
        )
    slots, labels = _within_budget(slots, label_slots(slots, actions, heads, end_ms, config), config, seed=0)
    if items is None:
        rows = table_of(slots, logged_features(slots), labels, heads)
        return _with_user_vectors(rows, user_vectors, served_requests(lake, start_ms, end_ms))
    return page_rows(lake, slots, labels, heads, items, user_vectors, history_length, logged=True)


def logged_features(slots: pl.DataFrame) -> np.ndarray:
    """float32 ``(slots, len(FEATURE_NAMES))``: the logged features, with the position where each slot was shown."""
    features = np.ascontiguousarray(slots["features"].to_numpy().astype(np.float32))
    features[:, POSITION_COLUMN] = np.log1p(slots["position"].to_numpy())
    return features


@dataclass(frozen=True)
class _Logged:
    """What the served log has of a frame of slots."""

    slots: np.ndarray
    """int64 ``(m,)``: slots whose features were logged, ascending."""
    features: np.ndarray
    """float32 ``(m, len(FEATURE_NAMES))``."""
    requests: pl.DataFrame
    """See :func:`corkboard.ranking.pages.served_requests`."""

    @classmethod
    def of(cls, lake: Lake, slots: pl.DataFrame) -> _Logged:
        span = int(slots["time_ms"].min()), int(slots["time_ms"].max()) + 1  # type: ignore[arg-type]
        logged = served_pages(lake, *span).select("request_id", "item_id", "features")
        found = slots.with_row_index("slot").join(logged, on=["request_id", "item_id"]).sort("slot")
        features = logged_features(found) if found.height else np.empty((0, len(FEATURE_NAMES)), np.float32)
        return cls(found["slot"].to_numpy().astype(np.int64), features, served_requests(lake, *span))

    def sequences(self, pages: pl.DataFrame) -> list[list[dict[str, Any]] | None]:
        """The logged sequence of each page, None where a page has to be replayed: the log lacks it, or features of some slot."""
        upto = np.searchsorted(self.slots, pages.select("first", ends=pl.col("first") + pl.col("slots")).to_numpy())
        whole = upto[:, 1] - upto[:, 0] == pages["slots"].to_numpy()
        found = pages.join(self.requests, on="request_id", how="left", maintain_order="left")["sequence"]
        return found.zip_with(pl.Series(whole), found.clear(len(found))).to_list()


def replayed_pages(
    lake: Lake,
    slots: pl.DataFrame,
    items: ItemDays,
    history_length: int = HISTORY_LENGTH,
    progress: Progress | None = None,
    limits: LimitsConfig = LIMITS,
    logged: _Logged | None = None,
) -> tuple[np.ndarray, PageHistories]:
    """Features float32 ``(slots, len(FEATURE_NAMES))`` and histories of slots whose pages stand together: the state just before
    each page, by the same code as serving.

    Rows of items that the catalogue of the day does not have are NaN. Pages that ``logged`` has as a whole are not replayed.
    """
    pages = _pages(slots)
    sequences = [None] * pages.height if logged is None else logged.sequences(pages)
    out = np.full((slots.height, len(FEATURE_NAMES)), np.nan, np.float32)
    ids, position = slots["item_id"].to_list(), slots["position"].to_numpy()
    histories: list[RequestHistory] = [NO_HISTORY] * pages.height
    states = _states(lake, pages.filter(pl.Series([sequence is None for sequence in sequences], dtype=pl.Boolean)), limits)
    moments = pages.select("time_ms", "first", "slots", "place", BESIDE).iter_rows()
    for done, ((now_ms, first, count, place, beside), sequence) in enumerate(zip(moments, sequences, strict=True)):
        side = items.at(day_of(now_ms))
        if sequence is not None:
            histories[place] = logged_history(sequence, now_ms, side, history_length)
            continue
        state = next(states)
        histories[place] = request_history(state, now_ms, side, history_length)
        rows = side.catalogue.rows(ids[first : first + count])
        here = first + np.flatnonzero(rows >= 0)
        out[here] = request_features(state, now_ms, rows[rows >= 0], side, position[here], beside=beside_row(RELATED, beside, side))
        if progress and done % _REPORT_EVERY == 0:
            progress(done, pages.height)
    if logged is not None:
        out[logged.slots] = logged.features
    return out, PageHistories.of(histories, items.catalogue.ids)


def _pages(slots: pl.DataFrame) -> pl.DataFrame:
    """request_id, tenant, user_id (the user key), time_ms, first (its first slot), slots (their number), the item it is beside and place
    among the pages of ``slots``: one row a page, in the order of time."""
    slots = slots if BESIDE in slots.columns else slots.with_columns(pl.lit(None, pl.String).alias(BESIDE))
    page = slots.with_columns(run=pl.col("page").rle_id()).with_row_index("first")
    pages = page.group_by("run", maintain_order=True).agg(
        pl.col("request_id", "tenant", "time_ms", "first", BESIDE).first(), user_id=pl.col("user_key").first(), slots=pl.len()
    )
    pages = pages.with_columns(pl.col("first", "slots").cast(pl.Int64), place="run")
    return pages.sort("time_ms", maintain_order=True)


def _states(lake: Lake, pages: pl.DataFrame, limits: LimitsConfig) -> Iterator[UserState]:
    """What was known of the user just before each page, in the order of ``pages``, which is that of time."""
    if pages.is_empty():
        return iter(())
    moments = pages.select("tenant", "user_id", "time_ms")
    return (state for _, state in replay(lake, moments, limits))


def _with_user_vectors(rows: TrainingRows, user_vectors: UserVectorsAsOf | None, requests: pl.DataFrame | None = None) -> TrainingRows:
    """``rows`` with the vector that each page's user had. ``requests`` of the served log tell what was known when it was served.

    A batch that was late then served an older vector than it should have; so for a served page the vector is that of the
    moment from which on what it knew would have been served, if that is earlier (and not before all pages).
    """
    if user_vectors is None:
        return rows
    pages = rows.pages
    time_ms = asked_ms = pages["time_ms"].to_numpy()
    had = np.ones(len(time_ms), bool)
    if requests is not None:
        found = pages.join(requests, on="request_id", how="left", maintain_order="left")
        had = found.select(pl.col("user_vector_space").is_null() | pl.col("user_vector_ms").is_not_null()).to_series().to_numpy()
        served_from_ms = (found["user_vector_ms"] // DAY_MS + 2) * DAY_MS  # the midnight that ended its day, and a day of delay
        asked_ms = np.clip(served_from_ms.fill_null(time_ms.max()).to_numpy(), time_ms.min(), time_ms)
    vectors, known, hours = user_vectors.at(pages["user_key"].to_list(), asked_ms)
    known = known & had
    return replace(
        rows,
        user_vectors=np.where(known[:, None], vectors, 0.0).astype(np.float32),
        user_vector_known=known,
        user_vector_hours=np.where(known, hours + (time_ms - asked_ms) / HOUR_MS, 0.0).astype(np.float32),
    )


def _within_budget(slots: pl.DataFrame, labels: np.ndarray, config: RowsConfig, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """The slots of the pages that are learned from, with what they weigh, and their labels."""
    weights = sample_pages(slots, np.nansum(labels, axis=1) > 0, config.max_rows, seed)
    kept = weights > 0
    weights = weights * np.where(slots[BESIDE].is_not_null().to_numpy(), config.related_weight, 1.0)
    return slots.with_columns(weight=pl.Series(weights)).filter(pl.Series(kept)), labels[kept]
