"""Settings of the experiment on products and queries: worlds, models and budgets that both sides share. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import ItemSageConfig, SearchSageConfig
from corkboard.embeddings.omni_config import EnrichmentConfig, OmniSearchSageConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.spine_config import DEVELOPMENT_SEED, FIRST_SEED, laid_over
from corkboard.lake.config import CalendarConfig
from corkboard.world.config import WorldConfig


class ProductsConfig(Section):
    """One world a seed, the space of its items, and everything that is trained into it and asked."""

    first_seed: int = Field(FIRST_SEED, ge=0)
    """The world of the first seed; the next seeds follow it."""
    graph: GraphExperimentConfig = GraphExperimentConfig(
        world=WorldConfig(items=6000, users=3000, pictures=64),
        calendar=CalendarConfig(rank_days=1, test_days=28),
        many=10,
    )
    """The world, its calendar, and the encoder whose space all vectors lie in. All is learned before one cut, the beginning of the test,
    which is four weeks long, for checkouts are few."""
    searchsage: SearchSageConfig = SearchSageConfig()
    """The encoder of queries; its variants differ in the part that their name says."""
    itemsage: ItemSageConfig = ItemSageConfig()
    """The encoder of products; its variants differ in the part that their name says."""
    learned_on: Literal["pairs", "cut"] = "pairs"
    """What ItemSage reads while it learns: image tokens and image queries as they were some weeks before the cut, with the pairs since, so
    that no vector knows the pairs; or as of the cut, with all pairs before it. It is asked with those of the cut either way."""
    omnisearchsage: OmniSearchSageConfig = OmniSearchSageConfig()
    """The joint form of search, with and without the task that keeps old indexes of use."""
    enrichment: EnrichmentConfig = EnrichmentConfig()
    """Boards and queries that it reads of items."""
    cap: int = Field(10, ge=1)
    """Pairs of an item that the variant with a low cap learns from at most."""
    popular_days: int = Field(7, ge=1)
    """The popularity row counts the positive actions of so many days before the test."""
    controls: bool = True
    """Whether there is a control: worlds whose text tells what pictures show."""
    optional: bool = True
    """Whether what weighs least is measured, too."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of samples."""

    @classmethod
    def quick(cls) -> ProductsConfig:
        """Tests and development: every part runs, no figure means anything."""
        few = {"training": {"steps": 6, "warmup_steps": 1, "validate_every": 3}, "batch": 32, "pool": 32}
        small = {
            "first_seed": DEVELOPMENT_SEED,
            "graph": laid_over(GraphExperimentConfig.quick().model_dump(), {"visual": {"training": {"steps": 20}}}),
            "searchsage": few,
            "itemsage": few,
            "omnisearchsage": few,
            "evaluation": {"replicates": 100},
        }
        return cls.model_validate(laid_over(cls().model_dump(), small))
