"""ReChorus data sets (amazon-grocery-rechorus): purchases by whole days, with categories and item relations."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import folder_files, header, plain_name, read_table
from corkboard.lake.importers.frames import BIRTH_NOTE, action_frame, births, long_attributes, with_attributes
from corkboard.lake.importers.times import to_ms

_PARTS = ("train.csv", "dev.csv", "test.csv")
_COLUMNS = ["user_id", "item_id", "time"]


class ReChorus:
    """train.csv (and dev.csv, test.csv where they are there): tab, user_id item_id time; item_meta.csv: i_category, r_* relations."""

    name = "rechorus"
    title = "ReChorus folders: purchases (train.csv, tab separated) and item_meta.csv with relations"

    def files(self, path: Path) -> list[Path]:
        beside = folder_files(path)
        parts = [beside[name] for name in _PARTS if name in beside]
        if not parts or plain_name(parts[0]) != "train.csv" or (path.is_file() and path not in parts):
            return []
        if header(parts[0], "\t")[:3] != _COLUMNS:
            return []
        return parts + [beside[name] for name in ("item_meta.csv",) if name in beside]

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        files = self.files(path)
        if not files:
            raise InputError(
                "This is not a ReChorus data set", found=str(path), expected="train.csv with tab-separated user_id, item_id, time"
            )
        meta = [file for file in files if plain_name(file) == "item_meta.csv"]
        bought = pl.concat([read_table(file, "\t").select(_COLUMNS) for file in files if file not in meta])
        actions = bought.select("user_id", "item_id", to_ms(bought["time"], "s").alias("time_ms"), pl.lit("checkout").alias("action"))
        notes = ["Every row is a purchase and became the action checkout."]
        if actions.select((pl.col("time_ms") % DAY_MS == 0).all()).item():
            notes.append("Times are whole days: in which order a user bought within one day is not known.")
        items = self._items(read_table(meta[0], "\t") if meta else pl.DataFrame(schema={"item_id": pl.String}), actions, notes)
        return Imported({"items": items, "actions": action_frame(actions)}, notes)

    def _items(self, meta: pl.DataFrame, actions: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
        born = births(actions, meta["item_id"])
        notes.append(BIRTH_NOTE)
        relations = {name.removeprefix("r_"): name for name in meta.columns if name.startswith("r_")}
        labels = {name.removeprefix("i_"): name for name in meta.columns if name.startswith("i_") and name != "i_category"}
        meta = meta.with_columns(pl.col(list(relations.values())).str.strip_chars("[] ").str.split(",")) if relations else meta
        if relations:
            notes.append(
                f"Relations ({', '.join(relations)}) became attributes of the item, naming the other item. They carry no time: "
                "an evaluation that uses them may know a relation before the purchases that made it."
            )
        if "i_category" not in meta.columns:
            meta = meta.with_columns(i_category=pl.lit(None, dtype=pl.String))
        rows = born.join(meta.select("item_id", category="i_category"), on="item_id", how="left", maintain_order="left")
        rows = with_attributes(rows, long_attributes(meta, labels | relations))
        return rows.select("time_ms", "item_id", "category", "attributes")
