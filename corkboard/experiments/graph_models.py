"""What the graph experiment trains and asks in one world or on one public set: the work of its jobs.

*Items*: item models and baselines, asked which item comes next and what comes onto a board next. *Walks*: Pixie by itself.
*People*: users as several vectors. Everything that learns ends at the cut; the lists that encoders read are made once for all variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable
from corkboard.config import Section
from corkboard.embeddings.config import MultiBiSageConfig, PinSageConfig
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.errors import InputError
from corkboard.experiments import graph_claims as name
from corkboard.experiments.baselines import baseline_scorers
from corkboard.experiments.board_completion import BoardTask, board_figures
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.graph_data import (
    BASE_GRAPH,
    LASTFM,
    GraphData,
    graphs_of,
    public_calendar,
    public_content,
    public_lake,
    thinned_copies,
    without_items,
)
from corkboard.experiments.item_pairs import PairTask
from corkboard.experiments.item_questions import Part, answers, figures_of
from corkboard.experiments.item_scorers import HistoryItems, ItemSetScorer, NeighbourItems, VectorItems, pixie_rows
from corkboard.experiments.spine_config import laid_over
from corkboard.experiments.spine_runs import Context, Measure, Run
from corkboard.experiments.spine_worlds import SpineWorld, alone_at
from corkboard.experiments.task import RetrievalTask, retrieval_task
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.neighbour_lists import NeighbourLists
from corkboard.graph.pixie import Pixie
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import derive, generator

if TYPE_CHECKING:
    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.embeddings.pinsage import PinSage

BASE = "the one graph"
"""In the graphs of a variant: the boards, or what stands for them in a set without boards."""


@dataclass(frozen=True)
class Variant:
    """An encoder, and how it differs from what the settings say.

    ``graphs`` None are all; ``neighbours`` "few" and "many" as the settings have them; ``unseen`` hides a share of the items from training;
    ``pictures``: features are those of the content and of the main picture.
    """

    model: Literal["pinsage", "multibisage"]
    graphs: tuple[str, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    neighbours: Literal["default", "few", "many", "none", "uniform", "flat"] = "default"
    hard: bool = False
    unseen: bool = False
    pictures: bool = False


def _pinsage(**more: Any) -> Variant:
    return Variant("pinsage", (BASE,), **more)


ENCODERS: Mapping[str, Variant] = {
    name.PINSAGE: _pinsage(),
    name.MULTI_BASE: Variant("multibisage", (BASE,)),
    name.MULTI: Variant("multibisage"),
    name.PICTURED: Variant("multibisage", pictures=True),
    name.MEAN: _pinsage(changes={"pooling": "mean"}),
    name.MAX: _pinsage(changes={"pooling": "max"}),
    name.NO_GRAPH: _pinsage(neighbours="none"),
    **{name.alone(graph): Variant("multibisage", (graph,)) for graph in name.FAMILY_OF},
    **{name.added(graph): Variant("multibisage", (BASE, graph)) for graph in name.FAMILY_OF},
    name.HIDDEN: Variant("multibisage", unseen=True),
    name.HIDDEN_NO_GRAPH: _pinsage(neighbours="none", unseen=True),
    name.CURRICULUM: _pinsage(hard=True),
    name.AT_ONCE: _pinsage(hard=True, changes={"hard": {"at_once": True}}),
    name.MARGIN: _pinsage(changes={"loss": "margin"}),
    name.MARGIN_MEAN: _pinsage(changes={"loss": "margin", "pooling": "mean"}),
    name.ONE_LAYER: _pinsage(changes={"layers": 1}),
    name.UNIFORM: _pinsage(neighbours="uniform"),
    name.FEW: Variant("multibisage", neighbours="few"),
    name.MANY: Variant("multibisage", neighbours="many"),
    name.FLAT: Variant("multibisage", neighbours="flat"),
}
"""Encoders, each different from PinSage or MultiBiSage as it is in what its name says."""

BASELINES = (name.CONTENT, name.KNN, name.EASE, name.PIXIE, name.PIXIE_ALL)

ITEM_CODE = (
    *("embeddings", "learning", "graph", "retrieval", "lake", "metrics", "seeds.py", "artifacts.py"),
    *(f"experiments/{part}.py" for part in ("graph_models", "graph_data", "item_pairs", "item_questions", "item_scorers")),
    *(f"experiments/{part}.py" for part in ("board_completion", "baselines", "task", "spine_worlds")),
)
"""Sources that figures of item models depend on; those of the simulated world stand in front."""


def settings_of(config: GraphExperimentConfig, variant: str) -> Section:
    """The settings of an encoder."""
    one = ENCODERS[variant]
    base, kind = (config.pinsage, PinSageConfig) if one.model == "pinsage" else (config.multibisage, MultiBiSageConfig)
    return kind.model_validate(laid_over(base.model_dump(), dict(one.changes)))


class Bench:
    """One lake, cut in time: what item models learn from and are asked. Everything is made when it is first needed."""

    def __init__(
        self,
        lake: Lake,
        calendar: Calendar,
        config: GraphExperimentConfig,
        content: EmbeddingTable,
        seed: int,
        graphs: Sequence[str] | None = None,
        base: str = "board",
        max_pairs: int = 50_000,
        copies: bool = False,
        boards: bool = True,
    ):
        """``lake`` keeps the pictures that variants with pictures read."""
        self.config, self.content, self.seed, self.base = config, content, seed, base
        self.task = PairTask.of(lake, calendar, config.evaluation, max_pairs=max_pairs)
        self.data = GraphData(lake, calendar, config, self.task.item_ids)
        self._names, self._copies, self._boards = graphs, copies, boards

    @cached_property
    def edges(self) -> dict[str, pl.DataFrame]:
        """Edges of the graphs that are read, the base first."""
        known = self.data.edges
        names = [self.base, *(graph for graph in (self._names or known) if graph in known and graph != self.base)]
        if self._copies:
            return {self.base: known[self.base], **thinned_copies(known[self.base], names[1:], 0.5, self.seed)}
        return {graph: known[graph] for graph in names}

    @cached_property
    def edges_before_pairs(self) -> dict[str, pl.DataFrame]:
        """Those of them that were there where the pairs begin: what encoders read while they learn."""
        if self._copies:
            return {graph: found.filter(pl.col("time_ms") < self.data.pairs_ms) for graph, found in self.edges.items()}
        known = self.data.edges_before_pairs
        return {graph: known.get(graph, found.clear()) for graph, found in self.edges.items()}

    @cached_property
    def graphs(self) -> dict[str, BipartiteGraph]:
        """The graphs that are read."""
        return graphs_of(self.edges, self.task.item_ids)

    def features(self, variant: Variant, item_ids: Sequence[str]) -> NodeFeatures:
        """What an encoder reads of items themselves."""
        return NodeFeatures.of(item_ids, [self.content, self.visual] if variant.pictures else [self.content])

    @cached_property
    def visual(self) -> EmbeddingTable:
        """Vectors of the items' main pictures; outputs and proxies on the trunk that ships, learned from the items before the cut."""
        from corkboard.embeddings.visual_lake import learn_from_lake, main_vectors
        from corkboard.lake.pictures.reading import Pictures
        from corkboard.vision.trunk import built_in_trunk

        pictures = Pictures(self.data.lake.folder)
        made = learn_from_lake(self.data.sealed.items(), pictures, built_in_trunk, self.config.visual, self.seed)
        if made is None:
            raise InputError("This lake has no pictures to learn from", found=self.data.lake.folder)
        return main_vectors(made[0], pictures, self.data.lake.items())

    @cached_property
    def lists(self) -> NeighbourLists:
        """The neighbours of every item in every graph, as many as any variant reads."""
        return self._lists_of(self.graphs)

    @cached_property
    def unseen(self) -> np.ndarray:
        """bool ``(items,)``: items that are hidden from the training of some variants."""
        return generator(self.seed, "graph experiment", "unseen").random(len(self.task.item_ids)) < self.config.hidden_share

    @cached_property
    def lists_without_unseen(self) -> NeighbourLists:
        """The lists on graphs in which those items have no edges."""
        return self._lists_of(graphs_of(without_items(self.edges, self.task.item_ids, self.unseen), self.task.item_ids))

    @cached_property
    def learning_graphs(self) -> dict[str, BipartiteGraph]:
        """The graphs that encoders learn on."""
        return graphs_of(self.edges_before_pairs, self.task.item_ids)

    @cached_property
    def learning_lists(self) -> NeighbourLists:
        """The neighbours that encoders learn from."""
        return self._lists_of(self.learning_graphs)

    @cached_property
    def learning_lists_without_unseen(self) -> NeighbourLists:
        """The same without edges of the items that some variants do not know."""
        edges = without_items(self.edges_before_pairs, self.task.item_ids, self.unseen)
        return self._lists_of(graphs_of(edges, self.task.item_ids))

    def _lists_of(self, graphs: Mapping[str, BipartiteGraph]) -> NeighbourLists:
        neighbours = self.config.graph.neighbours
        most = neighbours.model_copy(update={"count": max(neighbours.count, self.config.many)})
        return NeighbourLists.of(graphs, self.task.item_ids, most, self.config.graph.walk, derive(self.seed, "graph experiment", "lists"))

    def chosen(self, variant: Variant, lists: NeighbourLists, learning: bool = False) -> NeighbourLists:
        """Of ``lists`` what a variant reads; while ``learning``, neighbours that are drawn are drawn from the graphs of that time."""
        if variant.graphs is not None:
            lists = lists.only([self.base if graph == BASE else graph for graph in variant.graphs])
        if variant.neighbours == "uniform":
            graphs = self.learning_graphs if learning else self.graphs
            return uniform_neighbours(graphs[self.base], lists.item_ids, self.config.graph.neighbours.count, self.seed)
        counts = {"few": self.config.few, "many": self.config.many, "none": 0}
        short = first_neighbours(lists, counts.get(variant.neighbours, self.config.graph.neighbours.count))
        return one_list(short, 4 * self.config.graph.neighbours.count) if variant.neighbours == "flat" else short

    def learned(self, run_variant: str, tell: Callable[[int, int], None]) -> tuple[MultiBiSage | PinSage, dict[str, float]]:
        """The encoder of a row, and facts."""
        from corkboard.embeddings.graph_training import train_multibisage, train_pinsage

        variant, settings = ENCODERS[run_variant], settings_of(self.config, run_variant)
        pairs, source = self.data.pairs, self.learning_lists
        if variant.unseen:
            gone = {item_id for item_id, one in zip(self.task.item_ids, self.unseen.tolist(), strict=True) if one}
            pairs = pairs.filter(~pl.col("left_id").is_in(list(gone)) & ~pl.col("right_id").is_in(list(gone)))
            source = self.learning_lists_without_unseen
        steps: list[int] = []

        def progress(at: Any) -> None:
            steps.append(at.step)
            tell(at.step, at.steps)

        known = self.data.learned_ids
        if variant.unseen:  # nor may they be drawn as negatives: what has no edges would be what nobody wants
            known = [item_id for item_id in known if item_id not in gone]
        features, lists = self.features(variant, known), self.chosen(variant, source, learning=True).in_order_of(known)
        given = (features, lists, pairs, settings, self.seed, self.data.cut_ms, progress)
        if isinstance(settings, PinSageConfig):
            given = (*given[:3], settings.model_copy(update={"graph": self.base}), *given[4:])
            model: MultiBiSage | PinSage = train_pinsage(*given, hard=self.hard if variant.hard else None)
        else:
            model = train_multibisage(*given)
        return model, {"steps": float(max(steps, default=0)), "pairs learned from": float(pairs.height)}

    def vectors(self, run_variant: str, model: MultiBiSage | PinSage) -> dict[str, np.ndarray]:
        """Vectors of the catalogue at the cut, float32 ``(items, dim)``, by the end of the measures that they are asked with."""
        variant = ENCODERS[run_variant]
        features = self.features(variant, self.task.item_ids)
        found = {"": model.encode(features, self.chosen(variant, self.lists))}
        if variant.unseen and variant.neighbours != "none":
            found[name.NO_EDGES] = model.encode(features, self.chosen(variant, self.lists_without_unseen))
        return found

    @cached_property
    def hard(self) -> np.ndarray:
        """int32 ``(items, m)``: hard negatives of each item that is learned from, by walks far longer than those that choose neighbours."""
        first, last = self.config.hard_ranks
        learned = self.data.learned_ids
        walked = Pixie(BipartiteGraph.of(self.base, self.edges_before_pairs[self.base], learned), self.config.graph.walk)
        return walked.neighbours(np.arange(len(learned)), last, 20 * last, self.seed)[0][:, first:]

    def baseline(self, row: str) -> ItemSetScorer:
        """A row that learns no vectors."""
        ids = self.task.item_ids
        if row == name.CONTENT:
            return VectorItems.of(self.content, ids)
        if row == name.PICTURES:
            return VectorItems.of(self.visual, ids)
        if row == name.KNN:
            return NeighbourItems.of(self._fitted[row].table, ids)
        if row == name.EASE:
            return HistoryItems.of(self._fitted[row], self._users.item_ids, ids)
        walked = pixie_rows(self.graphs, ids, self.config.graph.walk, alone=(self.base,), seed=self.seed)
        return list(walked.values())[(name.PIXIE, name.PIXIE_ALL).index(row)]

    @cached_property
    def _users(self) -> RetrievalTask:
        return retrieval_task(self.data.lake, self.data.calendar, self.config.evaluation)

    @cached_property
    def _fitted(self) -> Mapping[str, Any]:
        """Baselines of the tables of users; what can be chosen is chosen on the last days before the cut."""
        return baseline_scorers(self.data.lake, self.data.calendar, self._users, self.config.evaluation)

    @cached_property
    def boards(self) -> BoardTask | None:
        """What comes onto a board next; None where that is not asked."""
        return BoardTask.of(self.data.lake, self.data.calendar, self.config.evaluation) if self._boards else None

    def figures(self, scorer: ItemSetScorer) -> dict[str, PerUser]:
        """Recall of engaged pairs: all, by action, cold, by boards of the wanted item, unseen; and of new pins of boards."""
        questions, config = self.task.questions, self.config.evaluation
        degrees = self.graphs[self.base].left.degrees[questions.targets]
        parts = {
            name.UNSEEN: self.unseen[questions.targets],
            name.NO_BOARD: degrees == 0,
            name.FEW_BOARDS: (degrees > 0) & (degrees < 3),
            name.MANY_BOARDS: degrees >= 3,
        }
        questions = replace(questions, parts=[*questions.parts, *(Part(part, "", inside) for part, inside in parts.items())])
        found = figures_of(questions, answers(questions, lambda start, stop: scorer.score_items(self.task.asked[start:stop]), config))
        if self.boards is None:
            return found
        boards = board_figures(self.boards, scorer, config)
        return found | {f"boards {measure}": figure for measure, figure in boards.items()}

    def facts(self) -> dict[str, float]:
        """Sizes of the task and of the graphs."""
        sizes = {f"edges of {graph}": float(one.edges) for graph, one in self.graphs.items()}
        asked = {"users": len(self.task.user_ids), "pairs": len(self.task.users), "queries": len(self.task.asked)}
        boards = {"boards": len(self.boards.board_ids), "new pins": len(self.boards.targets)} if self.boards else {}
        asked |= {"items": len(self.task.item_ids), "cold pairs": int(self.task.questions.cold.sum()), **boards}
        return {**{fact: float(value) for fact, value in asked.items()}, **sizes}

    def measured(self, run: Run, tell: Callable[[int, int], None]) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Figures and facts of one variant."""
        if run.variant not in ENCODERS:
            return self.figures(self.baseline(run.variant)), self.facts()
        model, facts = self.learned(run.variant, tell)
        vectors = self.vectors(run.variant, model)
        found = {f"{measure}{end}": figure for end, made in vectors.items() for measure, figure in self.figures(VectorItems(made)).items()}
        return found, {**self.facts(), **facts}


# -------------------------------------------------------------------------------------------------------- other neighbours


def first_neighbours(lists: NeighbourLists, count: int) -> NeighbourLists:
    """The ``count`` most visited neighbours; none at all also takes the degrees away."""
    degrees = lists.degrees if count else np.zeros_like(lists.degrees)
    rows, visits = (part[:, :, : max(count, 1)].copy() for part in (lists.rows, lists.visits))
    if not count:
        rows[:], visits[:] = -1, 0
    return NeighbourLists(lists.graphs, lists.item_ids, rows, visits, degrees)


def one_list(lists: NeighbourLists, count: int) -> NeighbourLists:
    """The neighbours of all graphs side by side as if they were of one, the ``count`` most visited of them."""
    n = len(lists.item_ids)
    rows, visits = (part.transpose(1, 0, 2).reshape(n, -1) for part in (lists.rows, lists.visits))
    best = np.argsort(-visits, axis=1, kind="stable")[:, :count]
    rows, visits = (np.take_along_axis(part, best, axis=1)[None] for part in (rows, visits))
    return NeighbourLists(("all",), lists.item_ids, rows, visits, lists.degrees.sum(axis=0, keepdims=True).astype(np.int32))


def uniform_neighbours(graph: BipartiteGraph, item_ids: Sequence[str], count: int, seed: int) -> NeighbourLists:
    """Neighbours drawn evenly among the items that share a right node with an item, all of them as if visited once."""
    rows = np.full((1, len(item_ids), count), -1, np.int32)
    rng = generator(seed, "graph experiment", "uniform")
    for item in range(len(item_ids)):
        around = np.unique(np.concatenate([graph.right.of(board) for board in graph.left.of(item)] or [np.empty(0, np.int32)]))
        around = around[around != item]
        drawn = rng.permutation(around)[:count]
        rows[0, item, : len(drawn)] = drawn
    degrees = graph.left.degrees.astype(np.int32)[None]
    return NeighbourLists((graph.name,), item_ids, rows, (rows >= 0).astype(np.int32), degrees)


# ------------------------------------------------------------------------------------------------------------------- jobs


def items(context: Context) -> None:
    """The work of a job of item models."""

    def measuring() -> Measure:
        bench = bench_of(context)
        return lambda run: bench.measured(run, context.training(run))

    context.each(measuring)


def bench_of(context: Context) -> Bench:
    """The bench that a job's settings ask for: a simulated world, or a public set."""
    given = context.job.config
    config, seed = GraphExperimentConfig.model_validate(given["graph"]), given["seed"]
    if given.get("set") is None:
        world = SpineWorld.prepared(context.folder, config.world_settings(given["on"]), seed, (), context.doing)
        copies = given.get("copies", False)
        return Bench(world.lake, world.calendar, config, world.content, seed, config.graphs, copies=copies)
    place, name_of_set = Path(context.folder) / "public", given["set"]
    with alone_at(place / f"{name_of_set}.lock"):
        context.doing(f"reading {name_of_set}")
        lake = public_lake(name_of_set, Path(given["data"]), place)
        share = config.public.lastfm_test_share if name_of_set == LASTFM else config.public.movielens_test_share
        calendar = public_calendar(lake, share)
        context.doing(f"content vectors of {name_of_set}")
        content = public_content(lake, calendar, config, place / "content")
    base = BASE_GRAPH[name_of_set]
    return Bench(lake, calendar, config, content, seed, base=base, max_pairs=config.public.max_pairs, boards=False)
