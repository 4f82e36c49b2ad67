"""What a thing of each topic looks like, in one table for the kernels."""

from __future__ import annotations

from functools import cache

from corkboard.world.shapes import Figures, pack
from corkboard.world.silhouettes_fashion import FASHION
from corkboard.world.silhouettes_home import HOME
from corkboard.world.silhouettes_leisure import LEISURE

SILHOUETTES = (*FASHION, *HOME, *LEISURE)
"""One a topic of the vocabulary, in its order."""


@cache
def figures() -> Figures:
    """All of them, packed."""
    return pack(SILHOUETTES)
