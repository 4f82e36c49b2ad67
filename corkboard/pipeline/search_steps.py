"""The steps behind search: the texts that words are found in, and SearchSage, which places queries among the items.

SearchSage learns from what lies before A, into the vectors of MultiBiSage as of A; those stand still. The index that is searched at serving
holds vectors by the same MultiBiSage from a newer graph, so a query finds what is new, and only another MultiBiSage makes another
SearchSage necessary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.config import Section
from corkboard.embeddings.config import SearchSageConfig
from corkboard.embeddings.embeddings_config import EmbeddingsConfig
from corkboard.embeddings.omni_config import EnrichmentConfig, OmniSearchSageConfig
from corkboard.pipeline.graph_steps import BEFORE_RANKING, graph_vectors
from corkboard.pipeline.steps import Made, StepInput
from corkboard.retrieval.lexical import TEXT_COLUMNS
from corkboard.seeds import generator

if TYPE_CHECKING:
    from corkboard.artifacts import EmbeddingTable
    from corkboard.embeddings.searchsage import SearchSage
    from corkboard.lake.lake import Lake

SEARCHSAGE = "searchsage"
LEFT_OUT, BY_CHANCE = 0.02, 0.05
"""Shares of engaged items and of nonsense words that thresholds of similarity are set by."""
SEVERAL = 5
"""People who asked a query whose words are kept."""
CALIBRATED = 1_000
"""Pairs and words that tell them, at most."""


def make_texts(given: StepInput) -> Made:
    """The words that items are found by. The index of them is made where it serves, in some 6 s for 50,000 items."""
    texts = texts_of(given.lake)
    return Made(tables={"texts": texts}, config=given.config.model_dump(mode="json"), metrics={"items": len(texts)})


def texts_of(lake: Lake) -> pl.DataFrame:
    """What is known of each item in words: ``item_id`` and the columns that are searched, one row an item.

    What others call an item (titles of boards it lies on, queries after which it was taken) belongs here, as further columns.
    """
    return lake.items().select("item_id", *TEXT_COLUMNS)


class QueryEncoderConfig(Section):
    """What the step of the encoder of queries depends on."""

    searchsage: SearchSageConfig = SearchSageConfig()
    """The encoder on its own."""
    omnisearchsage: OmniSearchSageConfig | None = None
    """The joint form, where it is asked for; then the other is not trained."""
    enrichment: EnrichmentConfig = EnrichmentConfig()
    """What others call an item, as the joint form reads it."""

    @classmethod
    def of(cls, settings: EmbeddingsConfig) -> QueryEncoderConfig:
        """What the settings ask for; those of the form that is not asked for make nothing stale."""
        if settings.joint_search:
            return cls(omnisearchsage=settings.omnisearchsage, enrichment=settings.enrichment)
        return cls(searchsage=settings.searchsage)


def train_searchsage(given: StepInput) -> Made:
    """The encoder of queries, on searches and titles before A. A lake without searches has titles alone; one without any text an encoder
    that knows no word."""
    from corkboard.embeddings.query_pairs import query_pairs

    config: QueryEncoderConfig = given.config
    cut_ms = given.calendar.item_cut_ms
    pairs = query_pairs(given.lake, cut_ms, config.searchsage, given.seed)
    items = graph_vectors(given.artifacts, given.lake, cut_ms, BEFORE_RANKING)
    titles = given.lake.items().select("item_id", "title").drop_nulls()
    encoder, recall = _separate(given, pairs, items, titles) if config.omnisearchsage is None else _joint(given, items)
    words = pl.DataFrame({"word": words_of([*asked_by_several(pairs), *titles["title"]])}, schema={"word": pl.String})
    similarities = calibrated(encoder, pairs, words["word"].to_list(), items, given.seed)
    metrics = {"pairs": len(pairs), "queries": pairs["query"].n_unique(), "titles": len(titles), "recall_at_10": recall}
    tables = {} if encoder.settings.encoder == "pretrained" else {"words": words}  # that one knows more words than it was shown
    config_made = {**encoder.config, **similarities, "joint": config.omnisearchsage is not None}
    return Made(encoder.tensors(), tables, config_made, metrics, makes=[encoder.own_space], requires=[encoder.space])


def _separate(given: StepInput, pairs: pl.DataFrame, items: EmbeddingTable, titles: pl.DataFrame) -> tuple[SearchSage, float]:
    """SearchSage, and its recall of held-out queries."""
    from corkboard.embeddings.searchsage_training import SearchSageTraining

    training = SearchSageTraining(pairs, items, titles, given.config.searchsage, given.seed)
    encoder = training.run(lambda at: given.progress("training SearchSage", at.step, at.steps))
    validations = [] if training.result is None else training.result.validations
    return encoder, max((value for _, value in validations), default=0.0)


def _joint(given: StepInput, items: EmbeddingTable) -> tuple[SearchSage, float]:
    """OmniSearchSage's encoder of queries into the space of the items, and its recall of held-out queries."""
    from corkboard.embeddings.enrichment import enriched
    from corkboard.embeddings.omnisearchsage import OmniItems
    from corkboard.embeddings.omnisearchsage_pairs import omni_pairs
    from corkboard.embeddings.omnisearchsage_training import OmniTraining

    config, cut_ms = given.config, given.calendar.item_cut_ms
    settings = config.omnisearchsage
    read = OmniItems.of(given.lake.items(), [items], enriched(given.lake, cut_ms, config.enrichment), settings)
    training = OmniTraining(omni_pairs(given.lake, cut_ms, settings, given.seed), read, [items], settings, given.seed)
    model = training.run(lambda at: given.progress("training OmniSearchSage", at.step, at.steps))
    validations = [] if training.result is None else training.result.validations
    return model.compat(items.space), max((value for _, value in validations), default=0.0)


def asked_by_several(pairs: pl.DataFrame) -> list[str]:
    """The queries of at least ``SEVERAL`` people: what is kept in plain text must not be about one of them."""
    people = pairs.group_by("query", maintain_order=True).agg(pl.col("user").n_unique())
    return people.filter(pl.col("user") >= SEVERAL)["query"].to_list()


def words_of(texts: Sequence[str]) -> list[str]:
    """The distinct words of texts as SearchSage reads them, sorted."""
    from corkboard.embeddings.query_pairs import query_text

    return sorted({word for text in texts for word in query_text(text).split()})


def calibrated(encoder: SearchSage, pairs: pl.DataFrame, words: Sequence[str], items: EmbeddingTable, seed: int) -> dict[str, float]:
    """``least_similarity``, the cosine that all but ``LEFT_OUT`` of the engaged items reach with their queries, and ``sure_similarity``,
    the one that only ``BY_CHANCE`` of words with their letters in disorder reach with the item that is nearest to them. Both are -1
    where there is nothing to calibrate by."""
    draw = generator(seed, "searchsage", "calibration")
    some = pairs[np.sort(draw.permutation(len(pairs))[:CALIBRATED])]
    cosines = (encoder.encode(some["query"].to_list()) * items.lookup(some["item_id"].to_list())[0]).sum(axis=1)
    known, chosen = set(words), draw.permutation(len(words))[:CALIBRATED]
    made_up = ["".join(draw.permutation(list(words[place]))) for place in chosen.tolist() if len(words[place]) > 3]
    nonsense = encoder.encode([word for word in made_up if word not in known])
    nonsense = nonsense[nonsense.any(axis=1)]
    nearest = (nonsense @ items.vectors.T).max(axis=1, initial=-1.0)
    least = float(np.quantile(cosines, LEFT_OUT)) if len(cosines) else -1.0
    return {"least_similarity": least, "sure_similarity": float(np.quantile(nearest, 1 - BY_CHANCE)) if len(nearest) else -1.0}
