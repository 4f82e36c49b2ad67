"""Boxes as YOLO has them: a text file beside or apart from each picture, a line a box, and a file of the names of the classes.

A line is ``class cx cy w h``, or ``class x y x y x y ...`` of a polygon, of which the smallest box is taken; all are shares of the picture.
Names come from the ``names`` of a YAML file, or from classes.txt, obj.names or the like, a line a name. Of YAML that list is read and
nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from corkboard.errors import InputError
from corkboard.lake.importers.annotated import Album, Annotation, Annotations, Corners, refusal
from corkboard.lake.importers.base import Imported
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.files import decode, head_lines, read_bytes
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.sources import TarSource

_YAML = (".yaml", ".yml")
_TARS = (".tar", ".tar.gz", ".tgz")
_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
_NAMES_BYTES, _LABEL_BYTES = 1 << 20, 8 << 20
_KEY = re.compile(r"^names\s*:\s*(.*)$")
_ENTRY = re.compile(r"""^(?:-|["']?(\d+)["']?\s*:)\s*(.*)$""")
_LINE = re.compile(r"^\d+(\s+[-+.\deE]+){4,}\s*$")


class Yolo:
    """A folder with pictures, label files (``labels/…/NAME.txt``, beside the pictures, or in a tar) and the names of the classes."""

    name = "yolo"
    title = "YOLO labels with their pictures"

    def files(self, path: Path) -> list[Path]:
        folder = _folder(path)
        names = _names_file(folder)
        tars = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name.lower().endswith(_TARS)] if names else []
        return [names, *tars] if names else []

    def recognises(self, path: Path) -> bool:
        folder = _folder(path)
        try:
            if (path.is_file() and path != _names_file(folder)) or not self.files(path):
                return False
            first = next((text for _, text in _label_files(folder, 1)), "")
        except InputError:
            return False
        return any(_LINE.match(line) for line in first.splitlines()[:50])

    def load(self, path: Path, config: ImportConfig) -> Imported:
        folder = _folder(path)
        file = _names_file(folder)
        if file is None:
            raise InputError(
                "Nothing here names the classes of boxes", found=str(path), expected="a YAML file with names, or " + ", ".join(_NAME_FILES)
            )
        names = class_names(decode(read_bytes(file, _NAMES_BYTES)), file.name)
        labels = dict(_label_files(folder))
        if not labels:
            raise InputError("There are no labels here", found=str(path), expected="text files in a folder labels, or in a tar")
        album = Album.best([folder], [PurePosixPath(label).stem for label in labels])
        pictures = {_key(name): name for name in album.names}
        read = Annotations(self.name, album, [], list(album.names))
        for label, text in labels.items():
            picture = pictures.get(_key(label)) or album.find(PurePosixPath(label).stem)
            for row, line in enumerate(text.splitlines(), start=1):
                if line.strip():
                    _take(label, row, line, picture, names, read)
        read.notes.append(f"The {len(names):,} names of classes are those of {file.name}.")
        return read.imported()


def class_names(text: str, file: str) -> dict[int, str]:
    """Number -> name, from the ``names`` of a YAML text or, for another ``file``, a line a name. Raises :class:`InputError`."""
    lines = text.splitlines()
    if not file.lower().endswith(_YAML):
        return dict(enumerate(line.strip() for line in lines if line.strip()))
    start = next((n for n, line in enumerate(lines) if _KEY.match(line)), None)
    if start is None:
        raise InputError(f"{file} names no classes", expected="names: and a list, or number: name a line")
    rest = _uncommented(_KEY.match(lines[start]).group(1))  # type: ignore[union-attr]
    if rest[:1] in ("[", "{"):
        flow = " ".join([rest, *map(_uncommented, lines[start + 1 :])])
        entries = _split(flow[1 : flow.index("]" if flow[0] == "[" else "}")] if re.search("[]}]", flow) else flow[1:])
    else:
        entries = list(_indented(lines[start + 1 :]))
    names: dict[int, str] = {}
    for place, entry in enumerate(entries):
        match = _ENTRY.match(entry)
        number, name = (match.group(1), match.group(2)) if match else (None, entry)
        names[place if number is None else int(number)] = name.strip().strip("\"'")
    if not names or not all(names.values()):
        raise InputError(
            f"{file} names no classes that can be read", found=entries[:3], expected="names: and a list, or number: name a line"
        )
    return names


def _indented(lines: list[str]) -> Iterator[str]:
    """The entries of a block: until a line that begins another key."""
    for line in map(_uncommented, lines):
        if not line.strip():
            continue
        if not line[0].isspace() and not line.startswith("-"):
            return
        yield line.strip()


def _uncommented(line: str) -> str:
    return re.sub(r"""(^|\s)#[^"']*$""", "", line).rstrip()


def _split(text: str) -> list[str]:
    """Entries of a flow list: at commas outside of quotes."""
    parts = re.findall(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""", text)
    return [part.strip() for part in parts if part.strip()]


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _names_file(folder: Path) -> Path | None:
    """The file with the names of the classes: a YAML file that has some, else one of the usual text files."""
    if not folder.is_dir():
        return None
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for file in files:
        if file.name.lower().endswith(_YAML) and any(_KEY.match(line) for line in head_lines(file, 1_000)):
            return file
    return next((file for file in files if file.name.lower() in _NAME_FILES), None)


def _label_files(folder: Path, most: int | None = None) -> Iterator[tuple[str, str]]:
    """Name and text of each label file: below a folder ``labels``, beside a picture, or in a tar; ``most`` of them."""
    found, inside = 0, folder.resolve()
    for file in sorted(folder.rglob("*.txt")):
        name = file.relative_to(folder)
        beside = any(file.with_suffix(suffix).exists() for suffix in (".jpg", ".jpeg", ".png"))
        ours = file.is_file() and file.resolve().is_relative_to(inside)  # not what a link leads to
        if ours and file.name.lower() not in _NAME_FILES and ("labels" in name.parts[:-1] or beside):
            yield name.as_posix(), decode(read_bytes(file, _LABEL_BYTES))
            found += 1
            if found == most:
                return
    for tar in sorted(file for file in folder.iterdir() if file.is_file() and file.name.lower().endswith(_TARS)):
        source = TarSource(tar)
        names = [name for name in source.other_files() if name.lower().endswith(".txt")][:most]
        for name, data in source.read(names, PictureLimits(max_bytes=_LABEL_BYTES)) if names else ():
            if isinstance(data, bytes) and PurePosixPath(name).name.lower() not in _NAME_FILES:
                yield name, decode(data)


def _key(name: str) -> str:
    """What a picture and its labels share: the path without suffix and without the folders ``images`` and ``labels``."""
    return "/".join(part for part in PurePosixPath(name).with_suffix("").parts if part not in ("images", "labels"))


def _take(file: str, row: int, line: str, picture: str | None, names: Mapping[int, str], read: Annotations) -> None:
    """One line as a box, or why it is none."""
    parts = line.split()
    try:
        number, values = int(parts[0]), [float(part) for part in parts[1:]]
    except ValueError:
        number, values = -1, []
    if not (len(values) == 4 or (len(values) >= 6 and len(values) % 2 == 0)):
        read.refused.append(refusal(file, row, "line", line, "class cx cy w h, or class and the corners of a polygon", line))
        return
    if number not in names:
        read.refused.append(refusal(file, row, "class", parts[0], f"the number of one of {len(names)} classes", line))
        return
    called = PurePosixPath(file).stem
    read.boxes.append(Annotation(file, row, "box", picture, called, _corners(values), "share", names[number], line))


def _corners(values: list[float]) -> Corners:
    if len(values) == 4:
        x, y, wide, tall = values
        return x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2
    across, down = values[0::2], values[1::2]
    return min(across), min(down), max(across), max(down)
