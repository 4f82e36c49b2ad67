"""Sets of real photos with labels: read once at one size, near duplicates found, and split so that none of them straddles.

A set is a folder with a tar of pictures and a table. What belongs together (near duplicates, equal titles, one sender) is a group; the
hash of a group's name says whether it is trained on, chosen on, or asked about, so that the split is the same for everybody.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from corkboard.artifacts import content_hash, write_atomically
from corkboard.errors import InputError, NotFound, PictureRefused
from corkboard.experiments.photos_config import PhotosConfig
from corkboard.experiments.real_data import data_file, digest
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode
from corkboard.lake.pictures.sources import TarSource
from corkboard.seeds import generator

TRAIN, VALID, TEST = range(3)
TYPE, COLOUR = "type", "colour"
"""Labels: the type of a thing; its type and its colour."""
_VERSION = 1
"""Of what is kept of a set of photos."""
_THUMB = 16
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class PhotoSource:
    """Where a set lies and what its columns mean. ``labels``: name -> the columns that make it; the first is what shares are drawn by."""

    name: str
    tables: Sequence[str]
    key: str
    labels: Mapping[str, Sequence[str]]
    title: str | None = None
    sender: str | None = None
    no_label: frozenset[str] = frozenset()

    def files(self, folder: Path) -> list[Path]:
        """The tar and the table in ``folder``. Raises :class:`NotFound`."""
        for name in self.tables[:-1]:
            if (Path(folder) / name).exists():
                return [data_file(folder, "images.tar"), Path(folder) / name]
        return [data_file(folder, "images.tar"), data_file(folder, self.tables[-1])]


FASHION = PhotoSource(
    "fashion-products",
    ("styles_with_image.csv", "styles_with_image.csv.gz"),
    "id",
    {TYPE: ("articleType",), COLOUR: ("articleType", "baseColour")},
    title="productDisplayName",
)
CLOTHING = PhotoSource(
    "clothing-cc0",
    ("images.csv", "images.csv.gz"),
    "image",
    {TYPE: ("label",)},
    sender="sender_id",
    no_label=frozenset({"Not sure", "Skip"}),
)
SOURCES = (FASHION, CLOTHING)


@dataclass(frozen=True)
class Photos:
    """Photos of one set: ``images`` uint8 ``(n, side, side, 3)``; ``labels`` int64 ``(n,)`` by name, -1 for none; ``groups`` int64
    ``(n,)``; ``parts`` int8 ``(n,)``: :data:`TRAIN`, :data:`VALID` or :data:`TEST`; ``titles`` where the set has them."""

    source: PhotoSource
    ids: Sequence[str]
    images: np.ndarray
    labels: Mapping[str, np.ndarray]
    groups: np.ndarray
    parts: np.ndarray
    titles: Sequence[str] | None
    refused: int
    digest: str

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def split_hash(self) -> str:
        """Names the data, the photos that were read of them, and the split."""
        return content_hash(self.digest, list(self.ids), self.groups.tolist(), self.parts.tolist(), self.images.shape[1])

    def rows(self, part: int) -> np.ndarray:
        """int64: the photos of a part."""
        return np.flatnonzero(self.parts == part)

    def labelled(self, share: float, seed: int) -> np.ndarray:
        """int64, rising: training photos that show their label, ``share`` of every type, at least one. Of one seed a smaller share is
        part of a larger."""
        types = self.labels[TYPE]
        rows = self.rows(TRAIN)
        order = generator(seed, "photos", "labelled").permutation(rows[types[rows] >= 0])
        order = order[np.argsort(types[order], kind="stable")]
        _, starts, counts = np.unique(types[order], return_index=True, return_counts=True)
        place = np.arange(len(order)) - np.repeat(starts, counts)
        return np.sort(order[place < np.repeat(np.ceil(share * counts - 1e-9), counts)])


def read_photos(source: PhotoSource, folder: Path, kept: Path, config: PhotosConfig) -> Photos:
    """The set in ``folder``; pixels are decoded once and kept below ``kept``. Photos without a type are left out.

    Raises :class:`NotFound` for a missing file, :class:`InputError` for a table without the columns or without any picture.
    """
    files = source.files(folder)
    data = digest(files)
    table = _table(source, files[1])
    images, marks, read = _pixels(files[0], table["file"].to_list(), config.trunk.side, Path(kept) / f"{data}-{config.trunk.side}.npz")
    labels = {name: _labels(source, table, columns) for name, columns in source.labels.items()}
    usable = read & (labels[TYPE] >= 0)
    if not usable.any():
        raise InputError("The table names no picture that can be read and has a type", found=str(files[1]), expected=source.labels[TYPE])
    rows = np.flatnonzero(usable)
    table = table[rows]
    groups = groups_of(source, table, marks[rows], images[rows], config)
    return Photos(
        source=source,
        ids=table[source.key].to_list(),
        images=images[rows],
        labels={name: values[rows] for name, values in labels.items()},
        groups=groups,
        parts=parts_of(table[source.key].to_list(), groups, config),
        titles=table[source.title].fill_null("").to_list() if source.title else None,
        refused=int((~read).sum()),
        digest=data,
    )


def _table(source: PhotoSource, file: Path) -> pl.DataFrame:
    """Rows with a picture, all columns as text, in the order of their keys."""
    table = pl.read_csv(file, infer_schema=False)
    wanted = {source.key, "file", source.title, source.sender, *(column for columns in source.labels.values() for column in columns)}
    missing = sorted(str(name) for name in wanted - {None} if name not in table.columns)
    if missing:
        raise InputError(f"{file} lacks columns", found=table.columns, expected=missing)
    return table.filter(pl.col("file").is_not_null()).unique(source.key, keep="first").sort(source.key)


def _labels(source: PhotoSource, table: pl.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """int64 ``(n,)``: a number for each combination of values, -1 where a column has none."""
    known = pl.all_horizontal(pl.col(name).is_not_null() & ~pl.col(name).is_in(list(source.no_label)) for name in columns)
    text = table.select(pl.when(known).then(pl.concat_str(columns, separator="\t")))[:, 0]
    return text.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1


# ------------------------------------------------------------------------------------------------------------------ pixels


def _pixels(tar: Path, names: Sequence[str], side: int, file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures uint8 ``(n, side, side, 3)``, their hashes bool ``(n, 128)`` and bool ``(n,)``: could be read. Kept in ``file``."""
    key = content_hash(list(names), _VERSION)
    if file.exists():
        with np.load(file) as found:
            if str(found["key"]) == key:
                return found["images"], np.unpackbits(found["marks"], axis=1).astype(bool), found["read"]
    from corkboard.vision.images import resized

    images, marks = np.zeros((len(names), side, side, 3), np.uint8), np.zeros((len(names), 128), bool)
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows_of.setdefault(name, []).append(row)
    read = np.zeros(len(names), bool)
    for name, rgb in _decoded(tar, rows_of):
        rows = rows_of[name]
        images[rows], marks[rows], read[rows] = resized(rgb[None], side)[0], difference_hash(rgb), True
    buffer = io.BytesIO()
    np.savez(buffer, key=np.array(key), images=images, marks=np.packbits(marks, axis=1), read=read)
    write_atomically(file, buffer.getvalue())
    return images, marks, read


def _decoded(tar: Path, names: Mapping[str, list[int]]) -> Iterator[tuple[str, np.ndarray]]:
    limits = PictureLimits()
    for name, data in TarSource(tar).read(names, limits):
        try:
            if isinstance(data, bytes):
                yield name, decode(data, limits).rgb
        except PictureRefused:
            continue


def difference_hash(rgb: np.ndarray) -> np.ndarray:
    """bool ``(128,)``: of the grey picture at 9 x 8 which cells are lighter than the one to their left, and at 8 x 9 than the one above.

    dHash in both directions. A step of one level is none, so that noise in a white ground sets no bit.
    """
    from PIL import Image

    grey = Image.fromarray(rgb).convert("L")
    across = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    down = np.asarray(grey.resize((8, 9), Image.Resampling.BOX), np.int16)
    return np.concatenate([(np.diff(across, axis=1) > 1).ravel(), (np.diff(down, axis=0) > 1).ravel()])


# ------------------------------------------------------------------------------------------------------------------ groups


def groups_of(source: PhotoSource, table: pl.DataFrame, marks: np.ndarray, images: np.ndarray, config: PhotosConfig) -> np.ndarray:
    """int64 ``(n,)``: near duplicates, equal titles and equal senders joined, and what they lead to."""
    pairs = [near_duplicates(marks, images, config.duplicate_bits, config.duplicate_difference)]
    for column in (source.title, source.sender):
        if column is not None:
            values = table[column].fill_null("")
            same = values.rank("dense").to_numpy().astype(np.int64)
            order = np.argsort(same, kind="stable")
            order = order[(values != "").to_numpy()[order]]
            joined = same[order[1:]] == same[order[:-1]]
            pairs.append(np.stack([order[1:][joined], order[:-1][joined]], axis=1))
    first, second = np.concatenate(pairs).T
    graph = sp.coo_array((np.ones(len(first), bool), (first, second)), shape=(len(images), len(images)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def near_duplicates(marks: np.ndarray, images: np.ndarray, bits: int, difference: float) -> np.ndarray:
    """int64 ``(pairs, 2)``: photos that show the same, by hashes bool ``(n, 128)`` and by colours at 16 px; every pair once."""
    from corkboard.vision.images import resized

    values = marks.astype(np.float32)
    thumbs = resized(images, _THUMB).reshape(len(images), -1).astype(np.float32)
    ones = values.sum(axis=1)
    found = []
    for start in range(0, len(images), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        unlike = ones[rows, None] + ones - 2 * values[rows] @ values.T
        first, second = np.nonzero(unlike <= bits + 0.5)
        later = second > first + start
        first, second = first[later] + start, second[later]
        alike = ((thumbs[first] - thumbs[second]) ** 2).mean(axis=1) <= difference**2
        found.append(np.stack([first[alike], second[alike]], axis=1))
    return np.concatenate(found).astype(np.int64)


def parts_of(ids: Sequence[str], groups: np.ndarray, config: PhotosConfig) -> np.ndarray:
    """int8 ``(n,)``: the part of each photo, by the hash of the smallest id of its group; no seed has a say."""
    names: dict[int, str] = {}
    for group, name in zip(groups.tolist(), ids, strict=True):
        names[group] = min(names.get(group, name), name)
    parts = np.empty(len(ids), np.int8)
    for group, name in names.items():
        place = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
        part = TEST if place < config.test_share else VALID if place < config.test_share + config.valid_share else TRAIN
        parts[groups == group] = part
    return parts


def found_sources(folder: Path) -> list[PhotoSource]:
    """The sets that lie in ``folder``. Raises :class:`NotFound` where there is none."""
    found = [source for source in SOURCES if (Path(folder) / source.name).is_dir()]
    if not found:
        raise NotFound(
            "There are no photos here",
            found=str(folder),
            expected=f"a folder {' or '.join(source.name for source in SOURCES)} in it",
            hint="Name the folder above them with --data; nothing is downloaded.",
        )
    return found
