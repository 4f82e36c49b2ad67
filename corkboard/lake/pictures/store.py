"""Where pictures lie: each once, by the SHA-256 of the bytes that came in.

    lake/pictures/<first two digits>/<hash>.jpg or .png    upright, at most ``kept_side`` px, nothing but pixels in it
    lake/pictures/incoming/<batch>/                        what a writer has not put in place yet
    lake/pictures/fetched/*.parquet                        what came of every address (:mod:`.fetch`)
    lake/pictures/arrays/*.npy                             pictures as arrays of one size, made again where missing (:mod:`.reading`)

A file that has its name is whole and on disk: it is written aside, flushed, and then renamed. So a row that names a picture, which is
committed later, never names one that is not there. Pictures that no item names any more stay; they are found again when one names them.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from corkboard.artifacts import write_atomically
from corkboard.errors import NotFound, PictureRefused
from corkboard.lake.pictures.bounded import Decoders
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import kept_form
from corkboard.lake.write import LOCKS, Batch, make_durable

Key = TypeVar("Key")

SCHEME = "sha256:"
"""What an entry of an item's ``images`` begins with that names a picture of this lake; 64 hex digits follow."""
MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png"}
_HASH = re.compile(r"[0-9a-f]{64}")


def hash_of(data: bytes) -> str:
    """The name of a picture: 64 hex digits of the SHA-256 of its bytes as they came in."""
    return hashlib.sha256(data).hexdigest()


def hash_named(image: str) -> str | None:
    """The hash that an entry of ``images`` names, None where it is something else."""
    digits = image.removeprefix(SCHEME)
    return digits if digits != image and _HASH.fullmatch(digits) else None


class PictureStore:
    """The pictures of one lake."""

    def __init__(self, lake_folder: Path, limits: PictureLimits | None = None):
        self.lake_folder = Path(lake_folder)
        self.folder = self.lake_folder / "pictures"
        self.limits = limits or PictureLimits()

    def put(self, data: bytes, decoders: Decoders | None = None) -> str:
        """Keep a picture, durably, and return its hash; one that is there already is not looked at. Raises :class:`PictureRefused`.

        It is decoded in this process, or by ``decoders``, which can end what hangs: use them for files of strangers.
        """
        name = hash_of(data)
        if not self.has(name):
            content, kind = kept_form(data, self.limits) if decoders is None else decoders.keep(data)
            write_atomically(self._place(name, kind), content)
        return name

    def has(self, name: str) -> bool:
        """Whether there is a picture of this hash."""
        return self._find(name) is not None

    def path(self, name: str) -> Path:
        """Where the kept picture lies. Raises :class:`NotFound`."""
        path = self._find(name)
        if path is None:
            raise NotFound("The lake has no such picture", found=name, expected="the sha256 of a picture, 64 hex digits")
        return path

    def bytes(self, name: str) -> tuple[bytes, str]:
        """The kept picture as it lies there, and its media type. Raises :class:`NotFound`."""
        path = self.path(name)
        return path.read_bytes(), MEDIA_TYPES[path.suffix[1:]]

    def rgb(self, name: str) -> np.ndarray:
        """uint8 ``(height, width, 3)``, at most ``kept_side`` px long. Raises :class:`NotFound`."""
        with Image.open(io.BytesIO(self.bytes(name)[0])) as image:
            return np.array(image.convert("RGB"))

    def put_all(self, pictures: Iterable[tuple[Key, bytes | PictureRefused]], batch: Batch) -> Iterator[tuple[Key, str | PictureRefused]]:
        """Decode many pictures in processes of their own, and keep them under the name of a batch until :meth:`settle`.

        Yields for every key, in no particular order, the hash or why the picture is refused; a refusal that comes in goes out.
        """
        aside = self._aside(batch)
        names: dict[str, str | PictureRefused] = {}

        def unknown() -> Iterator[tuple[tuple[Key, str], bytes]]:
            for key, data in pictures:
                name = "" if isinstance(data, PictureRefused) else hash_of(data)
                if isinstance(data, PictureRefused):
                    known.append((key, data))
                elif name in names or self.has(name):
                    known.append((key, names.get(name, name)))
                else:
                    yield (key, name), data

        known: list[tuple[Key, str | PictureRefused]] = []
        with Decoders(self.limits) as decoders:
            for (key, name), verdict in decoders.keep_all(unknown()):
                if isinstance(verdict, PictureRefused):
                    names[name] = verdict
                else:
                    content, kind = verdict
                    aside.mkdir(parents=True, exist_ok=True)
                    (aside / f"{name}.{kind}").write_bytes(content)
                    names[name] = name
                known.append((key, names[name]))
                yield from known
                known.clear()
        yield from known

    def settle(self, batch: Batch) -> int:
        """Put what a batch has brought in its place, durably; returns how many pictures that were."""
        aside = self._aside(batch)
        files = sorted(aside.iterdir()) if aside.exists() else []
        if not files:
            return 0
        make_durable(self.lake_folder, [str(file.relative_to(self.lake_folder)) for file in files])
        placed = []
        for file in files:
            place = self._place(file.stem, file.suffix[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
            placed.append(str(place.relative_to(self.lake_folder)))
        make_durable(self.lake_folder, placed)
        aside.rmdir()
        return len(placed)

    def drop(self, batch: Batch) -> None:
        """Remove what a batch has not put in its place, and what writers left that were killed."""
        shutil.rmtree(self._aside(batch), ignore_errors=True)
        incoming = self.folder / "incoming"
        for folder in list(incoming.iterdir()) if incoming.exists() else []:
            if not (self.lake_folder / LOCKS / folder.name).exists():  # a writer has its lock before this folder, and gives it back after
                shutil.rmtree(folder, ignore_errors=True)

    def _aside(self, batch: Batch) -> Path:
        return self.folder / "incoming" / batch.name

    def _place(self, name: str, kind: str) -> Path:
        return self.folder / name[:2] / f"{name}.{kind}"

    def _find(self, name: str) -> Path | None:
        if not _HASH.fullmatch(name):
            return None
        places = (self._place(name, kind) for kind in MEDIA_TYPES)
        return next((place for place in places if place.exists()), None)
