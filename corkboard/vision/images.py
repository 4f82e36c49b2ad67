"""Pictures as arrays: uint8 ``(n, height, width, 3)`` in RGB, and what networks and trivial baselines make of them.

No torchvision: resizing is PyTorch's own antialiased interpolation, the rest is indexing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.errors import InputError

WHITE = 255
_CHUNK = 256
"""Pictures that are resized or binned at once: what bounds the memory of a pass over very many."""


def checked(images: np.ndarray) -> np.ndarray:
    """``images`` if they are uint8 ``(n, height, width, 3)`` of at least 1 px; raises :class:`InputError` otherwise."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
        raise InputError("Pictures have the wrong form", found=(str(images.dtype), images.shape), expected="uint8 (n, height, width, 3)")
    return images


def to_tensor(images: np.ndarray, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.25,) * 3) -> Tensor:
    """float32 ``(n, 3, height, width)``: ``(images / 255 - mean) / std`` by channel; by default, as for trunks built here, in [-2, 2].

    In memory a pixel's channels stay side by side (channels_last), which is how convolutions on a CPU like it best.
    """
    images = checked(images)
    images = images if images.flags.writeable else images.copy()  # PyTorch warns of arrays that it must not write to
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32)
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32)
    return torch.from_numpy(images).to(torch.float32).mul_(scale).sub_(shift).permute(0, 3, 1, 2)


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 ``(n, side, side, 3)``: bilinear with antialiasing, the whole picture in the middle of a white square. ``side`` in px.

    Pictures of that size come back as they are.
    """
    images = checked(images)
    n, height, width, _ = images.shape
    if (height, width) == (side, side):
        return images
    tall, wide = (max(1, round(part * side / max(height, width))) for part in (height, width))
    top, left = (side - tall) // 2, (side - wide) // 2
    out = np.full((n, side, side, 3), WHITE, np.uint8)
    for start in range(0, n, _CHUNK):
        pixels = torch.from_numpy(np.array(images[start : start + _CHUNK])).permute(0, 3, 1, 2).to(torch.float32)
        small = functional.interpolate(pixels, size=(tall, wide), mode="bilinear", align_corners=False, antialias=True)
        small = small.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        out[start : start + _CHUNK, top : top + tall, left : left + wide] = small.numpy()
    return out


def in_square(shares: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """float32 ``(n, 4)`` px: boxes in shares of a picture of ``size`` (height, width) where :func:`resized` puts it."""
    tall, wide = (max(1, round(part * side / max(size))) for part in size)
    top, left = (side - tall) // 2, (side - wide) // 2
    return (np.asarray(shares) * np.float32([wide, tall, wide, tall]) + np.float32([left, top, left, top])).astype(np.float32)


def centre_crop(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 ``(n, side, side, 3)``: the square in the middle, a view. Raises :class:`InputError` where a picture is smaller."""
    images = checked(images)
    height, width = images.shape[1:3]
    if side < 1 or side > min(height, width):
        raise InputError("A crop does not fit into the picture", found=side, expected=f"1 to {min(height, width)} px")
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


def augmented(images: np.ndarray, draw: np.random.Generator, *, shift: int = 2, brightness: float = 0.15) -> np.ndarray:
    """Copies for one step of training, uint8 in the same shape: each picture mirrored with chance 1/2, moved, and made lighter or darker.

    It moves by up to ``shift`` px in each direction, its edge repeated where nothing comes in, and is multiplied by a factor within
    ``brightness`` of 1.
    """
    images = checked(images)
    n, height, width, _ = images.shape
    down, right = draw.integers(-shift, shift + 1, (2, n, 1))
    mirrored, gain = draw.random((n, 1)) < 0.5, draw.uniform(1 - brightness, 1 + brightness, (n, 1, 1, 1)).astype(np.float32)
    rows = (np.arange(height) + down).clip(0, height - 1)
    columns = (np.arange(width) + right).clip(0, width - 1)
    columns = np.where(mirrored, columns[:, ::-1], columns)
    moved = images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return np.minimum(moved * gain + np.float32(0.5), 255).astype(np.uint8)


# ----------------------------------------------------------------------------------------------------- trivial baselines


def colour_histogram(images: np.ndarray, centre: bool = True, levels: int = 6) -> np.ndarray:
    """float32 ``(n, levels ** 3)`` of unit length: roots of the shares of the pixels by joint RGB colour.

    The dot product of two of them is the Bhattacharyya coefficient, 1 for equal histograms. With ``centre`` only the middle half of each
    side counts, where the object of a catalogue picture is. A baseline that learned encoders must beat.
    """
    images = checked(images)
    if centre:
        height, width = images.shape[1:3]
        tall, wide = max(1, height // 2), max(1, width // 2)
        top, left = (height - tall) // 2, (width - wide) // 2
        images = images[:, top : top + tall, left : left + wide]
    bins = levels**3
    level_of = (np.arange(256) * levels // 256).astype(np.int64)
    out = np.empty((len(images), bins), np.float32)
    for start in range(0, len(images), _CHUNK):
        red, green, blue = np.moveaxis(level_of[images[start : start + _CHUNK]], 3, 0)
        colours = ((red * levels + green) * levels + blue).reshape(len(red), -1)
        counts = np.bincount((colours + np.arange(len(colours))[:, None] * bins).ravel(), minlength=len(colours) * bins)
        out[start : start + _CHUNK] = np.sqrt(counts.reshape(-1, bins) / colours.shape[1])
    return out


def raw_pixels(images: np.ndarray, side: int = 32) -> np.ndarray:
    """float32 ``(n, side * side * 3)``: the pixels at ``side`` px less their mean over the picture, of unit length.

    A picture of a single grey has the zero vector. A baseline that learned encoders must beat: it is strong where objects stay centred.
    """
    small = resized(images, side)
    pixels = small.reshape(len(small), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(pixels, axis=1, keepdims=True)
    return pixels / np.maximum(lengths, 1e-6)
