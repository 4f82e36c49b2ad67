"""A plain table of ratings: user, item, rating and time under any usual name, comma, tab or semicolon between them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import head_lines, header, read_table
from corkboard.lake.importers.frames import BIRTH_NOTE, actions_of_ratings, births
from corkboard.lake.importers.times import to_ms
from corkboard.lake.importers.words import OURS_BY_NAME, folded

_NEEDED = ("user_id", "item_id", "rating", "time_ms")
_SEPARATORS = (",", "\t", ";")


class Ratings:
    """One file with a header line. Recognised where all four columns are there and no column names an action."""

    name = "ratings"
    title = "a table of ratings: user, item, rating, time"

    def files(self, path: Path) -> list[Path]:
        return [path] if path.is_file() and _columns(path) is not None else []

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        found = _columns(path) if path.is_file() else None
        if found is None:
            raise InputError(
                "This is no table of ratings", found=str(path), expected="a header line that names user, item, rating and time"
            )
        separator, columns = found
        raw = read_table(path, separator, quotes=True)
        ratings = raw.select(
            pl.col(columns["user_id"]).str.strip_chars().alias("user_id"),
            pl.col(columns["item_id"]).str.strip_chars().alias("item_id"),
            pl.col(columns["rating"]).cast(pl.Float64, strict=False).alias("rating"),
            to_ms(raw[columns["time_ms"]]).alias("time_ms"),
        )
        notes = [f"Read as {', '.join(f'{ours} = {theirs}' for ours, theirs in columns.items())}."]
        actions = actions_of_ratings(ratings, config, notes)
        items = births(ratings, pl.Series("item_id", [], pl.String))
        notes.append(BIRTH_NOTE)
        return Imported({"items": items, "actions": actions}, notes)


def _columns(path: Path) -> tuple[str, dict[str, str]] | None:
    """The separator, and our name -> the name in the file; None where this is no table of ratings."""
    first = head_lines(path, 1)
    if not first:
        return None
    separator = max(_SEPARATORS, key=first[0].count)
    columns: dict[str, str] = {}
    for name in header(path, separator):
        ours, _ = OURS_BY_NAME.get(folded(name), ("", 0.0))
        columns.setdefault(ours, name)
    if "action" in columns or not all(name in columns for name in _NEEDED):
        return None
    return separator, {name: columns[name] for name in _NEEDED}
