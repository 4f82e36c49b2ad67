"""What retrieval is asked: who, knowing what, would have liked which item of the catalogue, by the calendar.

Everything before B (``calendar.rank_cut_ms``) may be known, positives lie in [B, end). One task is shared by all models, so the
catalogue, the users, what is left out as seen and the positives are the same for each row of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.experiments.config import EvaluationConfig
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.seeds import generator


@dataclass(frozen=True)
class Moment:
    """One making of lists: users who have a positive while the lists stand, what was known of them, and what they then took.

    ``users`` are rows of ``task.user_ids``; in the pairs, int64 ``(pairs,)`` each, a user is a position in ``users``.
    """

    known_ms: int
    users: np.ndarray
    histories: Sequence[np.ndarray]
    seen_users: np.ndarray
    seen_items: np.ndarray
    positive_users: np.ndarray
    positive_items: np.ndarray


@dataclass(frozen=True)
class RetrievalTask:
    """A catalogue, users, and the moments at which lists are made for them.

    ``topics`` is int64 ``(items,)`` in [0, n_topics); ``popularity`` int64 ``(items,)`` positives before B; ``earlier`` int64
    ``(users,)`` positive items of each user before B; ``before_ms`` is B. ``unreachable`` counts positives on items that were not in
    the catalogue at B, ``unreachable_share`` is their share in all positives of those who could be asked.
    """

    item_ids: Sequence[str]
    topics: np.ndarray
    n_topics: int
    popularity: np.ndarray
    user_ids: Sequence[str]
    earlier: np.ndarray
    before_ms: int
    end_ms: int
    min_actions: int
    moments: Sequence[Moment]
    positives: int
    unreachable: int
    unreachable_share: float
    warnings: Sequence[str] = ()


def retrieval_task(lake: Lake, calendar: Calendar, config: EvaluationConfig | None = None) -> RetrievalTask:
    """The task of a lake and a calendar. Raises :class:`InputError` where nobody can be asked."""
    config = config or EvaluationConfig()
    before_ms, end_ms = calendar.rank_cut_ms, calendar.end_ms
    catalogue = catalogue_at(lake, before_ms)
    actions = _actions(lake, calendar, catalogue)
    before = actions.filter(pl.col("time_ms") < before_ms)
    warnings = _warnings(actions, before, config)
    firsts = _first_positives(actions, before_ms).join(_eligible(actions, before, config), on="user", how="semi")
    reachable = firsts.filter(pl.col("item").is_not_null())
    unreachable = len(firsts) - len(reachable)
    users = _drawn(reachable["user"].unique().sort(), config, warnings).to_frame().with_row_index("u")
    if users.is_empty():
        raise InputError(
            "Nobody can be asked: no user has both earlier actions and a later positive on a known item",
            found=f"{len(firsts)} positives in the test, {unreachable} of them on items that are not in the catalogue at the cut",
            expected=f"users with {config.min_actions} action(s) before the cut",
            hint="Lengthen the test, or lower min_actions.",
        )
    reachable = reachable.join(users, on="user", how="inner", maintain_order="left")
    known = actions.filter(pl.col("item").is_not_null()).join(users, on="user", how="inner", maintain_order="left")
    earlier = known.filter((pl.col("time_ms") < before_ms) & pl.col("positive")).select("u", "item").unique()
    topics, n_topics = _topics(catalogue)
    return RetrievalTask(
        item_ids=catalogue["item_id"].to_list(),
        topics=topics,
        n_topics=n_topics,
        popularity=_counts(before.filter(pl.col("positive"))["item"].drop_nulls(), len(catalogue)),
        user_ids=users["user"].to_list(),
        earlier=_counts(earlier["u"], len(users)),
        before_ms=before_ms,
        end_ms=end_ms,
        min_actions=config.min_actions,
        moments=list(_moments(known, reachable, before_ms, end_ms, config)),
        positives=len(reachable),
        unreachable=unreachable,
        unreachable_share=unreachable / max(len(firsts), 1),
        warnings=warnings,
    )


def catalogue_at(lake: Lake, before_ms: int) -> pl.DataFrame:
    """Items that could be shown at ``before_ms``, sorted by id: item_id, category."""
    return lake.items(before_ms).filter(pl.col("available").fill_null(True)).select("item_id", "category").sort("item_id")


def _actions(lake: Lake, calendar: Calendar, catalogue: pl.DataFrame) -> pl.DataFrame:
    """Actions on items from the calendar's start to its end, by time: user, item_id, item (catalogue row or null), time_ms, positive."""
    rows = catalogue.select("item_id").with_row_index("item")
    actions = lake.actions(calendar.start_ms, calendar.end_ms).filter(pl.col("item_id").is_not_null())
    named = actions.select(user_key_expr().alias("user"), "item_id", "time_ms", positive=pl.col("action").is_in(list(POSITIVE)))
    return named.join(rows, on="item_id", how="left", maintain_order="left")


def _first_positives(actions: pl.DataFrame, before_ms: int) -> pl.DataFrame:
    """The first positive of each user on each item in the test, where the user had not engaged with the item before it."""
    before = actions.filter(pl.col("time_ms") < before_ms).select("user", "item_id").unique()
    after = actions.filter((pl.col("time_ms") >= before_ms) & pl.col("positive"))
    return after.unique(["user", "item_id"], keep="first", maintain_order=True).join(before, on=["user", "item_id"], how="anti")


def _eligible(actions: pl.DataFrame, before: pl.DataFrame, config: EvaluationConfig) -> pl.DataFrame:
    if config.min_actions == 0:
        return actions.select("user").unique()
    return before.group_by("user").len("actions").filter(pl.col("actions") >= config.min_actions).select("user")


def _drawn(users: pl.Series, config: EvaluationConfig, warnings: list[str]) -> pl.Series:
    if len(users) <= config.max_users:
        return users
    warnings.append(f"{config.max_users:,} of {len(users):,} users were drawn by seed.")
    kept = generator(config.seed, "evaluation", "users").choice(len(users), config.max_users, replace=False)
    return users.gather(np.sort(kept))


def _warnings(actions: pl.DataFrame, before: pl.DataFrame, config: EvaluationConfig) -> list[str]:
    everybody = actions["user"].n_unique()
    both = before.select("user").unique().join(actions.slice(len(before)).select("user").unique(), on="user")
    warnings = []
    if len(both) * 5 < everybody:
        warnings.append(
            f"Only {len(both):,} of {everybody:,} users have actions both before and after the cut: the figures speak of those who "
            "came back, and say little about the rest."
        )
    unknown = before["item"].null_count()
    if unknown * 20 > len(before):
        warnings.append(f"{unknown / len(before):.0%} of the earlier actions are on items that are not in the catalogue at the cut.")
    if config.min_actions == 0:
        warnings.append("Users without any earlier action are asked, too: for them every personal row is a guess.")
    return warnings


def _moments(known: pl.DataFrame, positives: pl.DataFrame, before_ms: int, end_ms: int, config: EvaluationConfig) -> Iterator[Moment]:
    if config.cadence == "once":
        yield _moment(known, positives, before_ms, before_ms)
        return
    for start_ms in range(before_ms, end_ms, DAY_MS):
        that_day = positives.filter(pl.col("time_ms").is_between(start_ms, min(start_ms + DAY_MS, end_ms), closed="left"))
        if len(that_day):
            yield _moment(known, that_day, start_ms - config.delay_days * DAY_MS, start_ms)


def _moment(known: pl.DataFrame, positives: pl.DataFrame, known_ms: int, shown_ms: int) -> Moment:
    """Lists that are made from what was known before ``known_ms``, and leave out what was engaged before ``shown_ms``.

    A live page takes out what was engaged a second ago even where its list is a day old, and so do these.
    """
    users = positives["u"].unique().sort()
    place = pl.DataFrame({"u": users}).with_row_index("p")
    here = known.join(place, on="u", how="inner")
    seen = here.filter(pl.col("time_ms") < shown_ms).select("p", "item").unique(maintain_order=True)
    liked = here.filter((pl.col("time_ms") < known_ms) & pl.col("positive"))
    last = liked.group_by("p", "item").agg(pl.col("time_ms").max()).sort("p", "time_ms", "item", descending=[False, True, False])
    lengths = _counts(last["p"], len(users))
    histories = np.split(last["item"].to_numpy().astype(np.int64), np.cumsum(lengths)[:-1])
    pairs = positives.join(place, on="u", how="inner", maintain_order="left")
    return Moment(
        known_ms=known_ms,
        users=users.to_numpy().astype(np.int64),
        histories=histories,
        seen_users=seen["p"].to_numpy().astype(np.int64),
        seen_items=seen["item"].to_numpy().astype(np.int64),
        positive_users=pairs["p"].to_numpy().astype(np.int64),
        positive_items=pairs["item"].to_numpy().astype(np.int64),
    )


def _topics(catalogue: pl.DataFrame) -> tuple[np.ndarray, int]:
    """The topic of each item is its category; items without one share a topic of their own."""
    names = catalogue["category"].fill_null("")
    topics = names.rank("dense").cast(pl.Int64).to_numpy() - 1
    return topics, int(topics.max()) + 1 if len(topics) else 0


def _counts(rows: pl.Series, n: int) -> np.ndarray:
    return np.bincount(rows.to_numpy().astype(np.int64), minlength=n)
