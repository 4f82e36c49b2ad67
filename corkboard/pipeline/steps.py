"""A step: what it reads, what it makes, and the key that says whether what it made is still good.

The key of a step hashes the source files it runs, its settings, the ids of the artefacts it reads, the seed, the cut and what
the lake holds before the cut. `corkboard build` runs the steps whose key has no artefact and no others.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, Space, content_hash, load_artifact, write_artifact
from corkboard.config import Section
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.reading import Pictures
from corkboard.pipeline.ledger import Progress


@dataclass
class Made:
    """What a step hands back to be written as an artefact."""

    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    said: str = ""
    """A sentence for whoever builds, where there is something to know."""
    makes: Sequence[Space] = ()
    requires: Sequence[Space] = ()


@dataclass(frozen=True)
class StepInput:
    """Everything that a step may read. ``lake`` ends at the step's cut: asking it for more raises ``LeakError``."""

    lake: Lake
    calendar: Calendar
    artifacts: Mapping[str, Artifact]
    config: Any
    seed: int
    version: str
    progress: Progress
    earlier: Callable[[], Sequence[Artifact]] = tuple
    """What the step made before, of other data: a batch that only computes what changed starts from there."""


@dataclass(frozen=True)
class Step:
    """One station of the build.

    ``cut`` picks from the calendar the moment before which the step reads the lake; ``needs`` names the steps it reads;
    ``code`` names the modules whose change makes its artefacts stale.
    """

    name: str
    run: Callable[[StepInput], Made]
    cut: Callable[[Calendar], int]
    config: Section | None = None
    needs: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    variant: str = "default"
    pictures: bool = False
    """Whether it looks at pictures: then what addresses have led to is part of its key."""

    @property
    def title(self) -> str:
        return self.name if self.variant == "default" else f"{self.name}/{self.variant}"

    def key(self, lake: Lake, calendar: Calendar, inputs: Mapping[str, Artifact], seed: int) -> str:
        code = [source_hash(module) for module in (self.run.__module__, *self.code)]
        config = self.config.model_dump(mode="json") if self.config else {}
        read = {name: artifact.id for name, artifact in sorted(inputs.items())}
        cut_ms = self.cut(calendar)
        parts = [self.name, self.variant, self.run.__qualname__, code, config, read, seed, lake.until(cut_ms).snapshot, cut_ms]
        return content_hash(*parts, *([Pictures(lake.folder).digest] if self.pictures else []))

    def find(self, root: Path, key: str) -> Artifact | None:
        """The artefact of this key, where it is whole."""
        folder = root / self.name / self.variant / key
        return load_artifact(folder) if (folder / "manifest.json").exists() else None

    def others(self, root: Path, key: str) -> list[Artifact]:
        """What the step made under other keys, where it is whole."""
        manifests = sorted((root / self.name / self.variant).glob("*/manifest.json"))
        return [load_artifact(file.parent) for file in manifests if file.parent.name != key]

    def write(self, root: Path, key: str, given: StepInput, made: Made) -> Artifact:
        """Write what the step made."""
        return write_artifact(
            root,
            self.name,
            key,
            name=self.variant,
            tensors=made.tensors,
            tables=made.tables,
            config=made.config,
            metrics=made.metrics,
            card=made.card,
            makes=made.makes,
            requires=made.requires,
            inputs={"lake": given.lake.snapshot, **{name: artifact.key for name, artifact in given.artifacts.items()}},
            seed=given.seed,
            cut_ms=self.cut(given.calendar),
            lake_commit=given.lake.commit,
        )


@cache
def source_hash(module: str) -> str:
    """Hash of a module's source, or of all sources below a package, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    origin = Path(spec.origin)
    files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
