"""The steps that learn from behaviour: PinnerFormer and what it makes, the rankers, and the light ranker before them.

Item and user models read days before A. The rankers' rows come from [A, B), by replay, with everything as it would have been
served then: item models cut at A, the counters of each page's own day, the user vectors of the nightly batch of each day.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from corkboard.artifacts import EmbeddingTable
from corkboard.config import Section
from corkboard.errors import CorkboardError, InputError
from corkboard.lake.calendar import DAY_MS, Calendar, day_of
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.pipeline.graph_steps import BEFORE_PAIRS, BEFORE_RANKING, SERVING, graph_vectors
from corkboard.pipeline.steps import Made, StepInput
from corkboard.ranking.config import HybridConfig, LightConfig, PointwiseConfig, RowsConfig, UtilityWeights
from corkboard.retrieval.config import SourceConfig
from corkboard.state.config import LimitsConfig

if TYPE_CHECKING:
    import polars as pl

    from corkboard.artifacts import Artifact
    from corkboard.embeddings.histories import Histories
    from corkboard.embeddings.pinnerformer import PinnerFormer
    from corkboard.embeddings.user_vectors import DailyUserVectors
    from corkboard.lake.lake import Lake
    from corkboard.learning.training import Progress
    from corkboard.ranking.item_days import ItemDays
    from corkboard.ranking.sampling import CandidateFunction
    from corkboard.ranking.table import TrainingRows
    from corkboard.state.user_state import UserState


class UserVectorsStepConfig(Section):
    """The nightly batch."""

    tenant: str = DEFAULT_TENANT
    """Whose users have vectors; another tenant's user of the same name is somebody else."""


class RowsStepConfig(Section):
    """What every ranker's artefact depends on. Utility weights are not among it: they change while serving."""

    rows: RowsConfig = RowsConfig()
    """Training rows."""
    limits: LimitsConfig = LimitsConfig()
    """What a user's state remembers, as in the store that serves."""
    sources: SourceConfig = SourceConfig()
    """The sources that half of the sampled negatives come from, where the lake has no impressions."""


class RankerStepConfig(RowsStepConfig):
    """The pointwise ranker."""

    pointwise: PointwiseConfig = PointwiseConfig()
    """The model."""


class HybridStepConfig(RowsStepConfig):
    """The hybrid ranker."""

    hybrid: HybridConfig = HybridConfig()
    """The model."""


class LightStepConfig(RowsStepConfig):
    """The light ranker. Its artefact depends on the utility weights, too, for it is distilled from an order by utility."""

    light: LightConfig = LightConfig()
    """The model."""
    utility: UtilityWeights = UtilityWeights()
    """What the teacher orders by."""


# ---------------------------------------------------------------------------------------------------- PinnerFormer's vectors


def train_pinnerformer(given: StepInput) -> Made:
    """The user model and the item tower that is trained with it, on days before A.

    Items stand where the graph before the pairs puts them: a graph as of A knows the actions that the model learns to foresee, and so
    places what is new better than it will be when somebody asks.
    """
    from corkboard.embeddings import pinnerformer_training
    from corkboard.embeddings.histories import Histories

    cut_ms = given.calendar.item_cut_ms
    inputs = graph_vectors(given.artifacts, given.lake, cut_ms, BEFORE_PAIRS)
    histories = Histories.of(given.lake.actions(), inputs.ids, given.config.history)
    progress = partial(_training_progress, given, "training PinnerFormer")
    model = pinnerformer_training.train_pinnerformer(histories, inputs, given.config, given.seed, cut_ms, progress)
    metrics = {"users": len(histories), "actions": len(histories.items), "items_with_id": len(model.item_ids)}
    return Made(model.tensors(), model.tables(), model.config, metrics, makes=[model.space], requires=[inputs.space])


def index_embeddings(given: StepInput) -> Made:
    """Item embeddings of every item there is, and the index that user vectors search."""
    from corkboard.retrieval.index import FaissIndex

    embeddings, _ = item_embeddings(given.artifacts, given.lake, given.calendar.end_ms, SERVING)
    index = FaissIndex.build(embeddings, given.config)
    return Made(index.tensors(), index.tables(), index.config, makes=[embeddings.space], requires=[embeddings.space])


def batch_users(given: StepInput) -> Made:
    """The nightly batch: users of whom something else is known than before are computed, all others keep their vectors."""
    import polars as pl

    from corkboard.embeddings.user_vectors import UserVectors, batch_user_vectors, changed_users

    model, inputs = _user_model(given.artifacts, given.lake, given.lake.cut_ms, SERVING)
    tenant, known_ms = given.config.tenant, given.lake.cut_ms
    histories = histories_of(given.lake.actions().filter(pl.col("tenant") == tenant), model, inputs)
    earlier = [found for found in given.earlier() if model.space in found.requires and found.config["known_ms"] <= known_ms]
    newest = max(earlier, key=lambda found: (found.config["known_ms"], found.manifest["created_ms"]), default=None)
    try:
        before = None if newest is None else UserVectors.from_artifact(newest)
    except (CorkboardError, OSError):  # damaged, or of another version: it would only have saved work
        before = None
    vectors = batch_user_vectors(model, histories, inputs, known_ms, before)
    metrics = {"users": len(vectors), "computed": len(changed_users(model, histories, known_ms, before))}
    return Made(tables=vectors.tables(), config=vectors.config | {"tenant": tenant}, metrics=metrics, requires=[model.space])


def content_vectors(artifact: Artifact, items: pl.DataFrame, now_ms: int) -> EmbeddingTable:
    """Content vectors of ``items`` by the tower of ``artifact``: it encodes any item, also those that came after it was trained."""
    from corkboard.embeddings.content import ContentTower

    tower = ContentTower.from_artifact(artifact)
    return EmbeddingTable(items["item_id"].to_list(), tower.encode(items, now_ms), artifact.makes[0])


def item_embeddings(
    artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int, neighbours: str = BEFORE_RANKING
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Embeddings of the items of ``lake`` by the item tower, and the MultiBiSage vectors they are made from."""
    model, inputs = _user_model(artifacts, lake, now_ms, neighbours)
    return EmbeddingTable(inputs.ids, model.encode_items(inputs.ids, inputs.vectors), model.space), inputs


def _user_model(
    artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int, neighbours: str = BEFORE_RANKING
) -> tuple[PinnerFormer, EmbeddingTable]:
    from corkboard.embeddings.pinnerformer import PinnerFormer

    return PinnerFormer.from_artifact(artifacts["pinnerformer"]), graph_vectors(artifacts, lake, now_ms, neighbours)


def histories_of(actions: pl.DataFrame, model: PinnerFormer, inputs: EmbeddingTable) -> Histories:
    """Histories over the items of ``inputs``, of the actions that ``model`` reads."""
    from corkboard.embeddings.histories import Histories

    return Histories.of(actions, inputs.ids, model.settings.history)


def daily_user_vectors(artifacts: Mapping[str, Artifact], lake: Lake, start_ms: int, end_ms: int, delay_days: int = 1) -> DailyUserVectors:
    """What the nightly batch of each day of [start, end) would have served, by the frozen model on the graph as of ``start_ms``."""
    from corkboard.embeddings.user_vectors import DailyUserVectors

    model, inputs = _user_model(artifacts, lake, start_ms)
    histories = histories_of(lake.actions(end_ms=end_ms), model, inputs)
    return DailyUserVectors(model, histories, inputs, day_of(start_ms), day_of(end_ms - 1), delay_days)


# ------------------------------------------------------------------------------------------------------------- the rankers


def train_ranker(given: StepInput) -> Made:
    """The pointwise ranker: request features only."""
    from corkboard.ranking.training import train_pointwise

    content = given.artifacts["content"]
    rows = ranking_rows(given, ranking_days(given.artifacts, given.lake, given.calendar))
    held_out = given.calendar.held_out(rows.user_ids)
    trained = train_pointwise(rows, held_out, given.config.pointwise, given.seed, partial(given.progress, "training the ranker"))
    report = trained.report
    return Made(
        trained.ranker.tensors(), config=trained.ranker.config(), metrics=report.metrics(), card=report.card(), requires=content.makes
    )


def train_hybrid_ranker(given: StepInput) -> Made:
    """The hybrid ranker: the last actions through TransAct, the batch user vector, all other features."""
    from corkboard.ranking.history import HISTORY_LENGTH
    from corkboard.ranking.hybrid_training import train_hybrid

    start_ms, end_ms = given.calendar.item_cut_ms, given.calendar.rank_cut_ms
    days = ranking_days(given.artifacts, given.lake, given.calendar)
    vectors = daily_user_vectors(given.artifacts, given.lake, start_ms, end_ms)
    rows = ranking_rows(given, days, vectors, max(HISTORY_LENGTH, given.config.hybrid.transact.length))
    embeddings, _ = item_embeddings(given.artifacts, given.lake, start_ms)
    held_out = given.calendar.held_out(rows.user_ids)
    progress = partial(given.progress, "training the hybrid ranker")
    trained = train_hybrid(rows, embeddings, held_out, given.config.hybrid, given.seed, progress)
    requires = [embeddings.space, *given.artifacts["content"].makes]
    ranker, report = trained.ranker, trained.report
    return Made(ranker.tensors(), config=ranker.config(), metrics=report.metrics(), card=report.card(), requires=requires)


def train_light_ranker(given: StepInput) -> Made:
    """The light ranker, distilled from the order of the hybrid ranker over what the sources bring."""
    from corkboard.ranking.hybrid import HybridRanker
    from corkboard.ranking.light_lists import teacher_lists
    from corkboard.ranking.light_training import train_light

    config: LightStepConfig = given.config
    span = given.calendar.item_cut_ms, given.calendar.rank_cut_ms
    days = ranking_days(given.artifacts, given.lake, given.calendar)
    lists = teacher_lists(
        given.lake,
        span,
        days,
        HybridRanker.from_artifact(given.artifacts["ranker/hybrid"]),
        config.utility,
        config.light,
        given.seed,
        rows=config.rows,
        sources=config.sources,
        user_vectors=daily_user_vectors(given.artifacts, given.lake, *span),
        limits=config.limits,
        progress=partial(given.progress, "the ranker scores lists to distil"),
    )
    spaces = given.artifacts["pinnerformer"].makes[0], given.artifacts["content"].makes[0]
    held_out = given.calendar.held_out(lists.user_keys)
    progress = partial(_training_progress, given, "training the light ranker")
    trained = train_light(lists, held_out, *spaces, config.light, given.seed, progress)
    ranker, report = trained.ranker, trained.report
    return Made(ranker.tensors(), config=ranker.config(), metrics=report.metrics(), card=report.card(), requires=ranker.requires)


def ranking_days(artifacts: Mapping[str, Artifact], lake: Lake, calendar: Calendar) -> ItemDays:
    """The item side of each day of [A, B), of models cut at A; with item embeddings and product vectors where there are towers of them."""
    from corkboard.pipeline.product_steps import product_vectors
    from corkboard.ranking.item_days import ItemDays
    from corkboard.retrieval.item_stats import ItemStats
    from corkboard.retrieval.neighbours import NeighbourTable

    start_ms, items = calendar.item_cut_ms, lake.items()
    content = content_vectors(artifacts["content"], items, start_ms)
    embeddings, graph = item_embeddings(artifacts, lake, start_ms) if "pinnerformer" in artifacts else (None, None)
    products = None if graph is None else product_vectors(artifacts, lake, start_ms, served=graph)
    stats = ItemStats.from_artifact(artifacts["stats"])
    neighbours = NeighbourTable.from_artifact(artifacts["item_knn/before_ranking"])
    return ItemDays(lake, start_ms, calendar.rank_cut_ms, content, stats, neighbours, embeddings, graph, products)


def ranking_rows(given: StepInput, days: ItemDays, user_vectors: DailyUserVectors | None = None, history_length: int = 0) -> TrainingRows:
    """Rows of [A, B). Raises :class:`InputError` where too few users act there."""
    from corkboard.ranking.rows import training_rows

    config = given.config
    candidates = sources_as_of(days, given.calendar, config.sources)
    progress = partial(given.progress, "replaying pages")
    rows = training_rows(
        given.lake, given.calendar, days, config.rows, given.seed, candidates, progress, config.limits, history_length, user_vectors
    )
    if len(rows.user_ids) < config.rows.min_users:
        expected, hint = f"at least {config.rows.min_users}", "Give it more days: lake.calendar.rank_days."
        raise InputError(
            "Too few users act in the ranking span for a ranker to learn from", found=len(rows.user_ids), expected=expected, hint=hint
        )
    return rows


def sources_as_of(days: ItemDays, calendar: Calendar, config: SourceConfig) -> CandidateFunction:
    """Candidates as the sources would have brought them at a moment of [A, B): content vectors and item-kNN, both cut at A."""
    from corkboard.retrieval.blend import Retrieval
    from corkboard.retrieval.candidates import CandidateRequest
    from corkboard.retrieval.sources import RetrievalParts

    first = days.at(calendar.item_cut_ms // DAY_MS)
    retrieval = Retrieval.of(RetrievalParts(first.index, first.neighbours), config)

    def candidates(state: UserState, now_ms: int, k: int) -> list[str]:
        catalogue = days.at(now_ms // DAY_MS).catalogue
        asked = CandidateRequest(state, now_ms, "home", catalogue.available & (catalogue.created_ms < now_ms), catalogue)
        return retrieval.retrieve(asked, k).items.item_ids

    return candidates


def _training_progress(given: StepInput, what: str, at: Progress) -> None:
    given.progress(what, at.step, at.steps)
