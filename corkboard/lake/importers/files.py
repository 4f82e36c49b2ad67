"""Opening outside files: plain or .gz, UTF-8 or latin-1, any separator."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from corkboard.errors import InputError, NotFound

HEAD_BYTES = 1 << 16


def plain_name(path: Path) -> str:
    """The file name in lower case without ``.gz``."""
    return path.name.lower().removesuffix(".gz")


def folder_files(path: Path) -> dict[str, Path]:
    """Plain name -> path of the files in a folder, or beside (and including) a file. A plain file wins over its ``.gz``."""
    folder = path if path.is_dir() else path.parent
    found = sorted((p for p in folder.iterdir() if p.is_file()), key=lambda p: (not p.name.endswith(".gz"), p.name))
    return {plain_name(p): p for p in reversed(found)}


def is_gzip(path: Path) -> bool:
    """Whether the file is gzip, whatever its name says."""
    with open(path, "rb") as raw:
        return raw.read(2) == b"\x1f\x8b"


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The first ``limit`` (default: all) uncompressed bytes of ``path``.

    Raises :class:`NotFound` where there is no file, :class:`InputError` where the compression is damaged.
    """
    try:
        with open(path, "rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if is_gzip(path) else raw
            return stream.read() if limit is None else _read_up_to(stream, limit)
    except FileNotFoundError:
        raise NotFound("There is no such file", found=str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="Is the file whole? Copy or download it again.") from None


def _read_up_to(stream: gzip.GzipFile | io.BufferedReader, limit: int) -> bytes:
    """``limit`` bytes, or all there are. One ``read`` of a gzip stream may return less than it was asked for."""
    parts: list[bytes] = []
    while limit > 0 and (part := stream.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def decode(data: bytes) -> str:
    """Text of ``data``: UTF-8 (with or without a byte order mark) where it is that, latin-1 otherwise."""
    return decode_named(data)[0]


def decode_named(data: bytes) -> tuple[str, str]:
    """The text, and the encoding that it was in."""
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def head_lines(path: Path, lines: int = 50) -> list[str]:
    """The first whole lines of a text file, [] where it holds binary data or cannot be read."""
    try:
        data = read_bytes(path, HEAD_BYTES)
    except InputError:
        return []
    if b"\x00" in data:
        return []
    if len(data) == HEAD_BYTES:
        data = data[: data.rfind(b"\n") + 1] or data
    return decode(data).splitlines()[:lines]


def header(path: Path, separator: str) -> list[str]:
    """The fields of the first line, quotes taken off."""
    first = head_lines(path, 1)
    return [name.strip().strip('"') for name in first[0].split(separator)] if first else []


def read_table(path: Path, separator: str, names: Sequence[str] | None = None, *, quotes: bool = False) -> pl.DataFrame:
    """A delimited file with every column as text; ``names`` are given where the file has no header.

    ``separator`` may have several characters (``::``). With ``quotes`` a field may be quoted as in CSV.
    """
    data = read_bytes(path)
    if len(separator) > 1:
        data, separator = data.replace(separator.encode(), b"\x1f"), "\x1f"
    options = {"separator": separator, "has_header": names is None, "infer_schema": False, "truncate_ragged_lines": True}
    quote = '"' if quotes else None
    try:
        try:
            frame = pl.read_csv(data, quote_char=quote, **options)
        except pl.exceptions.PolarsError:
            frame = pl.read_csv(decode(data).encode(), quote_char=quote, **options)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if names is None:
        return frame
    if frame.width < len(names):
        raise InputError(f"{path} has too few columns", found=frame.width, expected=f"{len(names)}: {', '.join(names)}")
    return frame.select(pl.col(old).alias(new) for old, new in zip(frame.columns, names, strict=False))
