"""Worlds that several tests look at. They are made once; tests that respond use a world of their own."""

from __future__ import annotations

import pytest

from corkboard.world.config import Mechanisms, WorldConfig
from corkboard.world.world import World

TOWN = {"items": 1000, "users": 500, "days": 42, "pictures": 0}
"""Large enough for statistics (some 30,000 actions), small enough to be made in three seconds; nothing of that is drawn."""


def town(**switches: bool) -> World:
    return World(WorldConfig.model_validate({**TOWN, "mechanisms": Mechanisms(**switches)}))


@pytest.fixture(scope="session")
def tiny() -> World:
    return World(WorldConfig.tiny())


@pytest.fixture(scope="session")
def everything_on() -> World:
    return town()


@pytest.fixture(scope="session")
def some_off() -> World:
    """Without intents; the other switches that are off have nothing to do with what is measured about intents."""
    return town(intent=False, position_bias=False, return_when_satisfied=False, late_offsite=False, boards_carry_everything=True)


@pytest.fixture(scope="session")
def others_off() -> World:
    """Without dislikes and satiation, so that nothing lasting makes anyone hide anything."""
    return town(dislikes=False, satiation=False, random_slice=False, projects=False, handwriting=False, facet_noise=False)
