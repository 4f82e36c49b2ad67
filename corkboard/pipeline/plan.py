"""The plan: which steps there are, who feeds whom, and the ladder of releases they add up to. What the steps that learn from behaviour
do is in :mod:`corkboard.pipeline.learned`.

    catalogue  lexical  queries  stats  states
    content/hashed -> index/hashed                                              1  popularity and content
    item_knn  boards                                                            2  + item-kNN
    content -> index                                                            3  + trained content
    visual -> visual_index; detector, visual -> objects -> look_index -> look_matcher
    objects -> appearances, outfits -> outfit_model, scene_model (the first reads appearances, too)
    graphs -> neighbours; content, visual, neighbours -> multibisage
                          -> graph_index; -> searchsage -> itemsage
                          -> product_index, attributes                          4  + MultiBiSage
    multibisage -> pinnerformer -> embedding_index, user_vectors                5  + PinnerFormer
    content, stats, item_knn/before_ranking -> ranker                           6  + ranker
    all of these -> ranker/hybrid                                               7  + TransAct
    ranker/hybrid -> light_ranker                                               8  + light ranker

Which day each step reads up to is decided here and nowhere else; see ``docs/decisions/0001-the-way-through.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from corkboard.artifacts import EmbeddingTable
from corkboard.config import Section
from corkboard.embeddings.config import ContentConfig
from corkboard.feed.guesses import ATTRIBUTES
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.pipeline import (
    attribute_steps,
    graph_steps,
    learned,
    look_steps,
    outfit_steps,
    product_steps,
    query_steps,
    search_steps,
    visual_steps,
)
from corkboard.pipeline.build import Plan, Stage
from corkboard.pipeline.steps import Made, Step, StepInput
from corkboard.retrieval.config import BoardConfig, IndexConfig, ItemKNNConfig
from corkboard.settings import Settings

if TYPE_CHECKING:
    from corkboard.embeddings.content import ContentTower


UNCUT_MS = 2**62
"""A cut that leaves everything in."""


def uncut(calendar: Calendar) -> int:
    """Everything there is: what serving knows of items and users. Nothing is learned from it.

    It may be younger than the end of the calendar, which is the end of the last day on which something happened.
    """
    return UNCUT_MS


def end(calendar: Calendar) -> int:
    """The counters of whole days, of which every reader takes only those before its own moment."""
    return calendar.end_ms


def before_items_cut(calendar: Calendar) -> int:
    """A: what item models may learn from, so that the ranker's rows in [A, B) are new to them."""
    return calendar.item_cut_ms


def before_test(calendar: Calendar) -> int:
    """B: what the ranker may learn from."""
    return calendar.rank_cut_ms


def before_last_day(calendar: Calendar) -> int:
    """G: what a model that serves may learn from, so that the gates on the last day judge something that has not seen it."""
    return calendar.end_ms - DAY_MS


# ------------------------------------------------------------------------------------------------------ what the steps do


class CatalogueConfig(Section):
    """Whose catalogue it is."""

    tenant: str = "default"


def make_catalogue(given: StepInput) -> Made:
    from corkboard.retrieval.catalogue import Catalogue

    catalogue = Catalogue(given.lake.items())
    return Made(tables=catalogue.tables(), config=given.config.model_dump(), metrics={"items": len(catalogue)})


def make_stats(given: StepInput) -> Made:
    from corkboard.retrieval.item_stats import ItemStats

    ids = given.lake.items()["item_id"].to_list()
    stats = ItemStats.build(given.lake.actions(), given.lake.shown(), ids, given.calendar.end_ms)
    return Made(stats.tensors(), stats.tables(), stats.config)


def make_states(given: StepInput) -> Made:
    from corkboard.state.replay import base_states

    states = base_states(given.lake, given.config)
    return Made(tables={"states": states}, config={"watermarks": given.lake.watermarks}, metrics={"users": len(states)})


def hash_content(given: StepInput) -> Made:
    """The first minute's tower: nothing is learned, hashed words and attributes are projected at random."""
    from corkboard.embeddings.content import untrained_content

    return _tower(untrained_content(given.lake.items(), given.config, given.seed))


def train_content(given: StepInput) -> Made:
    from corkboard.embeddings import content
    from corkboard.embeddings.pairs import co_engagement_pairs

    pairs = co_engagement_pairs(given.lake.actions(), given.config.pairs, given.seed)
    cut_ms = given.calendar.item_cut_ms
    tower = content.train_content(
        given.lake.items(),
        pairs,
        given.config,
        given.seed,
        lambda at: given.progress("training the content tower", at.step, at.steps),
        cut_ms,
    )
    return _tower(tower, {"pairs": len(pairs)})


def _tower(tower: ContentTower, metrics: Mapping[str, float] | None = None) -> Made:
    return Made(tower.tensors(), config=tower.config, metrics=metrics or {}, makes=[tower.space])


def make_index(given: StepInput) -> Made:
    """Vectors of every item by the release's own tower, and the index that searches them."""
    from corkboard.embeddings.content import ContentTower
    from corkboard.retrieval.index import FaissIndex

    (artifact,) = given.artifacts.values()
    (space,) = artifact.makes
    items = given.lake.items()
    vectors = ContentTower.from_artifact(artifact).encode(items, given.calendar.end_ms)
    index = FaissIndex.build(EmbeddingTable(items["item_id"].to_list(), vectors, space), given.config)
    return Made(index.tensors(), index.tables(), index.config, makes=[space], requires=[space])


def fit_item_knn(given: StepInput) -> Made:
    from corkboard.retrieval.baselines import ItemKNN

    ids = given.lake.items()["item_id"].to_list()
    model = ItemKNN.fit(given.lake.actions(), ids, given.lake.cut_ms, given.config)
    return Made(model.tensors(), model.tables(), model.config)


def fit_boards(given: StepInput) -> Made:
    from corkboard.retrieval.boards import board_neighbours

    ids = given.lake.items()["item_id"].to_list()
    table = board_neighbours(given.lake.actions(), given.lake.boards(), ids, given.lake.cut_ms, given.config)
    return Made(table.tensors(), table.tables())


# -------------------------------------------------------------------------------------------------------------- the plan


def plan(settings: Settings) -> Plan:
    """The steps and stages under ``settings``."""
    retrieval, content = settings.retrieval, settings.embeddings.content
    return Plan(
        [
            *_first(settings, content, retrieval.index),
            *_co_engagement(retrieval.item_knn, retrieval.boards),
            *_learned(settings, content),
        ],
        _stages(),
    )


def _first(settings: Settings, content: ContentConfig, index: IndexConfig) -> list[Step]:
    return [
        Step(
            "catalogue",
            make_catalogue,
            uncut,
            CatalogueConfig(tenant=settings.tenant),
            code=("corkboard.retrieval.catalogue", "corkboard.retrieval.attributes"),
        ),
        Step(
            query_steps.QUERIES,
            query_steps.make_queries,
            end,
            query_steps.QueriesStepConfig(tenant=settings.tenant, min_people=max(5, settings.retrieval.lexical.min_people)),
            code=("corkboard.learning.query_text", "corkboard.learning.text", "corkboard.embeddings.query_pairs"),
        ),
        Step("lexical", search_steps.make_texts, uncut, settings.retrieval.lexical, code=("corkboard.retrieval.lexical",)),
        Step("stats", make_stats, end, code=("corkboard.retrieval.item_stats",)),
        Step("states", make_states, uncut, settings.state.limits, code=("corkboard.state.user_state", "corkboard.state.replay")),
        Step("content", hash_content, uncut, content, variant="hashed", code=("corkboard.embeddings",)),
        Step(
            "index",
            make_index,
            end,
            index,
            ("content/hashed",),
            variant="hashed",
            code=("corkboard.retrieval.index", "corkboard.embeddings"),
        ),
    ]


def _co_engagement(knn: ItemKNNConfig, boards: BoardConfig) -> list[Step]:
    code = ("corkboard.retrieval.baselines", "corkboard.retrieval.interactions")
    return [
        Step("item_knn", fit_item_knn, before_last_day, knn, code=code),
        Step("item_knn", fit_item_knn, before_items_cut, knn, variant="before_ranking", code=code),
        Step("boards", fit_boards, before_last_day, boards, code=("corkboard.retrieval.boards", *code)),
    ]


def _learned(settings: Settings, content: ContentConfig) -> list[Step]:
    steps = ("graph_steps", "learned", "product_steps", "visual_steps")
    towers = ("corkboard.embeddings", "corkboard.learning", "corkboard.graph", *(f"corkboard.pipeline.{name}" for name in steps))
    return [
        Step("content", train_content, before_items_cut, content, code=towers),
        Step(
            "index", make_index, uncut, settings.retrieval.index, ("content",), code=("corkboard.retrieval.index", "corkboard.embeddings")
        ),
        *_visual(settings),
        *_looks(settings),
        *_graph(settings, towers),
        Step(
            search_steps.SEARCHSAGE,
            search_steps.train_searchsage,
            before_items_cut,
            search_steps.QueryEncoderConfig.of(settings.embeddings),
            ("content", visual_steps.VISUAL, graph_steps.BEFORE_RANKING, "multibisage"),
            code=towers,
        ),
        *_products(settings, towers),
        *_users(settings, towers),
        *_rankers(settings, towers),
    ]


_INPUTS = ("content", visual_steps.VISUAL, graph_steps.BEFORE_PAIRS)
"""What the encoders of the graph learn from."""
_SERVED_ITEMS = ("content", visual_steps.VISUAL, graph_steps.SERVING, "multibisage")
"""What the vectors of items are made from, as of the beginning of the last day."""


def _visual(settings: Settings) -> list[Step]:
    """What pictures are read by, and the index that they are searched in."""
    code = (
        "corkboard.vision",
        "corkboard.learning",
        "corkboard.lake.pictures.reading",
        *(f"corkboard.embeddings.{part}" for part in ("visual", "visual_lake", "visual_network", "visual_training")),
    )
    trunk = settings.vision.trunk
    visual = visual_steps.VisualStepConfig(visual=settings.embeddings.visual, trunk=trunk, weights=visual_steps.weights_digest(trunk))
    index = ("corkboard.retrieval.binary_index", "corkboard.retrieval.hamming")
    return [
        Step("visual", visual_steps.train_visual, before_items_cut, visual, code=code, pictures=True),
        Step("visual_index", visual_steps.index_visual, uncut, settings.retrieval.binary_index, ("visual",), code=index, pictures=True),
    ]


def _looks(settings: Settings) -> list[Step]:
    """What is in pictures, the products that look like it, and what goes together."""
    shop, complete = settings.shopping.shop_the_look, settings.shopping.complete_the_look
    detector, trunk = settings.vision.detector, settings.vision.trunk
    learned = look_steps.DetectorStepConfig(
        own=settings.vision.own_detector,
        source=detector,
        weights=look_steps.weights_digest(detector),
        trunk=trunk,
        trunk_weights=visual_steps.weights_digest(trunk),
    )
    objects = look_steps.ObjectsStepConfig(objects=shop.objects, detector=detector, weights=look_steps.weights_digest(detector))
    found, index, matcher = look_steps.OBJECTS, look_steps.LOOK_INDEX, look_steps.LOOK_MATCHER
    outfits, learned_from = outfit_steps.OUTFITS, ("corkboard.shopping", "corkboard.vision", "corkboard.learning")
    crops = ("corkboard.shopping.objects", "corkboard.shopping.object_cache", "corkboard.vision", "corkboard.lake.pictures.reading")
    indexed = ("corkboard.shopping.look_index", "corkboard.shopping.objects")
    matched = (*indexed, *(f"corkboard.shopping.{part}" for part in ("judging", "matcher", "similarity_gate")))
    looked, appearance = (found, index, matcher), outfit_steps.weights_digest()
    mining = outfit_steps.OutfitsStepConfig(mining=complete.mining, weights=appearance)
    return [
        Step(
            look_steps.DETECTOR,
            look_steps.learn_detector,
            before_last_day,
            learned,
            code=(*look_steps.DETECTOR_CODE, *crops),
            pictures=True,
        ),
        Step(found, look_steps.find_objects, uncut, objects, ("visual", look_steps.DETECTOR), code=crops, pictures=True),
        Step(index, look_steps.index_looks, uncut, None, (found,), code=indexed),
        Step(
            matcher,
            look_steps.fit_matcher,
            before_last_day,
            shop,
            ("visual", "stats", found, index),
            code=(*matched, *crops, "corkboard.retrieval.item_stats"),
            pictures=True,
        ),
        Step(
            outfit_steps.APPEARANCES,
            outfit_steps.make_appearances,
            uncut,
            outfit_steps.AppearancesStepConfig(margin=shop.objects.margin, weights=appearance),
            (found,),
            code=("corkboard.vision.appearance", "corkboard.vision.appearance_network", *crops),
            pictures=True,
        ),
        Step(outfits, outfit_steps.make_outfits, uncut, mining, ("visual", found), code=learned_from, pictures=True),
        Step(
            outfit_steps.OUTFIT_MODEL,
            outfit_steps.train_outfit_model,
            before_last_day,
            settings.shopping.outfit_model,
            (found, outfit_steps.APPEARANCES, outfits),
            code=learned_from,
        ),
        Step(
            outfit_steps.SCENE_MODEL,
            outfit_steps.train_scene_model,
            before_last_day,
            complete.scene_model,
            ("visual", outfits, *looked),
            code=learned_from,
            pictures=True,
        ),
    ]


def _graph(settings: Settings, towers: tuple[str, ...]) -> list[Step]:
    graph, embeddings, code = settings.graph, settings.embeddings, ("corkboard.graph", "corkboard.embeddings.content")
    pruning = graph_steps.GraphsStepConfig(pruning=graph.pruning)
    walks = graph_steps.NeighboursStepConfig(neighbours=graph.neighbours, walk=graph.walk)
    index = ("corkboard.retrieval.index", *towers)
    multibisage = graph_steps.MultiBiSageStepConfig(encoder=embeddings.multibisage, pairs=embeddings.content.pairs)
    pinsage = graph_steps.PinSageStepConfig(encoder=embeddings.pinsage, pairs=embeddings.content.pairs)
    steps = [Step("graphs", graph_steps.make_serving_graphs, uncut, pruning, code=code)]
    steps += [Step("neighbours", graph_steps.make_neighbours, before_last_day, walks, ("graphs",), code=code)]
    cuts = {"before_pairs": graph_steps.pairs_from_ms, "before_ranking": before_items_cut, "before_test": before_test}
    for variant, cut in cuts.items():
        steps += [Step("graphs", graph_steps.make_graphs, cut, pruning, variant=variant, code=code)]
        steps += [Step("neighbours", graph_steps.make_neighbours, cut, walks, (f"graphs/{variant}",), variant=variant, code=code)]
    return [
        *steps,
        Step("multibisage", graph_steps.train_multibisage, before_items_cut, multibisage, _INPUTS, code=towers),
        Step("pinsage", graph_steps.train_pinsage, before_items_cut, pinsage, (*_INPUTS, "graphs/before_pairs"), code=towers),
        Step("graph_index", graph_steps.index_graph_vectors, uncut, settings.retrieval.index, _SERVED_ITEMS, code=index),
    ]


def _products(settings: Settings, towers: tuple[str, ...]) -> list[Step]:
    """ItemSage, the index of what can be bought, and what is guessed of it."""
    index = ("corkboard.retrieval.index",)
    learned = (*_INPUTS, "multibisage", search_steps.SEARCHSAGE)
    served = (*_SERVED_ITEMS, product_steps.ITEMSAGE)
    return [
        Step(
            product_steps.ITEMSAGE,
            product_steps.train_itemsage,
            before_items_cut,
            settings.embeddings.itemsage,
            learned,
            code=towers,
        ),
        Step("product_index", product_steps.index_products, uncut, settings.retrieval.index, served, code=(*index, *towers)),
        Step(
            ATTRIBUTES,
            attribute_steps.fill_attributes,
            uncut,
            settings.embeddings.attributes,
            _SERVED_ITEMS,
            code=(*towers, "corkboard.metrics.prediction"),
        ),
    ]


def _users(settings: Settings, towers: tuple[str, ...]) -> list[Step]:
    """PinnerFormer, and what it makes."""
    night, index = learned.UserVectorsStepConfig(tenant=settings.tenant), ("corkboard.retrieval.index", *towers)
    served, pinnerformer = (*_SERVED_ITEMS, "pinnerformer"), settings.embeddings.pinnerformer
    return [
        Step("pinnerformer", learned.train_pinnerformer, before_items_cut, pinnerformer, (*_INPUTS, "multibisage"), code=towers),
        Step("embedding_index", learned.index_embeddings, uncut, settings.retrieval.index, served, code=index),
        Step("user_vectors", learned.batch_users, before_last_day, night, served, code=towers),
    ]


def _rankers(settings: Settings, towers: tuple[str, ...]) -> list[Step]:
    ranking, limits, sources = settings.ranking, settings.state.limits, settings.retrieval.sources
    rows = ("corkboard.ranking", "corkboard.state", "corkboard.retrieval")
    models = ("content", "stats", "item_knn/before_ranking")
    hybrid_reads = (*models, visual_steps.VISUAL, graph_steps.BEFORE_RANKING, "multibisage", "pinnerformer", product_steps.ITEMSAGE)
    hybrid = learned.HybridStepConfig(rows=ranking.rows, hybrid=ranking.hybrid, limits=limits, sources=sources)
    light = learned.LightStepConfig(light=ranking.light, rows=ranking.rows, utility=ranking.utility, limits=limits, sources=sources)
    pointwise = learned.RankerStepConfig(rows=ranking.rows, pointwise=ranking.pointwise, limits=limits, sources=sources)
    all_code = (*rows, *towers)
    return [
        Step("ranker", learned.train_ranker, before_test, pointwise, models, code=rows),
        Step("ranker", learned.train_hybrid_ranker, before_test, hybrid, hybrid_reads, code=all_code, variant="hybrid"),
        Step("light_ranker", learned.train_light_ranker, before_test, light, (*hybrid_reads, "ranker/hybrid"), code=all_code),
    ]


def _stages() -> list[Stage]:
    first = {name: name for name in ("catalogue", "lexical", query_steps.QUERIES, "stats", "states")}
    first |= {"content": "content/hashed", "index": "index/hashed"}
    second = {**first, "item_knn": "item_knn", "boards": "boards"}
    third = {**second, "content": "content", "index": "index"}
    pictures = {"visual": "visual", "visual_index": "visual_index"}
    looks = (look_steps.DETECTOR, look_steps.OBJECTS, look_steps.LOOK_INDEX, look_steps.LOOK_MATCHER)
    looks += (outfit_steps.APPEARANCES, outfit_steps.OUTFITS, outfit_steps.OUTFIT_MODEL, outfit_steps.SCENE_MODEL)
    pictures |= {name: name for name in looks}
    fourth = {**third, **pictures, "graphs": "graphs", "multibisage": "multibisage", "graph_index": "graph_index"}
    fourth |= {name: name for name in (search_steps.SEARCHSAGE, product_steps.ITEMSAGE, "product_index", ATTRIBUTES)}
    fifth = {**fourth, "pinnerformer": "pinnerformer", "embedding_index": "embedding_index", "user_vectors": "user_vectors"}
    sixth = {**fifth, "ranker": "ranker", "ranker_item_knn": "item_knn/before_ranking"}
    seventh = {**sixth, "ranker": "ranker/hybrid"}
    return [
        Stage("popularity and content", first),
        Stage("+ item-kNN", second),
        Stage("+ trained content", third),
        Stage("+ MultiBiSage", fourth),
        Stage("+ PinnerFormer", fifth),
        Stage("+ ranker", sixth),
        Stage("+ TransAct", seventh),
        Stage("+ light ranker", {**seventh, "light_ranker": "light_ranker"}),
    ]
