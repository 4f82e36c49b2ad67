"""Corkboard: a personalization engine, from raw events to a live page.

    import corkboard as cb
    ws = cb.open("workspace")      # or cb.demo()
    ws.ingest("clicks.csv"); ws.build(); ws.evaluate()
    ws.recommend("ann", k=25)

Everything exported here is documented, tested and stable; the rest may move. Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corkboard.artifacts import EmbeddingTable, ItemList, Space
    from corkboard.errors import CorkboardError
    from corkboard.lake.lake import Lake
    from corkboard.settings import Settings
    from corkboard.workspace import Workspace, demo, open

__version__ = "0.1.0"

_HOME = {
    "CorkboardError": "errors",
    "EmbeddingTable": "artifacts",
    "ItemList": "artifacts",
    "Lake": "lake.lake",
    "Settings": "settings",
    "Space": "artifacts",
    "Workspace": "workspace",
    "demo": "workspace",
    "open": "workspace",
}

__all__ = ["CorkboardError", "EmbeddingTable", "ItemList", "Lake", "Settings", "Space", "Workspace", "__version__", "demo", "open"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'corkboard' has no attribute {name!r}")
    return getattr(import_module(f"corkboard.{_HOME[name]}"), name)
