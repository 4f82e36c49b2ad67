"""Texts that people give an item: titles of the public boards it lies on, and the queries it was found by (OmniSearchSage, WWW 2024).

Both say what an item is for in the words of those who looked for it, which its own title often lacks. They end strictly before a moment,
so that what an evaluation asks stands in no item's text; :func:`without` takes the rest away, the same query asked earlier.

The published order of board titles begins with a score that is not told. Here it is how common a title is among all public boards, in
octaves: "ideas" lies on everything and says nothing. Synthetic captions are left out.
"""

from __future__ import annotations

from collections import defaultdict

import polars as pl

from corkboard.embeddings.config import SearchSageConfig
from corkboard.embeddings.omni_config import EnrichmentConfig
from corkboard.embeddings.query_pairs import query_pairs, query_text
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr

ENRICHMENT_SCHEMA = {"item_id": pl.String, "boards": pl.List(pl.String), "queries": pl.List(pl.String)}
"""Texts as :func:`corkboard.embeddings.query_pairs.query_text` writes them, best first, distinct within a list."""


def enriched(lake: Lake, until_ms: int, config: EnrichmentConfig | None = None) -> pl.DataFrame:
    """What people said of items strictly before ``until_ms``: a frame of :data:`ENRICHMENT_SCHEMA`, sorted, of items with any text.

    What was taken back before ``until_ms`` is left out. A board counts when it is declared, neither secret nor deleted at that moment, and
    not by now as far as the lake's view reaches; a save onto another one tells nothing, and neither does the query that led to it. Titles
    are ranked by how common they are (octaves, rare ones first), then by words and by letters (more first), then by the alphabet; queries
    by the sum of the weights of their engagements with the item, then by the newest. Raises :class:`LeakError` where ``until_ms`` lies
    behind the end of the lake's view.
    """
    config = config or EnrichmentConfig()
    since_ms = until_ms - round(config.window_days * DAY_MS)
    public = _public_boards(lake, until_ms)
    boards, queries = _titles(lake, public, since_ms, until_ms, config), _queries(lake, public, since_ms, until_ms, config)
    both = boards.join(queries, on="item_id", how="full", coalesce=True).sort("item_id")
    none = pl.lit([], dtype=pl.List(pl.String))
    return both.select("item_id", pl.col("boards").fill_null(none), pl.col("queries").fill_null(none)).cast(ENRICHMENT_SCHEMA)  # type: ignore[arg-type]


def without(texts: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """``texts``, of :data:`ENRICHMENT_SCHEMA`, where no item keeps a query that ``pairs`` (``query``, ``item_id``) has with it.

    For evaluations: whether an item is found by what is known of it beside the very query that is asked. Ranks of other queries stay.
    """
    said = {text: query_text(text) for text in pairs["query"].unique().to_list()}
    own: dict[str, set[str]] = defaultdict(set)
    for query, item_id in pairs.select("query", "item_id").iter_rows():
        own[item_id].add(said[query])
    rows = texts.select("item_id", "queries").iter_rows()
    kept = [[text for text in queries if text not in own.get(item_id, ())] for item_id, queries in rows]
    return texts.with_columns(queries=pl.Series(kept, dtype=pl.List(pl.String)))


def _public_boards(lake: Lake, until_ms: int) -> pl.DataFrame:
    """board_id, tenant and title (in its normal form) of the boards that everybody may see, then and now."""
    shown = ~pl.col("secret").fill_null(False) & ~pl.col("deleted").fill_null(False)
    now = lake.boards().filter(shown).select("board_id", "tenant")
    then = lake.boards(until_ms).filter(shown).join(now, on=["board_id", "tenant"], how="semi")
    return then.select("board_id", "tenant", _normal("title", then)).unique(["board_id", "tenant"], maintain_order=True)


def _titles(lake: Lake, public: pl.DataFrame, since_ms: int, until_ms: int, config: EnrichmentConfig) -> pl.DataFrame:
    """item_id and boards, the best titles of each item."""
    named = public.filter(pl.col("title") != "")
    score = (pl.len().log(2) + 1e-9).floor().over("title")  # a logarithm may fall short of a power of two
    saves = lake.actions(since_ms, until_ms).filter((pl.col("action") == "save") & pl.col("item_id").is_not_null())
    lying = saves.join(named.with_columns(score=score), on=["board_id", "tenant"], how="inner").unique(["item_id", "title"])
    words, letters = pl.col("title").str.count_matches(" "), pl.col("title").str.len_chars()
    ranked = lying.with_columns(words=words, letters=letters).sort(
        "item_id", "score", "words", "letters", "title", descending=[False, False, True, True, False]
    )
    best = ranked.group_by("item_id", maintain_order=True).agg(boards=pl.col("title").head(config.boards))
    return best.filter(pl.col("boards").list.len() > 0)


def _queries(lake: Lake, public: pl.DataFrame, since_ms: int, until_ms: int, config: EnrichmentConfig) -> pl.DataFrame:
    """item_id and queries, the best queries of each item."""
    asked = SearchSageConfig(weights=config.weights, cap_per_item=1 << 31)
    pairs = query_pairs(lake, until_ms, asked).filter(pl.col("time_ms") >= since_ms)
    if lake.declares_boards:
        onto = lake.actions(since_ms, until_ms).filter((pl.col("action") == "save") & pl.col("board_id").is_not_null())
        hidden = onto.join(public, on=["board_id", "tenant"], how="anti").select("item_id", "time_ms", user=user_key_expr())
        pairs = pairs.join(hidden, on=["item_id", "time_ms", "user"], how="anti", maintain_order="left")
    pairs = pairs.filter(pl.col("user").n_unique().over("query") >= config.min_people)
    scored = pairs.group_by("item_id", "query").agg(score=pl.col("weight").cast(pl.Float64).sum().round(6), newest=pl.col("time_ms").max())
    ranked = scored.sort("item_id", "score", "newest", "query", descending=[False, True, True, False])
    best = ranked.group_by("item_id", maintain_order=True).agg(queries=pl.col("query").head(config.queries))
    return best.filter(pl.col("queries").list.len() > 0)


def _normal(column: str, frame: pl.DataFrame) -> pl.Expr:
    """The texts of a column as queries are written; empty where nothing is said."""
    said = frame[column].drop_nulls().unique().to_list()
    return pl.col(column).replace_strict(said, [query_text(text) for text in said], default="", return_dtype=pl.String)
