"""From the bytes of a file to pixels, within bounds: what is broken, hostile or too large is refused with a reason.

The header is read by hand (:mod:`.header`) before any decoder sees the file. What comes out is always upright 8-bit RGB: turned as EXIF
says, CMYK turned to RGB, 16 bits cut to the upper 8, see-through parts laid on white, the first frame of an animation. Colour profiles
are not applied: numbers are taken as sRGB.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from corkboard.errors import PictureRefused
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.header import Header, read_header

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes it upright; 1 and what no standard knows leave it as it is."""
_JPEG_QUALITY = 92
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """A decoded picture: ``rgb`` is uint8 ``(height, width, 3)``, upright; ``format`` is JPEG, PNG, WEBP or GIF."""

    rgb: np.ndarray
    format: str

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        return self.rgb.shape[0]


def decode(data: bytes, limits: PictureLimits | None = None, side: int | None = None) -> Picture:
    """The picture in ``data``; with ``side``, made smaller so that the longer side has at most so many px.

    Raises :class:`PictureRefused` with the reason for everything that is not a whole JPEG, PNG, WebP or GIF within ``limits``. Time is not
    bounded here but by what the limits let through, seconds at worst; see :func:`corkboard.lake.pictures.bounded.decode_bounded`.
    """
    image, header = _open(data, limits or PictureLimits(), side)
    return Picture(np.array(image), header.format)


def kept_form(data: bytes, limits: PictureLimits | None = None) -> tuple[bytes, str]:
    """What is kept of a picture, and "jpg" or "png": upright, at most ``kept_side`` px, nothing but pixels in it.

    A lossless picture stays lossless where that is not larger than the JPEG. Raises :class:`PictureRefused` as :func:`decode` does.
    """
    limits = limits or PictureLimits()
    image, header = _open(data, limits, limits.kept_side)
    image.info = {}  # comments, profiles and the like would else be written again
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    if header.format in ("PNG", "GIF"):
        image.save(png, "PNG")
        if png.tell() <= jpeg.tell():
            return png.getvalue(), "png"
    return jpeg.getvalue(), "jpg"


def _open(data: bytes, limits: PictureLimits, side: int | None) -> tuple[Image.Image, Header]:
    """The upright RGB image, at most ``side`` px where that is given, and what its header said."""
    if len(data) > limits.max_bytes:
        raise PictureRefused("The file is too large", found=f"{len(data):,} bytes", expected=f"at most {limits.max_bytes:,}")
    header = read_header(data, limits.max_frames)
    if header.frames > limits.max_frames:
        found = f"more than {limits.max_frames:,}" if header.frames == limits.max_frames + 1 else f"{header.frames:,}"
        raise PictureRefused("The animation has too many frames", found=found, expected=f"at most {limits.max_frames:,}")
    _check_size(header.width, header.height, limits)
    try:
        image = Image.open(io.BytesIO(data), formats=[header.format])
    except Exception as error:  # a decoder that meets hostile bytes raises whatever it stumbles over
        raise PictureRefused(f"The {header.format} cannot be read: {_said(error)}") from error
    _check_size(*image.size, limits)  # a second header, or a frame that is larger than its screen
    try:
        if side is not None:
            image.draft(None, (side, side))
        image.load()
        return _upright(_on_white(image), image, side), header
    except Exception as error:
        raise PictureRefused(f"The {header.format} is broken: {_said(error)}") from error


def _check_size(width: int, height: int, limits: PictureLimits) -> None:
    if width * height > limits.max_pixels:
        raise PictureRefused("The picture has too many pixels", found=f"{width:,} x {height:,}", expected=f"at most {limits.max_pixels:,}")
    if min(width, height) < limits.min_side:
        raise PictureRefused("The picture is too small", found=f"{width} x {height}", expected=f"sides of at least {limits.min_side} px")


def _said(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own words name an address in memory
        return "its header is broken"
    return (str(error).splitlines() or [type(error).__name__])[0][:200] or type(error).__name__


def _on_white(image: Image.Image) -> Image.Image:
    """8-bit RGB without anything to see through."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        grey = (np.clip(values, 0, 0xFFFF).astype(np.uint16) >> 8).astype(np.uint8)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            grey[values == clear] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGB", layered.size, _WHITE)
        white.paste(layered, mask=layered.getchannel("A"))
        return white
    return image.convert("RGB")


def _upright(image: Image.Image, given: Image.Image, side: int | None) -> Image.Image:
    """Made smaller first, since that is the cheaper order, then turned as the EXIF data of the file says."""
    if side is not None and max(image.size) > side:
        scale = side / max(image.size)
        size = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    turn = turn_of(given)
    return image if turn is None else image.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes an opened file upright, as its EXIF data say; None where it is so, or they cannot be read."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION))
    except Exception:  # the picture is as good as one without
        return None
