from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from corkboard.config import Section
from corkboard.learning.config import TrainingConfig
from corkboard.settings import Scale, load_settings


def trainings(section: Section, path: str = "") -> Iterator[tuple[str, TrainingConfig]]:
    """(path, settings) of every training loop in the tree."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, TrainingConfig):
            yield f"{path}{name}", value
        elif isinstance(value, Section):
            yield from trainings(value, f"{path}{name}.")


@pytest.mark.parametrize("scale", get_args(Scale))
def test_no_training_ends_before_its_rate_has_risen(scale: str) -> None:
    found = dict(trainings(load_settings(overrides=[f"scale={scale}"], environ={})))
    assert "embeddings.pinnerformer.training" in found
    for path, training in found.items():
        # the first look is always the best so far, so ``patience`` looks have to follow it
        first_stop = min(training.validate_every * (1 + training.patience), training.steps)
        assert first_stop > training.warmup_steps, path
