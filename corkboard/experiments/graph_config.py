"""Settings of the graph experiment: sizes and budgets that both sides of every comparison share. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import (
    ContentConfig,
    MultiBiSageConfig,
    PairConfig,
    PinnerFormerConfig,
    PinnerSageConfig,
    PinSageConfig,
    VisualConfig,
)
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.spine_config import DEVELOPMENT_SEED, FIRST_SEED, SpineConfig, laid_over
from corkboard.graph.config import GraphConfig
from corkboard.lake.config import CalendarConfig
from corkboard.world.config import WorldConfig


class WalkClaimsConfig(Section):
    """Walks by themselves: pruning, several pins in a query, when to stop."""

    visits: int = Field(100_000, ge=1000)
    """Visits of a request, as published."""
    exponents: tuple[float, ...] = (1.0, 0.91, 0.7, 0.5)
    """An item keeps its degree to this power of edges."""
    diverse_share: float = Field(0.1, ge=0, lt=1)
    """The share of boards that pruning by entropy leaves out, those of the most diverse topics."""
    topics: int = Field(24, ge=2)
    """Clusters of content vectors that count as topics."""
    lengths: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000, 100_000)
    """Visits at which two seeds are compared."""
    k: int = Field(100, ge=1)
    """Length of the lists whose overlap is measured."""
    enough_items: int = Field(100, ge=1)
    """Early stopping: this many items ..."""
    enough_visits: int = Field(20, ge=1)
    """... with this many visits; on the blog of the authors: the thousandth candidate has twenty."""
    queries: int = Field(300, ge=1)
    """Boards, at most, that overlaps are measured on."""


class PublicConfig(Section):
    """Public data: two sets with several graphs over the same items."""

    lastfm_test_share: float = Field(0.2, gt=0, lt=1)
    """The share of the positive actions of Last.fm that lie after the cut, which is a midnight."""
    movielens_test_share: float = Field(0.4, gt=0, lt=1)
    """The same of MovieLens: most people come once, and 0.2 would leave 116 of them in the test, too few to tell."""
    max_pairs: int = Field(20_000, ge=1)
    """Engaged pairs that are asked at most, drawn by seed."""


class GraphExperimentConfig(Section):
    """One world a seed, two public sets, and everything that is trained and asked in them."""

    first_seed: int = Field(FIRST_SEED, ge=0)
    """The world of the first seed; the next seeds follow it."""
    world: WorldConfig = WorldConfig(pictures=0)
    """The world; its seed and mechanisms are set by the experiment."""
    calendar: CalendarConfig = CalendarConfig(rank_days=1, test_days=14)
    """Graphs, pairs and the content tower read the days before the test; no ranker needs days of its own."""
    content: ContentConfig = ContentConfig()
    """The content tower."""
    pairs: PairConfig = PairConfig()
    """The pairs that all item models learn from."""
    graph: GraphConfig = GraphConfig()
    """Graphs, walks and neighbours."""
    graphs: tuple[str, ...] = ("board", "query", "user_save", "user_click", "user_close_up", "user_cart")
    """The graphs that MultiBiSage reads in a world: six, as published. Those of labels (creator, brand, category, tag) are left out there,
    for content vectors know the labels and each graph takes its share of the minutes. On public data it reads all that there are."""
    few: int = Field(5, ge=1)
    """Neighbours of the variant with few."""
    many: int = Field(30, ge=1)
    """Neighbours of the variant with many."""
    hard_ranks: tuple[int, int] = (50, 200)
    """Hard negatives of an item lie between these ranks by personalised PageRank; published 2,000 to 5,000 of two billion."""
    pinsage: PinSageConfig = PinSageConfig()
    """PinSage; its variants differ in the part that their name says."""
    multibisage: MultiBiSageConfig = MultiBiSageConfig()
    """MultiBiSage; its variants differ in the graphs that they are given."""
    walks: WalkClaimsConfig = WalkClaimsConfig()
    """Pixie by itself."""
    pinnersage: PinnerSageConfig = PinnerSageConfig()
    """Users as several vectors; its variants differ in the part that their name says."""
    pinnerformer: PinnerFormerConfig = PinnerFormerConfig()
    """A learned user vector beside them; its two rows differ in what its item tower reads."""
    visual: VisualConfig = VisualConfig()
    """Pictures, for the encoder that reads them: outputs and proxies on the trunk that ships."""
    public: PublicConfig = PublicConfig()
    """Public data."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Resamples, level, seed of samples and ties."""
    hidden_share: float = Field(0.2, gt=0, lt=1)
    """The share of the items that training does not know, where new items are asked about."""
    margin: float = Field(0.1, gt=0, lt=1)
    """Two figures count as alike where their ratio surely lies within 1 plus or minus this."""
    controls: bool = True
    """Whether there are controls: worlds and graphs in which boards carry everything."""
    optional: bool = True
    """Whether what weighs least is measured too: losses, hard negatives, numbers and choice of neighbours."""

    def world_settings(self, on: Sequence[str] = ()) -> SpineConfig:
        """What a simulated world is made by, with the mechanisms ``on`` switched on. No random request is needed; one is the fewest."""
        mechanisms = self.world.mechanisms.model_copy(update=dict.fromkeys(on, True))
        world = self.world.model_copy(update={"mechanisms": mechanisms})
        return SpineConfig(first_seed=self.first_seed, world=world, calendar=self.calendar, content=self.content, requests=1, times=1)

    @classmethod
    def quick(cls) -> GraphExperimentConfig:
        """Tests and development: every part runs, no figure means anything."""
        base = cls(first_seed=DEVELOPMENT_SEED, world=WorldConfig.tiny(), calendar=CalendarConfig(rank_days=1, test_days=7))
        few = {"training": {"steps": 12, "warmup_steps": 2, "validate_every": 6}, "batch": 64, "pool": 64}
        small = {
            "content": {"training": {"steps": 40}},
            "graph": {"neighbours": {"count": 6, "visits": 200}},
            "pinsage": few,
            "multibisage": few,
            "pinnerformer": {"training": {"steps": 12, "warmup_steps": 2, "validate_every": 6}},
            "walks": {"visits": 10_000, "lengths": (1_000, 10_000), "queries": 20, "topics": 6},
            "public": {"max_pairs": 2_000},
            "evaluation": {"replicates": 200},
        }
        return cls.model_validate(laid_over(base.model_dump(), small))
