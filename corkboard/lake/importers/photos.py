"""Pictures in a folder or a tar, with a table that tells of them: a row an item, one column with the name of its picture.

The column is found by its values: they are the names of pictures, with or without folder and suffix. Of several tables the one with
the largest share of rows that have a picture is read.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import decode, read_bytes
from corkboard.lake.importers.frames import long_attributes, with_attributes
from corkboard.lake.importers.prices import prices_of
from corkboard.lake.importers.words import OURS_BY_NAME, folded
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.sources import FolderSource, PictureSource, TarSource
from corkboard.lake.tables import KINDS

_TARS = (".tar", ".tar.gz", ".tgz")
_TABLES = (".csv", ".tsv", ".json", ".jsonl")
_TABLE_BYTES = 512 << 20
_SURE_SHARE = 0.1
"""A table is about the pictures where at least this share of its rows, or of the pictures, have a counterpart."""
_TITLES = {"annotation", "caption", "alt"}
_CATEGORIES = {"label", "subcategory", "mastercategory", "group", "subgroup", "subgroups", "type", "producttype"}
_TAGS = re.compile("tags?$|^keywords?$|^labels$")
_ATTRIBUTE_NAMES = {"basecolour": "colour", "basecolor": "colour", "color": "colour"}
_PLAIN = ("description", "link", "brand_id", "creator_id", "merchant_id")
_NOTHING = ("", "nan", "none", "null", "n/a", "na", "unknown", "not sure")


class Photos:
    """One table (CSV, TSV or JSON, plain or .gz) and the pictures beside it, below it, in a tar beside it, or both in one tar."""

    name = "photos"
    title = "Pictures in a folder or a tar, with a CSV or JSON table"

    def files(self, path: Path) -> list[Path]:
        album = _album(path)
        return [] if album is None else album.files

    def recognises(self, path: Path) -> bool:
        try:
            album = _album(path)
        except InputError:
            return False
        return album is not None and album.matched >= _SURE_SHARE * min(album.frame.height, len(album.source.names()))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        album = _album(path)
        if album is None:
            raise InputError(
                "There is no table here that tells of pictures",
                found=str(path),
                expected="a folder or a tar with pictures (JPEG, PNG, WebP, GIF) and a CSV or JSON table with a column of their names",
            )
        notes = [f"Pictures are those that {album.table} names in the column {album.column}; all items are known from the beginning."]
        items = _items(album, config, notes)
        without, left = album.frame.height - album.matched, len(album.source.names()) - album.frame["_picture"].n_unique()
        left += int(album.frame["_picture"].null_count() > 0)  # null is no picture
        if without:
            notes.append(f"{without:,} rows have no picture: their items come in without one.")
        if left:
            notes.append(f"{left:,} pictures have no row in {album.table} and were left out.")
        if album.others:
            notes.append(f"These tables were not read: {', '.join(album.others)}.")
        return Imported({"items": items}, notes, pictures=album.source)


# ------------------------------------------------------------------------------------------------- what belongs together


@dataclass(frozen=True)
class _Album:
    """A table of texts with the name of a picture in ``_picture``, null where a row has none."""

    table: str
    column: str
    frame: pl.DataFrame
    source: PictureSource
    files: list[Path]
    others: list[str]

    @property
    def matched(self) -> int:
        return self.frame.height - self.frame["_picture"].null_count()


def _album(path: Path) -> _Album | None:
    """The table and the pictures that fit best, None where nothing does."""
    best: _Album | None = None
    known: list[str] = []
    for source, origin in picture_sources(path):
        index = picture_index(source.names())
        if not index:
            continue
        for name, file, frame in _tables(path, source):
            known.append(name)
            column, pictures = _best_column(frame, index)
            if column is None or "_picture" in frame.columns:
                continue
            files = list(dict.fromkeys(part for part in (file, origin) if part is not None))
            album = _Album(name, column, frame.with_columns(_picture=pictures), source, files, [])
            if best is None or album.matched / album.frame.height > best.matched / best.frame.height:
                best = album
    if best is None:
        return None
    best.others.extend(sorted(set(known) - {best.table}))
    return best


def picture_sources(path: Path) -> Iterator[tuple[PictureSource, Path | None]]:
    """Where pictures may be, and the file that holds them, if one does."""
    if path.is_file() and path.name.lower().endswith(_TARS):
        yield TarSource(path), path
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and file.name.lower().endswith(_TARS):
                yield TarSource(file), file
        yield FolderSource(path), None


def _tables(path: Path, source: PictureSource) -> Iterator[tuple[str, Path | None, pl.DataFrame]]:
    """Name, file and rows of each table beside or among the pictures. A file that is no table is passed over."""
    if isinstance(source, TarSource):
        inside = [name for name, size in source.other_files().items() if _is_table(name) and size <= _TABLE_BYTES]
        for name, data in source.read(inside, PictureLimits(max_bytes=_TABLE_BYTES)) if inside else ():
            if isinstance(data, bytes) and (frame := _table(_unzipped(data), name)) is not None:
                yield name, None, frame
    folder = path if path.is_dir() else path.parent
    for file in sorted(folder.iterdir()):
        if file.is_file() and _is_table(file.name) and file.stat().st_size <= _TABLE_BYTES:
            frame = _table(read_bytes(file, _TABLE_BYTES), file.name)
            if frame is not None:
                yield file.name, file, frame


def _is_table(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(_TABLES)


def _unzipped(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            return stream.read(_TABLE_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def _table(data: bytes, name: str) -> pl.DataFrame | None:
    """The rows with every column as text, or as a list of texts; None where this is no table."""
    text = decode(data)
    try:
        if name.lower().removesuffix(".gz").endswith((".json", ".jsonl")):
            rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
            if not rows or not all(isinstance(row, dict) for row in rows):
                return None
            names = dict.fromkeys(key for row in rows for key in row)
            columns = {key: [_as_text(row.get(key)) for row in rows] for key in names}
            return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))
        first = text.partition("\n")[0]
        separator = max(",\t;|", key=first.count)
        frame = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False, truncate_ragged_lines=True)
        return frame if frame.height else None
    except (ValueError, RecursionError, pl.exceptions.PolarsError):
        return None


def _as_text(value: object) -> str | None:
    if isinstance(value, list):
        return "|".join(str(part) for part in value)
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def picture_index(names: list[str]) -> dict[str, str]:
    """Every way to call a picture -> its name: the whole path, the file name, the file name without suffix, if only one is called so."""
    index: dict[str, str] = {name: name for name in names}
    for short in (lambda path: path.name, lambda path: path.stem):
        called: dict[str, str | None] = {}
        for name in names:
            key = short(PurePosixPath(name))
            called[key] = None if key in called else name
        for key, name in called.items():
            if name is not None:
                index.setdefault(key, name)
    return index


def _best_column(frame: pl.DataFrame, index: dict[str, str]) -> tuple[str | None, pl.Series]:
    """The column that names most pictures, and the picture of each row."""
    best: tuple[str | None, pl.Series] = (None, pl.Series([None] * frame.height, dtype=pl.String))
    most = (0, 0)
    for column in frame.columns:
        values = frame[column].str.strip_chars()
        named = {value: index.get(value) or index.get(PurePosixPath(value).name) for value in values.drop_nulls().unique().to_list()}
        pictures = values.replace_strict(named, default=None, return_dtype=pl.String)
        found = frame.height - pictures.null_count(), pictures.n_unique()  # an item of two pictures has one id and two names
        if found[0] and found > most:
            best, most = (column, pictures), found
    return best


# -------------------------------------------------------------------------------------------------------- rows to items


def _items(album: _Album, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    """One row an item; several rows of one id are several pictures of it."""
    frame = album.frame.with_columns(pl.exclude("_picture").str.strip_chars())
    columns = [name for name in album.frame.columns if name != "_picture"]
    roles = _roles(frame, columns, album.column)
    stem = pl.col("_picture").map_elements(lambda name: PurePosixPath(name).stem, return_dtype=pl.String)
    ids = pl.coalesce(pl.col(roles["item_id"]) if "item_id" in roles else pl.lit(None, pl.String), stem, pl.col(album.column))
    frame = frame.with_columns(item_id=ids) if "item_id" not in columns else frame.with_columns(ids.alias("item_id"))
    facts = {ours: _known(theirs) if ours == "category" else pl.col(theirs) for ours, theirs in roles.items() if ours != "item_id"}
    if "kind" in facts:
        facts["kind"] = facts["kind"].str.to_lowercase()
    prices = prices_of(frame.select(columns), config.currency)
    if prices is not None:
        frame = frame.with_columns(prices.rows.select(pl.all().name.prefix("_")))
        facts |= {name: pl.col(f"_{name}") for name in prices.rows.columns}
        notes += prices.notes
    named = [f"{ours} = {theirs}" for ours, theirs in roles.items()]
    notes.append("Read as " + ", ".join(named) + "." if named else "Items are called as their pictures are; nothing else of them is known.")
    rows = frame.group_by("item_id", maintain_order=True).agg(
        *[expression.drop_nulls().first().alias(f"_{ours}") for ours, expression in facts.items()],
        images=pl.col("_picture").drop_nulls().unique(maintain_order=True),
    )
    rows = rows.rename({f"_{ours}": ours for ours in facts}).with_columns(time_ms=pl.lit(0, pl.Int64))
    used = {*roles.values(), album.column, *([] if prices is None else prices.columns)} | {
        name for name in columns if _names_pictures(frame, name)
    }
    attributes, dropped = _attributes(frame, [name for name in columns if name not in used], config)
    if dropped:
        notes.append(f"Columns that differ in nearly every row are no attributes and were left out: {', '.join(dropped)}.")
    return with_attributes(rows, attributes)


def _roles(frame: pl.DataFrame, columns: list[str], picture_column: str) -> dict[str, str]:
    """Our column -> theirs. Of several categories the finest one: the others become attributes."""
    roles: dict[str, str] = {}
    categories = []
    for name in columns:
        word = folded(name)
        ours, _ = OURS_BY_NAME.get(word, ("", 0.0))
        if word in _CATEGORIES or (ours == "category" and word not in _TITLES):
            categories.append(name)
        elif word == "id" or ours == "item_id":
            roles.setdefault("item_id", name)
        elif ours == "title" or word in _TITLES:
            roles.setdefault("title", name)
        elif ours in _PLAIN and name != picture_column:
            roles.setdefault(ours, name)
        elif word == "kind" and (told := frame[name].drop_nulls()).len() and told.str.to_lowercase().is_in(KINDS).all():
            roles.setdefault("kind", name)
    categories = [name for name in categories if _is_kind(frame[name])]
    if categories:
        roles["category"] = max(categories, key=lambda name: frame[name].n_unique())
    return roles


def _is_kind(values: pl.Series) -> bool:
    """Whether values tell kinds apart: they come again, in other rows."""
    given = values.drop_nulls()
    return len(given) > 0 and (given.n_unique() <= max(len(given) // 2, 1) or len(given) <= 10)


def _known(name: str) -> pl.Expr:
    """The values of a column without those that say that nothing is known."""
    return pl.when(~pl.col(name).str.to_lowercase().is_in(list(_NOTHING))).then(pl.col(name))


def _names_pictures(frame: pl.DataFrame, name: str) -> bool:
    """Whether a column is but another name of the row's picture."""
    both = frame.select(pl.col(name).alias("value"), pl.col("_picture").alias("name")).drop_nulls()
    stems = both["name"].map_elements(lambda path: PurePosixPath(path).stem, return_dtype=pl.String)
    names = both["name"].map_elements(lambda path: PurePosixPath(path).name, return_dtype=pl.String)
    value = both["value"]
    return both.height > 0 and bool(((value == stems) | (value == names) | (value == both["name"])).all())


def _attributes(frame: pl.DataFrame, columns: list[str], config: ImportConfig) -> tuple[pl.DataFrame, list[str]]:
    """(item_id, name, value) of what else the table tells, and the columns that differ in nearly every row."""
    labels: dict[str, str] = {}
    tags, dropped = [], []
    for name in columns:
        known = frame.select(_known(name)).to_series()
        if _TAGS.search(folded(name)):
            tags.append(pl.col(name).str.split("|").list.eval(pl.element().str.split(",").explode()))
        elif not known.drop_nulls().len():
            continue
        elif _is_kind(known):
            labels[_attribute_name(name, labels)] = name
        else:
            dropped.append(name)
    whole = [_known(name).str.replace(r"^(-?\d+)\.0$", "$1").alias(name) for name in labels.values()]
    told = frame.select("item_id", *whole)
    if tags:
        lists = pl.concat_list([part.fill_null([]) for part in tags]).list.eval(pl.element().str.strip_chars())
        told = told.with_columns(frame.select(_tags=lists.list.unique(maintain_order=True).list.head(config.tags_per_item)).to_series())
        labels["tag"] = "_tags"
    return long_attributes(told, labels), dropped


def _attribute_name(name: str, taken: dict[str, str]) -> str:
    """``baseColour`` is ``colour``, ``masterCategory`` is ``master_category``; the name as it stands where that one is taken."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).strip("_").lower()
    ours = _ATTRIBUTE_NAMES.get(folded(name), words) or name
    return ours if ours not in taken else name
