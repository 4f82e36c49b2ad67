"""Pictures for the tests: whole ones, and hostile ones that are written by hand, chunk by chunk."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image


def picture(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """uint8 ``(height, width, 3)``: smooth, and different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    return np.stack([red, green, (red + green + 37 * seed) / 2 % 256], axis=2).astype(np.uint8)


def encoded(image: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def jpeg(seed: int = 0, **options: Any) -> bytes:
    return encoded(picture(seed=seed), "JPEG", quality=95, **options)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


PNG = b"\x89PNG\r\n\x1a\n"


def png(width: int, height: int, rows: bytes, bits: int = 8, colour: int = 2, *before: bytes) -> bytes:
    """A PNG from its raw rows, each with a filter byte in front; ``before`` are chunks between the header and the pixels."""
    return PNG + header(width, height, bits, colour) + b"".join(before) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


@cache
def huge_png(side: int = 30_000) -> bytes:
    """A whole PNG of ``side`` x ``side`` white pixels, 1 bit each: 112 MB of rows in some kilobytes."""
    row = b"\x00" + b"\xff" * ((side + 7) // 8)
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    return PNG + header(side, side, 1, 0) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def gif(frames: int, side: int = 8) -> bytes:
    """A GIF with a number of frames that are all alike."""
    one = encoded(Image.new("P", (side, side), 1), "GIF")
    start, image = one.index(b"\x2c"), one[one.index(b"\x2c") : -1]
    return one[:start] + image * frames + b"\x3b"


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
