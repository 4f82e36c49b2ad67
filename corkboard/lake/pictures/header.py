"""What the first bytes of a picture say, before anything is decoded: format, size, number of frames.

Read by hand and not by a picture library, so that no library sees a file whose header is refused. Formats: JPEG (ITU-T T.81),
PNG (W3C, third edition, with animations), GIF (89a) and WebP (RFC 9649).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corkboard.errors import PictureRefused

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
EXPECTED = "a JPEG, PNG, WebP or GIF picture"
_OTHERS = {
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "icon",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
}
_MARKERS_BEFORE_SIZE = 10_000
_START_OF_SCAN = b"\xff\xda"
_MOST_SCANS = 200
"""Each scan of a JPEG goes over all pixels again, and 40 bytes can hold one; encoders make some ten. They are counted wherever they stand:
coded pixels never have these bytes, and 8 MiB of a film behind a picture have them some 130 times."""
_MOST_CHUNKS = 50_000
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True)
class Header:
    """``format`` is one of FORMATS, ``width`` and ``height`` are in px as they are stored (not turned), ``frames`` is at least 1."""

    format: str
    width: int
    height: int
    frames: int = 1


def read_header(data: bytes, max_frames: int) -> Header:
    """What a file says that it is. Frames are counted up to ``max_frames`` + 1. Raises :class:`PictureRefused` for anything else."""
    if not data:
        raise PictureRefused("The file is empty", expected=EXPECTED)
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(data, max_frames)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data, max_frames)
    except IndexError:
        raise PictureRefused("The picture ends within its header") from None
    raise PictureRefused("This is not a picture of a kind that is taken", found=_kind_of(data), expected=EXPECTED)


def _kind_of(data: bytes) -> str:
    """What the bytes are instead, for the reason of a refusal."""
    for start, name in _OTHERS.items():
        if data.startswith(start):
            return name
    if data[4:8] == b"ftyp":
        return "AVIF, HEIC or a film"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<svg", b"<?xml")) or (start.startswith(b"<!") and b"<svg" in start):
        return "SVG" if b"<svg" in start else "XML"
    if start.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    is_text = all(byte in b"\t\n\r\f" or 32 <= byte < 127 or byte >= 128 for byte in data[:1024])
    return "text" if is_text else "unknown bytes"


def _number(data: bytes, start: int, length: int, order: str = "big") -> int:
    if start + length > len(data):
        raise IndexError(start)
    return int.from_bytes(data[start : start + length], order)  # type: ignore[arg-type]


def _jpeg(data: bytes) -> Header:
    """The first start of a frame. Segments before it are skipped by their lengths."""
    place = 2
    for _ in range(_MARKERS_BEFORE_SIZE):
        if data[place] != 0xFF:
            raise PictureRefused("The JPEG has no marker where one must be")
        while data[place] == 0xFF:
            place += 1
        marker = data[place]
        if marker in _START_OF_FRAME:
            if data.count(_START_OF_SCAN) > _MOST_SCANS:
                raise PictureRefused("The JPEG has too many scans", expected=f"at most {_MOST_SCANS}")
            return Header("JPEG", _number(data, place + 6, 2), _number(data, place + 4, 2))
        if marker in (0x00, 0xD9, 0xDA):
            break
        place += 1 if marker in _WITHOUT_LENGTH else 1 + max(_number(data, place + 1, 2), 2)
    raise PictureRefused("The JPEG does not say how large it is")


def _png(data: bytes) -> Header:
    """Chunks are walked to the end: each colour profile is unpacked by a decoder, a thousand times larger than it comes."""
    if data[12:16] != b"IHDR":
        raise PictureRefused("The PNG does not begin with its header")
    frames, profiles = 1, 0
    for number, (kind, start) in enumerate(_png_chunks(data)):
        if kind == b"acTL":
            frames = max(_number(data, start, 4), 1)
        profiles += kind == b"iCCP"
        if profiles > 1 or number >= _MOST_CHUNKS:
            found, most = ("colour profiles", 1) if profiles > 1 else ("chunks", _MOST_CHUNKS)
            raise PictureRefused(f"The PNG has too many {found}", expected=f"at most {most:,}")
    return Header("PNG", _number(data, 16, 4), _number(data, 20, 4), frames)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """(kind, where its content starts) of the chunks, as far as they go."""
    place = 8
    while place + 8 <= len(data):
        yield data[place + 4 : place + 8], place + 8
        place += 12 + _number(data, place, 4)


def _gif(data: bytes, max_frames: int) -> Header:
    """The size of the screen. Blocks are walked by their lengths to count the frames; a file that breaks off has those it has."""
    width, height, flags = _number(data, 6, 2, "little"), _number(data, 8, 2, "little"), data[10]
    place, frames = 13 + _table_bytes(flags), 0
    try:
        while frames <= max_frames and data[place] in (0x21, 0x2C):
            if data[place] == 0x2C:
                frames += 1
                place += 11 + _table_bytes(data[place + 9])
            else:
                place += 2
            while data[place]:
                place += 1 + data[place]
            place += 1
    except IndexError:
        pass
    return Header("GIF", width, height, max(frames, 1))


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes, max_frames: int) -> Header:
    kind = data[12:16]
    if kind == b"VP8 ":
        return Header("WEBP", _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF)
    if kind == b"VP8L":
        bits = _number(data, 21, 4, "little")
        return Header("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise PictureRefused("The WebP does not begin with its header")
    place, frames = 12, 0
    while place + 8 <= len(data) and frames <= max_frames:
        frames += data[place : place + 4] == b"ANMF"
        length = _number(data, place + 4, 4, "little")
        place += 8 + length + length % 2
    return Header("WEBP", _number(data, 24, 3, "little") + 1, _number(data, 27, 3, "little") + 1, max(frames, 1))
