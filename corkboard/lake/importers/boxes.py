"""Boxes in a table: a row a box with the name of its picture, a label and four corners, beside the pictures.

Corners are shares of the picture, or px where they are beyond 1. Of several such tables in a folder the one is read in which a picture has
one label least often twice: where a mask falls apart, some publish its pieces and, in another table, what they are pieces of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.importers.annotated import Album, Annotation, Annotations, refusal
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import header, plain_name, read_table
from corkboard.lake.importers.words import folded

_CORNERS = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))
_PICTURES = ("file", "filename", "image", "imagename", "imagefile", "picture", "path", "imagepath")
_LABELS = ("label", "class", "classname", "category", "name", "object")
_PX_FROM = 1.5
"""Corners are px where the median of right sides is beyond this."""


class BoxTable:
    """A CSV or TSV of boxes, or a folder with one; pictures in folders or a tar there."""

    name = "boxes"
    title = "A table of boxes with their pictures"

    def files(self, path: Path) -> list[Path]:
        tables = [_Table.of(file) for file in _files(path)]
        return [min(tables, key=lambda table: table.repeated).file] if tables else []

    def recognises(self, path: Path) -> bool:
        return bool(_files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        tables = [_Table.of(file) for file in _files(path)]
        if not tables:
            expected = "a CSV with a picture, a label and x0, y0, x1, y1 (or xmin, ymin, xmax, ymax; left, top, right, bottom)"
            raise InputError("There is no table of boxes here", found=str(path), expected=expected)
        best = min(tables, key=lambda table: table.repeated)
        folder = path if path.is_dir() else path.parent
        album = Album.best([folder], best.frame["picture"].drop_nulls().unique().to_list())
        read = Annotations(self.name, album, [], [])
        best.add_to(read)
        others = [table.file.name for table in tables if table is not best]
        read.notes.append(f"Boxes are those of {best.file.name}, read as {'px' if best.px else 'shares of the picture'}.")
        if others:
            read.notes.append(f"These tables of boxes were not read: {', '.join(others)}. Name one as the path to read it instead.")
        return read.imported()


def _files(path: Path) -> list[Path]:
    """The tables of boxes at ``path``."""
    candidates = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    return [file for file in candidates if file.is_file() and _layout(file) is not None]


def _layout(file: Path) -> tuple[str, dict[str, str]] | None:
    """Separator, and what stands in which column (picture, label, left, top, right, bottom); None for another file."""
    separator = {".csv": ",", ".tsv": "\t"}.get(Path(plain_name(file)).suffix)
    if separator is None:
        return None
    columns = {folded(name): name for name in header(file, separator)}
    corners = next((four for four in _CORNERS if set(four) <= set(columns)), None)
    picture = next((name for name in _PICTURES if name in columns), None)
    label = next((name for name in _LABELS if name in columns), None)
    if corners is None or picture is None or label is None:
        return None
    ours = ("picture", "label", "left", "top", "right", "bottom")
    return separator, {mine: columns[theirs] for mine, theirs in zip(ours, (picture, label, *corners), strict=True)}


@dataclass(frozen=True)
class _Table:
    """One table: texts in ``picture``, ``label`` and the corners, beside the row as it stands."""

    file: Path
    frame: pl.DataFrame
    px: bool
    repeated: int
    """Rows whose picture has their label already."""

    @classmethod
    def of(cls, file: Path) -> _Table:
        layout = _layout(file)
        if layout is None:
            raise InputError(f"{file} is no table of boxes")
        separator, columns = layout
        given = read_table(file, separator, quotes=True)
        frame = given.select(
            *[pl.col(theirs).str.strip_chars().alias(ours) for ours, theirs in columns.items()], original=pl.struct(given.columns)
        )
        middle = frame.select(pl.col("right").cast(pl.Float64, strict=False).median()).item()
        repeated = frame.height - frame.select("picture", "label").unique().height
        return cls(file, frame, middle is not None and middle > _PX_FROM, repeated)

    def add_to(self, read: Annotations) -> None:
        """Add the boxes of the table."""
        pictures: dict[str, None] = {}
        for row, one in enumerate(self.frame.iter_rows(named=True), start=1):
            called, label = one["picture"] or "", one["label"]
            picture = read.album.find(called)
            if picture is not None:
                pictures[picture] = None
            if not label:
                read.refused.append(refusal(self.file.name, row, "label", label, "the name of a class", one["original"]))
                continue
            texts = [one[side] for side in ("left", "top", "right", "bottom")]
            try:
                left, top, right, bottom = (float(text) for text in texts)
            except (TypeError, ValueError):
                read.refused.append(refusal(self.file.name, row, "box", texts, "four numbers", one["original"]))
                continue
            unit = "px" if self.px else "share"
            corners = left, top, right, bottom
            read.boxes.append(Annotation(self.file.name, row, "box", picture, called, corners, unit, label, one["original"]))
        read.pictures = list(pictures)
