"""Bringing rows into the lake: read, translate, validate, drop what is known, write, commit.

A file comes in whole or not at all. Whatever moment a writer is killed at, the same call made again ends in the same lake:
before the commit nothing of it is visible and the next writer sweeps its files away; after it, every row is known by its
event id. Two writers may work at once: the later one finds its commit number taken, drops what the earlier one has brought,
and takes the next number.

Pictures come in before the rows that name them (:mod:`corkboard.lake.pictures.intake`): they are on disk when the rows are committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import content_hash
from corkboard.errors import SchemaError
from corkboard.lake.known import new_rows, unpurged_rows
from corkboard.lake.log import Commit, DataFile, Log, content_digest, publish
from corkboard.lake.mapping import Translation, flatten_struct_context, ignored_columns, translations
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.intake import Intake, PictureNews
from corkboard.lake.pictures.sources import FolderSource, PictureSource
from corkboard.lake.purge import purge_deleted
from corkboard.lake.read import Piece, read_pieces, source_hash
from corkboard.lake.refused import RefusedRow, RefusedRows
from corkboard.lake.tables import DEFAULT_TENANT, EVENT_TABLE, TABLES, TIMELESS
from corkboard.lake.validate import check_frame, fill_event_ids, show
from corkboard.lake.write import Batch, TableRows, batch, make_durable, remove_files, write_tables

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``, called after each piece of work."""


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion did. ``rows_read`` is the sum of the rows added, known already, refused, and left out as their user was purged."""

    source: str
    rows_read: int = 0
    rows_added: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    refused: int = 0
    purged: int = 0
    refused_file: Path | None = None
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """The first 20: row (from 1), field, found, expected."""
    notes: list[str] = field(default_factory=list)
    commit: int | None = None
    seconds: float = 0.0
    pictures: PictureNews = field(default_factory=PictureNews)
    """What became of pictures. One that is refused is left out of its row; the row stays, and counts as added."""

    @property
    def rows_per_s(self) -> float:
        return self.rows_read / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "refused_file": str(self.refused_file) if self.refused_file else None,
            "pictures": vars(self.pictures),
            "rows_per_s": round(self.rows_per_s, 1),
        }

    def render(self) -> str:
        """The report as text for a terminal."""
        added = ", ".join(f"{rows:,} {table}" for table, rows in self.rows_added.items()) or "nothing new"
        speed = f"{self.rows_read:,} rows in {self.seconds:.1f} s ({self.rows_per_s:,.0f}/s)"
        lines = [f"{self.source}: {speed}: {added}, {self.duplicates:,} known already, {self.refused:,} refused"]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  refused row {r['row']}: {r['field']}: found {r['found']}, expected {r['expected']}" for r in self.refusals]
        if self.refused > len(self.refusals):
            lines.append(f"  … and {self.refused - len(self.refusals):,} more")
        if self.refused_file:
            lines.append(f"  refused rows are kept in {self.refused_file}")
        return "\n".join(lines + self.pictures.lines())


def ingest_file(
    lake_folder: Path,
    path: Path,
    table: str | None = None,
    map: Mapping[str, str] | None = None,
    tenant: str = DEFAULT_TENANT,
    progress: Progress | None = None,
    limits: PictureLimits | None = None,
) -> IngestReport:
    """Bring a file of JSON lines, CSV or Parquet (plain, .gz or .zst) into the lake. Good rows come in, bad ones are kept beside.

    ``table`` is guessed from the columns unless given; "events" is a file of live events of several kinds. ``map`` renames
    columns, ours to theirs; "=click" is a constant. Pictures of items may be files below the folder of ``path``, or data in the row;
    ``limits`` bound them. Raises :class:`SchemaError` for a file that fits no table.
    """
    start, path, lake_folder = time.perf_counter(), Path(path), Path(lake_folder)
    say = progress or _silent
    digest = source_hash(path)
    with batch(lake_folder) as mine, Intake(mine, FolderSource(path.parent), limits, say) as intake:
        refused = RefusedRows(lake_folder, mine.name)
        reading = _Reading(path, table, dict(map or {}), tenant, refused, intake)
        for piece in read_pieces(path):
            reading.add(piece)
            say(f"read {path.name}", reading.rows_read, max(piece.total, reading.rows_read))
        tables = reading.tables()
        news = intake.settle(digest)
        written = _commit(mine, tables, refused, Source(str(path), digest), say)
    report = _report(written, str(path), reading.rows_read, refused, reading.notes(), start, news)
    purge_deleted(lake_folder)
    return report


def ingest_frames(
    lake_folder: Path,
    frames: Mapping[str, pl.DataFrame],
    source: str,
    watermark: tuple[str, int] | None = None,
    progress: Progress | None = None,
    limits: PictureLimits | None = None,
    pictures: PictureSource | None = None,
    refusals: Sequence[RefusedRow] = (),
) -> IngestReport:
    """Bring frames in the columns of the lake, by table, into the lake. Missing columns are null; bad rows are refused as from a file.

    ``watermark`` (store id, sequence number) says how far a store's events are in the lake once this is; it is committed with them.
    ``pictures`` has those that items name by a file; without it such a name is left out of its row. ``refusals`` are rows that were
    refused before: they are counted and kept beside with the others.
    """
    start, lake_folder, say = time.perf_counter(), Path(lake_folder), progress or _silent
    unknown = sorted(set(frames) - set(TABLES))
    if unknown:
        raise SchemaError("There is no such table", found=unknown, expected=", ".join(TABLES))
    with batch(lake_folder) as mine, Intake(mine, pictures, limits, say) as intake:
        refused = RefusedRows(lake_folder, mine.name)
        for refusal in refusals:
            refused.add(*refusal)
        tables = []
        for name, frame in frames.items():
            numbers = range(1, frame.height + 1)
            checked = check_frame(TABLES[name], _with_pictures(name, _timeless_at_zero(name, frame), numbers, intake))
            for row, where, found, expected in checked.bad.iter_rows():
                refused.add(row + 1, f"{name}.{where}", found, expected, frame.row(row, named=True))
            tables.append(TableRows.of(name, fill_event_ids(TABLES[name], checked.good)))
        digest = content_hash(source, [rows.summary for rows in tables], refused.digest.hexdigest())
        news = intake.settle(digest)
        written = _commit(mine, tables, refused, Source(source, digest, watermark), say)
    rows_read = len(refusals) + sum(frame.height for frame in frames.values())
    report = _report(written, source, rows_read, refused, [], start, news)
    purge_deleted(lake_folder)
    return report


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _timeless_at_zero(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    timeless = table in TIMELESS and "time_ms" not in frame.columns
    return frame.with_columns(pl.lit(0, pl.Int64).alias("time_ms")) if timeless else frame


def _with_pictures(table: str, frame: pl.DataFrame, rows: Sequence[int], intake: Intake) -> pl.DataFrame:
    """Rows of ``table`` as they stand in the lake, where items name pictures; ``rows`` are their numbers."""
    if table != "items" or "images" not in frame.columns:
        return frame
    item_ids = frame["item_id"].to_list() if "item_id" in frame.columns else [None] * frame.height
    return frame.with_columns(intake.resolve(frame["images"], rows, item_ids).alias("images"))


def _report(
    written: _Written, source: str, rows_read: int, refused: RefusedRows, notes: list[str], start: float, news: PictureNews
) -> IngestReport:
    return IngestReport(
        source=source,
        rows_read=rows_read,
        rows_added=written.added,
        duplicates=written.duplicates,
        refused=refused.count,
        purged=written.purged,
        refused_file=written.refused_file,
        refusals=refused.first,
        notes=notes + ([f"{written.purged:,} rows of users who were purged were left out."] if written.purged else []),
        commit=written.commit,
        seconds=time.perf_counter() - start,
        pictures=news,
    )


# ------------------------------------------------------------------------------------------------------------- reading


class _Reading:
    """One file on its way in: its pieces become valid rows by table."""

    def __init__(self, path: Path, table: str | None, mapping: dict[str, str], tenant: str, refused: RefusedRows, intake: Intake):
        self._path, self._table, self._mapping, self._tenant = str(path), table, mapping, tenant
        self._refused, self._intake = refused, intake
        self._translations: dict[str, Translation] = {}
        self._ignored: set[str] = set()
        self._good: dict[str, list[pl.DataFrame]] = {}
        self.rows_read = 0

    def add(self, piece: Piece) -> None:
        self.rows_read += len(piece.numbers) + len(piece.broken)
        for broken in piece.broken:
            self._refused.add(broken.row, "row", broken.found, broken.expected, broken.original)
        frame = flatten_struct_context(piece.frame)
        if not self._translations:
            if not frame.width and not self.rows_read:
                return
            self._translations = translations(self._path, frame, self._table, self._mapping, self._tenant)
        self._ignored |= ignored_columns(frame, self._translations.values())
        for table, part, rows in self._split(piece, frame):
            self._take(piece, table, part, rows)

    def _split(self, piece: Piece, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame, np.ndarray]]:
        """The rows of each table, and where they stand in the piece. What is no event, where events are expected, is refused."""
        rows = np.arange(frame.height)
        usable = np.ones(frame.height, bool)
        if piece.records is not None and "context" in frame.columns:  # an object would have been flattened
            for row in np.flatnonzero(frame["context"].is_not_null().to_numpy()):
                usable[row] = False
                found = show(piece.original(int(row))["context"])
                self._refuse(piece, int(row), "context", found, "an object with query, item_id or image_hash")
        if len(self._translations) == 1:
            yield from ((table, frame.filter(pl.Series(usable)), rows[usable]) for table in self._translations)
            return
        kinds = np.array([kind if type(kind) is str else None for kind in frame["event"].to_list()], dtype=object)
        for kind, table in EVENT_TABLE.items():
            mine = (kinds == kind) & usable
            if mine.any():
                yield table, frame.filter(pl.Series(mine)), rows[mine]
        for row in np.flatnonzero(~np.isin(kinds.astype(str), list(EVENT_TABLE)) & usable):
            found = show(piece.original(int(row)).get("event"))
            self._refuse(piece, int(row), "event", found, "one of " + ", ".join(EVENT_TABLE))

    def _take(self, piece: Piece, table: str, part: pl.DataFrame, rows: np.ndarray) -> None:
        translated = self._translations[table].apply(part)
        checked = check_frame(TABLES[table], _with_pictures(table, translated, piece.numbers[rows].tolist(), self._intake))
        for row, where, found, expected in checked.bad.iter_rows():
            self._refuse(piece, int(rows[row]), where, found, expected)
        self._good.setdefault(table, []).append(checked.good)

    def _refuse(self, piece: Piece, row: int, where: str, found: str, expected: str) -> None:
        self._refused.add(int(piece.numbers[row]), where, found, expected, piece.original(row))

    def tables(self) -> list[TableRows]:
        """All valid rows, each with an event id."""
        if not self._translations and not self.rows_read:
            raise SchemaError(f"{self._path} is empty", expected="rows as JSON lines, CSV or Parquet")
        return [TableRows.of(name, fill_event_ids(TABLES[name], pl.concat(frames))) for name, frames in self._good.items()]

    def notes(self) -> list[str]:
        notes = [note for name in self._good for note in self._translations[name].notes()]
        if self._ignored:
            notes.append(f"Columns that no table takes were ignored: {', '.join(sorted(self._ignored))}.")
        return notes


# ---------------------------------------------------------------------------------------------------------- committing


@dataclass(frozen=True)
class Source:
    """Where rows come from: a name, a hash of the content, and for a store how far it has been read."""

    name: str
    digest: str
    watermark: tuple[str, int] | None = None

    def is_ahead(self, log: Log) -> bool:
        return self.watermark is not None and self.watermark[1] > log.watermarks.get(self.watermark[0], 0)


@dataclass(frozen=True)
class _Written:
    added: dict[str, int]
    duplicates: int
    purged: int
    refused_file: Path | None
    commit: int | None


def _commit(mine: Batch, tables: list[TableRows], refused: RefusedRows, source: Source, say: Progress) -> _Written:
    """Write what is new and publish it; again on top where another writer was faster."""
    refused_file = refused.publish(source.digest)
    log, attempt = Log.read(mine.folder), 0
    total = sum(rows.frame.height for rows in tables)
    written: list[TableRows] | None = None
    files: list[DataFile] = []
    while True:
        allowed = [rows.keep(unpurged_rows(log, rows)) for rows in tables]
        fresh = [rows.keep(new_rows(log, rows)) for rows in allowed]
        if written is None or [rows.frame.height for rows in fresh] != [rows.frame.height for rows in written]:
            remove_files(mine.folder, {path for file in files for path in (file.path, file.ids)})
            files = write_tables(mine, fresh, f"-{attempt}" if attempt else "", _counter(say, fresh))
            written = fresh
            make_durable(mine.folder, [path for file in files for path in (file.path, file.ids)])
        commit = _commit_of(mine, log, fresh, files, source)
        is_needed = bool(files) or source.is_ahead(log)
        if not is_needed or publish(mine.folder, commit):
            kept = sum(rows.frame.height for rows in allowed)
            added = {rows.table: rows.frame.height for rows in fresh if rows.frame.height}
            return _Written(added, kept - sum(added.values()), total - kept, refused_file, commit.number if is_needed else None)
        log, attempt = Log.read(mine.folder, known=log), attempt + 1


def _commit_of(mine: Batch, log: Log, fresh: list[TableRows], files: list[DataFile], source: Source) -> Commit:
    return Commit(
        number=log.next_number,
        batch=mine.name,
        kind="ingest",
        source=source.name,
        source_hash=source.digest,
        created_ms=int(time.time() * 1000),
        files=tuple(replace(file, order=log.next_number) for file in files),
        watermarks=dict([source.watermark]) if source.watermark else {},
        digest=content_digest("ingest", [rows.summary for rows in fresh]),
    )


def _counter(say: Progress, fresh: list[TableRows]) -> Callable[[int], None]:
    done, total = 0, sum(rows.frame.height for rows in fresh)

    def wrote(rows: int) -> None:
        nonlocal done
        done += rows
        say("write", done, total)

    return wrote
