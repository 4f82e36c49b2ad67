"""Importers: data of other formats as lake frames. One file per format; :mod:`.registry` knows them all.

``find_importer(path)`` says which one knows a file or folder, ``ingest_outside(lake, path)`` brings it in. The names are loaded when they
are first used, so that reading the settings (:mod:`.config`) loads no table library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corkboard.lake.importers.base import Imported, Importer
    from corkboard.lake.importers.config import ImportConfig
    from corkboard.lake.importers.registry import IMPORTERS, find_importer, import_notes, ingest_outside, load_outside

_HOME = {
    "Imported": "base",
    "Importer": "base",
    "ImportConfig": "config",
    "IMPORTERS": "registry",
    "find_importer": "registry",
    "import_notes": "registry",
    "ingest_outside": "registry",
    "load_outside": "registry",
}

__all__ = ["IMPORTERS", "ImportConfig", "Imported", "Importer", "find_importer", "import_notes", "ingest_outside", "load_outside"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
