"""RecBole atomic files: .inter, .item and .user, tab separated, with ``name:type`` headers (token, token_seq, float, float_seq)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import folder_files, header, plain_name, read_table
from corkboard.lake.importers.frames import (
    BIRTH_NOTE,
    USER_NOTE,
    action_frame,
    actions_of_ratings,
    births,
    long_attributes,
    user_frame,
    with_attributes,
)
from corkboard.lake.importers.prices import minor_units
from corkboard.lake.importers.times import spread_back, to_ms
from corkboard.lake.importers.words import OURS_BY_NAME, action_of, folded, unknown_actions

_TYPES = {"token", "token_seq", "float", "float_seq"}
_IGNORED = (".kg", ".link", ".net", ".ent", ".rel")
_INTER_COLUMNS = {"user_id", "item_id", "session_id", "time_ms", "rating", "action"}
_USER_COLUMNS = {"user_id", "country", "language"}
_ITEM_TEXT = ("title", "description", "link", "brand_id", "creator_id", "merchant_id")
_ITEM_COLUMNS = {"item_id", "category", *_ITEM_TEXT}
_ATTRIBUTE_NAMES = {"class": "genre", "genres": "genre", "release_year": "year", "categories": "category"}
_POSTCODES = {"zipcode", "zip", "postcode"}


class RecBole:
    """One data set a folder, or a ``.inter`` file with its ``.item`` and ``.user`` beside it."""

    name = "recbole"
    title = "RecBole atomic files (.inter, .item, .user)"

    def files(self, path: Path) -> list[Path]:
        beside = folder_files(path)
        if path.is_file():
            inters = [path] if plain_name(path).endswith(".inter") and _is_atomic(path) else []
        else:
            inters = [file for name, file in sorted(beside.items()) if name.endswith(".inter") and _is_atomic(file)]
        stems = {plain_name(file).split(".")[0] for file in inters}
        if len(stems) != 1:
            return []
        stem = stems.pop()
        return inters + [beside[f"{stem}.{kind}"] for kind in ("item", "user") if f"{stem}.{kind}" in beside]

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        files = self.files(path)
        if not files:
            raise InputError(
                "This is not one RecBole data set",
                found=str(path),
                expected="a .inter file with a name:type header, or a folder with one data set",
            )
        notes = [f"{file.name} is not used." for name, file in sorted(folder_files(path).items()) if name.endswith(_IGNORED)]
        inters = pl.concat([_read(file, _INTER_COLUMNS)[0] for file in files if plain_name(file).endswith(".inter")], how="diagonal")
        actions, invented = _actions(inters, files[0], config, notes)
        by_kind = {plain_name(file).rpartition(".")[2]: file for file in files}
        items, names = _read(by_kind["item"], _ITEM_COLUMNS) if "item" in by_kind else (pl.DataFrame(schema={"item_id": pl.String}), {})
        frames = {"actions": actions, "items": _items(items, names, actions, invented, config, notes)}
        if "user" in by_kind:
            frames["users"] = _users(_read(by_kind["user"], _USER_COLUMNS)[0], actions, config, notes)
        return Imported(frames, notes, synthetic_time=invented)


def _is_atomic(file: Path) -> bool:
    names = header(file, "\t")
    return bool(names) and all(name.rpartition(":")[2] in _TYPES and ":" in name for name in names)


def _read(file: Path, ours: set[str]) -> tuple[pl.DataFrame, dict[str, str]]:
    """The columns, those that are one of ``ours`` by that name, and our name -> name in the file.

    token is text, float is Float64, token_seq is a list of text (titles and descriptions stay text); float_seq is dropped.
    """
    raw = read_table(file, "\t")
    names: dict[str, str] = {}
    columns = []
    for full in raw.columns:
        name, _, kind = full.rpartition(":")
        if kind == "float_seq":
            continue
        known = OURS_BY_NAME.get(folded(name), ("", 0.0))[0]
        called = known if known in ours and known not in names else name
        names[called] = name
        column = pl.col(full).alias(called)
        if kind == "float":
            column = column.cast(pl.Float64, strict=False)
        elif kind == "token_seq" and called not in ("title", "description"):
            column = column.str.split(" ")
        columns.append(column)
    return raw.select(columns), names


def _actions(inters: pl.DataFrame, file: Path, config: ImportConfig, notes: list[str]) -> tuple[pl.DataFrame, bool]:
    """Action rows, and whether their times are invented."""
    if "item_id_list" in inters.columns or "item_id" not in inters.columns or not {"user_id", "session_id"} & set(inters.columns):
        raise InputError(
            f"{file} does not hold one interaction a row", found=inters.columns, expected="user_id (or session_id) and item_id"
        )
    invented = "time_ms" not in inters.columns
    if invented:
        owner = "user_id" if "user_id" in inters.columns else "session_id"
        place, length = pl.int_range(pl.len(), dtype=pl.Int64).over(owner), pl.len().cast(pl.Int64).over(owner)
        inters = inters.with_columns(time_ms=spread_back(place, length, config.synthetic_end_ms, config.synthetic_step_ms))
        notes.append(
            "There are no times: the order of the rows of a user is taken as true, times are invented. A split by time means nothing here."
        )
    else:
        inters = inters.with_columns(to_ms(inters["time_ms"]))
    if "label" in inters.columns:
        shown = inters.height
        inters = inters.filter(pl.col("label").cast(pl.Float64, strict=False).fill_null(1.0) > 0)
        notes.append(f"{shown - inters.height:,} rows with label 0 are no actions and are left out.")
    if inters.schema.get("action") == pl.String:
        strange = unknown_actions(inters["action"], config)
        if strange:
            notes.append(f"Unknown event names, refused with their rows: {', '.join(strange[:10])}. Name them in imports.action_names.")
        return action_frame(inters.with_columns(action_of(pl.col("action"), config).fill_null(config.default_action))), invented
    if inters.schema.get("rating") == pl.Float64:
        return actions_of_ratings(inters, config, notes), invented
    notes.append(f"Rows name neither a rating nor an event: each became the action {config.default_action}.")
    return action_frame(inters.with_columns(action=pl.lit(config.default_action))), invented


def _items(
    items: pl.DataFrame, names: dict[str, str], actions: pl.DataFrame, invented: bool, config: ImportConfig, notes: list[str]
) -> pl.DataFrame:
    born = births(actions, items["item_id"], all_at_once=invented)
    if not invented:
        notes.append(BIRTH_NOTE)
    items = items.unique("item_id", keep="first", maintain_order=True)
    text = [name for name in _ITEM_TEXT if items.schema.get(name) == pl.String]
    listed = [name for name, kind in items.schema.items() if name not in {"item_id", *text} and kind in (pl.String, pl.List)]
    labels = {_ATTRIBUTE_NAMES.get(names[name], names[name]): name for name in listed}
    numbers = [name for name, kind in items.schema.items() if kind == pl.Float64 and name != "price"]
    if numbers:
        notes.append(f"Numbers of items are not used: {', '.join(numbers)}.")
    columns = [pl.col(name) for name in text]
    if "category" in listed:
        category = pl.col("category")
        columns.append(category.list.first() if isinstance(items.schema["category"], pl.List) else category)
    if items.schema.get("price") == pl.Float64:
        notes.append(f"Prices name no currency: {config.currency} was assumed.")
        columns.append(minor_units(pl.col("price"), pl.lit(config.currency)).alias("price_minor"))
        columns.append(pl.when(pl.col("price") >= 0).then(pl.lit(config.currency)).alias("currency"))
    rows = born.join(items.select("item_id", *columns), on="item_id", how="left", maintain_order="left")
    return with_attributes(rows, long_attributes(items, labels))


def _users(users: pl.DataFrame, actions: pl.DataFrame, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    told = [name for name in users.columns if name not in {"user_id", "country", "language"} and folded(name) not in _POSTCODES]
    facts = {name: name for name in told if users.schema[name] == pl.String}
    if config.user_facts:
        notes.append(USER_NOTE)
    first = (
        actions.select("user_id", "time_ms")
        if "user_id" in actions.columns
        else pl.DataFrame(schema={"user_id": pl.String, "time_ms": pl.Int64})
    )
    return user_frame(users, facts, first, config)
