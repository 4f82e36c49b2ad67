"""MovieLens: 100k (u.data), 1M (ratings.dat), the CSV releases (latest-small, 25M, ...), and 1M as order plus partial timestamps.

Every layout is read into the same four tables, out of which the lake frames are made:
ratings (user_id, item_id, rating, time_ms), items (item_id, title, year, genres), users (user_id, facts), tags (item_id, tag, time_ms).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import folder_files, head_lines, header, plain_name, read_table
from corkboard.lake.importers.frames import (
    BIRTH_NOTE,
    USER_NOTE,
    actions_of_ratings,
    births,
    long_attributes,
    user_frame,
    with_attributes,
)
from corkboard.lake.importers.times import fill_times, to_ms

_FLAGS_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|Mystery|Romance|"
    "Sci-Fi|Thriller|War|Western"
)
_GENRES_100K = tuple(_FLAGS_100K.split("|"))
_NO_GENRE = ["unknown", "(no genres listed)"]
_TITLE_YEAR = r"\s*\((\d{4})\)\s*$"
_PARQUET_COLUMNS = {"user_id", "item_id", "rating", "timestamp", "pos"}
_ITEMS = {"item_id": pl.String, "title": pl.String, "year": pl.String, "genres": pl.List(pl.String)}
_TAGS = {"item_id": pl.String, "tag": pl.String, "time_ms": pl.Int64}


@dataclass
class _Tables:
    ratings: pl.DataFrame
    items: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_ITEMS))
    users: pl.DataFrame | None = None
    facts: dict[str, str] = field(default_factory=dict)
    tags: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_TAGS))
    notes: list[str] = field(default_factory=list)


class MovieLens:
    """The importer of every MovieLens layout."""

    name = "movielens"
    title = "MovieLens ratings (100k, 1M, the CSV releases), with films, users and tags"

    def files(self, path: Path) -> list[Path]:
        beside = folder_files(path)
        layout = _layout(path, beside)
        if layout is None:
            return []
        main = path if path.is_file() else beside[_MAIN_FILE[layout]] if layout != "parquet" else _order_parquet(beside)
        extras = [beside[name] for name in _EXTRA_FILES[layout] if name in beside]
        return [main, *extras] if main is not None else []

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        beside = folder_files(path)
        layout = _layout(path, beside)
        if layout is None:
            raise InputError(
                "This is not a MovieLens data set", found=str(path), expected="u.data, ratings.dat, ratings.csv or ml-1m.parquet"
            )
        main = self.files(path)[0]
        tables = {"100k": _read_100k, "1m": _read_1m, "csv": _read_csv, "parquet": _read_parquet}[layout](main, beside)
        return _imported(tables, config)


_MAIN_FILE = {"100k": "u.data", "1m": "ratings.dat", "csv": "ratings.csv"}
_EXTRA_FILES = {
    "100k": ("u.item", "u.user"),
    "1m": ("movies.dat", "users.dat"),
    "csv": ("movies.csv", "tags.csv"),
    "parquet": ("movies.dat", "users.dat"),
}


def _layout(path: Path, beside: dict[str, Path]) -> str | None:
    """Which layout ``path`` is of, going by names first and by the first line second; None where it is not MovieLens."""
    one = plain_name(path) if path.is_file() else None
    for layout, name in _MAIN_FILE.items():
        file = path if one == name else beside.get(name) if one is None else None
        if file is not None and _first_line_fits(layout, file):
            return layout
    if path.is_file():
        return "parquet" if _is_order_parquet(path) else None
    return "parquet" if _order_parquet(beside) else None


def _first_line_fits(layout: str, file: Path) -> bool:
    if layout == "csv":
        return {"userid", "movieid", "rating", "timestamp"} <= {name.lower() for name in header(file, ",")}
    first = head_lines(file, 1)
    separator = "\t" if layout == "100k" else "::"
    return bool(first) and len(first[0].split(separator)) == 4


def _is_order_parquet(file: Path) -> bool:
    if file.suffix.lower() != ".parquet":
        return False
    try:
        columns = set(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError):
        return False
    return columns >= _PARQUET_COLUMNS


def _order_parquet(beside: dict[str, Path]) -> Path | None:
    return next((file for name, file in sorted(beside.items()) if name.startswith("ml-") and _is_order_parquet(file)), None)


# -------------------------------------------------------------------------------------------------------------- layouts


def _ratings(frame: pl.DataFrame) -> pl.DataFrame:
    """(user_id, item_id, rating, time_ms) from text columns called user_id, item_id, rating, timestamp (seconds)."""
    return frame.select(
        pl.col("user_id", "item_id").str.strip_chars(),
        pl.col("rating").cast(pl.Float64, strict=False),
        to_ms(frame["timestamp"], "s").alias("time_ms"),
    )


def _read_100k(main: Path, beside: dict[str, Path]) -> _Tables:
    tables = _Tables(_ratings(read_table(main, "\t", ["user_id", "item_id", "rating", "timestamp"])))
    if "u.item" in beside:
        names = ["item_id", "title", "release_date", "video_date", "url", *_GENRES_100K]
        films = read_table(beside["u.item"], "|", names)
        genres = pl.concat_list([pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in _GENRES_100K]).list.drop_nulls()
        tables.items = _films(films.select("item_id", "title", genres=genres))
    if "u.user" in beside:
        tables.users = read_table(beside["u.user"], "|", ["user_id", "age", "gender", "occupation", "zip"])
        tables.facts = {"age": "age", "gender": "gender", "occupation": "occupation"}
    return tables


def _read_1m(main: Path, beside: dict[str, Path]) -> _Tables:
    tables = _Tables(_ratings(read_table(main, "::", ["user_id", "item_id", "rating", "timestamp"])))
    _read_dat_extras(tables, beside)
    return tables


def _read_dat_extras(tables: _Tables, beside: dict[str, Path]) -> None:
    if "movies.dat" in beside:
        films = read_table(beside["movies.dat"], "::", ["item_id", "title", "genres"])
        tables.items = _films(films.with_columns(pl.col("genres").str.split("|")))
    if "users.dat" in beside:
        tables.users = read_table(beside["users.dat"], "::", ["user_id", "gender", "age", "occupation", "zip"])
        tables.facts = {"age": "age", "gender": "gender", "occupation": "occupation"}
        tables.notes.append("Ages and occupations of users are the codes of the README of the data set.")


def _read_csv(main: Path, beside: dict[str, Path]) -> _Tables:
    def read(file: Path) -> pl.DataFrame:
        frame = read_table(file, ",", quotes=True)
        names = {"userid": "user_id", "movieid": "item_id"}
        return frame.rename({old: names.get(old.strip().lower(), old.strip().lower()) for old in frame.columns})

    tables = _Tables(_ratings(read(main)))
    if "movies.csv" in beside:
        films = read(beside["movies.csv"])
        tables.items = _films(films.select("item_id", "title", pl.col("genres").str.split("|")))
    if "tags.csv" in beside:
        tags = read(beside["tags.csv"])
        words = pl.col("tag").str.strip_chars().str.to_lowercase()
        tables.tags = tags.select("item_id", words.alias("tag"), to_ms(tags["timestamp"], "s").alias("time_ms"))
    return tables


def _read_parquet(main: Path, beside: dict[str, Path]) -> _Tables:
    frame = pl.read_parquet(main, columns=["user_id", "item_id", "rating", "timestamp", "pos"]).sort("user_id", "pos")
    codes = frame["user_id"].rle_id().to_numpy().astype(np.int64)
    known = frame["timestamp"].cast(pl.Float64).fill_null(float("nan")).to_numpy() * 1000.0
    if np.isnan(known).all():
        raise InputError(f"{main} has no timestamp at all", expected="timestamps in seconds for a part of the rows")
    filled = fill_times(codes, known)
    ratings = frame.select(
        pl.col("user_id", "item_id").cast(pl.String),
        pl.col("rating").cast(pl.Float64),
        pl.Series("time_ms", filled.time_ms),
    )
    tables = _Tables(ratings)
    tables.notes.append(
        f"{filled.share:.1%} of the times are interpolated: the order of every user is the true one, the moment is not. "
        f"Of {frame.height:,} actions {filled.between:,} lie evenly between two known times, {filled.outside:,} before the first or after "
        f"the last known time of their user ({filled.pace_ms / 1000:.0f} s apart, the pace of a sitting), {filled.alone:,} belong to users "
        "without any known time, who start when users with neighbouring numbers do. "
        "Read figures that depend on the hour or on a split by time with that in mind."
    )
    tables.notes.append("Actions of one second were set a millisecond apart, so that their order is kept; the column `split` is not used.")
    _read_dat_extras(tables, beside)
    return tables


def _films(films: pl.DataFrame) -> pl.DataFrame:
    """(item_id, title without the year, year, genres) from (item_id, title with the year, genres)."""
    return films.unique("item_id", keep="first", maintain_order=True).select(
        pl.col("item_id").str.strip_chars(),
        pl.col("title").str.replace(_TITLE_YEAR, "").str.strip_chars(),
        pl.col("title").str.extract(_TITLE_YEAR).alias("year"),
        pl.col("genres").list.eval(pl.element().filter(~pl.element().is_in(_NO_GENRE))),
    )


# -------------------------------------------------------------------------------------------------------- to the lake


def _imported(tables: _Tables, config: ImportConfig) -> Imported:
    notes = list(tables.notes)
    actions = actions_of_ratings(tables.ratings, config, notes)
    frames = {"items": _item_rows(tables, config, notes), "actions": actions}
    if tables.users is not None and config.user_facts:
        frames["users"] = user_frame(tables.users, tables.facts, tables.ratings.select("user_id", "time_ms"), config)
        notes.append(USER_NOTE)
    return Imported(frames, notes)


def _item_rows(tables: _Tables, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    """The row of each film at its birth, and a further one for each day that brought a new tag."""
    seen = pl.concat([tables.ratings.select("item_id", "time_ms"), tables.tags.select("item_id", "time_ms")])
    rows = births(seen, tables.items["item_id"]).with_row_index("row")
    tags = pl.DataFrame(schema={"row": pl.UInt32, "name": pl.String, "value": pl.String})
    notes.append(BIRTH_NOTE)
    if tables.tags.height:
        tagged, tags = _tag_rows(tables.tags, config.tags_per_item, rows.height)
        rows = pl.concat([rows, tagged.select(rows.columns)])
        notes.append(
            f"Tags are attributes from the moment they were given: {tagged.height:,} further item rows, one for each day with a new tag, "
            f"for the first {config.tags_per_item} different tags of an item."
        )
    facts = long_attributes(tables.items, {"genre": "genres", "year": "year"})
    facts = rows.select("item_id", "row").join(facts, on="item_id", maintain_order="left_right").drop("item_id")
    rows = with_attributes(rows, pl.concat([facts, tags]), key="row")  # a row, not an item, owns a list: tags grow
    return rows.join(tables.items, on="item_id", how="left", maintain_order="left").select(
        "time_ms", "item_id", "title", pl.col("genres").list.first().alias("category"), "attributes"
    )


def _tag_rows(tags: pl.DataFrame, limit: int, first_row: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(row, item_id, time_ms) for each item and day with a new tag, at the last one of that day; (row, name, value) of all tags so far."""
    new = (
        tags.filter(pl.col("tag").is_not_null() & (pl.col("tag") != "") & pl.col("time_ms").is_not_null())
        .sort("item_id", "time_ms", "tag")
        .unique(["item_id", "tag"], keep="first", maintain_order=True)
        .filter(pl.int_range(pl.len()).over("item_id") < limit)
    )
    day = (pl.col("time_ms") // DAY_MS).alias("day")
    rows = new.group_by("item_id", day, maintain_order=True).agg(pl.col("time_ms").max()).drop("day")
    rows = rows.with_row_index("row", offset=first_row)
    so_far = (
        rows.join(new.select("item_id", "tag", tagged_ms="time_ms"), on="item_id", maintain_order="left_right")
        .filter(pl.col("tagged_ms") <= pl.col("time_ms"))
        .select("row", pl.lit("tag").alias("name"), pl.col("tag").alias("value"))
    )
    return rows, so_far
