"""The lake as it is read: a snapshot of what was committed when it was opened, and views that end at a cut."""

from __future__ import annotations

import hashlib
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.artifacts import content_hash
from corkboard.errors import LakeError, LeakError
from corkboard.lake import purge
from corkboard.lake.log import DataFile, Log
from corkboard.lake.tables import DEFAULT_TENANT, LATER_TABLES, TABLES, empty, scan, user_key_expr
from corkboard.lake.write import DAY_MS, in_time_order

if TYPE_CHECKING:
    from corkboard.lake.pictures.reading import Pictures

HAPPENED = ("actions", "impressions")


class Lake:
    """Everything that was committed when this was made; later commits do not change what it returns.

    A folder without a lake is an empty lake. Times are UTC milliseconds, ranges half-open. Frames have exactly the columns
    of their table in :mod:`corkboard.lake.schema`.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.read_ms = int(time.time() * 1000)
        self._log = Log.read(self.folder)
        self._cut_ms: int | None = None

    def refresh(self) -> Lake:
        """The lake as it is now, with the same cut."""
        lake = Lake.__new__(Lake)
        lake.read_ms = int(time.time() * 1000)
        lake.folder, lake._log, lake._cut_ms = self.folder, Log.read(self.folder), self._cut_ms
        return lake

    def until(self, cut_ms: int) -> Lake:
        """A view that ends at ``cut_ms``: it returns no row of that moment or later, and raises :class:`LeakError` when asked for one."""
        self._check(cut_ms, "a view until")
        lake = Lake.__new__(Lake)
        lake.folder, lake._log, lake._cut_ms, lake.read_ms = self.folder, self._log, cut_ms, self.read_ms
        return lake

    @property
    def cut_ms(self) -> int | None:
        """Where this view ends; None for the whole lake."""
        return self._cut_ms

    @cached_property
    def snapshot(self) -> str:
        """The name of this content: the same ingestions give the same name, wherever the lake lies; a view has a name of its own."""
        if self._cut_ms is None:
            return self._log.snapshot
        inside = [file.path for file in self._log.files if file.last_ms < self._cut_ms]
        across = [file.path for file in self._log.files if file.first_ms < self._cut_ms <= file.last_ms]
        return content_hash("view", inside, across, self._cut_ms if across else None)

    @property
    def watermarks(self) -> dict[str, int]:
        """By store id, the highest sequence number whose events are in the lake."""
        return dict(self._log.watermarks)

    def watermark(self, store_id: str) -> int:
        """The highest sequence number of a store whose events are in the lake; 0 where none is."""
        return self._log.watermarks.get(store_id, 0)

    def counts(self) -> dict[str, int]:
        """Rows of every table."""
        counts = dict.fromkeys(TABLES, 0)
        for file in self._files(None, self._cut_ms):
            inside = self._cut_ms is None or file.last_ms < self._cut_ms
            counts[file.table] += file.rows if inside else self._read([file], file.table, None, self._cut_ms, ["time_ms"]).height
        return counts

    def time_range(self) -> tuple[int, int]:
        """(first, last) time of actions and impressions. Raises :class:`LakeError` where there are none."""
        files = [file for file in self._files(None, self._cut_ms) if file.table in HAPPENED]
        if not files:
            raise LakeError(
                "The lake has no actions and no impressions",
                hint="Bring some in: `corkboard ingest FILE`, or `corkboard demo` for a made world.",
            )
        first, last = min(file.first_ms for file in files), max(file.last_ms for file in files)
        if self._cut_ms is not None and last >= self._cut_ms:
            straddling = [file for file in files if file.last_ms >= self._cut_ms]
            times = [self._read([file], file.table, None, self._cut_ms, ["time_ms"])["time_ms"].to_numpy() for file in straddling]
            last = max([file.last_ms for file in files if file.last_ms < self._cut_ms] + [int(part.max()) for part in times if len(part)])
        return first, last

    @property
    def declares_boards(self) -> bool:
        """Whether the lake has ever been told of a board, deleted ones and those after this view's cut included."""
        return any(file.table == "boards" for file in self._log.files)

    @property
    def declares_items(self) -> bool:
        """Whether the lake has ever been told of an item; one that has not knows items only by what was done with them."""
        return any(file.table == "items" for file in self._log.files)

    def newest_ms(self, table: str) -> int | None:
        """The time of the newest row of a table; None where it has none."""
        files = [file for file in self._files(None, self._cut_ms) if file.table == table]
        last = max((file.last_ms for file in files), default=None)
        if last is None or self._cut_ms is None or last < self._cut_ms:
            return last
        return self._read(files, table, None, self._cut_ms, ["time_ms"])["time_ms"].max()  # type: ignore[return-value]

    # ------------------------------------------------------------------------------------- what is, by its newest row

    @cached_property
    def active_days(self) -> list[int]:
        """Days (as :func:`corkboard.lake.calendar.day_of` counts them) with an action or an impression, in order."""
        days: set[int] = set()
        for file in self._files(None, self._cut_ms):
            if file.table in HAPPENED:
                first, last = file.first_ms // DAY_MS, file.last_ms // DAY_MS
                if first == last and (self._cut_ms is None or file.last_ms < self._cut_ms):
                    days.add(first)
                else:
                    days.update((self._read([file], file.table, None, self._cut_ms, ["time_ms"])["time_ms"] // DAY_MS).unique().to_list())
        return sorted(days)

    @property
    def purges(self) -> dict[str, int]:
        """The number of the commit that took out rows of a purged user last, by a mark that tells no id."""
        return self._log.purges

    @property
    def commit(self) -> int:
        """The number of the last commit that this lake knows, 0 for none."""
        return self._log.next_number - 1

    def items(self, before_ms: int | None = None) -> pl.DataFrame:
        """The items as they were just before ``before_ms``, sorted by item_id, without deleted ones; ``created_ms``: first seen then.

        A lake without any item row (a plain log of clicks) has the items that were acted on, of which nothing but the id is known.
        """
        if self.declares_items:
            return self._newest("items", before_ms)
        return self._acted_on(before_ms)

    def _acted_on(self, before_ms: int | None) -> pl.DataFrame:
        """Items that are only known by what was done with them."""
        self._check(before_ms, "items before")
        named = self._first_actions.filter(pl.col("created_ms") < before_ms) if before_ms is not None else self._first_actions
        facts = {"kind": pl.lit("pin"), "available": pl.lit(True), "deleted": pl.lit(False)}
        known = named.with_columns(time_ms="created_ms", event_id="item_id", **facts)
        schema = TABLES["items"].schema
        rest = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in known.columns]
        return known.with_columns(rest).select(*schema, "created_ms")

    @cached_property
    def _first_actions(self) -> pl.DataFrame:
        """tenant, item_id and created_ms, the first action, of every item that was acted on, sorted by item_id."""
        acted = self.actions().filter(pl.col("item_id").is_not_null())
        return acted.group_by("tenant", "item_id").agg(created_ms=pl.col("time_ms").min()).sort("item_id", "tenant")

    def users(self, before_ms: int | None = None) -> pl.DataFrame:
        """What users had told just before ``before_ms``, sorted by user_id, with ``created_ms``."""
        return self._newest("users", before_ms)

    def boards(self, before_ms: int | None = None) -> pl.DataFrame:
        """The boards as they were just before ``before_ms``, sorted by board_id, with ``created_ms``. Secret ones are marked ``secret``."""
        return self._newest("boards", before_ms)

    def _newest(self, table: str, before_ms: int | None) -> pl.DataFrame:
        """Of rows of the same moment the later commit is newer, within a commit the later row."""
        key = TABLES[table].key
        rows = in_time_order(self._rows(table, None, before_ms), by_id=False)
        identity = ["tenant", str(key)]
        created = rows.group_by(identity).agg(created_ms=pl.col("time_ms").min())
        newest = rows.unique(identity, keep="last").filter(~pl.col("deleted"))
        return newest.join(created, on=identity, how="left").sort(str(key), "tenant")

    def pictures(self) -> Pictures:
        """The pictures of this lake as they are now. They have no time: what items show is in ``items``, by its time."""
        from corkboard.lake.pictures.reading import Pictures

        return Pictures(self.folder)

    def objects(self) -> pl.DataFrame:
        """What was found in pictures, sorted by item_id."""
        return self._rows("objects", None, None).sort("item_id", "image_hash", "event_id")

    def judgements(self) -> pl.DataFrame:
        """What judges said of products beside pictures, sorted by (time_ms, event_id), gold questions included."""
        return self._by_time("judgements", None, None)

    # --------------------------------------------------------------------------------------------- what happened, by time

    def actions(self, start_ms: int | None = None, end_ms: int | None = None, undone: bool = False) -> pl.DataFrame:
        """Actions of ``[start_ms, end_ms)``, sorted by (time_ms, event_id).

        An action that its user took back before ``end_ms`` is left out, and so are the undo rows themselves; with ``undone`` all are
        there. One that was taken back later still counts: at ``end_ms`` nobody could have known.
        """
        rows = self._by_time("actions", start_ms, end_ms)
        if undone:
            return rows
        undos = self._undos.filter(pl.col("time_ms") < self._end(end_ms)) if self._end(end_ms) is not None else self._undos
        if not undos.height:
            return rows
        rows = rows.filter(pl.col("action") != "undo").with_columns(user_key_expr("actions").alias("_user"))
        keys = ["tenant", "event_id", "_user"]
        return rows.join(undos.select(keys).unique(), on=keys, how="anti", maintain_order="left").drop("_user")

    @cached_property
    def _undos(self) -> pl.DataFrame:
        """Every undo that this view may know of: when, and what it takes back. One can only take back what is one's own."""
        files = [file for file in self._files(None, self._cut_ms) if file.table == "actions"]
        columns = {"time_ms": pl.Int64, "tenant": pl.String, "event_id": pl.String, "_user": pl.String}
        if not files:
            return pl.DataFrame(schema=columns)
        undos = self._read(files, "actions", None, self._cut_ms, where=pl.col("action") == "undo")
        return undos.select("time_ms", "tenant", event_id="undoes", _user=user_key_expr("actions"))

    def impressions(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        """Impressions of ``[start_ms, end_ms)``, sorted by (time_ms, event_id)."""
        return self._by_time("impressions", start_ms, end_ms)

    def served(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        """Served pages of ``[start_ms, end_ms)``, sorted by (time_ms, event_id)."""
        return self._by_time("served", start_ms, end_ms)

    def shown(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        """What was on screens in ``[start_ms, end_ms)``: time_ms and item_id, one row a slot, in no particular order.

        A client's impression tells what was seen of a page that was served; a served page without one counts as it is.
        """
        impressions, served = self.impressions(start_ms, end_ms), self.served(start_ms, end_ms)
        unreported = served.join(impressions.select("request_id").unique(), on="request_id", how="anti")
        item_ids = pl.col("slots").list.eval(pl.element().struct.field("item_id")).alias("item_id")
        return pl.concat([pages.select("time_ms", item_ids).explode("item_id") for pages in (impressions, unreported)])

    def _by_time(self, table: str, start_ms: int | None, end_ms: int | None) -> pl.DataFrame:
        return in_time_order(self._rows(table, start_ms, end_ms), by_id=True)

    # ------------------------------------------------------------------------------------------------------------ the rest

    def event_hash(self) -> str:
        """16 hex digits over the sorted event ids of the whole snapshot, whatever the cut: the same events, the same hash."""
        return self._event_hash

    @cached_property
    def _event_hash(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for table in TABLES:
            paths = sorted({file.ids for file in self._log.files if file.table == table})
            if not paths and table in LATER_TABLES:
                continue
            hashes = np.sort(np.concatenate([np.load(self.folder / path) for path in paths] or [np.zeros(0, np.uint64)]))
            digest.update(table.encode() + len(hashes).to_bytes(8, "little") + hashes.astype("<u8").tobytes())
        return digest.hexdigest()

    def purge_user(self, user_id: str, tenant: str = DEFAULT_TENANT) -> dict[str, int]:
        """Rewrite everything that holds this user, atomically; returns the rows removed by table.

        A visitor is purged by the key "session:<id>". This lake can no longer read the old files: go on with :meth:`refresh`.
        """
        return purge.purge_user(self.folder, user_id, tenant)

    # ------------------------------------------------------------------------------------------------------------- reading

    def _check(self, moment_ms: int | None, what: str) -> None:
        if self._cut_ms is not None and moment_ms is not None and moment_ms > self._cut_ms:
            raise LeakError(
                f"This view of the lake ends before {what} that moment", found=moment_ms, expected=f"at most its cut, {self._cut_ms}"
            )

    def _end(self, end_ms: int | None) -> int | None:
        self._check(end_ms, "rows until")
        return self._cut_ms if end_ms is None else end_ms

    def _rows(self, table: str, start_ms: int | None, end_ms: int | None) -> pl.DataFrame:
        self._check(start_ms, "rows from")
        end_ms = self._end(end_ms)
        files = [file for file in self._files(start_ms, end_ms) if file.table == table]
        if TABLES[table].grows:
            files.sort(key=lambda file: file.first_ms)  # nearly in the order that is wanted
        return self._read(files, table, start_ms, end_ms)

    def _files(self, start_ms: int | None, end_ms: int | None) -> list[DataFile]:
        """Files that may have rows of the range, oldest commit first."""
        return [f for f in self._log.files if (start_ms is None or f.last_ms >= start_ms) and (end_ms is None or f.first_ms < end_ms)]

    def _read(
        self,
        files: list[DataFile],
        table: str,
        start_ms: int | None,
        end_ms: int | None,
        columns: list[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Rows of the files within the range; a file that lies within it as a whole is not looked through."""
        if not files:
            return empty(table).select(columns or pl.all())
        paths = [self.folder / file.path for file in files]
        rows = scan(table, paths)
        if start_ms is not None and any(file.first_ms < start_ms for file in files):
            rows = rows.filter(pl.col("time_ms") >= start_ms)
        if end_ms is not None and any(file.last_ms >= end_ms for file in files):
            rows = rows.filter(pl.col("time_ms") < end_ms)
        if where is not None:
            rows = rows.filter(where)
        try:
            return rows.select(columns or pl.all()).collect()
        except (FileNotFoundError, pl.exceptions.PolarsError) as error:
            hint = "If a user was purged since it was opened, open it again with refresh()."
            raise LakeError(f"The lake cannot be read: {error}", hint=hint) from error
