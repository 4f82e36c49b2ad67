"""Sequence files: one user a line, ``user item item ...``, oldest first (the format of S3-Rec, FMLP-Rec, TIGER and others)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from corkboard.errors import InputError
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import decode, folder_files, head_lines, plain_name, read_bytes
from corkboard.lake.importers.frames import action_frame, births, long_attributes, with_attributes
from corkboard.lake.importers.times import spread_back

_ATTRIBUTES = "_item2attributes.json"


class Sequences:
    """Order only: times are invented. ``<name>_item2attributes.json`` beside ``<name>.txt`` gives attributes."""

    name = "sequences"
    title = "Sequence files: `user item item ...` a line, oldest first, no times"

    def files(self, path: Path) -> list[Path]:
        beside = folder_files(path)
        if path.is_dir():
            found = [file for name, file in sorted(beside.items()) if name.endswith(".txt") and _is_sequences(file)]
            if len(found) != 1:
                return []
            path = found[0]
        elif not _is_sequences(path):
            return []
        attributes = beside.get(plain_name(path).rpartition(".")[0] + _ATTRIBUTES)
        return [path, attributes] if attributes else [path]

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        files = self.files(path) or ([path] if path.is_file() else [])
        if not files:
            raise InputError("This folder does not hold exactly one sequence file", found=str(path), hint="Name the file itself.")
        actions = _actions(files[0], config)
        if not actions.height:
            raise InputError(f"{files[0]} holds no sequence", expected="lines of `user item item ...`")
        long = _attributes(files[1]) if len(files) > 1 else None
        born = births(actions, long["item_id"] if long is not None else pl.Series("item_id", [], pl.String), all_at_once=True)
        items = with_attributes(born, long) if long is not None else born
        notes = [
            f"There are no times, only the order: they are invented, {config.synthetic_step_ms / 1000:g} s apart within a user, and every "
            "user ends at the same moment. A split by time means nothing here; only the order within a user does.",
            f"Every row became the action {config.default_action}. All items exist from the beginning.",
        ]
        if long is not None:
            notes.append('Attributes are numbers without names (name "attribute"), known from the beginning.')
        frame = action_frame(actions)
        return Imported({"items": items, "actions": frame}, notes, synthetic_time=True)


def _is_sequences(path: Path) -> bool:
    """Numbers only, at least two a line on average three or more, lines of unequal length, every line another user."""
    lines = [line.split() for line in head_lines(path, 200) if line.strip()]
    if len(lines) < 2 or not all(token.isdigit() for line in lines for token in line):
        return False
    lengths = [len(line) for line in lines]
    users = {line[0] for line in lines}
    return len(users) == len(lines) and min(lengths) >= 2 and max(lengths) >= 4 and len(set(lengths)) > 1


def _actions(path: Path, config: ImportConfig) -> pl.DataFrame:
    text = decode(read_bytes(path))
    lines = pl.Series("line", text.splitlines(), dtype=pl.String).str.strip_chars()
    tokens = pl.DataFrame({"token": lines.str.split(" ").list.eval(pl.element().filter(pl.element() != ""))})
    tokens = tokens.filter(pl.col("token").list.len() >= 2)
    users = tokens.select(
        user_id=pl.col("token").list.first(), item_id=pl.col("token").list.slice(1), length=pl.col("token").list.len().cast(pl.Int64) - 1
    )
    rows = users.with_row_index("line").explode("item_id")
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("line")
    return rows.select(
        "user_id",
        "item_id",
        spread_back(place, pl.col("length"), config.synthetic_end_ms, config.synthetic_step_ms).alias("time_ms"),
        pl.lit(config.default_action).alias("action"),
    )


def _attributes(path: Path) -> pl.DataFrame:
    """(item_id, name, value) from {item: [attribute, ...]}."""
    try:
        raw = json.loads(decode(read_bytes(path)))
        frame = pl.DataFrame({"item_id": [str(key) for key in raw], "attribute": [[str(v) for v in values] for values in raw.values()]})
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a JSON object of lists: {error}", expected='{"item": [attribute, ...], ...}') from None
    return long_attributes(frame, {"attribute": "attribute"})
