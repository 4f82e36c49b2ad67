"""The trained models of a build as an evaluation reads them: each loaded once, and checked for its cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from corkboard.artifacts import EmbeddingTable
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.errors import InputError
from corkboard.experiments.leaks import require_cuts, require_known_edges
from corkboard.graph.graphs import Graphs
from corkboard.pipeline import graph_steps, learned, product_steps
from corkboard.pipeline.build import Builder
from corkboard.pipeline.graph_steps import BEFORE_RANKING, BEFORE_TEST
from corkboard.pipeline.search_steps import SEARCHSAGE
from corkboard.pipeline.visual_steps import VISUAL, visual_vectors
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.ranking.ranker import Ranker
from corkboard.retrieval.item_stats import ItemStats
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.settings import Settings

RANKERS = ("ranker", "ranker/hybrid")
"""Steps that make rankers, the better last."""


@dataclass
class TrainedModels:
    """``missing`` says of each ranker that could not be made why."""

    builder: Builder
    settings: Settings
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        calendar = self.builder.calendar
        before_ranking = ("content", VISUAL, "item_knn/before_ranking", BEFORE_RANKING, "multibisage", "pinnerformer")
        before_ranking += (SEARCHSAGE, product_steps.ITEMSAGE)
        allowed = dict.fromkeys(before_ranking, calendar.item_cut_ms)
        allowed |= dict.fromkeys(("graphs/before_test", BEFORE_TEST), calendar.rank_cut_ms)
        self.artifacts = {title: self.builder.artifact(title) for title in allowed}
        for title in RANKERS:
            try:
                self.artifacts[title] = self.builder.artifact(title)
                allowed[title] = calendar.rank_cut_ms
            except InputError as error:
                self.missing[title] = str(error)
        require_cuts(self.artifacts, allowed)

    @property
    def warnings(self) -> list[str]:
        """What is not in the tables, and why."""
        return [f"There is no {title}: {error}" for title, error in self.missing.items()]

    @cached_property
    def pointwise(self) -> PointwiseRanker | None:
        """None where there was too little to train one from."""
        return PointwiseRanker.from_artifact(self.artifacts["ranker"]) if "ranker" in self.artifacts else None

    @cached_property
    def hybrid(self):
        """The hybrid ranker, None where there was too little to train one from."""
        from corkboard.ranking.hybrid import HybridRanker

        return HybridRanker.from_artifact(self.artifacts["ranker/hybrid"]) if "ranker/hybrid" in self.artifacts else None

    @cached_property
    def products(self) -> EmbeddingTable | None:
        """ItemSage vectors of every product: weights as of A, neighbours as of B; None for a lake without products."""
        lake, now_ms = self.builder.lake, self.builder.calendar.rank_cut_ms
        return product_steps.product_vectors(self.artifacts, lake, now_ms, BEFORE_TEST, self.graph)

    @property
    def ranker(self) -> Ranker | None:
        """The better one of those there are."""
        return self.hybrid or self.pointwise

    @cached_property
    def stats(self) -> ItemStats:
        """Counters of whole days."""
        return ItemStats.from_artifact(self.builder.artifact("stats"))

    @cached_property
    def neighbours(self) -> NeighbourTable:
        """The item-kNN that rankers read, cut at A."""
        return NeighbourTable.from_artifact(self.artifacts["item_knn/before_ranking"])

    @cached_property
    def users(self) -> PinnerFormer:
        """The user model, cut at A."""
        return PinnerFormer.from_artifact(self.artifacts["pinnerformer"])

    @cached_property
    def content(self) -> EmbeddingTable:
        """Content vectors of every item, also of those that came after the tower was trained: it encodes any item."""
        return learned.content_vectors(self.artifacts["content"], self.builder.lake.items(), self.builder.calendar.rank_cut_ms)

    @cached_property
    def visual(self) -> EmbeddingTable | None:
        """Vectors of the items' pictures, outputs and proxies as of A; None for a lake without pictures."""
        return visual_vectors(self.artifacts, self.builder.lake.folder, self.builder.lake.items())

    @cached_property
    def graphs(self) -> Graphs:
        """Every graph as of B; each edge is held against the log."""
        graphs = Graphs.from_artifact(self.artifacts["graphs/before_test"])
        require_known_edges(graphs.by_name, self.builder.lake, self.builder.calendar.rank_cut_ms, self.settings.graph.pruning)
        return graphs

    @cached_property
    def graph(self) -> EmbeddingTable:
        """MultiBiSage vectors of every item: weights as of A, neighbours as of B."""
        return graph_steps.graph_vectors(self.artifacts, self.builder.lake, self.builder.calendar.rank_cut_ms, BEFORE_TEST)

    @cached_property
    def pinsage(self) -> EmbeddingTable:
        """PinSage vectors of every item, alike. Trained when they are first asked for: nothing that serves reads them."""
        from corkboard.embeddings.pinsage import PinSage

        artifact = self.builder.artifact("pinsage")
        require_cuts({"pinsage": artifact}, {"pinsage": self.builder.calendar.item_cut_ms})
        lake, now_ms = self.builder.lake, self.builder.calendar.rank_cut_ms
        return graph_steps.encoded(PinSage.from_artifact(artifact), self.artifacts, lake, now_ms, BEFORE_TEST)

    @cached_property
    def embeddings(self) -> EmbeddingTable:
        """Item embeddings of every item."""
        return EmbeddingTable(self.graph.ids, self.users.encode_items(self.graph.ids, self.graph.vectors), self.users.space)

    @cached_property
    def histories(self) -> Histories:
        """What everybody did until the end; the user model reads of it only what it may know at a moment."""
        return learned.histories_of(self.builder.lake.actions(end_ms=self.builder.calendar.end_ms), self.users, self.graph)
