"""From plain columns to frames of the lake: what all importers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.times import plausible

ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))


def rating_action(rating: pl.Expr, config: ImportConfig) -> pl.Expr:
    """The action that a rating stands for; null for a rating that says nothing, and for a missing one."""
    return (
        pl.when(rating >= config.save_from)
        .then(pl.lit("save"))
        .when(rating >= config.click_from)
        .then(pl.lit("click"))
        .when(rating <= config.hide_to)
        .then(pl.lit("hide"))
        .otherwise(pl.lit(None, dtype=pl.String))
    )


def actions_of_ratings(ratings: pl.DataFrame, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    """Action rows from (user_id, item_id, rating Float64, time_ms). A rating between ``hide_to`` and ``click_from`` is left out.

    A rating that is no number stays in, without an action: ingestion refuses it and says where it was.
    """
    frame = ratings.with_columns(action=rating_action(pl.col("rating"), config))
    silent = pl.col("action").is_null() & pl.col("rating").is_not_null()
    left_out = frame.select(silent.sum()).item()
    if left_out:
        notes.append(f"{left_out:,} ratings between {config.hide_to} and {config.click_from} say neither yes nor no and are left out.")
    top = frame["rating"].max()
    if isinstance(top, float) and top > 5:
        notes.append(
            f"Ratings go up to {top:g}: set imports.save_from, imports.click_from and imports.hide_to, which are meant for five stars."
        )
    notes.append(
        f"Ratings are actions: at least {config.save_from:g} save, at least {config.click_from:g} click, at most {config.hide_to:g} hide."
    )
    return action_frame(frame.filter(~silent))


def action_frame(frame: pl.DataFrame, extra: Sequence[str] = ()) -> pl.DataFrame:
    """The action columns of ``frame``; ``extra`` names further columns to keep."""
    kept = [name for name in ("time_ms", "user_id", "session_id", "action", "item_id", "surface", *extra) if name in frame.columns]
    return frame.select(kept)


def births(seen: pl.DataFrame, item_ids: pl.Series, *, all_at_once: bool = False) -> pl.DataFrame:
    """(item_id, time_ms) of the first row of every item: one millisecond before it is first seen.

    ``seen`` has (item_id, time_ms). Items of ``item_ids`` that nobody touched come last, when the data ends: that they existed
    earlier is not known, and an evaluation must not offer them too early. ``all_at_once`` (times are invented) lets all
    items exist from the beginning.
    """
    ids = pl.concat([item_ids.drop_nulls(), seen["item_id"].drop_nulls()]).unique(maintain_order=True).alias("item_id").to_frame()
    seen = seen.with_columns(plausible(pl.col("time_ms")))
    times = seen["time_ms"].drop_nulls()
    start, end = (times.min(), times.max()) if len(times) else (0, 0)
    if all_at_once:
        return ids.with_columns(time_ms=pl.lit(start, dtype=pl.Int64) - 1)
    first = seen.drop_nulls("time_ms").group_by("item_id").agg(pl.col("time_ms").min() - 1)
    return ids.join(first, on="item_id", how="left", maintain_order="left").with_columns(pl.col("time_ms").fill_null(end))


BIRTH_NOTE = (
    "Items have no creation time: each exists from one millisecond before it is first seen, untouched ones from the end of the data."
)


def long_attributes(frame: pl.DataFrame, columns: Mapping[str, str], key: str = "item_id") -> pl.DataFrame:
    """(key, name, value) rows from columns of text or lists of text; ``columns`` maps attribute name -> column.

    Empty values are dropped. Rows of one key keep the order of ``columns`` and of the lists.
    """
    parts = [pl.DataFrame(schema={key: frame.schema[key], "name": pl.String, "value": pl.String})]
    for name, column in columns.items():
        part = frame.select(key, pl.lit(name).alias("name"), pl.col(column).alias("value"))
        if isinstance(frame.schema[column], pl.List):
            part = part.explode("value")
        parts.append(part.with_columns(pl.col("value").cast(pl.String).str.strip_chars()))
    return pl.concat(parts).filter(pl.col("value").is_not_null() & (pl.col("value") != ""))


def with_attributes(rows: pl.DataFrame, long: pl.DataFrame, key: str = "item_id") -> pl.DataFrame:
    """``rows`` with a column ``attributes`` out of (key, name, value) rows, each pair once, in the order of ``long``."""
    lists = (
        long.unique([key, "name", "value"], keep="first", maintain_order=True)
        .group_by(key, maintain_order=True)
        .agg(attributes=pl.struct("name", "value"))
    )
    return rows.join(lists, on=key, how="left", maintain_order="left").with_columns(pl.col("attributes").cast(ATTRIBUTES))


def user_frame(users: pl.DataFrame, facts: Mapping[str, str], first: pl.DataFrame, config: ImportConfig) -> pl.DataFrame:
    """User rows from (user_id, country?, language?, ...): each of ``facts`` (name -> column) becomes an interest "name:value".

    ``first`` has (user_id, time_ms); a user row lies one millisecond before the first action, without one at the end of the data.
    """
    first = first.select("user_id", plausible(pl.col("time_ms"))).drop_nulls()
    end = first["time_ms"].max() if first.height else 0
    told = [pl.format("{}:{}", pl.lit(name), pl.col(column).cast(pl.String).str.strip_chars()) for name, column in facts.items()]
    interests = pl.concat_list(told).list.drop_nulls() if told and config.user_facts else pl.lit([], dtype=pl.List(pl.String))
    kept = [name for name in ("country", "language") if name in users.columns]
    starts = first.group_by("user_id").agg(pl.col("time_ms").min() - 1)
    return (
        users.unique("user_id", keep="first", maintain_order=True)
        .join(starts, on="user_id", how="left", maintain_order="left")
        .select(pl.col("time_ms").fill_null(end), "user_id", *kept, interests.alias("interests"))
    )


USER_NOTE = 'What is known of users (age, gender, occupation) is kept as interests such as "age:25"; postcodes are not imported.'
