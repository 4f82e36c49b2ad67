"""Amazon Personalize CSVs: interactions (with impressions), items and users, told apart by their headers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import folder_files, header, plain_name, read_table
from corkboard.lake.importers.frames import (
    BIRTH_NOTE,
    USER_NOTE,
    action_frame,
    births,
    long_attributes,
    rating_action,
    user_frame,
    with_attributes,
)
from corkboard.lake.importers.prices import minor_units
from corkboard.lake.importers.times import to_ms
from corkboard.lake.importers.words import action_of, unknown_actions

_INTERACTIONS = {"USER_ID", "ITEM_ID", "TIMESTAMP"}
_TITLES = ("TITLE", "ITEM_NAME", "NAME", "PRODUCT_NAME")
_DESCRIPTIONS = ("DESCRIPTION", "PRODUCT_DESCRIPTION")
_CATEGORIES = ("CATEGORY_L1", "CATEGORY", "GENRES", "GENRE", "TYPE")
_NOT_ATTRIBUTES = {"ITEM_ID", "CREATION_TIMESTAMP", "PRICE", "BRAND", "CREATOR_ID", *_TITLES, *_DESCRIPTIONS}
_ATTRIBUTE_NAMES = {"GENRES": "genre"}
_USER_COLUMNS = {"USER_ID", "COUNTRY", "LANGUAGE"}
_POSTCODES = {"ZIP", "ZIPCODE", "ZIP_CODE", "POSTCODE", "POSTAL_CODE"}


class Personalize:
    """A folder of CSVs in upper-case Personalize columns, or the interactions file with the others beside it."""

    name = "personalize"
    title = "Amazon Personalize CSVs: interactions with impressions, items, users"

    def files(self, path: Path) -> list[Path]:
        kinds = _by_kind(path)
        return [kinds[kind] for kind in ("interactions", "items", "users") if kind in kinds] if "interactions" in kinds else []

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        kinds = _by_kind(path)
        if "interactions" not in kinds:
            raise InputError(
                "There are no Personalize interactions here", found=str(path), expected="a CSV with USER_ID, ITEM_ID, TIMESTAMP"
            )
        notes: list[str] = []
        shown, rows = _with_requests(_interactions(kinds["interactions"], config, notes))
        frames = {"actions": action_frame(rows, ["request_id", "position"])}
        items = read_table(kinds["items"], ",", quotes=True) if "items" in kinds else pl.DataFrame(schema={"ITEM_ID": pl.String})
        if shown is not None:
            frames["impressions"] = _impressions(shown, config, notes)
        frames["items"] = _items(items, rows, frames.get("impressions"), config, notes)
        if "users" in kinds:
            frames["users"] = _users(read_table(kinds["users"], ",", quotes=True), rows, config, notes)
        return Imported(frames, notes)


def _by_kind(path: Path) -> dict[str, Path]:
    """ "interactions", "items", "users" -> file. Of several files of one kind the first by name is taken."""
    kinds: dict[str, Path] = {}
    for name, file in sorted(folder_files(path).items()):
        if name.endswith(".csv"):
            kind = _kind(header(file, ","))
            if kind is not None:
                kinds.setdefault(kind, file)
    if path.is_file():
        if not plain_name(path).endswith(".csv") or _kind(header(path, ",")) != "interactions":
            return {}
        kinds["interactions"] = path
    return kinds


def _kind(columns: list[str]) -> str | None:
    names = set(columns)
    if not columns or any(name != name.upper() for name in columns):
        return None
    if names >= _INTERACTIONS:
        return "interactions"
    if "ITEM_ID" in names and "USER_ID" not in names and len(names) > 1:
        return "items"
    return "users" if "USER_ID" in names and "ITEM_ID" not in names and len(names) > 1 else None


# --------------------------------------------------------------------------------------------- interactions, impressions


def _interactions(file: Path, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    """(user_id, item_id, time_ms, action, shown List[String], request_id) in the order of the file."""
    raw = read_table(file, ",", quotes=True)
    text = [name for name in ("EVENT_TYPE", "EVENT_VALUE", "IMPRESSION", "RECOMMENDATION_ID") if name not in raw.columns]
    raw = raw.with_columns([pl.lit(None, dtype=pl.String).alias(name) for name in text])
    value = pl.col("EVENT_VALUE").cast(pl.Float64, strict=False)
    is_rating = pl.col("EVENT_TYPE").str.to_lowercase().str.contains("^(rating|rate|rated)$") & value.is_not_null()
    named = action_of(pl.col("EVENT_TYPE"), config).fill_null(config.default_action)
    action = pl.when(is_rating).then(rating_action(value, config)).otherwise(named)
    strange = unknown_actions(raw.filter(~is_rating.fill_null(False))["EVENT_TYPE"], config)
    if strange:
        notes.append(f"Unknown event types, refused with their rows: {', '.join(strange[:10])}. Name them in imports.action_names.")
    if "EVENT_TYPE" in text:
        notes.append(f"There is no EVENT_TYPE: every row became the action {config.default_action}.")
    blank_to_null = pl.when(pl.col("RECOMMENDATION_ID").str.strip_chars() != "").then(pl.col("RECOMMENDATION_ID"))
    rows = raw.select(
        user_id="USER_ID",
        item_id="ITEM_ID",
        time_ms=to_ms(raw["TIMESTAMP"]),
        action=action,
        shown=pl.col("IMPRESSION")
        .str.split("|")
        .list.eval(pl.element().str.strip_chars())
        .list.eval(pl.element().filter(pl.element() != "")),
        request_id=blank_to_null,
    )
    silent = rows["action"].is_null() & raw.select(is_rating.fill_null(False)).to_series()
    if silent.any():
        notes.append(f"{silent.sum():,} ratings between {config.hide_to} and {config.click_from} say neither yes nor no and are left out.")
    return rows.filter(~silent)


def _with_requests(rows: pl.DataFrame) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """The rows that tell what was shown (None without any), and all rows with their request_id and position on that page.

    Without a RECOMMENDATION_ID one page is: same user, same list of items, same UTC day.
    """
    listed = rows["shown"].list.len().fill_null(0) > 0
    if not listed.any():
        return None, rows.with_columns(request_id=pl.lit(None, dtype=pl.String), position=pl.lit(None, dtype=pl.Int32))
    page = pl.concat_str(
        pl.col("user_id"),
        (pl.col("time_ms") // DAY_MS).cast(pl.String),
        pl.col("shown").list.join("|"),
        separator="\x1f",
        ignore_nulls=True,
    )
    keys = rows.filter(listed & rows["request_id"].is_null()).select(page.alias("page")).unique()
    derived = {key: "page-" + hashlib.blake2b(key.encode(), digest_size=10).hexdigest() for key in keys["page"].to_list()}
    rows = rows.with_columns(listed.alias("listed"), page.alias("page")).with_columns(
        request_id=pl.when("listed")
        .then(pl.coalesce("request_id", pl.col("page").replace_strict(derived, default=None, return_dtype=pl.String)))
        .otherwise("request_id")
    )
    pages = (
        rows.filter("listed")
        .group_by("request_id", maintain_order=True)
        .agg(pl.col("user_id", "shown").first(), pl.col("time_ms").min() - 1)
    )
    places = (
        pages.select("request_id", item_id="shown")
        .with_columns(position=pl.int_ranges(pl.col("item_id").list.len(), dtype=pl.Int32))
        .explode("item_id", "position")
        .unique(["request_id", "item_id"], keep="first", maintain_order=True)
    )
    rows = rows.join(places, on=["request_id", "item_id"], how="left", maintain_order="left")
    known = pl.col("request_id").is_in(pages["request_id"].implode())
    return pages, rows.with_columns(request_id=pl.when(known).then("request_id"))


def _impressions(pages: pl.DataFrame, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    notes.append(
        f"{pages.height:,} impressions: one for each RECOMMENDATION_ID (without one: user, list and day), a millisecond before its first "
        "action. Pages without any action are not in the data, so rates per impression are too high."
    )
    slot = pl.struct(
        pl.element().alias("item_id"),
        pl.int_range(pl.len(), dtype=pl.Int32).alias("position"),
        pl.lit(None, dtype=pl.Float32).alias("score"),
        pl.lit(None, dtype=pl.Float32).alias("propensity"),
        pl.lit(None, dtype=pl.String).alias("source"),
    )
    return pages.select(
        "time_ms",
        "request_id",
        "user_id",
        pl.lit(config.surface).alias("surface"),
        pl.col("shown").list.eval(slot).alias("slots"),
    )


# ---------------------------------------------------------------------------------------------------------- items, users


def _first_of(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.Expr:
    return next((pl.col(name) for name in names if name in frame.columns), pl.lit(None, dtype=pl.String))


def _items(raw: pl.DataFrame, rows: pl.DataFrame, impressions: pl.DataFrame | None, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    other = [name for name in raw.columns if name not in _NOT_ATTRIBUTES]
    facts = raw.select(
        pl.col("ITEM_ID").alias("item_id"),
        _first_of(raw, _TITLES).alias("title"),
        _first_of(raw, _DESCRIPTIONS).alias("description"),
        _first_of(raw, _CATEGORIES).str.split("|").list.first().alias("category"),
        _first_of(raw, ("BRAND",)).alias("brand_id"),
        _first_of(raw, ("CREATOR_ID",)).alias("creator_id"),
        minor_units(_first_of(raw, ("PRICE",)).cast(pl.Float64, strict=False), pl.lit(config.currency)).alias("price_minor"),
        *[pl.col(name).str.split("|").alias(name) for name in other],
    ).unique("item_id", keep="first", maintain_order=True)
    if "PRICE" in raw.columns:
        notes.append(f"Prices name no currency: {config.currency} was assumed.")
        facts = facts.with_columns(currency=pl.when(pl.col("price_minor").is_not_null()).then(pl.lit(config.currency)))
    since = _since(raw, rows, impressions, notes)
    labels = {_ATTRIBUTE_NAMES.get(name, name.lower()): name for name in other}
    out = with_attributes(since.join(facts, on="item_id", how="left", maintain_order="left"), long_attributes(facts, labels))
    return out.drop(other)


def _since(raw: pl.DataFrame, rows: pl.DataFrame, impressions: pl.DataFrame | None, notes: list[str]) -> pl.DataFrame:
    """(item_id, time_ms): since when each item exists."""
    seen = rows.select("item_id", "time_ms")
    if impressions is not None:
        shown = impressions.select("time_ms", pl.col("slots").list.eval(pl.element().struct.field("item_id")).alias("item_id"))
        seen = pl.concat([seen, shown.explode("item_id").select("item_id", "time_ms")])
    born = births(seen, raw["ITEM_ID"])
    if "CREATION_TIMESTAMP" not in raw.columns:
        notes.append(BIRTH_NOTE)
        return born
    notes.append("An item exists from its CREATION_TIMESTAMP, or from a millisecond before it is first seen where that is earlier.")
    created = raw.select(pl.col("ITEM_ID").alias("item_id"), to_ms(raw["CREATION_TIMESTAMP"]).alias("created_ms")).unique(
        "item_id", keep="first"
    )
    touched = pl.col("item_id").is_in(seen["item_id"].unique().implode())
    first = pl.when(touched).then(pl.min_horizontal("created_ms", "time_ms")).otherwise(pl.coalesce("created_ms", "time_ms"))
    return born.join(created, on="item_id", how="left", maintain_order="left").select("item_id", first.alias("time_ms"))


def _users(raw: pl.DataFrame, rows: pl.DataFrame, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    facts = {name.lower(): name for name in raw.columns if name not in _USER_COLUMNS | _POSTCODES}
    users = raw.rename({name: name.lower() for name in raw.columns if name in _USER_COLUMNS})
    if config.user_facts:
        notes.append(USER_NOTE)
    return user_frame(users, facts, rows.select("user_id", "time_ms"), config)
