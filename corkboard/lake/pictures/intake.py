"""The pictures of rows on their way in: what an item's ``images`` say becomes names of pictures of this lake.

An entry is ``sha256:<64 hex>`` (a picture of this lake), ``http(s)://…`` (it stays, and is fetched later), ``data:image/…;base64,…``, or
the name of a file in the source of the rows. The last two are decoded, kept, and replaced. An entry that leads to no picture is left out
of its row, with a reason; the row stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from corkboard.errors import PictureRefused
from corkboard.lake.fields import Text, Texts, Unfit
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.sources import DATA, Found, PictureSource, data_of
from corkboard.lake.pictures.store import SCHEME, PictureStore, hash_named
from corkboard.lake.refused import FIRST, RefusedRows
from corkboard.lake.write import Batch

WEB = ("http://", "https://")
_FOUND_LENGTH = 120


@dataclass
class PictureNews:
    """What one ingestion did with pictures: how many were ``stored`` for the first time, ``refused`` and left out of their rows, and named
    ``by_address``, to be fetched."""

    stored: int = 0
    refused: int = 0
    by_address: int = 0
    refused_file: str | None = None
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """The first 20: row (from 1), field, found, expected."""

    def lines(self) -> list[str]:
        """The news as lines of a report; none where there were no pictures."""
        parts = [f"{self.stored:,} new"] * bool(self.stored) + [f"{self.by_address:,} named by address"] * bool(self.by_address)
        lines = [f"  pictures: {', '.join(parts)}"] if parts else []
        lines += [f"  picture left out, row {r['row']}: {r['found']}" for r in self.refusals]
        if self.refused > len(self.refusals):
            lines.append(f"  … and {self.refused - len(self.refusals):,} more")
        return lines + ([f"  why pictures were left out is kept in {self.refused_file}"] if self.refused_file else [])


class Intake:
    """Brings the pictures of one batch in. :meth:`settle` must come before the commit, :meth:`close` after everything."""

    def __init__(self, batch: Batch, source: PictureSource | None, limits: PictureLimits | None, progress: Callable[[str, int, int], None]):
        self.limits = limits or PictureLimits()
        self.news = PictureNews()
        self._batch, self._source, self._progress = batch, source, progress
        self._store = PictureStore(batch.folder, self.limits)
        self._refused = RefusedRows(batch.folder, f"{batch.name}-pictures")
        self._web: set[str] = set()
        longest = self.limits.max_bytes * 4 // 3 + 1_000
        self._kind = Texts(Text(max(longest, 8_192), 1), 100)

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.drop(self._batch)

    def resolve(self, images: pl.Series, rows: Sequence[int], item_ids: Sequence[object]) -> pl.Series:
        """``images`` of some rows as they stand in the lake. ``rows`` are their numbers for the report.

        A value that is no list of texts stays as it is, for the row to be refused.
        """
        if images.dtype == pl.Null or not len(images) or images.null_count() == len(images) or self._only_addresses(images):
            return images
        values = [self._listed(value) for value in images.to_list()]
        wanted = {image: None for value in values if type(value) is list for image in value if not image.startswith(WEB)}
        became = {image: self._in_lake(name) for image in wanted if (name := hash_named(image)) is not None}
        foreign = [image for image in wanted if image not in became]
        for done, (image, verdict) in enumerate(self._store.put_all(self._bytes_of(foreign), self._batch), start=1):
            became[image] = verdict
            self._progress("pictures", done, len(foreign))
        for place, value in enumerate(values):
            if type(value) is list:
                values[place] = list(self._kept(value, became, rows[place], item_ids[place]))
        if all(value is None or type(value) is list for value in values):
            return pl.Series(images.name, values, dtype=pl.List(pl.String))
        return pl.Series(images.name, values, dtype=pl.Object)

    def _only_addresses(self, images: pl.Series) -> bool:
        """Whether there is nothing to do, which is quickly told of a large table."""
        if images.dtype != pl.List(pl.String):
            return False
        flat = images.explode().drop_nulls()
        if not flat.str.contains("^https?://").all():
            return False
        self._web.update(flat.unique().to_list())
        return True

    def _listed(self, value: Any) -> Any:
        try:
            return value if value is None else self._kind.read(value)
        except Unfit:
            return value if type(value) is not list else tuple(value)  # a tuple is told from a list that has been read

    def _bytes_of(self, images: list[str]) -> Iterator[Found]:
        named = [image for image in images if not image.startswith(DATA) and not image.startswith(SCHEME)]
        for image in images:
            if image.startswith(SCHEME):
                yield image, PictureRefused("This is no name of a picture", expected="sha256: and 64 hex digits in lower case")
            elif image.startswith(DATA):
                try:
                    yield image, data_of(image, self.limits)
                except PictureRefused as refused:
                    yield image, refused
        if self._source is not None:
            yield from self._source.read(named, self.limits)
        else:
            refusal = PictureRefused("Rows that do not come from a file cannot name one", expected="http(s), data or sha256 of this lake")
            yield from ((image, refusal) for image in named)

    def _in_lake(self, name: str) -> str | PictureRefused:
        return name if self._store.has(name) else PictureRefused("The lake has no such picture", expected="one that was brought in before")

    def _kept(self, value: list[str], became: dict[str, str | PictureRefused], row: int, item_id: object) -> Iterator[str]:
        for place, image in enumerate(value):
            if image.startswith(WEB):
                self._web.add(image)
                yield image
                continue
            verdict = became[image]
            if not isinstance(verdict, PictureRefused):
                yield f"{SCHEME}{verdict}"
                continue
            shown = image if len(image) <= _FOUND_LENGTH else f"{image[:_FOUND_LENGTH]}…"
            expected = str(verdict.expected or "a whole picture")
            self._refused.add(row, f"images[{place}]", f"{shown!r}: {verdict}", expected, {"item_id": item_id, "image": shown})

    def settle(self, source_hash: str) -> PictureNews:
        """Put the pictures in their places, durably, and the reasons of those that were refused into a file beside."""
        refused_file = self._refused.publish(f"{source_hash}-pictures")
        self.news.stored = self._store.settle(self._batch)
        self.news.by_address = len(self._web)
        self.news.refused, self.news.refusals = self._refused.count, self._refused.first[:FIRST]
        self.news.refused_file = str(refused_file) if refused_file else None
        return self.news
