"""What the experiment on products trains and asks in one world: the work of its jobs.

Everything that learns ends at the cut. The space is that of MultiBiSage on picture vectors: it reads no text, so that "image" and "text"
are two views of a product; queries of both kinds and products lie in it. What a world needs once (vectors of items, the encoder of queries)
is kept beside it, so that its jobs share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space, content_hash
from corkboard.embeddings.config import ItemSageConfig, SearchSageConfig
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.experiments import graph_claims
from corkboard.experiments import products_claims as name
from corkboard.experiments.graph_models import ENCODERS, ITEM_CODE, Bench, Variant
from corkboard.experiments.products_config import ProductsConfig
from corkboard.experiments.products_data import Grid, Score, cosines, first_time, per_user, popularity, product_grid, ranks
from corkboard.experiments.spine_config import laid_over
from corkboard.experiments.spine_runs import Context, Run, code_hash
from corkboard.experiments.spine_worlds import SpineWorld, alone_at
from corkboard.metrics.intervals import PerUser

if TYPE_CHECKING:
    from corkboard.embeddings.searchsage import SearchSage

PICTURES, WITH_TEXT = "pictures", "pictures and text"
"""What the encoder of the space reads of an item itself."""
_ENCODER = {PICTURES: graph_claims.MULTI, WITH_TEXT: graph_claims.PICTURED}

PRODUCT_CODE = (*ITEM_CODE, "experiments/products_models.py", "experiments/products_data.py", "vision")
"""Sources that the figures depend on; those of the simulated world stand in front."""
RARE = 5
"""Pairs before the cut that an item has fewer of, to be called rare."""

Figures = tuple[dict[str, PerUser], dict[str, float]]
"""Figures by user, and facts."""


@dataclass(frozen=True)
class ProductVariant:
    """A variant of ItemSage: what it changes, what its image tokens know, and which space it lies in."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    tokens: Literal["served", "pictures"] = "served"
    space: str = PICTURES


def _tasks(*parts: str) -> dict[str, tuple[str, ...]]:
    return {"tasks": tuple(task for task in name.TASKS if any(part in task.split("_") or part == task for part in parts))}


PRODUCTS: Mapping[str, ProductVariant] = {
    name.ITEMSAGE: ProductVariant(),
    name.IMAGE_ONLY: ProductVariant({"modalities": "image", "dropout": 0.3}),
    name.TEXT_ONLY: ProductVariant({"modalities": "text"}),
    name.BY_PICTURE: ProductVariant(tokens="pictures"),
    name.PICTURE_ONLY: ProductVariant({"modalities": "image", "dropout": 0.3}, tokens="pictures"),
    name.CONCAT: ProductVariant({"encoder": "mlp_concat"}),
    name.SUM_MLP: ProductVariant({"encoder": "sum_mlp"}),
    name.SUM: ProductVariant({"encoder": "sum"}),
    name.IN_BATCH: ProductVariant({"loss": "in_batch"}),
    name.RANDOM: ProductVariant({"loss": "random"}),
    name.MIXED: ProductVariant({"loss": "mixed"}),
    name.CLICKS: ProductVariant(_tasks("click", "save")),
    name.CARTS: ProductVariant(_tasks("cart", "checkout")),
    name.IMAGE_QUERIES: ProductVariant(_tasks("image")),
    name.TEXT_QUERIES: ProductVariant(_tasks("text")),
    **{name.alone(task): ProductVariant(_tasks(task)) for task in name.TASKS},
    name.RELEASED: ProductVariant(space=WITH_TEXT),
}
"""ItemSage and its variants, each different from it in what its name says. Images alone have the dropout that they do best with (of 0.1,
0.3, 0.5 and 0.7, on a development world); text alone does as well with that of ItemSage."""

SEARCHES: Mapping[str, Mapping[str, Any]] = {
    name.SEARCHSAGE: {},
    name.FROZEN: {"trained": "output"},
    name.BAG: {"encoder": "bag"},
    name.NO_CAP: {"cap_per_item": 1 << 30},
    name.LOW_CAP: {},
}
"""SearchSage and its variants; the low cap is a setting of the experiment."""

OMNIS = (name.OMNI, name.OMNI_FREE)
"""The joint form of search, with the space of the others to be kept of use, and without."""
BASELINES = (name.GRAPH, name.VISUAL, name.BM25, name.POPULAR)


def itemsage_settings(config: ProductsConfig, variant: str) -> ItemSageConfig:
    """The settings of a variant of ItemSage."""
    return ItemSageConfig.model_validate(laid_over(config.itemsage.model_dump(), dict(PRODUCTS[variant].changes)))


def searchsage_settings(config: ProductsConfig, variant: str) -> SearchSageConfig:
    """The settings of a variant of SearchSage."""
    changes = {"cap_per_item": config.cap} if variant == name.LOW_CAP else dict(SEARCHES[variant])
    return SearchSageConfig.model_validate(laid_over(config.searchsage.model_dump(), changes))


class PictureBench(Bench):
    """The bench of the graph experiment, with encoders that read pictures, with or without the content vectors beside them."""

    def features(self, variant: Variant, item_ids: Sequence[str]) -> NodeFeatures:
        """Picture vectors; where the variant is one with pictures, content vectors before them."""
        return NodeFeatures.of(item_ids, [self.content, self.visual] if variant.pictures else [self.visual])


@dataclass(frozen=True)
class Placed:
    """The items of a world, float32 ``(items, dim)`` each: where they stand in the graph at the cut, where they stood before the pairs that
    the encoder learned from, by their features alone, and the raw vectors of their pictures."""

    item_ids: Sequence[str]
    served: np.ndarray
    earlier: np.ndarray
    by_features: np.ndarray
    visual: np.ndarray
    space: Space

    def table(self, vectors: np.ndarray) -> EmbeddingTable:
        """Some of these vectors with their ids."""
        return EmbeddingTable(self.item_ids, vectors, self.space)


class ProductBench:
    """One world, cut in time: what is learned from and asked. Everything is made when it is first needed."""

    def __init__(self, world: SpineWorld, config: ProductsConfig, seed: int, tell: Callable[[str, int, int], None]):
        self.world, self.config, self.seed, self.tell = world, config, seed, tell
        self.cut_ms, self.end_ms = world.calendar.rank_cut_ms, world.calendar.end_ms
        self.sealed = world.lake.until(self.cut_ms)

    # ------------------------------------------------------------------------------------------------- what is asked

    @cached_property
    def products(self) -> pl.DataFrame:
        """What can be bought at the end of the test, by id."""
        from corkboard.embeddings.product_inputs import products_of

        items = self.world.lake.items(self.end_ms)
        return products_of(items.filter(pl.col("available").fill_null(True))).unique("item_id", keep="last").sort("item_id")

    @cached_property
    def grid(self) -> Grid:
        """The eight cells."""
        return product_grid(self.world.lake, self.cut_ms, self.end_ms, self.products["item_id"].to_list(), self.config.itemsage)

    @cached_property
    def known(self) -> frozenset[str]:
        """Items that were there before the cut. What came later is asked about, and is no negative of anything."""
        return frozenset(self.sealed.items()["item_id"].to_list())

    # ------------------------------------------------------------------------------------- what all variants share

    def placed(self, space: str) -> Placed:
        """The items in one of the spaces; trained once a world."""
        given = self.config.graph.model_dump(mode="json")
        parts = [given[part] for part in ("graph", "graphs", "pairs", "multibisage", "visual", "content")]
        key = content_hash(space, self.seed, parts, code_hash(*PRODUCT_CODE))
        with alone_at(self.world.folder / f"{key}.lock"):
            artifact = self.world.kept("placed", key)
            if artifact is None:
                item_ids, tensors, made = self._place(space)
                tables = {"ids": pl.DataFrame({"id": item_ids})}
                artifact = self.world.keep("placed", key, tensors, tables=tables, makes=[made])
        tensors = artifact.tensors
        ids = artifact.table("ids")["id"].to_list()
        return Placed(ids, *(tensors[part] for part in ("served", "earlier", "by_features", "visual")), artifact.makes[0])

    def _place(self, space: str) -> tuple[list[str], dict[str, np.ndarray], Space]:
        self.tell("learning pictures and the graph", 0, 0)
        bench = self._bench
        model, _ = bench.learned(_ENCODER[space], lambda at, of: self.tell(f"training the encoder of the space, {space}", at, of))
        variant, item_ids = ENCODERS[_ENCODER[space]], list(bench.task.item_ids)
        features = bench.features(variant, item_ids)
        tensors = {
            "served": bench.vectors(_ENCODER[space], model)[""],
            "earlier": model.encode(features, bench.chosen(variant, bench.learning_lists, learning=True)),
            "by_features": model.encode(features, None),
            "visual": bench.visual.lookup(item_ids)[0],
        }
        return item_ids, tensors, model.space

    @cached_property
    def _bench(self) -> PictureBench:
        config = self.config.graph
        return PictureBench(self.world.lake, self.world.calendar, config, self.world.content, self.seed, config.graphs, boards=False)

    def searchsage(self, space: str, variant: str = name.SEARCHSAGE) -> SearchSage:
        """An encoder of queries; that of all products is trained once a world and space."""
        from corkboard.embeddings.searchsage import SearchSage

        if variant != name.SEARCHSAGE:
            return self._searchsage(space, variant)
        key = content_hash(str(self.placed(space).space), self.config.searchsage.model_dump(mode="json"), code_hash(*PRODUCT_CODE))
        with alone_at(self.world.folder / f"{key}.lock"):
            artifact = self.world.kept("searchsage", key)
            if artifact is None:
                made = self._searchsage(space, variant)
                spaces = {"makes": [made.own_space], "requires": [made.space]}
                artifact = self.world.keep("searchsage", key, made.tensors(), config=made.config, **spaces)
        return SearchSage.from_artifact(artifact)

    def _searchsage(self, space: str, variant: str) -> SearchSage:
        from corkboard.embeddings.query_pairs import query_pairs
        from corkboard.embeddings.searchsage_training import train_searchsage

        settings = searchsage_settings(self.config, variant)
        pairs = query_pairs(self.sealed, self.cut_ms, settings, self.seed)
        titles = self.sealed.items().select("item_id", "title")
        return train_searchsage(pairs, self._learned(space), titles, settings, self.seed, lambda at: self.tell(variant, at.step, at.steps))

    def _learned(self, space: str, earlier: bool = False) -> EmbeddingTable:
        """Where the items that were there before the cut stand at the cut, or stood ``earlier``."""
        placed = self.placed(space)
        rows = np.flatnonzero([item_id in self.known for item_id in placed.item_ids])
        vectors = placed.earlier if earlier else placed.served
        return EmbeddingTable([placed.item_ids[row] for row in rows], vectors[rows], placed.space)

    # ---------------------------------------------------------------------------------------------------- ItemSage

    def product_vectors(self, variant: str) -> tuple[np.ndarray, dict[str, float]]:
        """float32 ``(products, dim)`` of a variant of ItemSage, and facts."""
        from corkboard.embeddings.itemsage_training import train_itemsage
        from corkboard.embeddings.product_images import product_images
        from corkboard.embeddings.product_inputs import ProductInputs
        from corkboard.embeddings.product_pairs import product_pairs

        one, settings = PRODUCTS[variant], itemsage_settings(self.config, variant)
        placed, earlier = self.placed(one.space), self.config.learned_on == "pairs"
        read, asked = placed.earlier if earlier else placed.served, placed.served
        if one.tokens == "pictures":
            read = asked = placed.by_features
        learned, inputs = (ProductInputs.of(self.products, product_images(self.products, placed.table(each))) for each in (read, asked))
        since_ms = self.world.calendar.last_quarter_ms(self.cut_ms) if earlier else 0
        pairs = product_pairs(self.sealed, self.cut_ms, settings, self.seed, since_ms)
        texts = pairs["query"].drop_nulls().unique().sort().to_list()
        queries = EmbeddingTable(texts, self.searchsage(one.space).encode(texts), placed.space)
        there = learned.take(np.flatnonzero([item_id in self.known for item_id in inputs.item_ids]))
        progress = lambda at: self.tell(f"training {variant}", at.step, at.steps)  # noqa: E731
        model = train_itemsage(pairs, there, self._learned(one.space, earlier), queries, settings, self.seed, progress)
        return model.encode(inputs), {"pairs learned from": float(pairs["task"].is_in(list(settings.tasks)).sum())}

    def asked(self, space: str, candidates: np.ndarray) -> tuple[Score, Score]:
        """Texts and items of the grid as queries in a space, scored by cosine with ``candidates``, float32 ``(products, dim)``."""
        placed = self.placed(space)
        by_item = placed.table(placed.served).lookup(self.grid.items)[0]
        return cosines(self.searchsage(space).encode(self.grid.texts), candidates), cosines(by_item, candidates)

    def product_figures(self, variant: str) -> Figures:
        """The grid by a variant of ItemSage."""
        vectors, facts = self.product_vectors(variant)
        return self.grid.figures(self.grid.positions(*self.asked(PRODUCTS[variant].space, vectors))), facts

    # --------------------------------------------------------------------------------------------------- baselines

    def baseline_figures(self, row: str) -> Figures:
        """The grid by a row that learns nothing of products."""
        grid = self.grid
        if row == name.POPULAR:
            counts = popularity(self.world.lake, self.cut_ms, self.config.popular_days, grid.product_ids)
            score = lambda rows: np.broadcast_to(counts, (len(rows), len(counts)))  # noqa: E731
            return grid.figures(grid.positions(score, score)), grid.counts()
        if row == name.BM25:
            titles = dict(self.world.lake.items(self.end_ms).select("item_id", "title").iter_rows())
            by_text, by_title = by_words(self.products, grid.texts), by_words(self.products, [titles.get(item) for item in grid.items])
            return grid.figures(grid.positions(by_text, by_title)), grid.counts()
        space = WITH_TEXT if row == name.GRAPH_RELEASED else PICTURES
        placed = self.placed(space)
        if row == name.VISUAL:
            table = placed.table(placed.visual)
            score = cosines(table.lookup(grid.items)[0], table.lookup(grid.product_ids)[0])
            return grid.figures(grid.positions(None, score), ["image"]), grid.counts()
        return grid.figures(grid.positions(*self.asked(space, placed.table(placed.served).lookup(grid.product_ids)[0]))), grid.counts()

    # ------------------------------------------------------------------------------------------------------ search

    def search_figures(self, variant: str) -> Figures:
        """A variant of SearchSage, or of OmniSearchSage, asks for all items."""
        from corkboard.embeddings.query_pairs import query_pairs

        placed = self.placed(PICTURES)
        if variant in SEARCHES:
            model = self.searchsage(PICTURES, variant)
            learned = len(query_pairs(self.sealed, self.cut_ms, searchsage_settings(self.config, variant), self.seed))
            return self._asked_for_items(model, placed.served, {"pairs learned from": float(learned)})
        joint, vectors = self._omni(variant)
        figures, facts = self._asked_for_items(joint.queries, vectors, {})
        if joint.frozen:
            figures[name.OLD_INDEX] = self._asked_for_items(joint.compat(placed.space), placed.served, {})[0][name.SEARCH]
        return figures, facts

    def _omni(self, variant: str) -> tuple[Any, np.ndarray]:
        """OmniSearchSage, and its vectors of all items."""
        from corkboard.embeddings.enrichment import enriched
        from corkboard.embeddings.omnisearchsage import OmniItems
        from corkboard.embeddings.omnisearchsage_pairs import omni_pairs
        from corkboard.embeddings.omnisearchsage_training import train_omnisearchsage

        placed, settings = self.placed(PICTURES), self.config.omnisearchsage
        texts, table = enriched(self.sealed, self.cut_ms, self.config.enrichment), placed.table(placed.served)
        rows = pl.DataFrame({"item_id": list(placed.item_ids)})
        items = rows.join(self.world.lake.items(self.end_ms), on="item_id", how="left", maintain_order="left")
        there = items.filter(pl.col("item_id").is_in(list(self.known)))
        pairs = omni_pairs(self.sealed, self.cut_ms, settings, self.seed)
        frozen = [self._learned(PICTURES)] if variant == name.OMNI else []
        tell = lambda at: self.tell(variant, at.step, at.steps)  # noqa: E731
        model = train_omnisearchsage(pairs, OmniItems.of(there, [table], texts, settings), frozen, settings, self.seed, tell)
        return model, model.encode_items(OmniItems.of(items, [table], texts, settings))

    def _asked_for_items(self, model: SearchSage, vectors: np.ndarray, facts: dict[str, float]) -> Figures:
        """Queries of a model ask for all items, with queries and items that nobody had chosen together before the cut."""
        from corkboard.embeddings.query_pairs import query_pairs

        placed = self.placed(PICTURES)
        every = searchsage_settings(self.config, name.NO_CAP)
        pairs = query_pairs(self.world.lake, self.end_ms, every, self.seed).filter(pl.col("item_id").is_in(list(placed.item_ids)))
        test = first_time(pairs, self.cut_ms, ["query", "item_id"])
        texts, queries = np.unique(test["query"].to_numpy(), return_inverse=True)
        targets = placed.table(placed.served).rows(test["item_id"].to_list())
        score = cosines(model.encode(texts.tolist()), vectors)
        found = ranks(score, queries, targets) < 10
        users = np.unique(test["user"].to_numpy(), return_inverse=True)
        before = pairs.filter(pl.col("time_ms") < self.cut_ms)["item_id"]
        often = set(before.value_counts().filter(pl.col("count") >= RARE)["item_id"].to_list())
        rare = np.array([item not in often for item in test["item_id"].to_list()], bool)
        figures = {
            name.SEARCH: per_user(found, users[1], len(users[0])),
            name.SEARCH_RARE: per_user(found[rare], users[1][rare], len(users[0])),
        }
        told = {"search pairs": float(len(test)), name.COVERAGE: coverage(score, len(texts), len(placed.item_ids))}
        return figures, {**facts, **told}

    def measured(self, run: Run) -> Figures:
        """Figures and facts of one variant."""
        if run.variant in PRODUCTS:
            return self.product_figures(run.variant)
        return self.search_figures(run.variant) if run.variant in (*SEARCHES, *OMNIS) else self.baseline_figures(run.variant)


def by_words(products: pl.DataFrame, texts: Sequence[str | None], k: int = max(name.CUTS)) -> Score:
    """The first ``k`` products by BM25 for each of ``texts``; the others score -inf. ``products`` are sorted by id."""
    from corkboard.retrieval.catalogue import Catalogue
    from corkboard.retrieval.lexical import LexicalIndex

    scores = np.full((len(texts), len(products)), -np.inf, np.float32)
    index = LexicalIndex.build(products, Catalogue(products))
    try:
        for row, text in enumerate(texts):
            found = index.search(text, k).rows
            scores[row, found] = -np.arange(len(found))
    finally:
        index.close()
    return lambda rows: scores[rows]


def coverage(score: Score, queries: int, items: int, k: int = 10) -> float:
    """The share of items that are among the first ``k`` of any query. Queries that know nothing list nothing."""
    listed = np.zeros(items, bool)
    for start in range(0, queries, 512):
        scores = score(np.arange(start, min(start + 512, queries)))
        best = np.argpartition(-scores, min(k, items - 1), axis=1)[:, :k]
        listed[best[np.isfinite(np.take_along_axis(scores, best, axis=1))]] = True
    return float(listed.mean())


def work(context: Context) -> None:
    """The work of a job: its variants, in one world."""
    context.each(lambda: bench_of(context).measured)


def bench_of(context: Context) -> ProductBench:
    """The world of a job, with the space that nearly all of its runs need."""
    given = context.job.config
    config, seed = ProductsConfig.model_validate(given["products"]), int(given["seed"])
    world = SpineWorld.prepared(context.folder, config.graph.world_settings(given["on"]), seed, (), context.doing)
    bench = ProductBench(world, config, seed, context.doing)
    bench.searchsage(PICTURES)
    return bench
