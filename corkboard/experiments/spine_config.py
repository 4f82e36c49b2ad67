"""Settings of the spine experiment: sizes and budgets that both sides of every comparison share. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import ContentConfig, PinnerFormerConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.lake.config import CalendarConfig
from corkboard.ranking.config import HybridConfig, RowsConfig, UtilityWeights
from corkboard.world.config import WorldConfig

FIRST_SEED = 1000
"""World seeds of a reported run are this and those after it. Nothing may be tuned on them."""
DEVELOPMENT_SEED = 101
"""World seeds of quick runs."""


class SpineConfig(Section):
    """One world a seed, and everything that is trained and asked in it."""

    first_seed: int = Field(FIRST_SEED, ge=0)
    """The world of the first seed; the next seeds follow it."""
    world: WorldConfig = WorldConfig(pictures=0)
    """The world; its seed and mechanisms are set by the experiment."""
    calendar: CalendarConfig = CalendarConfig(rank_days=14, test_days=14)
    """Rankers learn from 14 days rather than 7: a week of 1,500 people holds under 400 saves."""
    content: ContentConfig = ContentConfig()
    """The content tower, trained before A."""
    pinnerformer: PinnerFormerConfig = PinnerFormerConfig()
    """The user model; objectives differ in nothing else."""
    rows: RowsConfig = RowsConfig(max_rows=250_000, surfaces=("home",))
    """Training rows of the rankers: all pages of the 14 days, for saves are what is short."""
    hybrid: HybridConfig = HybridConfig(
        features="batch",
        negatives_per_positive=4.0,
        epochs=3,
        looks=1,
        transact=HybridConfig().transact.model_copy(update={"window_hours": 0}),
    )
    """The ranker: fewer passes over fewer negatives than it trains with in a build, so that all variants fit. They differ in the part that
    their name says. No recent action is hidden in training: a window drawn from a day would hide what these worlds' intents, which last two
    hours, leave behind, in nearly every example."""
    utility: UtilityWeights = UtilityWeights()
    """What orders a page, in every variant."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Lengths of lists, resamples and tie-breaking."""
    requests: int = Field(24_000, ge=1)
    """Random requests of a world."""
    times: int = Field(6, ge=1)
    """How often each page is asked, every time in another order. It is scored once, so this takes out luck at hardly any cost."""
    low_history: int = Field(20, ge=1)
    """Users with fewer actions than this before the test count as of low history."""
    controls: bool = True
    """Whether worlds with a cause switched off are made too."""

    @classmethod
    def quick(cls) -> SpineConfig:
        """Tests and development: every part runs, no figure means anything."""
        world, calendar = WorldConfig.tiny(), CalendarConfig(rank_days=7, test_days=7)
        base = cls(first_seed=DEVELOPMENT_SEED, world=world, calendar=calendar, requests=1500, times=3)
        small = {
            "content": {"training": {"steps": 40}},
            "pinnerformer": {"training": {"steps": 20, "warmup_steps": 2, "validate_every": 10}},
            "rows": {"max_rows": 8000},
            "hybrid": {"epochs": 1},
            "evaluation": {"replicates": 200},
        }
        return cls.model_validate(laid_over(base.model_dump(), small))


def laid_over(below: dict, above: dict) -> dict:
    """``above`` over ``below``, section by section."""
    merged = {key: laid_over(below[key], value) if isinstance(value, dict) else value for key, value in above.items()}
    return {**below, **merged}
