"""Which importers there are, which one knows a file, and how what it reads gets into the lake."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from corkboard.artifacts import content_hash, write_atomically
from corkboard.errors import InputError, NotFound
from corkboard.lake.importers.base import Imported, Importer
from corkboard.lake.importers.boxes import BoxTable
from corkboard.lake.importers.coco import Coco
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.movielens import MovieLens
from corkboard.lake.importers.personalize import Personalize
from corkboard.lake.importers.photos import Photos
from corkboard.lake.importers.ratings import Ratings
from corkboard.lake.importers.recbole import RecBole
from corkboard.lake.importers.rechorus import ReChorus
from corkboard.lake.importers.sequences import Sequences
from corkboard.lake.importers.yolo import Yolo
from corkboard.lake.ingest import IngestReport, Progress, ingest_frames
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.schema import DEFAULT_TENANT

IMPORTERS: tuple[Importer, ...] = (
    *(MovieLens(), RecBole(), Personalize(), ReChorus()),
    *(Coco(), Yolo(), BoxTable(), Photos()),
    *(Ratings(), Sequences()),
)
"""Asked in this order: formats with unmistakable names or headers first, plain tables and plain numbers last."""

_NOTES_FOLDER = "imports"


def find_importer(path: Path, name: str | None = None) -> Importer | None:
    """The importer called ``name``, or the first that recognises ``path``; None where none does.

    Raises :class:`NotFound` where ``path`` is not there or no importer is called ``name``.
    """
    path = Path(path)
    if name is not None:
        known = {importer.name: importer for importer in IMPORTERS}
        if name not in known:
            raise NotFound("There is no such importer", found=name, expected=", ".join(known))
        return known[name]
    if not path.exists():
        raise NotFound("There is no such file or folder", found=str(path))
    return next((importer for importer in IMPORTERS if importer.recognises(path)), None)


def load_outside(path: Path, name: str | None = None, config: ImportConfig | None = None) -> Imported:
    """The lake frames of an outside data set. Raises :class:`InputError` where no importer recognises ``path``."""
    return _load(_importer_of(path, name), Path(path), config)


def ingest_outside(
    lake_folder: Path,
    path: Path,
    name: str | None = None,
    config: ImportConfig | None = None,
    tenant: str = DEFAULT_TENANT,
    progress: Progress | None = None,
    limits: PictureLimits | None = None,
) -> IngestReport:
    """Import ``path`` into the lake. Rows that do not fit are refused and listed as for any other file; importing again adds nothing.

    The notes of the import are kept beside the lake's tables, for :func:`import_notes`.
    """
    lake_folder, path = Path(lake_folder), Path(path)
    importer = _importer_of(path, name)
    imported = _load(importer, path, config)
    frames = {table: frame.with_columns(pl.lit(tenant).alias("tenant")) for table, frame in imported.frames.items()}
    given = {"progress": progress, "limits": limits, "pictures": imported.pictures, "refusals": imported.refused}
    report = ingest_frames(lake_folder, frames, str(path), **given)
    source = f"{path.resolve().parent.name}/{path.name}" if path.is_file() else path.resolve().name
    record = {"importer": importer.name, "source": source, "notes": imported.notes, "synthetic_time": imported.synthetic_time}
    file = lake_folder / _NOTES_FOLDER / f"{content_hash(importer.name, source)}.json"
    write_atomically(file, json.dumps(record, indent=1).encode())
    return replace(report, notes=[*imported.notes, *report.notes])


def import_notes(lake_folder: Path) -> list[dict[str, Any]]:
    """What was assumed when data came into this lake: importer, source, notes, synthetic_time (times were invented) of every import."""
    folder = Path(lake_folder) / _NOTES_FOLDER
    return [json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))]


def _load(importer: Importer, path: Path, config: ImportConfig | None) -> Imported:
    try:
        return importer.load(path, config or ImportConfig())
    except pl.exceptions.PolarsError as error:  # such as a column that the format has and the file has not
        raise InputError(f"{path} does not fit the format {importer.name}: {str(error).splitlines()[0]}") from error


def _importer_of(path: Path, name: str | None) -> Importer:
    importer = find_importer(path, name)
    if importer is None:
        raise InputError(
            "No importer recognises this",
            found=str(path),
            expected=", ".join(known.name for known in IMPORTERS),
            hint="`corkboard check FILE` proposes how to ingest a plain table with --map.",
        )
    return importer
