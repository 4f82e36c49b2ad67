"""Boxes as COCO has them: one JSON with images, annotations and categories, beside its pictures.

``bbox`` is left, top, width, height in px of a picture of the ``width`` and ``height`` that its entry tells, whatever size the file has.
Regions that stand for crowds (``iscrowd``) are no boxes of one thing and are left out. Segments and key points are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corkboard.errors import InputError
from corkboard.lake.importers.annotated import Album, Annotation, Annotations, numbers, refusal
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import HEAD_BYTES, decode, plain_name, read_bytes

_BYTES = 1 << 30
"""Of a file that are read; the largest of COCO itself has 0.45 GB."""
_LISTS = ("images", "annotations", "categories")


class Coco:
    """A JSON of annotations, or a folder with such files in it or in its ``annotations``; pictures in folders or a tar there."""

    name = "coco"
    title = "COCO annotations with their pictures"

    def files(self, path: Path) -> list[Path]:
        return _files(path)

    def recognises(self, path: Path) -> bool:
        return bool(_files(path))

    def load(self, path: Path, config: ImportConfig) -> Imported:
        files = _files(path) or ([path] if path.is_file() else [])
        if not files:
            raise InputError(
                "There are no COCO annotations here", found=str(path), expected="a JSON with images, annotations and categories"
            )
        documents = {file: _document(file) for file in files}
        images = [one for document in documents.values() for one in document["images"] if isinstance(one, dict)]
        album = Album.best(_folders(files[0]), [str(one.get("file_name")) for one in images])
        read = Annotations(self.name, album, [], [])
        for file, document in documents.items():
            _read(file.name, document, read)
        read.pictures = list(dict.fromkeys(read.pictures))
        return read.imported()


def _files(path: Path) -> list[Path]:
    """The files of annotations at ``path``."""
    folders = [path, path / "annotations"] if path.is_dir() else []
    candidates = [path] if path.is_file() else [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
    return [file for file in candidates if file.is_file() and plain_name(file).endswith(".json") and _looks_right(file)]


def _looks_right(file: Path) -> bool:
    try:
        head = read_bytes(file, HEAD_BYTES)
    except InputError:
        return False
    images, boxes = b'"images"' in head and b'"file_name"' in head, b'"annotations"' in head and b'"bbox"' in head
    return head.lstrip()[:1] == b"{" and (images or boxes)


def _folders(file: Path) -> list[Path]:
    """Where pictures may be: beside the file, and beside its folder where that is ``annotations``."""
    return [file.parent.parent, file.parent] if file.parent.name == "annotations" else [file.parent]


def _document(file: Path) -> dict[str, list[Any]]:
    try:
        document = json.loads(decode(read_bytes(file, _BYTES)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON: {error}", hint="Is the file whole? Copy or download it again.") from None
    if not isinstance(document, dict) or any(not isinstance(document.get(name), list) for name in _LISTS):
        found = list(document) if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{file} has no annotations of boxes", found=found, expected="lists: " + ", ".join(_LISTS))
    return document


def _read(file: str, document: Mapping[str, list[Any]], read: Annotations) -> None:
    """Add what one file tells to ``read``."""
    names = {one["id"]: str(one["name"]) for one in document["categories"] if isinstance(one, dict) and {"id", "name"} <= set(one)}
    images: dict[Any, dict[str, Any]] = {}
    for row, one in enumerate(document["images"], start=1):
        if not isinstance(one, dict) or not isinstance(one.get("id"), (int, str)) or not isinstance(one.get("file_name"), str):
            read.refused.append(refusal(file, row, "images", one, "an image with id and file_name", one))
            continue
        images[one["id"]] = one
        picture = read.album.find(one["file_name"])
        if picture is not None:
            read.pictures.append(picture)
        else:
            read.refused.append(refusal(file, row, "images.file_name", one["file_name"], "a picture in the folder or the tar", one))
    crowds = 0
    for row, one in enumerate(document["annotations"], start=1):
        if isinstance(one, dict) and one.get("iscrowd"):
            crowds += 1
        else:
            _take(file, row, one, images, names, read)
    if crowds:
        read.notes.append(f"{crowds:,} regions of {file} stand for crowds and were left out.")


def _take(file: str, row: int, one: Any, images: Mapping[Any, Mapping[str, Any]], names: Mapping[Any, str], read: Annotations) -> None:
    """One annotation as a box, or why it is none."""
    if not isinstance(one, dict):
        read.refused.append(refusal(file, row, "annotations", one, "an object", one))
        return
    image, category, bbox = _of(images, one.get("image_id")), _of(names, one.get("category_id")), numbers(one.get("bbox"), 4)
    what: tuple[str, object, str] | None = None
    if image is None:
        what = "annotations.image_id", one.get("image_id"), "the id of an image"
    elif category is None:
        what = "annotations.category_id", one.get("category_id"), "the id of a category"
    elif bbox is None:
        what = "annotations.bbox", one.get("bbox"), "four numbers: left, top, width, height"
    if what is not None or image is None or category is None or bbox is None:
        read.refused.append(refusal(file, row, *(what or ("annotations", one, "an annotation")), one))
        return
    left, top, wide, tall = bbox
    size = numbers([image.get("width"), image.get("height")], 2)
    read.boxes.append(
        Annotation(
            file=file,
            row=row,
            name="annotations.bbox",
            picture=read.album.find(image["file_name"]),
            called=image["file_name"],
            corners=(left, top, left + wide, top + tall),
            unit="px",
            category=category,
            original=one,
            size=(size[0], size[1]) if size is not None and min(size) > 0 else None,
        )
    )


def _of(known: Mapping[Any, Any], key: object) -> Any:
    return known.get(key) if isinstance(key, (int, str)) else None
