"""What a build leaves behind and what serves together: spaces, tables of vectors, item lists, artefacts, releases.

An artefact is a folder that is written once and never changed. Its manifest is written last and the folder is renamed
into place, so what has a manifest is whole. A release is a small file of artefact names; ``current`` names the one that
is live, and going live or rolling back is replacing that name. Nothing is pickled.

    workspace/artifacts/<step>/<name>/<id>/   tensors.safetensors  <table>.parquet  config.json  metrics.json  card.md  manifest.json
    workspace/releases/<id>.toml  current
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard import __version__
from corkboard.errors import ArtifactError, NotFound, SpaceMismatch

log = logging.getLogger(__name__)

FORMAT = 1
_DTYPES = {f"{kind}{bits}": f"<{code}{bits // 8}" for kind, code in (("I", "i"), ("U", "u"), ("F", "f")) for bits in (8, 16, 32, 64)} | {
    "BOOL": "?"
}
"""The names that a tensors' file has for kinds of numbers, and NumPy's."""


# --------------------------------------------------------------------------------------------------------------- spaces


@dataclass(frozen=True, order=True)
class Space:
    """The name of a vector space, ``name@version``. Vectors of different spaces must never be compared."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> Space:
        name, separator, version = text.partition("@")
        if not (name and separator and version):
            raise ArtifactError("A space needs a name and a version", found=text, expected="name@version")
        return cls(name, version)

    def require(self, other: Space) -> None:
        """Raise :class:`SpaceMismatch` unless ``other`` is this very space."""
        if self != other:
            raise SpaceMismatch(
                "Vectors of two spaces cannot be compared",
                found=str(other),
                expected=str(self),
                hint="Rebuild what still requires the old space: `corkboard build`.",
            )


class EmbeddingTable:
    """Ids and their vectors in one space.

    ``vectors`` is float32 ``(n, dim)``; row i belongs to ``ids[i]``. Ids are unique strings; rows are private to this table.
    """

    def __init__(self, ids: Sequence[str], vectors: np.ndarray, space: Space):
        self.ids = list(ids)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.space = space
        if self.vectors.ndim != 2 or len(self.ids) != len(self.vectors):
            raise ArtifactError(
                "An embedding table needs one vector an id",
                found=(len(self.ids), self.vectors.shape),
                expected="(n,) ids and (n, dim) vectors",
            )
        if len(self._row_of) != len(self.ids):
            raise ArtifactError("An embedding table needs unique ids", found=f"{len(self.ids) - len(self._row_of)} repeated")

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.ids)}

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row_of

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """int64 ``(len(ids),)`` row numbers, -1 where an id is unknown."""
        row_of = self._row_of
        return np.fromiter((row_of.get(i, -1) for i in ids), dtype=np.int64)

    def lookup(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """float32 ``(len(ids), dim)`` vectors, zeros where unknown, and bool ``(len(ids),)`` which are known."""
        rows = self.rows(ids)
        known = rows >= 0
        vectors = np.zeros((len(rows), self.dim), np.float32)
        vectors[known] = self.vectors[rows[known]]
        return vectors, known

    def to_polars(self) -> pl.DataFrame:
        return pl.DataFrame({"id": self.ids, "vector": pl.Series(self.vectors, dtype=pl.Array(pl.Float32, self.dim))})


@dataclass
class ItemList:
    """A ranked list of items: the one list type from candidates to the page.

    ``scores`` is float32 ``(n,)``, higher is better. ``sources[i]`` names every candidate source that brought item i,
    ``reasons[i]`` says to a person why it is there.
    """

    item_ids: list[str]
    scores: np.ndarray
    sources: list[tuple[str, ...]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.item_ids)
        self.scores = np.asarray(self.scores, np.float32)
        self.sources = self.sources or [()] * n
        self.reasons = self.reasons or [""] * n
        if not (len(self.scores) == len(self.sources) == len(self.reasons) == n):
            raise ArtifactError(
                "The columns of an item list differ in length", found=(n, len(self.scores), len(self.sources), len(self.reasons))
            )

    def __len__(self) -> int:
        return len(self.item_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.item_ids)

    def take(self, rows: Sequence[int] | np.ndarray) -> ItemList:
        """The items at ``rows``, in that order."""
        rows = [int(r) for r in rows]
        return ItemList(
            [self.item_ids[r] for r in rows], self.scores[rows], [self.sources[r] for r in rows], [self.reasons[r] for r in rows]
        )

    def to_polars(self) -> pl.DataFrame:
        return pl.DataFrame(
            {"item_id": self.item_ids, "score": self.scores, "sources": [list(s) for s in self.sources], "reason": self.reasons},
            schema={"item_id": pl.String, "score": pl.Float32, "sources": pl.List(pl.String), "reason": pl.String},
        )


# ------------------------------------------------------------------------------------------------------- atomic writing


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, durably: a reader sees the old bytes or the new ones, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def content_hash(*parts: object) -> str:
    """12 hex digits over the JSON of ``parts``: the name of everything that is keyed by what it was made from."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------------------- artefacts


@dataclass(frozen=True)
class Artifact:
    """A whole, immutable folder of tensors, tables, config and metrics."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def step(self) -> str:
        return self.manifest["step"]

    @property
    def id(self) -> str:
        return self.manifest["id"]

    @property
    def key(self) -> str:
        """``step/name/id``: where it lies below ``artifacts/``."""
        return f"{self.step}/{self.manifest['name']}/{self.id}"

    @property
    def cut_ms(self) -> int | None:
        """The moment before which this has read the lake, UTC ms; None where it does not say."""
        return self.manifest["cut_ms"]

    @property
    def makes(self) -> list[Space]:
        return [Space.parse(text) for text in self.manifest["makes"]]

    @property
    def requires(self) -> list[Space]:
        return [Space.parse(text) for text in self.manifest["requires"]]

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """Every tensor by name. The bytes come from one mapped file; treat them as read-only."""
        from safetensors.numpy import load_file

        file = self.path / "tensors.safetensors"
        return load_file(file) if file.exists() else {}

    def mapped(self, name: str) -> np.ndarray:
        """One tensor as a read-only view of the file, which is read where it is looked at and not before; for arrays as large as a graph.

        Raises :class:`ArtifactError` for a name that it does not have, or a kind of number that NumPy does not have.
        """
        header, begin, file = self._header
        if name not in header or header[name]["dtype"] not in _DTYPES:
            raise ArtifactError(f"The artefact {self.key} has no tensor {name} that can be mapped", expected=sorted(header))
        facts = header[name]
        dtype, (first, last) = np.dtype(_DTYPES[facts["dtype"]]), facts["data_offsets"]
        if first == last:  # nothing cannot be mapped
            return np.broadcast_to(np.empty((), dtype), facts["shape"])
        return np.memmap(file, dtype, "r", begin + first, (last - first) // dtype.itemsize).view(np.ndarray).reshape(facts["shape"])

    @cached_property
    def _header(self) -> tuple[dict[str, Any], int, Path]:
        """What the tensors' file says of them, where their bytes begin, and the file: 8 bytes of length, then JSON, then the bytes."""
        file = self.path / "tensors.safetensors"
        if not file.exists():
            return {}, 0, file
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(length))
        return {name: facts for name, facts in header.items() if name != "__metadata__"}, 8 + length, file

    def table(self, name: str) -> pl.DataFrame:
        """The table ``name``, as it was given to :func:`write_artifact`."""
        file = self.path / f"{name}.parquet"
        if not file.exists():
            raise ArtifactError(
                f"The artefact {self.key} has no table {name}", expected=[f.stem for f in sorted(self.path.glob("*.parquet"))]
            )
        return pl.read_parquet(file, memory_map=False)

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.path / "config.json").read_text())

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.path / "metrics.json").read_text())

    def embeddings(self, ids_table: str = "ids", tensor: str = "vectors") -> EmbeddingTable:
        """The embedding table of an artefact that makes exactly one space."""
        if len(self.makes) != 1:
            raise ArtifactError(f"The artefact {self.key} does not make exactly one space", found=self.manifest["makes"])
        return EmbeddingTable(self.table(ids_table)["id"].to_list(), self.tensors[tensor], self.makes[0])

    def check(self) -> None:
        """Read every file and hold it against the manifest; raises :class:`ArtifactError` for the first that differs."""
        for name, facts in self.manifest["files"].items():
            file = self.path / name
            if not file.exists():
                raise ArtifactError(f"The artefact {self.key} lacks {name}", hint="Delete its folder and run `corkboard build`.")
            if file.stat().st_size != facts["bytes"] or _sha256(file) != facts["sha256"]:
                raise ArtifactError(
                    f"{name} of the artefact {self.key} is damaged",
                    found=file.stat().st_size,
                    expected=f"{facts['bytes']} bytes with the sha256 of the manifest",
                )


def write_artifact(
    root: Path,
    step: str,
    artifact_id: str,
    *,
    name: str = "default",
    tensors: Mapping[str, np.ndarray] | None = None,
    tables: Mapping[str, pl.DataFrame] | None = None,
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    makes: Sequence[Space] = (),
    requires: Sequence[Space] = (),
    inputs: Mapping[str, str] | None = None,
    seed: int = 0,
    cut_ms: int | None = None,
    lake_commit: int | None = None,
) -> Artifact:
    """Write an artefact below ``root`` (the ``artifacts`` folder) and return it; one that is already whole is returned as it is.

    ``inputs`` maps the name of each input to the id or hash of what was read; ``cut_ms`` is the moment before which the lake was read,
    ``lake_commit`` the number of its last commit then: who was purged by a later one may be in here.
    """
    from safetensors.numpy import save_file

    final = root / step / name / artifact_id
    if (final / "manifest.json").exists():
        return load_artifact(final)
    staging = root / ".staging" / f"{os.getpid()}-{uuid.uuid4().hex}"
    staging.mkdir(parents=True)
    if tensors:
        save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, staging / "tensors.safetensors")
    for table_name, table in (tables or {}).items():
        table.write_parquet(staging / f"{table_name}.parquet")
    (staging / "config.json").write_text(json.dumps(dict(config or {}), indent=1, default=str))
    (staging / "metrics.json").write_text(json.dumps(dict(metrics or {}), indent=1, default=float))
    (staging / "card.md").write_text(card or f"# {step}\n\nMade by Corkboard {__version__}.\n")
    files = {}
    for file in sorted(staging.iterdir()):
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
        files[file.name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
    manifest = {
        "format": FORMAT,
        "step": step,
        "name": name,
        "id": artifact_id,
        "makes": [str(space) for space in makes],
        "requires": [str(space) for space in requires],
        "code_version": __version__,
        "seed": seed,
        "cut_ms": cut_ms,
        "lake_commit": lake_commit,
        "inputs": dict(inputs or {}),
        "files": files,
        "created_ms": int(time.time() * 1000),
    }
    write_atomically(staging / "manifest.json", json.dumps(manifest, indent=1).encode())
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():  # a folder without a manifest is what an older, interrupted format could leave
        shutil.rmtree(final)
    os.rename(staging, final)
    sync_folder(final.parent)
    return Artifact(final, manifest)


def load_artifact(path: Path) -> Artifact:
    """The artefact in ``path``. Raises :class:`ArtifactError` where there is no manifest or its format is unknown."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except FileNotFoundError:
        raise ArtifactError("There is no whole artefact here", found=str(path), expected="a folder with manifest.json") from None
    if manifest.get("format") != FORMAT:
        raise ArtifactError(f"The artefact {path} has an unknown format", found=manifest.get("format"), expected=FORMAT)
    return Artifact(Path(path), manifest)


def sweep_staging(root: Path) -> None:
    """Remove what killed writers left behind; what a running process writes stays."""
    staging = root / ".staging"
    for folder in staging.iterdir() if staging.exists() else ():
        if not _is_running(int(folder.name.partition("-")[0])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -------------------------------------------------------------------------------------------------------------- releases


@dataclass(frozen=True)
class Release:
    """The artefacts that serve together, by the role each one plays ("catalogue", "content", "ranker", ...)."""

    id: str
    label: str
    artifacts: Mapping[str, Artifact]
    created_ms: int
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def get(self, role: str) -> Artifact | None:
        return self.artifacts.get(role)


class Releases:
    """The releases of one workspace, and which of them is live."""

    def __init__(self, workspace: Path):
        self.folder = Path(workspace) / "releases"
        self.artifacts = Path(workspace) / "artifacts"

    def write(self, label: str, artifacts: Mapping[str, Artifact], metrics: Mapping[str, Any] | None = None) -> Release:
        """Write a release, not live yet. The same artefacts under the same label are the same release.

        Raises :class:`SpaceMismatch` where two artefacts make different versions of one space, or one requires a space that none makes, and
        :class:`ArtifactError` where one is no longer there.
        """
        made: dict[str, Space] = {}
        for artifact in artifacts.values():
            for space in artifact.makes:
                made.setdefault(space.name, space).require(space)
        for role, artifact in artifacts.items():
            for space in artifact.requires:
                if made.get(space.name) != space:
                    raise SpaceMismatch(
                        f"The {role} of this release requires a space that is not in it",
                        found=str(made.get(space.name)),
                        expected=str(space),
                    )
        keys = {role: load_artifact(artifact.path).key for role, artifact in sorted(artifacts.items())}
        release_id = content_hash(label, keys)
        file = self.folder / f"{release_id}.toml"
        if not file.exists():
            lines = [
                f"format = {FORMAT}",
                f"id = {json.dumps(release_id)}",
                f"label = {json.dumps(label)}",
                f"created_ms = {int(time.time() * 1000)}",
            ]
            lines += [f"metrics = {json.dumps(json.dumps(dict(metrics or {}), default=float))}", "", "[artifacts]"]
            lines += [f"{role} = {json.dumps(key)}" for role, key in keys.items()]
            write_atomically(file, ("\n".join(lines) + "\n").encode())
        return self.load(release_id)

    def load(self, release_id: str) -> Release:
        file = self.folder / f"{release_id}.toml"
        if not file.exists():
            raise NotFound(
                "There is no such release",
                found=release_id,
                expected=[r.id for r in self.list()] or "a release; run `corkboard build` first",
            )
        raw = tomllib.loads(file.read_text())
        artifacts = {role: load_artifact(self.artifacts / key) for role, key in raw["artifacts"].items()}
        return Release(raw["id"], raw["label"], artifacts, raw["created_ms"], json.loads(raw["metrics"]))

    def list(self) -> list[Release]:
        """Every release that is whole, oldest first; one that lacks an artefact is left out, with a line in the log."""
        found = []
        for file in self.folder.glob("*.toml"):
            try:
                found.append(self.load(file.stem))
            except ArtifactError as error:
                log.warning("Release %s is left out: %s", file.stem, error)
        return sorted(found, key=lambda r: (r.created_ms, r.id))

    def promote(self, release_id: str) -> Release:
        """Make a release live."""
        release = self.load(release_id)
        write_atomically(self.folder / "current", release_id.encode())
        return release

    def choose(self, release_id: str) -> Release:
        """Make a release live because somebody wants it to be, which is how one rolls back: what was live is withdrawn, and with it
        what was made after the chosen one.

        A build does not promote a withdrawn release again; choosing it does.
        """
        release, before = self.load(release_id), self.current_id()
        later = {other.id for other in self.list() if other.created_ms > release.created_ms}
        withdrawn = (self.withdrawn() | later | {before or release_id}) - {release_id}
        write_atomically(self.folder / "withdrawn", "\n".join(sorted(withdrawn)).encode())
        return self.promote(release.id)

    def withdrawn(self) -> set[str]:
        """Releases that somebody took out of service."""
        file = self.folder / "withdrawn"
        return set(file.read_text().split()) if file.exists() else set()

    def current_id(self) -> str | None:
        file = self.folder / "current"
        return file.read_text().strip() if file.exists() else None

    def current(self) -> Release | None:
        release_id = self.current_id()
        return self.load(release_id) if release_id else None
