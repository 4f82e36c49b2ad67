"""The step that counts what people search for, so that what one types can be completed by what others asked."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.query_pairs import unsearched
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr
from corkboard.learning.query_text import folded_words, normalised
from corkboard.pipeline.steps import Made, StepInput

QUERIES = "queries"
"""The name of the step, of its role in a release and of its table."""
QUERY_SCHEMA = {"key": pl.String, "query": pl.String, "people": pl.Int64, "weight": pl.Float32}
"""``key`` is the folded words of a query with one space between, ``query`` how it is shown, ``people`` how many asked it, and ``weight``
the same with each of them counted less the longer ago it was."""


class QueriesStepConfig(Section):
    """Which past queries may be shown to others."""

    tenant: str = "default"
    """Whose site it is: what is asked on one is not shown on another."""
    min_people: int = Field(default=5, ge=5)
    """A query that fewer different people asked is not kept: it may be about one of them."""
    visitors: bool = False
    """Count visitors without a name as people, too. One person has many sessions, so five of them may be one."""
    half_life_days: float = Field(default=14.0, gt=0)
    """Who asked that long ago counts half."""
    max_chars: int = Field(default=80, ge=1, le=512)
    """Longer queries complete nothing that anybody types."""
    max_queries: int = Field(default=20_000, ge=1)
    """The heaviest are kept."""


def make_queries(given: StepInput) -> Made:
    """The queries that at least ``min_people`` asked before the cut, the heaviest first: a table of :data:`QUERY_SCHEMA`."""
    config: QueriesStepConfig = given.config
    queries = count_queries(asked_queries(given.lake, config), config, given.calendar.end_ms)
    metrics = {"queries": len(queries), "most_people": int(queries["people"].max() or 0)}
    return Made(tables={QUERIES: queries}, config=config.model_dump(), metrics=metrics)


def asked_queries(lake: Lake, config: QueriesStepConfig) -> pl.DataFrame:
    """Who searched for what, and when last: ``person``, ``text`` as typed, ``time_ms``, one row a person and text.

    Read from the pages that were served, what was seen of them and what was done there, for not every site sends all three. A page that
    was made without looking for its query is left out, with all that came of it: nothing there shows that the query has an answer.
    """
    parts = [(name, getattr(lake, name)()) for name in ("served", "impressions", "actions")]
    failed = unsearched(parts[0][1])
    parts = [(name, frame.join(failed, on=["tenant", "request_id"], how="anti")) for name, frame in parts]
    somebody = pl.lit(config.visitors) | pl.col("user_id").is_not_null()
    searches = (pl.col("tenant") == config.tenant) & (pl.col("surface") == "search") & pl.col("query").is_not_null() & somebody
    rows = [frame.filter(searches).select(person=user_key_expr(name), text="query", time_ms="time_ms") for name, frame in parts]
    return pl.concat(rows).group_by("person", "text").agg(pl.col("time_ms").max())


def count_queries(asked: pl.DataFrame, config: QueriesStepConfig, now_ms: int) -> pl.DataFrame:
    """The frame of :func:`asked_queries` by query: a person counts once however often, and in whatever spelling, a query was asked.

    A query is shown in the spelling that most people used; where none was used by ``min_people`` of them, in its folded words, which
    all of them share.
    """
    texts = asked["text"].unique().to_list()
    shown = {text: normalised(text) for text in texts}
    keys = {text: " ".join(folded_words(shown[text])) for text in texts}
    asked = asked.with_columns(
        key=pl.col("text").replace_strict(texts, [keys[text] for text in texts], return_dtype=pl.String),
        shown=pl.col("text").replace_strict(texts, [shown[text] for text in texts], return_dtype=pl.String),
    ).filter((pl.col("key") != "") & (pl.col("shown").str.len_chars() <= config.max_chars))
    spelt = asked.group_by("key", "shown").agg(used=pl.col("person").n_unique())
    spelt = spelt.sort("used", "shown", descending=[True, False]).unique("key", keep="first", maintain_order=True)
    days = (now_ms - pl.col("time_ms")).clip(lower_bound=0) / DAY_MS
    counted = (
        asked.group_by("key", "person")
        .agg(pl.col("time_ms").max())
        .group_by("key")
        .agg(people=pl.len().cast(pl.Int64), weight=(0.5 ** (days / config.half_life_days)).sum().cast(pl.Float32))
        .filter(pl.col("people") >= config.min_people)
        .join(spelt, on="key")
        .with_columns(query=pl.when(pl.col("used") >= config.min_people).then("shown").otherwise("key"))
    )
    return counted.sort("weight", "key", descending=[True, False]).head(config.max_queries).select(list(QUERY_SCHEMA))
