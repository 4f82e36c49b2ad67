"""Where the bytes of pictures come from at ingestion: a folder, a tar, the text of the row itself.

Nothing is unpacked: a name is a key to bytes and never a path to write to. A folder is read below itself only, wherever its links lead.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from corkboard.errors import InputError, PictureRefused
from corkboard.lake.pictures.config import PictureLimits

Found = tuple[str, "bytes | PictureRefused"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
"""What the names of pictures end with, where a folder or a tar is searched for them."""
DATA = "data:"
_DATA_HEAD = re.compile(r"data:image/[a-z0-9.+-]+(?:;[a-z0-9-]+=[^;,]*)*;base64,", re.IGNORECASE)
_READ_AT_ONCE = 64 << 20
_CHUNK = 1 << 20
_WHITE_SPACE = str.maketrans("", "", " \t\r\n")


class PictureSource(Protocol):
    """Pictures by name."""

    def names(self) -> list[str]:
        """The names of all pictures, sorted. Raises :class:`InputError` where it cannot be read."""
        ...

    def read(self, names: Collection[str], limits: PictureLimits) -> Iterator[Found]:
        """The bytes of each picture, or why there are none; each name once, in the order in which they lie there."""
        ...


class FolderSource:
    """The files below a folder, named by their paths relative to it."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def names(self) -> list[str]:
        found = []
        for folder, _, files in os.walk(self.folder):  # does not follow links
            found += [str((Path(folder) / file).relative_to(self.folder)) for file in files if file.lower().endswith(SUFFIXES)]
        return sorted(found)

    def read(self, names: Collection[str], limits: PictureLimits) -> Iterator[Found]:
        inside = self.folder.resolve()
        for name in names:
            try:
                yield name, _file_below(inside, name, limits.max_bytes)
            except PictureRefused as refused:
                yield name, refused


def _file_below(inside: Path, name: str, max_bytes: int) -> bytes:
    """The bytes of a file that lies below ``inside`` when every link is followed."""
    try:
        path = (inside / name).resolve()
        if Path(name).is_absolute() or not path.is_relative_to(inside):
            raise PictureRefused("The path leads out of the folder of the file that names it", found=name[:200])
        with open(path, "rb", opener=_open_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise PictureRefused("This is no file", found=name[:200])
            _check_bytes(facts.st_size, max_bytes)
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        raise PictureRefused("There is no such file", found=name[:200], expected="a path relative to the file that names it") from None
    except (OSError, ValueError, RuntimeError) as error:  # no right to read it, a zero byte in the name, links in a circle
        raise PictureRefused(f"The file cannot be read: {type(error).__name__}", found=name[:200]) from None


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting: a pipe would else wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_bytes(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PictureRefused("The file is too large", found=f"{size:,} bytes", expected=f"at most {max_bytes:,}")


class TarSource:
    """The files in a tar, plain or gzip, read from its beginning to its end in one go. Of two files of one name the first counts."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def names(self) -> list[str]:
        return sorted({name for name in self._sizes if name.lower().endswith(SUFFIXES)})

    def other_files(self) -> dict[str, int]:
        """Name -> bytes of the files that are no pictures, such as the table that tells of them."""
        return {name: size for name, size in self._sizes.items() if not name.lower().endswith(SUFFIXES)}

    @cached_property
    def _sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        with self._members() as members:
            read = None
            for name, member, archive in members:
                sizes.setdefault(name, member.size)
                read = archive
            if read is not None:
                _check_end(read)
        return sizes

    def read(self, names: Collection[str], limits: PictureLimits) -> Iterator[Found]:
        missing = dict.fromkeys(names)
        with self._members() as members:
            for name, member, archive in members:
                if name not in missing:
                    continue
                del missing[name]
                try:
                    _check_bytes(member.size, limits.max_bytes)
                    with archive.extractfile(member) as file:  # type: ignore[union-attr]
                        yield name, b"".join(iter(lambda: file.read(_CHUNK), b""))
                except PictureRefused as refused:
                    yield name, refused
                if not missing:
                    return
        for name in missing:
            yield name, PictureRefused("There is no such file in the tar", found=name[:200])

    @contextmanager
    def _members(self) -> Iterator[Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]]:
        """Regular files, with "./" taken off their names. Raises :class:`InputError` where the archive is damaged."""
        try:
            with open(self.path, "rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                stream = _Careful(gzip.GzipFile(fileobj=raw) if packed else raw)  # type: ignore[arg-type]
                with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
                    yield ((m.name.removeprefix("./"), m, archive) for m in archive if m.isreg() and not m.issparse())
        except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
            raise InputError(f"{self.path} cannot be read: {error}", hint="Is the file whole?") from error


def _check_end(archive: tarfile.TarFile) -> None:
    """An archive ends with blocks of zeros. One that was cut between two files looks whole without them."""
    archive.fileobj.seek(archive.offset)  # type: ignore[union-attr]
    if len(archive.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:  # type: ignore[union-attr]
        raise tarfile.ReadError("it breaks off")


class _Careful:
    """A stream that refuses to read much at once: a member of a tar may claim a name of gigabytes, which a small gzip can hold."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= _READ_AT_ONCE:
            raise OSError(f"a part of it claims {count:,} bytes")
        return self._stream.read(count)


def data_of(text: str, limits: PictureLimits) -> bytes:
    """The bytes in a ``data:image/…;base64,…`` address. Raises :class:`PictureRefused`."""
    head = _DATA_HEAD.match(text[:256])
    if head is None:
        raise PictureRefused("These data name no picture in base64", found=text[:60], expected="data:image/…;base64,…")
    _check_bytes((len(text) - head.end()) // 4 * 3 - 2, limits.max_bytes)
    try:
        return base64.b64decode(text[head.end() :].translate(_WHITE_SPACE), validate=True)
    except (binascii.Error, ValueError):
        raise PictureRefused("The data are not base64") from None
