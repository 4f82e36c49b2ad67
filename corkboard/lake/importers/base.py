"""What an importer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.pictures.sources import PictureSource
from corkboard.lake.refused import RefusedRow


@dataclass(frozen=True)
class Imported:
    """Lake frames made from outside files.

    ``frames`` maps the name of a lake table to rows with columns of that table; optional columns may be absent.
    ``notes`` are sentences about what was assumed, invented or left out. ``synthetic_time`` is True where the times of
    actions were invented altogether, so that splitting by time means nothing. ``pictures`` has those that items name by a file.
    ``refused`` are rows that fit no frame.
    """

    frames: dict[str, pl.DataFrame]
    notes: list[str] = field(default_factory=list)
    synthetic_time: bool = False
    pictures: PictureSource | None = None
    refused: Sequence[RefusedRow] = ()


class Importer(Protocol):
    """Reads one outside format. Implementations keep no state."""

    name: str
    """Short, lower case: what is given as ``--format``."""

    title: str
    """One line for people."""

    def files(self, path: Path) -> list[Path]:
        """The files that :meth:`load` would read for ``path`` (a file or a folder), the interactions first; empty where unknown."""
        ...

    def recognises(self, path: Path) -> bool:
        """True where ``path`` is surely of this format. Reads the first lines at most and never raises for a foreign file."""
        ...

    def load(self, path: Path, config: ImportConfig) -> Imported:
        """Read ``path``. Raises :class:`corkboard.errors.InputError` where it is not of this format or damaged."""
        ...
