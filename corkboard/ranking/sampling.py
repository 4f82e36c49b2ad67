"""Training rows where nothing tells what was shown: each acted-on item, and items drawn as of that time beside it.

Half of the negatives are drawn by popularity, half from the candidate sources where they are given: the first kind
teaches what nobody in this place would want, the second what this person did not pick although it lay near.
Probabilities learned this way are relative to the sampling, so every figure that hangs on them says "sampled negatives".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.lake.schema import ITEM_ACTIONS, user_key_expr
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.features import FEATURE_NAMES, request_features
from corkboard.ranking.history import HISTORY_LENGTH, PageHistories, request_history
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.ranking.table import TrainingRows, table_of
from corkboard.seeds import generator
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.user_state import UserState

CandidateFunction = Callable[[UserState, int, int], Sequence[str]]
"""(state, now_ms, k) -> ids of at most k candidates as of that time."""

Progress = Callable[[int, int], None]

_REPORT_EVERY = 200
_POPULARITY = STAT_NAMES.index("popularity_decayed")


class Sampled:
    """Rows of one span [start, end) of a lake without impressions."""

    def __init__(self, lake: Lake, span: tuple[int, int], config: RowsConfig, seed: int, limits: LimitsConfig):
        self._lake, self._config, self._seed, self._limits = lake, config, seed, limits
        pages = min(config.max_sampled_pages, max(1, config.max_rows // (config.negatives + 1)))
        self._targets = acted_items(lake, *span, pages, seed)

    def rows(
        self,
        items: ItemDays,
        heads: tuple[str, ...],
        candidates: CandidateFunction | None = None,
        progress: Progress | None = None,
        history_length: int = HISTORY_LENGTH,
    ) -> TrainingRows:
        """Each acted-on item with sampled ones, features and history as of the action.

        What else was acted on that day is no negative. What was liked before is on neither side, as it would not be on a
        page: were only negatives cleared of it, "acted before" would give the positive away.
        """
        targets, sampler = self._targets, NegativeSampler(self._config.negatives, candidates, self._seed)
        users, wanted = targets["user_key"].to_list(), targets["item_id"].to_list()
        same_day: dict[tuple[str, int], set[str]] = {}
        for user, day, item_id in zip(users, (targets["time_ms"] // DAY_MS).to_list(), wanted, strict=True):
            same_day.setdefault((user, day), set()).add(item_id)
        features, histories, slots = [np.empty((0, len(FEATURE_NAMES)), np.float32)], [], []
        moments = targets.select("page", "time_ms", "tenant", user_id="user_key")
        for done, (moment, state) in enumerate(replay(self._lake, moments, self._limits)):
            page, now_ms, day = moment["page"], moment["time_ms"], moment["time_ms"] // DAY_MS
            side = items.at(day)
            target = side.catalogue.row(wanted[page])
            liked = {action.item_id for action in state.positives() if action.item_id is not None}
            if target < 0 or wanted[page] in liked:
                continue
            others = sampler.draw(state, now_ms, side, same_day[users[page], day] | liked)
            rows = np.concatenate([[target], others]).astype(np.int64)
            features.append(request_features(state, now_ms, rows, side))
            histories.append(request_history(state, now_ms, side, history_length))
            slots += [(page, item_id) for item_id in side.catalogue.ids_of(rows)]
            if progress and done % _REPORT_EVERY == 0:
                progress(done, targets.height)
        return self._table(slots, np.concatenate(features), heads, PageHistories.of(histories, items.catalogue.ids))

    def _table(self, slots: list[tuple[int, str]], features: np.ndarray, heads: tuple[str, ...], histories: PageHistories) -> TrainingRows:
        frame = pl.DataFrame(slots, schema={"page": pl.UInt32, "item_id": pl.String}, orient="row").with_row_index("order")
        facts = self._targets.rename({"item_id": "target"}).with_columns(request_id=pl.format("sampled:{}", "page"))
        frame = frame.join(facts, on="page").sort("order").with_columns(position=pl.lit(-1), randomised=pl.lit(False), weight=pl.lit(1.0))
        hit = pl.col("item_id") == pl.col("target")
        labels = frame.select((hit & pl.col("actions").list.contains(head)).cast(pl.Float32).alias(head) for head in heads).to_numpy()
        return table_of(frame, features, np.ascontiguousarray(labels), heads, sampled=True, histories=histories)


def acted_items(lake: Lake, start_ms: int, end_ms: int, max_pages: int, seed: int) -> pl.DataFrame:
    """page, tenant, user_key, item_id, time_ms (the first), actions (all of that day): one row for each item a user acted on in a day.

    At most ``max_pages`` rows, drawn evenly, in the order of time.
    """
    actions = lake.actions(start_ms, end_ms).filter(pl.col("action").is_in(list(ITEM_ACTIONS)))
    acted = (
        actions.with_columns(user_key=user_key_expr(), day=pl.col("time_ms") // DAY_MS)
        .group_by("tenant", "user_key", "item_id", "day")
        .agg(pl.col("time_ms").min(), actions=pl.col("action").unique())
        .sort("time_ms", "user_key", "item_id")
    )
    if acted.height > max_pages:
        kept = generator(seed, "rows", "acted").choice(acted.height, max_pages, replace=False)
        acted = acted[np.sort(kept)]
    return acted.with_row_index("page")


class NegativeSampler:
    """Draws the other items of one sampled page."""

    def __init__(self, count: int, candidates: CandidateFunction | None, seed: int):
        self._count, self._candidates = count, candidates
        self._draw = generator(seed, "rows", "negatives")
        self._side: ItemSide | None = None
        self._cumulative = np.zeros(0)

    def draw(self, state: UserState, now_ms: int, side: ItemSide, avoid: set[str]) -> np.ndarray:
        """int64 distinct rows of items that existed at ``now_ms`` and are not in ``avoid``; at most ``count``."""
        near = self._near(state, now_ms, side, avoid)
        popular = self._popular(side, 4 * self._count)
        rows = list(dict.fromkeys([*near, *popular.tolist()]))
        born, ids = side.catalogue.created_ms, side.ids
        return np.array([row for row in rows if born[row] < now_ms and ids[row] not in avoid][: self._count], np.int64)

    def _near(self, state: UserState, now_ms: int, side: ItemSide, avoid: set[str]) -> list[int]:
        if self._candidates is None:
            return []
        rows = side.catalogue.rows([item for item in self._candidates(state, now_ms, 8 * self._count) if item not in avoid])
        rows = rows[rows >= 0]
        return self._draw.permutation(rows)[: self._count // 2].tolist()

    def _popular(self, side: ItemSide, count: int) -> np.ndarray:
        if side is not self._side:
            weights = np.ones(len(side.catalogue))
            weights[: len(side.stats)] += np.expm1(side.stats[:, _POPULARITY])
            self._side, self._cumulative = side, np.cumsum(weights)
        places = self._draw.random(count) * self._cumulative[-1]
        return np.searchsorted(self._cumulative, places, side="right")
