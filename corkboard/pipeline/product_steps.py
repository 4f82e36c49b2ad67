"""The steps behind shopping: ItemSage, which gives every product one vector for all surfaces, the index of these, and what is missing of
products, filled in.

ItemSage learns from the pairs of some weeks before A, towards vectors of items as they stood before these weeks and queries as SearchSage
reads them; both stand still. Vectors as of A know the pairs, and a model that learns to copy them is no better than they are. (SearchSage
has learned from the same searches: its early stopping is a little optimistic, what is measured after A is not.) ItemSage's
vectors lie among those of MultiBiSage: medoids, an item's vector and a query ask one index.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from corkboard.artifacts import Artifact, EmbeddingTable
from corkboard.embeddings.config import ItemSageConfig
from corkboard.pipeline.graph_steps import BEFORE_PAIRS, BEFORE_RANKING, SERVING, graph_vectors, pairs_from_ms
from corkboard.pipeline.search_steps import SEARCHSAGE
from corkboard.pipeline.steps import Made, StepInput
from corkboard.pipeline.visual_steps import visual_encoder

if TYPE_CHECKING:
    from corkboard.embeddings.itemsage import ItemSage
    from corkboard.embeddings.product_inputs import ProductInputs
    from corkboard.lake.lake import Lake
    from corkboard.learning.training import Progress

ITEMSAGE = "itemsage"


def train_itemsage(given: StepInput) -> Made:
    """The encoder of products, on what was done with them before A. A lake without products, or where nothing was done with them, has an
    empty artefact: what reads it does without."""
    from corkboard.embeddings.itemsage_training import train_itemsage as train
    from corkboard.embeddings.product_pairs import product_pairs
    from corkboard.embeddings.searchsage import SearchSage

    config: ItemSageConfig = given.config
    cut_ms = given.calendar.item_cut_ms
    pairs = product_pairs(given.lake, cut_ms, config, given.seed, pairs_from_ms(given.calendar))
    items = graph_vectors(given.artifacts, given.lake, cut_ms, BEFORE_PAIRS)
    products = product_inputs(given.artifacts, given.lake, items, cut_ms)
    if not len(products) or not len(pairs):
        return Made(config={"kind": "none"})
    searchsage = SearchSage.from_artifact(given.artifacts[SEARCHSAGE])
    texts = sorted(pairs["query"].drop_nulls().unique())
    queries = EmbeddingTable(texts, searchsage.encode(texts), searchsage.space)
    model = train(pairs, products, items, queries, config, given.seed, partial(_told, given, "training ItemSage"))
    tasks = dict(pairs.group_by("task").len().sort("task").iter_rows())
    metrics = {"products": len(products), "pairs": len(pairs), "tasks": tasks}
    return Made(model.tensors(), config=model.config, metrics=metrics, makes=[model.own_space], requires=[model.space])


def index_products(given: StepInput) -> Made:
    """Vectors of every product there is, and the index that all surfaces ask; items that are none have zeros, which nothing finds."""
    from corkboard.retrieval.index import FaissIndex

    found = product_vectors(given.artifacts, given.lake, given.calendar.end_ms, SERVING)
    if found is None:
        return Made(config={"kind": "none"})
    ids = given.lake.items()["item_id"].to_list()
    vectors, known = found.lookup(ids)
    index = FaissIndex.build(EmbeddingTable(ids, vectors, found.space), given.config)
    return Made(index.tensors(), index.tables(), index.config, {"products": int(known.sum())}, makes=[found.space], requires=[found.space])


# ------------------------------------------------------------------------------------------------------- what others read of it


def itemsage(artifacts: Mapping[str, Artifact]) -> ItemSage | None:
    """The encoder of products; None where there was nothing to learn from, or no step made one."""
    from corkboard.embeddings.itemsage import ItemSage

    artifact = artifacts.get(ITEMSAGE)
    return None if artifact is None or not artifact.makes else ItemSage.from_artifact(artifact)


def product_vectors(
    artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int, neighbours: str = BEFORE_RANKING, served: EmbeddingTable | None = None
) -> EmbeddingTable | None:
    """ItemSage vectors of the products of ``lake``, with the neighbours of the step ``neighbours``; None without ItemSage.

    ``served`` are the graph vectors of the items, where they are there already.
    """
    model = itemsage(artifacts)
    if model is None:
        return None
    served = graph_vectors(artifacts, lake, now_ms, neighbours) if served is None else served
    products = product_inputs(artifacts, lake, served, now_ms)
    return EmbeddingTable(products.item_ids, model.encode(products), model.space)


def product_inputs(artifacts: Mapping[str, Artifact], lake: Lake, served: EmbeddingTable, now_ms: int) -> ProductInputs:
    """What ItemSage reads of the products of ``lake``; ``served`` are graph vectors of its items."""
    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.embeddings.product_images import product_images
    from corkboard.embeddings.product_inputs import ProductInputs, products_of
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.pipeline.learned import content_vectors

    products = products_of(lake.items())
    model, content = MultiBiSage.from_artifact(artifacts["multibisage"]), content_vectors(artifacts["content"], products, now_ms)
    images = product_images(products, served, model, content, visual_encoder(artifacts), Pictures(lake.folder))
    return ProductInputs.of(products, images)


def _told(given: StepInput, what: str, at: Progress) -> None:
    given.progress(what, at.step, at.steps)
