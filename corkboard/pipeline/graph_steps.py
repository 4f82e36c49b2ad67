"""The steps that place items by what people put together: the graphs, the neighbours that walks choose, PinSage and MultiBiSage.

The weights are learned once, from what lies before A. Graphs and neighbours are made again each night and the same weights read
them: an encoder that knows no item ids takes a newer graph without being trained again, and its space stays. Three moments matter: A for
training and for the ranker's rows, B for evaluation, and the beginning of the last day for what serves, so that the gates judge
something that has not seen it. The saves of the last day are written beside the graph for serving; gates leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from corkboard.artifacts import Artifact, EmbeddingTable
from corkboard.config import Section
from corkboard.embeddings.config import MultiBiSageConfig, PairConfig, PinSageConfig
from corkboard.graph.config import NeighbourConfig, PruningConfig, WalkConfig
from corkboard.lake.calendar import DAY_MS
from corkboard.pipeline.steps import Made, StepInput
from corkboard.pipeline.visual_steps import visual_vectors
from corkboard.seeds import derive, generator

if TYPE_CHECKING:
    import polars as pl

    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.embeddings.node_features import NodeFeatures
    from corkboard.embeddings.pinsage import PinSage
    from corkboard.graph.neighbour_lists import NeighbourLists
    from corkboard.lake.calendar import Calendar
    from corkboard.lake.lake import Lake
    from corkboard.learning.training import Progress

BEFORE_PAIRS, BEFORE_RANKING, BEFORE_TEST, SERVING = (f"neighbours{of}" for of in ("/before_pairs", "/before_ranking", "/before_test", ""))
"""The steps that choose neighbours, by what they may know: as of :func:`pairs_from_ms`, of A, of B, of the beginning of the last day."""
TOPICS = 32
"""Clusters of content that boards are told to be diverse by."""


class GraphsStepConfig(Section):
    """The graphs of a lake."""

    pruning: PruningConfig = PruningConfig()
    """What is left out."""


class MultiBiSageStepConfig(Section):
    """MultiBiSage and what it is trained on."""

    encoder: MultiBiSageConfig = MultiBiSageConfig()
    """The model."""
    pairs: PairConfig = PairConfig()
    """What counts as engaged together."""


class PinSageStepConfig(Section):
    """PinSage and what it is trained on."""

    encoder: PinSageConfig = PinSageConfig()
    """The model."""
    hard_ranks: tuple[int, int] = (50, 200)
    """Hard negatives of an item lie between these ranks by personalised PageRank; published 2,000 to 5,000 of two billion."""
    pairs: PairConfig = PairConfig()
    """What counts as engaged together."""


class NeighboursStepConfig(Section):
    """The neighbours that encoders read."""

    neighbours: NeighbourConfig = NeighbourConfig()
    """How many, and how long the walks are that choose them."""
    walk: WalkConfig = WalkConfig()
    """How walks restart."""


def pairs_from_ms(calendar: Calendar) -> int:
    """Where the pairs begin that encoders learn from, on the graph as it stood then."""
    return calendar.last_quarter_ms(calendar.item_cut_ms)


# ------------------------------------------------------------------------------------------------------------------- the steps


def make_graphs(given: StepInput) -> Made:
    """Every bipartite graph that the lake supports, as of the step's cut."""
    return _graphs(given, given.lake)


def make_serving_graphs(given: StepInput) -> Made:
    """The graphs as of the beginning of the last day, and the public saves since, for the overlay of what serves.

    Which boards are public, and which saves still stand, is judged by all that is known: leaving an edge out tells the gates nothing.
    """
    from corkboard.graph.from_lake import newer_saves

    cut_ms = given.calendar.end_ms - DAY_MS
    made = _graphs(given, given.lake.until(cut_ms), given.lake)
    made.tables = {**made.tables, "newer": newer_saves(given.lake, cut_ms)}
    # what was said of boards by then is in the lake, or in the log of the store behind its watermark
    made.config = {**made.config, "known_ms": given.lake.read_ms}
    return made


def make_neighbours(given: StepInput) -> Made:
    """The items that walks from each item visit most, in each graph."""
    from corkboard.graph.graphs import Graphs
    from corkboard.graph.neighbour_lists import NeighbourLists

    (artifact,) = given.artifacts.values()
    graphs, config = Graphs.from_artifact(artifact), given.config
    progress = partial(given.progress, "walking from every item")
    lists = NeighbourLists.of(graphs.of_items, graphs.item_ids, config.neighbours, config.walk, given.seed, progress=progress)
    known = {name: float((lists.rows[place, :, 0] >= 0).mean()) for place, name in enumerate(lists.graphs)} if lists.rows.size else {}
    return Made(lists.tensors(), lists.tables(), config.model_dump(mode="json"), {"items_with_neighbours": known})


def train_multibisage(given: StepInput) -> Made:
    """The encoder that everything else reads: all graphs, on days before A."""
    from corkboard.embeddings.graph_training import train_multibisage as train

    features, lists, pairs = _training_data(given)
    progress = partial(_told, given, "training MultiBiSage")
    model = train(features, lists, pairs, given.config.encoder, given.seed, given.calendar.item_cut_ms, progress)
    return _encoder(model, features, {"pairs": len(pairs), "graphs": len(model.graphs)})


def train_pinsage(given: StepInput) -> Made:
    """The encoder it is measured against: one graph, the boards where there are any."""
    from corkboard.embeddings.graph_training import train_pinsage as train

    features, lists, pairs = _training_data(given)
    progress = partial(_told, given, "training PinSage")
    hard = _hard_negatives(given, features.item_ids)
    model = train(features, lists, pairs, given.config.encoder, given.seed, given.calendar.item_cut_ms, progress, hard)
    return _encoder(model, features, {"pairs": len(pairs)})


def index_graph_vectors(given: StepInput) -> Made:
    """MultiBiSage vectors of every item there is, and the index that is searched for what lies near one."""
    from corkboard.retrieval.index import FaissIndex

    table = graph_vectors(given.artifacts, given.lake, given.calendar.end_ms, SERVING)
    index = FaissIndex.build(table, given.config)
    return Made(index.tensors(), index.tables(), index.config, makes=[table.space], requires=[table.space])


# ------------------------------------------------------------------------------------------------------- what others read of it


def graph_vectors(artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int, neighbours: str = BEFORE_RANKING) -> EmbeddingTable:
    """MultiBiSage vectors of the items of ``lake`` with the neighbours of the step ``neighbours``.

    An item that the graph of that moment does not have is placed by its content and its picture alone.
    """
    from corkboard.embeddings.multibisage import MultiBiSage

    return encoded(MultiBiSage.from_artifact(artifacts["multibisage"]), artifacts, lake, now_ms, neighbours)


def encoded(model: MultiBiSage | PinSage, artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int, neighbours: str) -> EmbeddingTable:
    """Vectors of the items of ``lake`` by ``model``."""
    from corkboard.graph.neighbour_lists import NeighbourLists

    features = node_features(artifacts, lake, now_ms)
    lists = NeighbourLists.from_artifact(artifacts[neighbours]).in_order_of(features.item_ids)
    return EmbeddingTable(list(features.item_ids), model.encode(features, lists), model.space)


def node_features(artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int) -> NodeFeatures:
    """What an encoder reads of an item itself: its content vector and, where the lake has pictures, that of its main one."""
    from corkboard.embeddings.node_features import NodeFeatures
    from corkboard.pipeline.learned import content_vectors

    items = lake.items()
    content = content_vectors(artifacts["content"], items, now_ms)
    visual = visual_vectors(artifacts, lake.folder, items)
    return NodeFeatures.of(content.ids, [content] if visual is None else [content, visual])


def _graphs(given: StepInput, lake: Lake, judge: Lake | None = None) -> Made:
    """The graphs of ``lake``; with ``judge``, the whole of it, without what is not public or was taken back by now."""
    from corkboard.graph.from_lake import graphs

    item_ids, pruning = lake.items()["item_id"].to_list(), given.config.pruning
    topics, vectors = _alike(given, lake) if _reads_content(pruning) and item_ids else (None, None)
    found = graphs(judge or lake, item_ids, pruning, topics, vectors, None if judge is None else lake.cut_ms)
    edges = {name: graph.edges for name, graph in found.by_name.items()}
    return Made(found.tensors(), found.tables(), given.config.model_dump(mode="json"), {"edges": edges})


def _reads_content(pruning: PruningConfig) -> bool:
    return pruning.max_entropy is not None or pruning.degree_exponent < 1


def _alike(given: StepInput, lake: Lake) -> tuple[np.ndarray, np.ndarray]:
    """(topics ``(items, topics)``, vectors ``(items, dim)``): what boards are pruned by, from content that nothing was learned for."""
    from scipy.cluster.vq import kmeans2

    from corkboard.embeddings.content import untrained_content

    items = lake.items()
    vectors = untrained_content(items, seed=given.seed).encode(items, given.calendar.end_ms)
    _, topic = kmeans2(vectors, min(TOPICS, len(vectors)), minit="++", rng=generator(given.seed, "topics"))
    return np.eye(TOPICS, dtype=np.float32)[topic] * vectors.any(axis=1)[:, None], vectors


def _training_data(given: StepInput) -> tuple[NodeFeatures, NeighbourLists, pl.DataFrame]:
    """Features of the items before A, their neighbours of some weeks before, and the pairs of those weeks.

    With neighbours as of A the pairs would be in the graph, and an item that is new would never be wanted: the encoder learns to
    copy neighbours and to hide what has none.
    """
    from corkboard.embeddings.pairs import co_engagement_pairs
    from corkboard.graph.neighbour_lists import NeighbourLists

    features = node_features(given.artifacts, given.lake, given.calendar.item_cut_ms)
    lists = NeighbourLists.from_artifact(given.artifacts[BEFORE_PAIRS]).in_order_of(features.item_ids)
    actions = given.lake.actions(pairs_from_ms(given.calendar))
    return features, lists, co_engagement_pairs(actions, given.config.pairs, derive(given.seed, "graph pairs"))


def _hard_negatives(given: StepInput, item_ids: Sequence[str]) -> np.ndarray | None:
    """int32 ``(items, m)``: items that long walks from each item visit, but not most; None where there is no graph to walk."""
    from corkboard.graph.graphs import Graphs
    from corkboard.graph.neighbour_lists import NeighbourLists

    graphs = Graphs.from_artifact(given.artifacts["graphs/before_pairs"])
    name = given.config.encoder.graph if given.config.encoder.graph in graphs.by_name else graphs.walked
    if name is None:
        return None
    first, last = given.config.hard_ranks
    far = NeighbourConfig(count=last, visits=20 * last, min_visits=1)
    lists = NeighbourLists.of({name: graphs.by_name[name]}, graphs.item_ids, far, seed=derive(given.seed, "hard negatives"))
    return lists.in_order_of(item_ids).rows[0][:, first:]


def _encoder(model: MultiBiSage | PinSage, features: NodeFeatures, metrics: Mapping[str, float]) -> Made:
    return Made(model.tensors(), config=model.config, metrics=metrics, makes=[model.space], requires=list(features.spaces))


def _told(given: StepInput, what: str, at: Progress) -> None:
    given.progress(what, at.step, at.steps)
