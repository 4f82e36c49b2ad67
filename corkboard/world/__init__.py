"""A simulated world of people, items, boards and time, whose truth is known, and which steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corkboard.world.config import WORLD_VERSION, WorldConfig

if TYPE_CHECKING:
    from corkboard.world.world import World

__all__ = ["WORLD_VERSION", "World", "WorldConfig"]


def __getattr__(name: str) -> object:
    if name != "World":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from corkboard.world.world import World  # the settings tree imports this package for WorldConfig alone

    return World
