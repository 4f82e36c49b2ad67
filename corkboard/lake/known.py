"""Which rows are new: the same event id counts once, and what was purged stays out.

Every commit keeps the sorted hashes of its event ids. A row whose hash is known is looked up by its id, so that a collision
costs time and never an event. An id counts within its table and tenant.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from corkboard.lake.log import DataFile, Log
from corkboard.lake.tables import scan, user_key_expr
from corkboard.lake.write import TableRows

IDENTITY = ["tenant", "event_id"]


def new_rows(log: Log, rows: TableRows) -> np.ndarray:
    """bool ``(rows,)``: first in the batch with this id, and not in the lake yet."""
    new = _first_of_each(rows)
    for ids_path, files in _by_ids(log, rows.table).items():
        known = np.load(log.folder / ids_path, mmap_mode="r")
        hits = np.flatnonzero(_within(rows.hashes, known) & new)
        if len(hits):
            new[hits] = ~_really_there(log, files, rows.frame[hits])
    return new


def _first_of_each(rows: TableRows) -> np.ndarray:
    first = np.ones(len(rows.hashes), bool)
    order = np.argsort(rows.hashes, kind="stable")
    ordered = rows.hashes[order]
    repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(repeated):
        suspects = np.sort(np.union1d(order[repeated], order[repeated + 1]))
        first[suspects] = rows.frame[suspects].select(pl.struct(IDENTITY).is_first_distinct()).to_series().to_numpy()
    return first


def _within(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool: which hashes are in the sorted ``known``."""
    if not len(known):
        return np.zeros(len(hashes), bool)
    order = np.argsort(hashes)  # walking through both in order is several times faster than jumping about
    places = np.minimum(np.searchsorted(known, hashes[order]), len(known) - 1)
    found = np.empty(len(hashes), bool)
    found[order] = known[places] == hashes[order]
    return found


def _by_ids(log: Log, table: str) -> dict[str, list[DataFile]]:
    groups: dict[str, list[DataFile]] = {}
    for file in log.files:
        if file.table == table:
            groups.setdefault(file.ids, []).append(file)
    return groups


def _really_there(log: Log, files: list[DataFile], suspects: pl.DataFrame) -> np.ndarray:
    """bool: which of the suspects have the tenant and id of a row in ``files``, which are of one table."""
    there = scan(files[0].table, [log.folder / file.path for file in files]).select(IDENTITY)
    found = suspects.lazy().select(IDENTITY).with_row_index("place").join(there, on=IDENTITY, how="semi").select("place").collect()
    mask = np.zeros(suspects.height, bool)
    mask[found["place"].to_numpy()] = True
    return mask


# ------------------------------------------------------------------------------------------------------------- purged


def purge_mark(tenant: str, user_id: str) -> str:
    """What the lake remembers of a purged user: enough to keep the same rows out, not who it was."""
    return hashlib.blake2b(f"{tenant}\x1f{user_id}".encode(), digest_size=16, person=b"purged").hexdigest()


def unpurged_rows(log: Log, rows: TableRows) -> np.ndarray:
    """bool ``(rows,)``: false for rows of a purged user that are not later than the purge."""
    if not log.purged or "user_id" not in rows.frame.columns:
        return np.ones(rows.frame.height, bool)
    whose = rows.frame.select("tenant", "time_ms", user_key_expr(rows.table).alias("user"))
    users = whose.select("tenant", "user").unique().drop_nulls()
    until = [log.purged.get(purge_mark(*user)) for user in users.iter_rows()]
    purged = users.with_columns(pl.Series("until_ms", until, dtype=pl.Int64)).drop_nulls()
    if not purged.height:
        return np.ones(rows.frame.height, bool)
    judged = whose.join(purged, on=["tenant", "user"], how="left", maintain_order="left")
    return judged.select((pl.col("until_ms").is_null() | (pl.col("time_ms") > pl.col("until_ms"))).alias("keep"))["keep"].to_numpy()
