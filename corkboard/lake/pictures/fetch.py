"""Bringing in the pictures that items name by address: each once, a few at a time, going on where an earlier call was ended.

What came of each address is written to ``lake/pictures/fetched/`` a few hundred at a time, after the pictures themselves. A call that is
killed loses at most those that were not written yet; they are fetched again. An address that was refused is not asked again; one whose
host was down is, by the next call.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from corkboard.artifacts import write_atomically
from corkboard.errors import PictureRefused
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.bounded import Decoders
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.intake import WEB
from corkboard.lake.pictures.network import Network, Unreachable
from corkboard.lake.pictures.store import PictureStore

SCHEMA = {"image": pl.String, "hash": pl.String, "reason": pl.String, "may_pass": pl.Boolean, "fetched_ms": pl.Int64}
"""What is kept of an address: the hash of its picture, or the reason why there is none and whether that may pass."""
WRITE_EVERY = 256
WRITE_SECONDS = 10.0

Progress = Callable[[str, int, int], None]


@dataclass
class FetchReport:
    """What one call did: addresses that led to a picture, were refused for good, could not be reached now, or were known before."""

    fetched: int = 0
    refused: int = 0
    unreachable: int = 0
    known: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def happened(self) -> bool:
        """Whether there was any address to fetch."""
        return self.fetched + self.refused + self.unreachable > 0

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "reasons": dict(self.reasons.most_common(20))}

    def render(self) -> str:
        """The report as text for a terminal."""
        told = f"{self.fetched:,} fetched in {self.seconds:.1f} s, {self.known:,} known already, {self.refused:,} refused"
        lines = [f"pictures by address: {told}, {self.unreachable:,} not reached"]
        lines += [f"  {count:,} times: {reason}" for reason, count in self.reasons.most_common(10)]
        if self.unreachable:
            lines.append("  what was not reached is tried again by the next `corkboard ingest`, whatever it reads")
        return "\n".join(lines)


def fetch_pictures(
    lake_folder: Path, limits: PictureLimits | None = None, progress: Progress | None = None, network: Network | None = None
) -> FetchReport:
    """Fetch every picture that an item of the lake names by an http(s) address and that is not known yet.

    Each is bounded in bytes, time and redirects, never comes from a network that is not public, and is decoded in a process of its own.
    Nothing is raised for an address that does not work: the reason is kept beside, and counted in the report.
    """
    start, limits = time.monotonic(), limits or PictureLimits()
    wanted = addresses(Lake(lake_folder))
    done = fetched(lake_folder).filter(~pl.col("may_pass"))["image"]
    todo = wanted.filter(~wanted.is_in(done.implode())).to_list()
    report = FetchReport(known=len(wanted) - len(todo))
    if todo:
        with Decoders(limits) as decoders, _Written(lake_folder) as written:
            job = _Job(PictureStore(lake_folder, limits), decoders, network or Network())
            for count, row in enumerate(_in_parallel(job.fetch, todo, limits.connections), start=1):
                written.add(row)
                _count(report, row)
                if progress is not None:
                    progress("fetch pictures", count, len(todo))
    report.seconds = time.monotonic() - start
    return report


def addresses(lake: Lake) -> pl.Series:
    """The different http(s) addresses among the pictures of the items of a lake, sorted."""
    if not lake.declares_items:
        return pl.Series("images", [], pl.String)
    images = lake.items()["images"].explode().drop_nulls().unique().sort()
    return images.filter(images.str.contains("^(?:" + "|".join(WEB) + ")"))


def fetched(lake_folder: Path) -> pl.DataFrame:
    """What came of every address that was tried, one row each: the last. Columns as in SCHEMA."""
    files = sorted((Path(lake_folder) / "pictures" / "fetched").glob("[!.]*.parquet"))
    if not files:
        return pl.DataFrame(schema=SCHEMA)
    rows = pl.concat([pl.read_parquet(file) for file in files])
    return rows.sort("image", "fetched_ms", maintain_order=True).unique("image", keep="last", maintain_order=True)


def _count(report: FetchReport, row: dict[str, Any]) -> None:
    if row["hash"] is not None:
        report.fetched += 1
        return
    if row["may_pass"]:
        report.unreachable += 1
    else:
        report.refused += 1
    report.reasons[row["reason"]] += 1


def _in_parallel(work: Callable[[str], dict[str, Any]], todo: Iterable[str], threads: int) -> Iterator[dict[str, Any]]:
    """What becomes of each, as it comes, never with more than a few waiting."""
    left = iter(todo)
    pool = ThreadPoolExecutor(threads, "fetch")
    running: set[Future] = set()
    try:
        while True:
            while len(running) < 2 * threads and (image := next(left, None)) is not None:
                running.add(pool.submit(work, image))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    finally:
        pool.shutdown(cancel_futures=True)


class _Job:
    """Fetching and keeping one picture after another; a host that fails again and again is left alone for the rest of the call."""

    def __init__(self, store: PictureStore, decoders: Decoders, network: Network):
        self._store, self._decoders, self._network = store, decoders, network
        self._failures: Counter[str] = Counter()

    def fetch(self, image: str) -> dict[str, Any]:
        """One row of SCHEMA."""
        name, reason, may_pass = None, None, False
        try:
            name = self._fetch(image)
        except PictureRefused as refused:
            reason = str(refused)
        except Unreachable as error:
            reason, may_pass = str(error), True
        return {"image": image, "hash": name, "reason": reason, "may_pass": may_pass, "fetched_ms": int(time.time() * 1000)}

    def _fetch(self, image: str) -> str:
        try:
            host = urlsplit(image).netloc
        except ValueError:
            raise PictureRefused("This is no address of a picture", found=image[:200]) from None
        if self._failures[host] >= self._store.limits.host_failures:
            raise Unreachable("The host has failed too often in a row")
        try:
            data = self._network.get(image, self._store.limits)
        except Unreachable:
            self._failures[host] += 1
            raise
        self._failures[host] = 0
        return self._store.put(data, self._decoders)


class _Written:
    """Writes what became of addresses, some hundred rows or some seconds at a time."""

    def __init__(self, lake_folder: Path):
        self._folder = Path(lake_folder) / "pictures" / "fetched"
        self._rows: list[dict[str, Any]] = []
        self._last = time.monotonic()

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= WRITE_EVERY or time.monotonic() - self._last > WRITE_SECONDS:
            self._write()

    def _write(self) -> None:
        if self._rows:
            content = BytesIO()
            pl.DataFrame(self._rows, schema=SCHEMA).write_parquet(content)
            write_atomically(self._folder / f"{self._rows[-1]['fetched_ms']:014d}-{uuid.uuid4().hex[:8]}.parquet", content.getvalue())
        self._rows, self._last = [], time.monotonic()
