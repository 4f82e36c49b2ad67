"""What comes out of good files, and why bad ones are refused."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from corkboard.errors import InputError, PictureRefused
from corkboard.lake.pictures import decode as module
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode, kept_form
from corkboard.lake.pictures.header import read_header

from . import samples
from .samples import SVG, encoded, gif, huge_png, jpeg, picture, png, turned

LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_pictures_come_out_as_they_went_in(form: str) -> None:
    found = decode(encoded(picture(), form, **LOSSLESS[form]))
    assert (found.format, found.width, found.height) == (form, 32, 24)
    assert np.array_equal(found.rgb, picture())


@pytest.mark.parametrize(("form", "off"), [("JPEG", 12), ("GIF", 40)])
def test_lossy_pictures_come_out_nearly_so(form: str, off: int) -> None:
    found = decode(jpeg() if form == "JPEG" else encoded(picture(), "GIF"))
    assert found.format == form
    assert np.abs(found.rgb.astype(int) - picture()).max() <= off


def scanned_again(times: int) -> bytes:
    """A progressive JPEG whose last scan is there ``times`` times."""
    data = encoded(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * times + data[-2:]


def with_chunks(chunks: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    data = encoded(picture())
    return data[:33] + chunks + data[33:]


def profiled(times: int) -> bytes:
    """A PNG with a colour profile ``times`` times, each of a megabyte."""
    return with_chunks(samples.chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes((1 << 20) - 1))) * times)


REFUSED = {
    "a truncated JPEG": (jpeg()[:-200], "truncated"),
    "a JPEG of its first bytes": (jpeg()[:30], "ends within its header|does not say"),
    "a PNG that breaks off": (encoded(picture())[:-60], "broken"),
    "30,000 x 30,000 pixels": (huge_png(), "too many pixels.*30,000 x 30,000.*25,000,000"),
    "an SVG": (SVG, "not a picture.*SVG"),
    "an SVG without a prologue": (b"\xef\xbb\xbf \n<svg width='9'/>", "not a picture.*SVG"),
    "a GIF of 10,000 frames": (gif(10_000), "too many frames.*500"),
    "a text": (b"this is no picture, whatever it is called\n", "not a picture.*text"),
    "a page": (b"<!DOCTYPE html><html></html>", "not a picture.*HTML"),
    "nothing": (b"", "empty"),
    "1 x 1": (encoded(picture(1, 1)), "too small.*1 x 1"),
    "a line": (encoded(picture(3, 900)), "too small"),
    "a TIFF": (encoded(picture(), "TIFF"), "not a picture.*TIFF"),
    "a BMP": (encoded(picture(), "BMP"), "not a picture.*BMP"),
    "noise": (bytes(range(256)), "not a picture.*unknown"),
    "a JPEG that is gone over again and again": (scanned_again(201), "too many scans.*200"),
    "a PNG of many colour profiles": (profiled(2), "too many colour profiles.*1"),
    "a PNG of many chunks": (with_chunks(samples.chunk(b"aaAa", b"") * 50_001), "too many chunks.*50,000"),
    "an animation that says it has many frames": (
        png(8, 8, (b"\x00" + b"\x01" * 24) * 8, 8, 2, samples.chunk(b"acTL", struct.pack(">II", 70_000, 0))),
        "too many frames.*70,000",
    ),
    "a second header that says more": (
        png(8, 8, (b"\x00" + b"\x01" * 24) * 8, 8, 2, samples.header(30_000, 30_000)),
        "too many pixels|cannot be read",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_reason(what: str) -> None:
    data, reason = REFUSED[what]
    with pytest.raises(PictureRefused, match=reason):
        decode(data)
    with pytest.raises(PictureRefused, match=reason):
        kept_form(data)
    assert issubclass(PictureRefused, InputError)


def test_no_decoder_sees_a_file_whose_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Image, "open", lambda *_, **__: pytest.fail("a decoder was asked"))
    for data, _ in (REFUSED["30,000 x 30,000 pixels"], REFUSED["a GIF of 10,000 frames"], REFUSED["an SVG"], REFUSED["1 x 1"]):
        with pytest.raises(PictureRefused):
            decode(data)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (PictureLimits(max_bytes=100), "too large.*at most 100"),
        (PictureLimits(max_pixels=32 * 24 - 1), "too many pixels"),
        (PictureLimits(min_side=25), "too small"),
    ],
)
def test_each_limit_bites_and_not_before(limits: PictureLimits, reason: str) -> None:
    data = jpeg()
    with pytest.raises(PictureRefused, match=reason):
        decode(data, limits)
    decode(data, PictureLimits(max_bytes=len(data), max_pixels=32 * 24, min_side=24))


def test_frames_are_counted_and_the_first_is_taken() -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (10, 120, 240)]
    for form, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50, **options)
        assert read_header(data, 500).frames == 3
        assert np.abs(decode(data, PictureLimits(max_frames=3)).rgb.astype(int) - 10).max() <= 1
        with pytest.raises(PictureRefused, match="too many frames"):
            decode(data, PictureLimits(max_frames=2))


# By the EXIF standard the first stored row is the visual top of 1 and 2, bottom of 3 and 4, left of 5 and 8, right of 6 and 7.
AS_STORED = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: seen.transpose(1, 0, 2)[::-1],
    7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
    8: lambda seen: seen.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", AS_STORED)
def test_exif_turns_are_undone(orientation: int) -> None:
    stored = np.ascontiguousarray(AS_STORED[orientation](picture()))
    assert np.array_equal(decode(encoded(stored, exif=turned(orientation))).rgb, picture())
    from_jpeg = decode(encoded(stored, "JPEG", quality=95, exif=turned(orientation))).rgb
    assert from_jpeg.shape == picture().shape
    assert np.abs(from_jpeg.astype(int) - picture()).max() <= 12


@pytest.mark.parametrize("exif", [turned(99), turned(0), b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00no exif at all"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_says_nothing_leaves_the_picture_as_it_is(exif: Image.Exif | bytes) -> None:
    data = encoded(picture(), "JPEG", quality=95, exif=exif)
    assert np.abs(decode(data).rgb.astype(int) - picture()).max() <= 12


def test_cmyk_becomes_rgb() -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[:, 4:, 0] = 255  # cyan takes red away
    rgb = decode(encoded(Image.fromarray(ink, "CMYK"), "JPEG", quality=95)).rgb.astype(int)
    assert np.abs(rgb[:, 0] - [255, 255, 255]).max() <= 4
    assert np.abs(rgb[:, 7] - [0, 255, 255]).max() <= 4


def test_what_is_seen_through_is_white_behind() -> None:
    layers = np.zeros((8, 8, 4), np.uint8)
    layers[2:, :, 3] = 255  # black, with two rows that are not there
    layers[4:6, :, 3] = 128  # and two that are half there
    for form, options in LOSSLESS.items():
        rgb = decode(encoded(Image.fromarray(layers), form, exact=True, **options)).rgb
        assert (rgb[0] == 255).all()
        assert (rgb[2] == 0).all()
        assert np.abs(rgb[4].astype(int) - 127).max() <= 1


def test_palettes_with_a_clear_colour_are_white_there() -> None:
    indices = Image.fromarray(np.array([[0] * 4 + [1] * 4] * 8, np.uint8)).convert("P")
    indices.putpalette([0, 0, 200, 200, 0, 0])
    for form in ("PNG", "GIF"):
        rgb = decode(encoded(indices, form, transparency=0)).rgb
        assert rgb[0, 0].tolist() == [255, 255, 255]
        assert rgb[0, 7].tolist() == [200, 0, 0]


def test_sixteen_bits_are_cut_to_the_upper_eight() -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1_040
    grey = decode(encoded(Image.fromarray(values)))
    assert np.array_equal(grey.rgb, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))
    rows = b"".join(b"\x00" + struct.pack(">24H", *range(row * 2_500, row * 2_500 + 24 * 256, 256)) for row in range(8))
    colour = decode(png(8, 8, rows, bits=16)).rgb
    assert colour[7, 7].tolist() == [(17_500 + place * 256) >> 8 for place in (21, 22, 23)]


def test_many_scans_and_a_colour_profile_are_taken() -> None:
    assert decode(scanned_again(20)).format == "JPEG"
    assert np.array_equal(decode(profiled(1)).rgb, picture())


def test_16_bits_take_little_more_memory_than_8() -> None:
    data = encoded(Image.fromarray(np.full((1000, 1000), 40_000, np.uint16)))
    tracemalloc.start()
    try:
        decode(data, side=64)
        assert tracemalloc.get_traced_memory()[1] < 12 * 1000 * 1000
    finally:
        tracemalloc.stop()


def test_a_sixteen_bit_clear_value_is_white() -> None:
    rows = b"".join(b"\x00" + struct.pack(">8H", 700, *[9_000] * 7) for _ in range(8))
    rgb = decode(png(8, 8, rows, 16, 0, samples.chunk(b"tRNS", struct.pack(">H", 700)))).rgb
    assert rgb[0, :2, 0].tolist() == [255, 9_000 >> 8]


def test_grey_and_black_and_white_have_three_channels() -> None:
    for mode in ("L", "1"):
        rgb = decode(encoded(Image.fromarray(picture()).convert(mode))).rgb
        assert rgb.shape == (24, 32, 3)
        assert (rgb[..., 0] == rgb[..., 2]).all()


def test_a_side_makes_smaller_and_never_larger() -> None:
    data = encoded(picture(100, 200), "JPEG", quality=95)
    small = decode(data, side=50)
    assert (small.width, small.height) == (50, 25)
    assert np.abs(small.rgb[12, 25].astype(int) - picture(100, 200)[50, 100]).max() <= 6
    assert decode(data, side=400).width == 200
    assert decode(encoded(picture(4, 900)), side=10).rgb.shape == (1, 10, 3)
    upright = decode(encoded(picture(100, 200), "JPEG", exif=turned(6)), side=50)
    assert (upright.width, upright.height) == (25, 50)


def test_what_is_kept_is_small_upright_and_nothing_but_pixels() -> None:
    content, kind = kept_form(encoded(picture(60, 90), "JPEG", exif=turned(6), comment=b"secret place"), PictureLimits(kept_side=45))
    assert kind == "jpg"
    assert b"secret" not in content
    assert b"Exif" not in content
    assert decode(content).rgb.shape == (45, 30, 3)
    drawing = Image.new("RGB", (64, 64), (200, 10, 10))
    content, kind = kept_form(encoded(drawing, pnginfo=_comment()))
    assert kind == "png"
    assert b"secret" not in content
    assert np.array_equal(decode(content).rgb, np.array(drawing))


def _comment():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("where", "secret place")
    return info


VALID = {
    "JPEG": jpeg(exif=turned(6)),
    "progressive JPEG": jpeg(progressive=True),
    "CMYK": encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG"),
    "PNG": encoded(picture()),
    "palette": encoded(Image.fromarray(picture()).quantize(16), transparency=3),
    "16 bits": encoded(Image.fromarray(picture()[..., 0].astype(np.uint16) * 256)),
    "APNG": encoded(picture(), save_all=True, append_images=[Image.fromarray(picture(seed=1))]),
    "GIF": gif(3),
    "WebP": encoded(picture(), "WEBP"),
    "lossless WebP": encoded(Image.fromarray(picture()).convert("RGBA"), "WEBP", lossless=True, exif=turned(3)),
    "animated WebP": encoded(picture(), "WEBP", save_all=True, append_images=[Image.fromarray(picture(seed=1))]),
}
SMALL = PictureLimits(max_pixels=250_000)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(VALID)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    st.floats(0, 1),
)
def test_changed_bytes_give_a_picture_or_a_refusal(kind: str, changes: list[tuple[float, int]], end: float) -> None:
    data = bytearray(VALID[kind])
    for place, value in changes:
        data[int(place * len(data) if value % 2 else place * min(len(data), 64))] = value  # every other one hits the header
    data = bytes(data[: int(end * 2 * len(data))])
    try:
        rgb = decode(data, SMALL).rgb
    except PictureRefused:
        return
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3
    assert 0 < rgb.shape[0] * rgb.shape[1] <= SMALL.max_pixels


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"<svg"]), st.binary(max_size=300)
)
def test_any_bytes_give_a_header_or_a_refusal(start: bytes, rest: bytes) -> None:
    try:
        found = read_header(start + rest, 500)
    except PictureRefused:
        return
    assert found.width >= 0
    assert found.height >= 0
    assert found.frames >= 1
